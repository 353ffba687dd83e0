"""emptyDir `sizeLimit` on disk: a Pod that outgrows it is evicted, as the kubelet does (local storage eviction).

No quota stops the writer; the usage is measured every ten seconds, and only of Pods that have such a limit.
"""

import asyncio
import os
from pathlib import Path

from minipod.api.quantity import value
from minipod.client import Object
from minipod.clock import Timer
from minipod.node.parts import Parts
from minipod.node.pods import uid_of
from minipod.node.status import EVICTED
from minipod.node.workers import PodWorkers, Work

PERIOD = 10.0  # seconds (kubelet eviction monitoring period)
GRACE = 1.0  # seconds: an eviction is not a polite deletion
REASON = EVICTED


def find_limits(pod: Object) -> dict[str, str]:
    """Return the size limits of volumes on disk, as written, by name. Pure."""
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("emptyDir") or {}
        if source.get("sizeLimit") and source.get("medium") != "Memory":
            found[volume["name"]] = str(source["sizeLimit"])
    return found


class SizeLimits:
    """Measures limited volumes of running Pods, and evicts."""

    def __init__(self, parts: Parts, workers: PodWorkers) -> None:
        self._parts = parts
        self._workers = workers
        self._timers: dict[str, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, work: Work) -> None:
        """Begin to measure a Pod, if it has a limit; nothing when it is being measured."""
        if work.uid in self._timers or work.stopping or not find_limits(work.pod):
            return
        when = self._parts.clock.now() + PERIOD
        self._timers[work.uid] = self._parts.clock.call_at(when, lambda: self._begin(work))

    def stop(self) -> None:
        """End."""
        for timer in self._timers.values():
            timer.cancel()
        for task in self._tasks:
            task.cancel()

    def _begin(self, work: Work) -> None:
        del self._timers[work.uid]
        if work.stopping or work.uid not in self._workers:
            return
        task = asyncio.create_task(self._measure(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _measure(self, work: Work) -> None:
        directory = self._parts.config.pod_directory(uid_of(work.pod)) / "volumes"
        for name, limit in find_limits(work.pod).items():
            used = await asyncio.to_thread(measure, directory / "kubernetes.io~empty-dir" / name)
            if used > value(limit) and not work.stopping:
                self._evict(work, name, limit)
                return
        self.watch(work)

    def _evict(self, work: Work, name: str, limit: str) -> None:
        message = f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
        self._parts.memory(work.uid).failure = (REASON, message)
        self._parts.event(work.pod, "Warning", REASON, message)
        self._workers.kill(work.uid, GRACE)


def measure(directory: Path) -> int:
    """Return the bytes of disk that a tree occupies, hard links counted once; links are not followed."""
    total = 0
    seen: set[tuple[int, int]] = set()
    for path, names, files in os.walk(directory):
        for name in (*names, *files):
            try:
                found = os.lstat(os.path.join(path, name))
            except FileNotFoundError:
                continue
            if found.st_nlink > 1 and (found.st_dev, found.st_ino) in seen:
                continue
            seen.add((found.st_dev, found.st_ino))
            total += found.st_blocks * 512
    return total
