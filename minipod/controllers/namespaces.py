"""The end of a namespace: everything in it is deleted, then its finalizer is taken off and it is gone.

Pods end gracefully, so emptying takes time; each object that goes is a reason to look again.
"""

import asyncio
import logging

from minipod.api.errors import StatusError
from minipod.api.kinds import all_kinds
from minipod.client import Client, Object
from minipod.clock import Clock
from minipod.informer import Informer

logger = logging.getLogger(__name__)

FINALIZER = "kubernetes"
_RETRY = 2.0  # seconds until a namespace that could not be emptied is looked at again


class NamespaceController:
    """Empties and finalizes namespaces that are being deleted."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._namespaces = Informer(client, "namespaces", self._on_namespace)
        self._pods = Informer(client, "pods", self._on_pod)
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._again: set[str] = set()

    async def start(self) -> None:
        """Follow namespaces and the Pods that hold them up."""
        await self._pods.start()
        await self._namespaces.start()

    async def stop(self) -> None:
        """End."""
        await self._namespaces.stop()
        await self._pods.stop()
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def wait_idle(self) -> None:
        """Wait until no namespace is being emptied."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))
            await asyncio.sleep(0)

    def _on_namespace(self, new: Object | None, old: Object | None) -> None:
        if new is not None and "deletionTimestamp" in new["metadata"]:
            self._look(new["metadata"]["name"])

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        if new is None and old is not None:
            namespace = self._namespaces.get("", old["metadata"]["namespace"])
            self._on_namespace(namespace, None)

    def _look(self, name: str) -> None:
        if name in self._tasks:
            self._again.add(name)
            return
        task = asyncio.create_task(self._end(name), name=f"end namespace {name}")
        self._tasks[name] = task
        task.add_done_callback(lambda _: self._tasks.pop(name, None))

    async def _end(self, name: str) -> None:
        try:
            self._again.add(name)
            while name in self._again:
                self._again.discard(name)
                if not await self._empty(name):
                    await self._finalize(name)
        except StatusError as error:
            if error.code == 404:
                return
            logger.warning('deleting namespace "%s": %s; trying again', name, error)
            self._clock.call_at(self._clock.now() + _RETRY, lambda: self._look(name))

    async def _empty(self, namespace: str) -> int:
        """Delete all content; return how many objects are still there, ending."""
        remaining = 0
        for kind in all_kinds():
            if not kind.namespaced or "delete" not in kind.verbs:
                continue
            resource = f"{kind.plural}.{kind.group}" if kind.group else kind.plural
            for item in (await self._client.list(resource, namespace)).items:
                remaining += await self._delete(resource, namespace, item)
        return remaining

    async def _delete(self, resource: str, namespace: str, item: Object) -> int:
        """Delete one object; return 1 when it stays for a while."""
        metadata = item["metadata"]
        if "deletionTimestamp" in metadata:
            return 1
        try:
            answer = await self._client.delete(resource, namespace, metadata["name"])
        except StatusError as error:
            if error.code == 404:
                return 0
            raise
        return 1 if "deletionTimestamp" in (answer.get("metadata") or {}) else 0

    async def _finalize(self, name: str) -> None:
        namespace = await self._client.get("namespaces", "", name)
        spec = namespace.setdefault("spec", {})
        spec["finalizers"] = [each for each in spec.get("finalizers") or () if each != FINALIZER]
        try:
            await self._client.update("namespaces", "", namespace, subresource="finalize")
        except StatusError as error:
            if error.code != 409:
                raise
            self._again.add(name)
