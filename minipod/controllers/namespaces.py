"""The end of a namespace: everything of every kind in it is deleted, then its finalizer is taken off and it is gone.

What cannot go at once (a Pod that ends, an object whose finalizers somebody else clears) is told in the namespace's
conditions, as upstream words them, and watched: every change of it is a reason to look again.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from minipod.api.errors import StatusError
from minipod.api.kinds import all_kinds
from minipod.client import Client, Object
from minipod.clock import Clock, call_off, format_time
from minipod.informer import Informer

logger = logging.getLogger(__name__)

FINALIZER = "kubernetes"
_RETRY = 2.0  # seconds until a namespace that could not be emptied is looked at again


@dataclass
class Remaining:
    """What is still in a namespace: how much of each kind, since which version, what holds it, what went wrong."""

    counts: Counter[str] = field(default_factory=Counter)
    finalizers: Counter[str] = field(default_factory=Counter)
    versions: dict[str, str] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.counts or self.failures)


class NamespaceController:
    """Empties and finalizes namespaces that are being deleted."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._namespaces = Informer(client, "namespaces", self._on_namespace)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._busy: set[str] = set()
        self._settled = asyncio.Event()

    async def start(self) -> None:
        """Follow namespaces."""
        await self._namespaces.start()

    async def stop(self) -> None:
        """End."""
        await self._namespaces.stop()
        await call_off(*self._tasks.values())

    async def wait_idle(self) -> None:
        """Wait until every ending namespace is gone, or waits for somebody else."""
        while self._busy:
            self._settled.clear()
            await self._settled.wait()

    def _on_namespace(self, new: Object | None, old: Object | None) -> None:
        if new is not None and "deletionTimestamp" in new["metadata"]:
            self._look(new["metadata"]["name"])

    def _look(self, name: str) -> None:
        if name in self._tasks:
            return
        self._busy.add(name)
        task = asyncio.create_task(self._end(name), name=f"end namespace {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._ended(name))

    def _ended(self, name: str) -> None:
        self._tasks.pop(name, None)
        self._rest(name)

    def _rest(self, name: str) -> None:
        self._busy.discard(name)
        self._settled.set()

    async def _end(self, name: str) -> None:
        try:
            while remaining := await self._empty(name):
                await self._tell(name, remaining)
                self._rest(name)
                await self._wait_for_change(name, remaining)
                self._busy.add(name)
            await self._finalize(name)
        except StatusError as error:
            if error.code == 404:
                return
            logger.warning('deleting namespace "%s": %s; trying again', name, error)
            self._clock.call_at(self._clock.now() + _RETRY, lambda: self._look(name))

    # ---- what is in it ----

    async def _empty(self, namespace: str) -> Remaining:
        """Delete all content; return what is still there."""
        remaining = Remaining()
        for kind in all_kinds():
            own = kind.stored_as is None and {"list", "delete"} <= set(kind.verbs)
            if not own or not kind.namespaced:
                continue
            found = await self._client.list(kind.resource, namespace)
            for item in found.items:
                await self._delete(kind.resource, item, remaining)
            if kind.resource in remaining.counts:
                remaining.versions[kind.resource] = found.resource_version
        return remaining

    async def _delete(self, resource: str, item: Object, remaining: Remaining) -> None:
        """Delete one object, and count it when it stays for a while."""
        found = item["metadata"]
        if "deletionTimestamp" not in found:
            try:
                answer = await self._client.delete(
                    resource, found["namespace"], found["name"], propagation_policy="Background"
                )
            except StatusError as error:
                if error.code != 404:
                    remaining.failures.append(str(error))
                    remaining.counts[resource] += 1
                return
            found = answer.get("metadata") or {}
            if "deletionTimestamp" not in found:
                return
        remaining.counts[resource] += 1
        remaining.finalizers.update(found.get("finalizers") or ())

    async def _wait_for_change(self, namespace: str, remaining: Remaining) -> None:
        """Wait until anything that remains changes, or (after a failure) for some time."""
        waiting = [
            asyncio.create_task(self._changed(resource, namespace, version))
            for resource, version in remaining.versions.items()
        ]
        patience = _after(self._clock, _RETRY) if remaining.failures else None
        try:
            awaited = [*waiting, patience] if patience else waiting
            await asyncio.wait(awaited, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await call_off(*waiting)

    async def _changed(self, resource: str, namespace: str, version: str) -> None:
        events = self._client.watch(resource, namespace, resource_version=version)
        async with contextlib.aclosing(events):  # type: ignore[type-var]
            async for event in events:
                if event.type != "BOOKMARK":
                    return

    # ---- what is told ----

    async def _tell(self, name: str, remaining: Remaining) -> None:
        """Write down, in the namespace's conditions, what it waits for."""
        namespace = await self._client.get("namespaces", "", name)
        status = namespace.setdefault("status", {})
        before = status.get("conditions") or []
        conditions = compute_conditions(remaining, before, format_time(self._clock.now()))
        if conditions == before:
            return
        status["conditions"] = conditions
        try:
            await self._client.update("namespaces", "", namespace, subresource="status")
        except StatusError as error:
            if error.code != 409:
                raise

    async def _finalize(self, name: str) -> None:
        while True:
            namespace = await self._client.get("namespaces", "", name)
            spec = namespace.setdefault("spec", {})
            left = [each for each in spec.get("finalizers") or () if each != FINALIZER]
            spec["finalizers"] = left
            try:
                await self._client.update("namespaces", "", namespace, subresource="finalize")
                return
            except StatusError as error:
                if error.code != 409:
                    raise


def _after(clock: Clock, seconds: float) -> "asyncio.Future[None]":
    """Return what is done `seconds` from now."""
    reached: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def reach() -> None:
        if not reached.done():
            reached.set_result(None)

    clock.call_at(clock.now() + seconds, reach)
    return reached


def compute_conditions(remaining: Remaining, before: list[Object], now: str) -> list[Object]:
    """Return a namespace's conditions; one that says what it said keeps its time."""
    wanted = [
        _condition("DeletionDiscoveryFailure", "ResourcesDiscovered", _DISCOVERED),
        _condition("DeletionGroupVersionParsingFailure", "ParsedGroupVersions", _PARSED),
        _failure_condition(remaining.failures),
        _content_condition(remaining.counts),
        _finalizers_condition(remaining.finalizers),
    ]
    known = {each["type"]: each for each in before}
    for condition in wanted:
        old = known.get(condition["type"], {})
        same = old.get("status") == condition["status"]
        condition["lastTransitionTime"] = old["lastTransitionTime"] if same else now
    kept = {each["type"] for each in wanted}
    return [*(each for each in before if each["type"] not in kept), *wanted]


_DISCOVERED = "All resources successfully discovered"
_PARSED = "All legacy kube types successfully parsed"


def _condition(suffix: str, reason: str, message: str, status: str = "False") -> Object:
    return {
        "type": f"Namespace{suffix}",
        "status": status,
        "lastTransitionTime": "",
        "reason": reason,
        "message": message,
    }


def _failure_condition(failures: list[str]) -> Object:
    kind = "DeletionContentFailure"
    if failures:
        listed = ", ".join(failures)
        message = f"Failed to delete all resource types, {len(failures)} remaining: {listed}"
        return _condition(kind, "ContentDeletionFailed", message, "True")
    message = "All content successfully deleted, may be waiting on finalization"
    return _condition(kind, "ContentDeleted", message)


def _content_condition(counts: Mapping[str, int]) -> Object:
    kind = "ContentRemaining"
    if not counts:
        return _condition(kind, "ContentRemoved", "All content successfully removed")
    listed = ", ".join(
        f"{_group_resource(resource)} has {count} resource instances"
        for resource, count in sorted(counts.items())
    )
    message = f"Some resources are remaining: {listed}"
    return _condition(kind, "SomeResourcesRemain", message, "True")


def _group_resource(resource: str) -> str:
    """Return a resource with the dot that stands before its group, be it named or not."""
    return resource if "." in resource else f"{resource}."


def _finalizers_condition(finalizers: Mapping[str, int]) -> Object:
    kind = "FinalizersRemaining"
    if not finalizers:
        message = "All content-preserving finalizers finished"
        return _condition(kind, "ContentHasNoFinalizers", message)
    listed = ", ".join(
        f"{name} in {count} resource instances" for name, count in sorted(finalizers.items())
    )
    message = f"Some content in the namespace has finalizers remaining: {listed}"
    return _condition(kind, "SomeFinalizersRemain", message, "True")
