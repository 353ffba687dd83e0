"""ClusterRoles that are made up of others: their rules are those of every ClusterRole that their selectors select.

Upstream's clusterrole-aggregation-controller. One role may be a part of the next, so a change runs through in steps.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Any

from minipod.api.errors import StatusError
from minipod.api.selectors import from_object
from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.informer import Informer

logger = logging.getLogger(__name__)

NAME = "clusterrole-aggregation-controller"
_RESOURCE = "clusterroles.rbac.authorization.k8s.io"
_RETRY = 2.0  # seconds after a write that failed


def compute_rules(role: Object, roles: Iterable[Object]) -> list[Any]:
    """Return the rules that an aggregated ClusterRole is to have: each once, by selector, then by name."""
    name = role["metadata"]["name"]
    by_name = sorted(roles, key=lambda each: str(each["metadata"]["name"]))
    rules: list[Any] = []
    for selector in (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ():
        selected = from_object(selector)
        for each in by_name:
            metadata = each["metadata"]
            if metadata["name"] != name and selected.matches(metadata.get("labels")):
                rules += [rule for rule in each.get("rules") or () if rule not in rules]
    return rules


class ClusterRoleAggregation:
    """Keeps aggregated ClusterRoles what their selectors say."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._roles = Informer(client, _RESOURCE, self._on_role)
        self._task: asyncio.Task[None] | None = None
        self._again = False

    async def start(self) -> None:
        """Follow ClusterRoles; return when every aggregated one is as it should be."""
        await self._roles.start()
        await self.wait_idle()

    async def stop(self) -> None:
        """End."""
        await self._roles.stop()
        await call_off(self._task)

    async def wait_idle(self) -> None:
        """Wait until nothing is being written."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    def _on_role(self, _new: Object | None, _old: Object | None) -> None:
        self._look()

    def _look(self) -> None:
        self._again = True
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._aggregate(), name="aggregate cluster roles")

    async def _aggregate(self) -> None:
        while self._again:
            self._again = False
            for role in self._roles:
                if role.get("aggregationRule") and "deletionTimestamp" not in role["metadata"]:
                    await self._write(role)

    async def _write(self, role: Object) -> None:
        rules, name = compute_rules(role, self._roles), role["metadata"]["name"]
        if rules == (role.get("rules") or []):
            return
        patch = {"metadata": {"uid": role["metadata"]["uid"]}, "rules": rules}
        try:
            await self._client.patch(_RESOURCE, "", name, patch)
        except StatusError as error:
            if error.code == 404:
                return
            logger.warning('cluster role "%s": %s; trying again', name, error)
            self._clock.call_at(self._clock.now() + _RETRY, self._look)
