"""ResourceQuotas tell what is used of them: counted anew whenever something that they count comes, goes or changes.

The kinds that quotas count are watched from the moment a quota names them; without quotas nothing is.
"""

import asyncio
from datetime import UTC, datetime

from minipod.api import quota_usage
from minipod.api.kind import Kind
from minipod.api.kinds import all_kinds
from minipod.api.pod_resources import written
from minipod.client import Client, Object
from minipod.clock import Clock
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.informer import Informer


class QuotaStatus:
    """Keeps `status.hard` and `status.used`."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._quotas = Informer(client, "resourcequotas", self._on_quota)
        self._counted: dict[str, Informer] = {}
        self._starting = asyncio.Lock()
        self._loop = KeyedLoop(clock, "quota", self._sync)

    async def start(self) -> None:
        """Follow quotas, and what they count."""
        await self._quotas.start()

    async def stop(self) -> None:
        """End."""
        await self._quotas.stop()
        await self._loop.stop()
        for informer in self._counted.values():
            await informer.stop()

    async def wait_idle(self) -> None:
        """Wait until every quota has been counted."""
        await self._loop.wait_idle()

    def _on_quota(self, new: Object | None, old: Object | None) -> None:
        if new is not None and (old is None or new.get("spec") != old.get("spec")):
            self._loop.look(new["metadata"]["namespace"], new["metadata"]["name"])

    def _on_counted(self, new: Object | None, old: Object | None) -> None:
        namespace = (new or old or {})["metadata"]["namespace"]
        for at, name in list(self._quotas.objects):
            if at == namespace:
                self._loop.look(namespace, name)

    async def _sync(self, namespace: str, name: str) -> None:
        quota = self._quotas.get(namespace, name)
        if quota is None:
            return
        hard = (quota.get("spec") or {}).get("hard") or {}
        kinds = [kind for kind in all_kinds() if _is_counted(kind, hard)]
        await self._watch(kinds)
        usages = [
            quota_usage.usage_of(kind, obj, datetime.fromtimestamp(self._clock.now(), UTC))
            for kind in kinds
            for obj in self._counted[kind.resource]
            if obj["metadata"]["namespace"] == namespace and quota_usage.selects(quota, kind, obj)
        ]
        total = quota_usage.total(usages, hard)
        used = {key: written(key, amount) for key, amount in total.items()}
        status = quota.get("status") or {}
        if (status.get("hard") or {}, status.get("used") or {}) == (hard, used):
            return
        # A whole status: what a quota no longer names must go.
        replaced = {**quota, "status": {"hard": hard, "used": used}}
        replaced["metadata"] = {
            key: value for key, value in quota["metadata"].items() if key != "resourceVersion"
        }
        await self._client.update("resourcequotas", namespace, replaced, subresource="status")

    async def _watch(self, kinds: list[Kind]) -> None:
        """Follow these kinds from now on."""
        async with self._starting:
            for kind in kinds:
                if kind.resource not in self._counted:
                    informer = Informer(self._client, kind.resource, self._on_counted)
                    self._counted[kind.resource] = informer
                    await informer.start()


def _is_counted(kind: Kind, hard: Object) -> bool:
    stored = kind.namespaced and kind.stored_as is None and "list" in kind.verbs
    return stored and not kind.computed and quota_usage.is_relevant(kind, hard)
