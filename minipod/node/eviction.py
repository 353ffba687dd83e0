"""Limits of disk: emptyDir's `sizeLimit` and `ephemeral-storage`. Who outgrows one is evicted, as by the kubelet.

No quota stops the writer; the usage is measured every ten seconds, and only of Pods that have such a limit. What counts
for a container is what it wrote beside its image, and its logs (kubelet eviction manager, localStorageEviction).
"""

import asyncio
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from minipod.api.quantity import canonical, in_binary, value
from minipod.client import Object
from minipod.clock import Timer
from minipod.node.config import NodeConfig
from minipod.node.observed import LABEL_CONTAINER
from minipod.node.parts import Parts
from minipod.node.pods import containers_of, uid_of
from minipod.node.status import EVICTED
from minipod.node.workers import PodWorkers, Work
from minipod.runtime.service import RuntimeState

PERIOD = 10.0  # seconds (kubelet eviction monitoring period)
GRACE = 1.0  # seconds: an eviction is not a polite deletion
REASON = EVICTED
_STORAGE = "ephemeral-storage"


@dataclass(frozen=True)
class DiskUse:
    """What a tree takes of a disk."""

    bytes: int = 0
    inodes: int = 0

    def __add__(self, other: "DiskUse") -> "DiskUse":
        return DiskUse(self.bytes + other.bytes, self.inodes + other.inodes)


NOTHING = RuntimeState((), ())


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
        shown = canonical(next(iter(limits.values()))) if len(limits) == 1 else in_binary(total)
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
        state = self._parts.running.of_pod(uid_of(pod)) if storage_limits(pod) else NOTHING
        volumes, containers = count_disk_use(self._parts.config, pod, state)
        return {name: each.bytes for name, each in volumes.items()}, {
            name: each.bytes for name, each in containers.items()
        }


def count_disk_use(
    config: NodeConfig, pod: Object, state: RuntimeState
) -> tuple[dict[str, DiskUse], dict[str, DiskUse]]:
    """Return what emptyDirs on disk and the containers of `state` occupy, by name (blocking)."""
    place = config.pod_directory(uid_of(pod)) / "volumes" / "kubernetes.io~empty-dir"
    sources = {each["name"]: each.get("emptyDir") for each in pod["spec"].get("volumes") or ()}
    on_disk = [n for n, each in sources.items() if each is not None and _is_on_disk(each)]
    volumes = {name: count(place / name) for name in on_disk}
    containers: dict[str, DiskUse] = {}
    for status in state.containers:
        written = count(config.layout.containers / status.id / "upper")
        logs = count(Path(status.log_path).parent) if status.log_path else DiskUse()
        # the newest attempt comes last
        containers[status.labels.get(LABEL_CONTAINER, "")] = written + logs
    return volumes, containers


def _is_limited(pod: Object) -> bool:
    return bool(find_limits(pod) or storage_limits(pod))


def _is_on_disk(source: Object) -> bool:
    return source.get("medium") != "Memory"


def count(directory: Path) -> DiskUse:
    """Return what a tree occupies, hard links counted once; links are not followed."""
    total = entries = 0
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
            entries += 1
    return DiskUse(total, entries)
