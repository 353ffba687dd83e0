"""What Pods, containers and the node use: read from the cgroups and /proc when somebody asks, never in between.

A rate needs two looks. The older of them is what an earlier question saw, if that was not long ago; otherwise the
question waits for WINDOW. A container that is younger than the older look counts from its start.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psutil

from minipod.linux import cgroup
from minipod.node.observed import LABEL_CONTAINER, LABEL_NAME, LABEL_NAMESPACE, LABEL_UID
from minipod.runtime.service import RuntimeState

Object = dict[str, Any]
WINDOW = 1.0  # seconds between two looks, at least
LONGEST = 60.0  # after so long the past says little about now
NODE = ("", "")


@dataclass(frozen=True)
class Used:
    """What one of them has used, at one moment: CPU time in nanoseconds, memory in bytes."""

    cpu_ns: int
    memory_bytes: int
    working_set_bytes: int


@dataclass(frozen=True)
class Running:
    """A container that runs, or (no name) the whole Pod."""

    namespace: str
    pod: str
    uid: str
    container: str
    started_at: float
    used: Used

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others: the Pod's UID and the container's name."""
        return self.uid, f"{self.container} {self.started_at}"


@dataclass(frozen=True)
class Look:
    """Everything at one moment."""

    at: float
    node: Used
    running: tuple[Running, ...]


@dataclass(frozen=True)
class Measured:
    """A look, and the look before it that rates are made from."""

    now: Look
    before: Look

    @property
    def window(self) -> float:
        """The seconds between the two."""
        return self.now.at - self.before.at

    def node_rate(self) -> int:
        """Return the node's use of CPU, in billionths of one."""
        return _rate(self.now.node.cpu_ns - self.before.node.cpu_ns, self.window)

    def rate(self, one: Running) -> int:
        """Return a container's or Pod's use of CPU, in billionths of one."""
        earlier = {each.key: each.used.cpu_ns for each in self.before.running}
        if one.key in earlier:
            return _rate(one.used.cpu_ns - earlier[one.key], self.window)
        return _rate(one.used.cpu_ns, self.now.at - max(one.started_at, 0.0))


def _rate(nanoseconds: int, seconds: float) -> int:
    return max(0, round(nanoseconds / seconds)) if seconds > 0 else 0


class UsageMeter:
    """Makes rates of a node's looks. `look` takes one; `sleep` waits between two."""

    def __init__(
        self,
        look: Callable[[], Awaitable[Look]],
        now: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.look = look
        self._now = now
        self._sleep = sleep
        self._before: Look | None = None
        self._lock = asyncio.Lock()

    async def measure(self) -> Measured:
        """Return what is used now, and how fast. RuntimeFailure."""
        async with self._lock:  # who asks meanwhile takes part in the same wait
            before = self._before
            if before is None or not 0 <= self._now() - before.at <= LONGEST:
                before = await self.look()
            passed = self._now() - before.at
            if passed < WINDOW:
                await self._sleep(WINDOW - passed)
            now = await self.look()
            self._before = now
            return Measured(now, before)


async def look_at(state: RuntimeState, at: float) -> Look:
    """Return what has been used up to now, `at`."""
    return await asyncio.to_thread(_look, state, at)


def _look(state: RuntimeState, at: float) -> Look:
    layout = cgroup.this_host()
    cgroups = {each.id: each.cgroup for each in state.sandboxes if each.ready}
    found = []
    for each in state.sandboxes:
        if each.ready and (used := _used(layout, each.cgroup)):
            found.append(_running(each.labels, "", each.created_at, used))
    for one in state.containers:
        where = cgroups.get(one.sandbox_id)
        if one.state == "running" and where and (used := _used(layout, f"{where}/{one.id}")):
            found.append(_running(one.labels, one.labels[LABEL_CONTAINER], one.started_at, used))
    return Look(at, _node_used(), tuple(found))


def _running(labels: dict[str, str], container: str, started_at: float, used: Used) -> Running:
    namespace, pod = labels.get(LABEL_NAMESPACE, ""), labels.get(LABEL_NAME, "")
    return Running(namespace, pod, labels.get(LABEL_UID, ""), container, started_at, used)


def _used(layout: cgroup.CgroupLayout, path: str) -> Used | None:
    """Return what a cgroup has used; None when it has gone, or the host does not count."""
    stats = cgroup.stats(layout, path)
    if stats.cpu_usage_ns is None and stats.memory_usage_bytes is None:
        return None
    memory = stats.memory_usage_bytes or 0
    return Used(stats.cpu_usage_ns or 0, memory, stats.memory_working_set_bytes or 0)


def _node_used() -> Used:
    """Return what the whole host has used, as the kubelet counts: no free pages, no idle page cache (proc(5))."""
    times, memory = psutil.cpu_times(), psutil.virtual_memory()
    idle = times.idle + getattr(times, "iowait", 0.0)
    guests = getattr(times, "guest", 0.0) + getattr(
        times, "guest_nice", 0.0
    )  # within user and nice
    busy = sum(times) - idle - guests
    used = memory.total - memory.free
    return Used(round(busy * 1e9), used, max(0, used - memory.inactive))
