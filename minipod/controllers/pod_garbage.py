"""Pods of nodes that are not there, any more or at all: failed and removed (upstream's pod-garbage-collector).

Only such Pods are watched, by a selector that names the nodes there are: all others cost nothing here.
"""

import asyncio
import logging
from collections.abc import Coroutine

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, Timer, call_off, format_time
from minipod.informer import Informer, Key, key_of

logger = logging.getLogger(__name__)

QUARANTINE = 40.0  # seconds that a node may still come
MESSAGE = "PodGC: node no longer exists"
_RETRY = 5.0
_TERMINAL = ("Succeeded", "Failed")


class PodGarbage:
    """Removes orphans."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._nodes = Informer(client, "nodes", self._on_node)
        self._orphans: Informer | None = None
        self._timers: dict[Key, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Follow nodes, and the Pods that are on none of them."""
        await self._nodes.start()
        await self._follow()

    async def stop(self) -> None:
        """End."""
        await self._nodes.stop()
        await call_off(*self._tasks)
        if self._orphans:
            await self._orphans.stop()
        for timer in self._timers.values():
            timer.cancel()

    def _on_node(self, new: Object | None, old: Object | None) -> None:
        if (new is None or old is None) and self._orphans is not None:
            self._do(self._follow())

    async def _follow(self) -> None:
        """Watch the Pods of nodes that are not there now."""
        async with self._turn:
            if self._orphans:
                await self._orphans.stop()
            names = sorted(each["metadata"]["name"] for each in self._nodes)
            selector = ",".join(f"spec.nodeName!={name}" for name in ("", *names))
            self._orphans = Informer(self._client, "pods", self._on_pod, field_selector=selector)
            await self._orphans.start()

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None:
            timer = self._timers.pop(key, None)
            if timer:
                timer.cancel()
        elif key not in self._timers:
            self._wait(key, QUARANTINE)

    def _wait(self, key: Key, seconds: float) -> None:
        when = self._clock.now() + seconds
        self._timers[key] = self._clock.call_at(when, lambda: self._do(self._collect(key)))

    def _do(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work, name="pod garbage")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _collect(self, key: Key) -> None:
        """Remove a Pod as it is now, unless its node has come."""
        self._timers.pop(key, None)
        async with self._turn:  # while nodes change nobody knows
            pod = self._orphans.get(*key) if self._orphans else None
        if pod is None or self._nodes.get("", pod["spec"]["nodeName"]) is not None:
            return
        uid = pod["metadata"]["uid"]
        logger.info('removing pod "%s/%s": its node does not exist', *key)
        try:
            if (pod.get("status") or {}).get("phase") not in _TERMINAL:
                status = {"phase": "Failed", "conditions": [self._disruption(pod)]}
                await self._client.patch(
                    *("pods", *key, {"metadata": {"uid": uid}, "status": status}),
                    patch_type="strategic",
                    subresource="status",
                )
            await self._client.delete("pods", *key, uid=uid, grace_period_seconds=0)
        except StatusError as error:
            if error.code not in (404, 409):
                logger.warning('removing pod "%s/%s": %s; trying again', *key, error)
                self._wait(key, _RETRY)

    def _disruption(self, pod: Object) -> Object:
        """Return the condition that tells of it (KEP-3329)."""
        made = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByPodGC",
            "message": MESSAGE,
            "lastTransitionTime": format_time(self._clock.now()),
        }
        if pod["metadata"].get("generation"):
            made["observedGeneration"] = pod["metadata"]["generation"]
        return made
