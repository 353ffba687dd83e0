"""ResourceQuota: refuses what would exceed a quota (plugin/pkg/admission/resourcequota).

Usage is counted from the objects that are there, and from those that are just being written: a quota holds even when
many create at once. The status of the quota, which people read, is kept by a controller.
"""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from minipod.api import quantity, quota_usage
from minipod.api.errors import StatusError, forbidden
from minipod.api.kind import Kind
from minipod.api.pod_resources import Amounts, written
from minipod.client import Object
from minipod.server.view import View


@dataclass
class QuotaKeeper:
    """Decides over one store. `reserved` is what is just being written, by namespace."""

    view: View
    reserved: dict[str, list[tuple[Kind, Object]]] = field(default_factory=dict)

    @contextlib.contextmanager
    def holding(self, kind: Kind, obj: Object) -> Iterator[None]:
        """Check a new object against its namespace's quotas, and count it until it is written. Raises Forbidden."""
        namespace = obj["metadata"].get("namespace", "") if kind.namespaced else ""
        if not namespace or not self.view.any("resourcequotas", namespace):
            yield
            return
        self.check(kind, obj, None)
        held = self.reserved.setdefault(namespace, [])
        held.append((kind, obj))
        try:
            yield
        finally:
            held.remove((kind, obj))
            if not held:
                del self.reserved[namespace]

    def check(self, kind: Kind, new: Object, old: Object | None) -> None:
        """Refuse an object that would exceed a quota, or that does not say what a quota counts. Raises Forbidden."""
        namespace = new["metadata"].get("namespace", "") if kind.namespaced else ""
        if not namespace:
            return
        quotas = [
            quota
            for quota in self.view.list("resourcequotas", namespace)
            if quota_usage.is_relevant(kind, _hard(quota)) and quota_usage.selects(quota, kind, new)
        ]
        for quota in quotas:
            why = self._find_problem(quota, kind, new, old)
            if why:
                raise _refusal(kind, new, why)

    def _find_problem(self, quota: Object, kind: Kind, new: Object, old: Object | None) -> str:
        hard, name = _hard(quota), quota["metadata"]["name"]
        if kind.resource == "pods" and old is None:
            unsaid = quota_usage.find_unsaid(new, hard)
            if unsaid:
                told = "; ".join(
                    f"{what} for: {','.join(who)}" for what, who in sorted(unsaid.items())
                )
                return f"failed quota: {name}: must specify {told}"
        now = datetime.now(UTC)
        wanted = quota_usage.usage_of(kind, new, now)
        before = quota_usage.usage_of(kind, old, now) if old is not None else {}
        more = {
            key: amount - before.get(key, 0)
            for key, amount in wanted.items()
            if key in hard and amount > before.get(key, 0)
        }
        if not more:
            return ""
        used = self._used(quota, kind, new)
        over = sorted(key for key in more if used[key] + more[key] > quantity.parse(hard[key]))
        if not over:
            return ""
        asked = ",".join(f"{key}={written(key, more[key])}" for key in over)
        have = ",".join(f"{key}={written(key, used[key])}" for key in over)
        most = ",".join(f"{key}={hard[key]}" for key in over)
        return f"exceeded quota: {name}, requested: {asked}, used: {have}, limited: {most}"

    def _used(self, quota: Object, kind: Kind, new: Object) -> Amounts:
        """Return what is used by now of the kind's resources, the objects being written included."""
        namespace, now = quota["metadata"]["namespace"], datetime.now(UTC)
        there = self.view.list(kind.resource, namespace)
        known = {each["metadata"]["uid"] for each in there}
        held = [
            obj
            for of, obj in self.reserved.get(namespace, ())
            if of.resource == kind.resource and obj["metadata"]["uid"] not in known
        ]
        usages = [
            quota_usage.usage_of(kind, each, now)
            for each in (*there, *held)
            if quota_usage.selects(quota, kind, each)
        ]
        return quota_usage.total(usages, _hard(quota))


def _hard(quota: Object) -> dict[str, Any]:
    hard: dict[str, Any] = (quota.get("spec") or {}).get("hard") or {}
    return hard


def _refusal(kind: Kind, obj: Object, why: str) -> StatusError:
    metadata = obj["metadata"]
    return forbidden(kind, metadata.get("name") or metadata.get("generateName") or "", why)
