"""Ends Pods when the node is short of memory, disk or processes, one at a time (kubelet eviction manager).

Only where `--eviction-hard` asks for it, and of Pods alone: docs/decisions/0021-evictions-are-asked-for.md.
"""

import asyncio
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from minipod.client import Object
from minipod.clock import call_off
from minipod.eventing import EventType
from minipod.linux import cgroup
from minipod.node.eviction import GRACE, REASON, count_disk_use
from minipod.node.observed import LABEL_CONTAINER
from minipod.node.parts import Parts
from minipod.node.pods import full_name, uid_of
from minipod.node.pressure import Level
from minipod.node.ranking import (
    INODES,
    MEMORY,
    PIDS,
    STORAGE,
    Shortage,
    Use,
    compute_message,
    find_shortage,
    may_go,
    rank,
)
from minipod.node.workers import PodWorkers, Work
from minipod.paths import Layout
from minipod.runtime.service import RuntimeState

logger = logging.getLogger(__name__)

PAUSE = 10.0  # seconds from one eviction to the next, at least: what it wins back is to be seen
CLEANUP = 30.0  # seconds that one that has to go is waited for (kubelet podCleanupTimeout)


class PressureEviction:
    """Looks at what the node's registration measures. `record`: an Event of the Node."""

    def __init__(
        self, parts: Parts, workers: PodWorkers, record: Callable[[EventType, str, str], None]
    ) -> None:
        self._parts = parts
        self._workers = workers
        self._record = record
        self._task: asyncio.Task[None] | None = None
        self._knows_pods = False
        self._last = ("", 0.0)  # the Pod that went last, and when
        self._unable = ""  # what nobody could be evicted for

    def start(self) -> None:
        """Begin to end Pods: those of the node are known."""
        self._knows_pods = True

    def consider(self, levels: Mapping[str, Level]) -> None:
        """Take what is left of everything; if that is too little, end the Pod that has to go first."""
        config, busy = self._parts.config, self._task and not self._task.done()
        if not (config.evicts and self._knows_pods) or busy or self._is_waiting():
            return
        shortage = find_shortage(config.eviction, reclaimable(levels, config.layout))
        if shortage:
            self._task = asyncio.create_task(self._reclaim(shortage), name="pressure eviction")

    async def stop(self) -> None:
        """End."""
        await call_off(self._task)

    def _is_waiting(self) -> bool:
        """Whether what the last one held may still be on its way back."""
        uid, when = self._last
        passed, work = self._parts.clock.now() - when, self._workers.get(uid)
        held = work is not None and work.phase == "terminating"
        return passed < PAUSE or (held and passed < CLEANUP)

    async def _reclaim(self, shortage: Shortage) -> None:
        resource = shortage.resource
        self._record("Warning", "EvictionThresholdMet", f"Attempting to reclaim {resource}")
        candidates = [each for each in self._workers.works() if self._may_go(each)]
        uses = {
            each.uid: use
            for each in candidates
            if (use := await asyncio.to_thread(self._measure, each.pod, resource)) is not None
        }
        order = rank([each.pod for each in candidates], resource, uses)
        work = next((found for each in order if (found := self._workers.get(uid_of(each)))), None)
        if work is not None and work.stopping:
            return  # it has begun to go by itself
        if work is None:
            if any(
                each.phase != "terminated" and may_go(each.pod) for each in self._workers.works()
            ):
                return  # it is still on its way to a sandbox, or has begun to go
            if self._unable != resource:  # said once, not every ten seconds
                logger.warning("the node is short of %s, and no Pod can be evicted", resource)
            self._unable = resource
            return
        self._unable = ""
        self._evict(work, compute_message(work.pod, shortage, uses.get(work.uid)))

    def _may_go(self, work: Work) -> bool:
        runs = any(each.ready for each in self._parts.running.of_pod(work.uid).sandboxes)
        return runs and not work.stopping and may_go(work.pod)

    def _evict(self, work: Work, message: str) -> None:
        self._last = (work.uid, self._parts.clock.now())
        logger.info('pod "%s" is evicted: %s', full_name(work.pod), message)
        memory = self._parts.memory(work.uid)
        memory.failure, memory.disrupted = (REASON, message), True
        self._parts.event(work.pod, "Warning", REASON, message)
        self._workers.kill(work.uid, GRACE)

    def _measure(self, pod: Object, resource: str) -> Use | None:
        """Return what a Pod uses of a resource (blocking), None when that cannot be known."""
        state = self._parts.running.of_pod(uid_of(pod))
        if resource in (STORAGE, INODES):
            volumes, containers = count_disk_use(self._parts.config, pod, state)
            taken = [*volumes.values(), *containers.values()]
            if resource == INODES:
                return Use(sum(each.inodes for each in taken))
            told = {name: each.bytes for name, each in containers.items()}
            return Use(sum(each.bytes for each in taken), told)
        return measure_kernel_use(state, resource)


def reclaimable(levels: Mapping[str, Level], layout: Layout) -> dict[str, Level]:
    """Return what Pods can give back: nothing of a disk that has images alone."""
    own = _device(layout.images) != _device(layout.containers)
    return {name: each for name, each in levels.items() if not (own and name.startswith("imagefs"))}


def measure_kernel_use(state: RuntimeState, resource: str) -> Use | None:
    """Return a Pod's memory (working set, bytes) or number of processes, as its cgroups count (blocking)."""
    layout = cgroup.this_host()
    sandbox = next((each for each in reversed(state.sandboxes) if each.ready), None)
    if sandbox is None:
        return None
    whole = cgroup.stats(layout, sandbox.cgroup)
    if resource == PIDS:
        return None if whole.pids is None else Use(whole.pids)
    if resource != MEMORY or whole.memory_working_set_bytes is None:
        return None
    containers = {
        each.labels.get(LABEL_CONTAINER, ""): cgroup.stats(
            layout, f"{sandbox.cgroup}/{each.id}"
        ).memory_working_set_bytes
        or 0
        for each in state.containers
        if each.state == "running"
    }
    return Use(whole.memory_working_set_bytes, containers)


def _device(path: Path) -> int:
    while not path.exists():
        path = path.parent
    return os.stat(path).st_dev
