"""Limits of disk: emptyDir's `sizeLimit` and `ephemeral-storage`. Who outgrows one is evicted, as by the kubelet.

No quota stops the writer; the usage is measured every ten seconds, and only of Pods that have such a limit. What counts
for a container is what it wrote beside its image, and its logs (kubelet eviction manager, localStorageEviction).
"""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from minipod.api.quantity import value
from minipod.client import Object
from minipod.clock import Timer
from minipod.node.observed import LABEL_CONTAINER
from minipod.node.parts import Parts
from minipod.node.pods import containers_of, uid_of
from minipod.node.status import EVICTED
from minipod.node.workers import PodWorkers, Work

PERIOD = 10.0  # seconds (kubelet eviction monitoring period)
GRACE = 1.0  # seconds: an eviction is not a polite deletion
REASON = EVICTED
_STORAGE = "ephemeral-storage"


def find_limits(pod: Object) -> dict[str, str]:
    """Return the size limits of volumes on disk, as written, by name. Pure."""
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        source = volume.get("emptyDir") or {}
        if source.get("sizeLimit") and _is_on_disk(source):
            found[volume["name"]] = str(source["sizeLimit"])
    return found


def storage_limits(pod: Object) -> dict[str, str]:
    """Return the containers' limits of ephemeral storage, as written, by name. Pure."""
    limits = {
        each["name"]: ((each.get("resources") or {}).get("limits") or {}).get(_STORAGE)
        for _, each in containers_of(pod)
    }
    return {name: str(limit) for name, limit in limits.items() if limit}


def compute_excess(pod: Object, volumes: Mapping[str, int], containers: Mapping[str, int]) -> str:
    """Return the kubelet's sentence for the first limit that is exceeded, "" for none. Pure; usage in bytes by name."""
    for name, limit in find_limits(pod).items():
        if volumes.get(name, 0) > value(limit):
            return f'Usage of EmptyDir volume "{name}" exceeds the limit "{limit}". '
    limits = storage_limits(pod)
    total = sum(value(limit) for limit in limits.values())
    if limits and sum(volumes.values()) + sum(containers.values()) > total:
        shown = next(iter(limits.values())) if len(limits) == 1 else str(total)
        text = "Pod ephemeral local storage usage exceeds the total limit of containers"
        return f"{text} {shown}. "
    for name, limit in limits.items():
        if containers.get(name, 0) > value(limit):
            return f'Container {name} exceeded its local ephemeral storage limit "{limit}". '
    return ""


class SizeLimits:
    """Measures limited volumes of running Pods, and evicts."""

    def __init__(self, parts: Parts, workers: PodWorkers) -> None:
        self._parts = parts
        self._workers = workers
        self._timers: dict[str, Timer] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def watch(self, work: Work) -> None:
        """Begin to measure a Pod, if it has a limit; nothing when it is being measured."""
        if work.uid in self._timers or work.stopping or not _is_limited(work.pod):
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
        volumes, containers = await asyncio.to_thread(self._usage, work.pod)
        message = compute_excess(work.pod, volumes, containers)
        if message and not work.stopping:
            self._parts.memory(work.uid).failure = (REASON, message)
            self._parts.event(work.pod, "Warning", REASON, message)
            self._workers.kill(work.uid, GRACE)
        else:
            self.watch(work)

    def _usage(self, pod: Object) -> tuple[dict[str, int], dict[str, int]]:
        """Return the bytes that emptyDirs on disk and containers occupy, by name (blocking)."""
        config = self._parts.config
        place = config.pod_directory(uid_of(pod)) / "volumes" / "kubernetes.io~empty-dir"
        sources = {each["name"]: each.get("emptyDir") for each in pod["spec"].get("volumes") or ()}
        on_disk = [n for n, each in sources.items() if each is not None and _is_on_disk(each)]
        volumes = {name: measure(place / name) for name in on_disk}
        containers: dict[str, int] = {}
        if storage_limits(pod):
            for status in self._parts.running.of_pod(uid_of(pod)).containers:
                name = status.labels.get(LABEL_CONTAINER, "")
                written = measure(config.layout.containers / status.id / "upper")
                logs = measure(Path(status.log_path).parent) if status.log_path else 0
                containers[name] = written + logs  # the newest attempt comes last
        return volumes, containers


def _is_limited(pod: Object) -> bool:
    return bool(find_limits(pod) or storage_limits(pod))


def _is_on_disk(source: Object) -> bool:
    return source.get("medium") != "Memory"


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
