"""Control groups, v2 and v1: where they are mounted, directories, limits, processes, killing, out-of-memory counts.

A cgroup is named by its path below every hierarchy's root ("minipod/pod1234/c1"). Each controller is used where the
host has it; tracking, freezing and killing use the v2 mount wherever there is one, with controllers or without
(cgroups(7), Documentation/admin-guide/cgroup-v2.rst). The host's own mounts are never changed.
"""

import contextlib
import errno
import functools
import os
import select
import signal
import time
from dataclasses import dataclass
from pathlib import Path

from minipod.linux.mounts import mounts, parse
from minipod.linux.process import pidfd_open

V1_CONTROLLERS = ("cpu", "cpuacct", "devices", "memory", "pids")
V2_CONTROLLERS = ("cpu", "memory", "pids")
_KILL_SECONDS = 10.0


@dataclass(frozen=True)
class CgroupLayout:
    """Which hierarchies this host has. Plain values, so that a plan can be computed for another host."""

    unified: str = ""  # mount point of cgroup2; "" where there is none
    unified_controllers: tuple[str, ...] = ()
    v1: tuple[tuple[str, str], ...] = ()  # (controller, mount point) of those in V1_CONTROLLERS

    @property
    def v1_hierarchies(self) -> tuple[str, ...]:
        """The v1 mount points in use, each once (cpu and cpuacct are often one)."""
        return tuple(dict.fromkeys(point for _, point in self.v1))

    @property
    def hierarchies(self) -> tuple[str, ...]:
        """Every mount point in use, v2 first."""
        return ((self.unified,) if self.unified else ()) + self.v1_hierarchies

    def directory(self, controller: str, path: str) -> str:
        """Return the directory where `controller` governs the cgroup `path`; "" when no hierarchy has it."""
        if controller in self.unified_controllers:
            return f"{self.unified}/{path}"
        return next((f"{point}/{path}" for name, point in self.v1 if name == controller), "")

    def is_v2(self, controller: str) -> bool:
        """Tell whether the controller is governed by cgroup v2 here."""
        return controller in self.unified_controllers


def discover(mountinfo: str | None = None) -> CgroupLayout:
    """Find this host's hierarchies from /proc/self/mountinfo (or from its given text)."""
    unified = ""
    v1: dict[str, str] = {}
    for entry in mounts() if mountinfo is None else parse(mountinfo):
        if entry.root != "/":
            continue
        if entry.type == "cgroup2" and not unified:
            unified = entry.point
        elif entry.type == "cgroup":
            for controller in V1_CONTROLLERS:
                if controller in entry.super_options:
                    v1.setdefault(controller, entry.point)
    available: list[str] = []
    if unified:
        v1.pop("devices", None)  # v2 holds processes to their devices by itself (linux/devices.py)
        with contextlib.suppress(OSError):
            available = Path(unified, "cgroup.controllers").read_text().split()
    return CgroupLayout(
        unified=unified,
        unified_controllers=tuple(name for name in V2_CONTROLLERS if name in available),
        v1=tuple(sorted(v1.items())),
    )


@functools.cache
def this_host() -> CgroupLayout:
    """Return this host's layout, discovered once: nobody remounts hierarchies under a running minipod."""
    return discover()


def shares_to_weight(shares: int) -> int:
    """Convert cpu.shares (2..262144) to cpu.weight (1..10000), as KEP-2254 has it."""
    bounded = min(max(shares, 2), 262144)
    return 1 + (bounded - 2) * 9999 // 262142


def settings(
    layout: CgroupLayout,
    *,
    cpu_shares: int | None = None,
    cpu_quota_us: int | None = None,
    cpu_period_us: int | None = None,
    memory_bytes: int | None = None,
    memory_high_bytes: int | None = None,
    pids: int | None = None,
    dies_whole: bool = True,
) -> list[tuple[str, str, str]]:
    """Return (controller, file, content) for limits on this layout; None sets nothing. Pure.

    `dies_whole`: what has a limit of memory is killed with all that runs in it, where the kernel can (v2).
    """
    found: list[tuple[str, str, str]] = []
    period = cpu_period_us or 100_000
    if cpu_shares is not None:
        found.append(
            ("cpu", "cpu.weight", str(shares_to_weight(cpu_shares)))
            if layout.is_v2("cpu")
            else ("cpu", "cpu.shares", str(max(cpu_shares, 2)))
        )
    if cpu_quota_us is not None and layout.is_v2("cpu"):
        limit = "max" if cpu_quota_us < 0 else str(cpu_quota_us)
        found.append(("cpu", "cpu.max", f"{limit} {period}"))
    elif cpu_quota_us is not None:
        found.append(("cpu", "cpu.cfs_period_us", str(period)))
        found.append(("cpu", "cpu.cfs_quota_us", str(max(cpu_quota_us, -1))))
    if memory_bytes is not None:
        file = "memory.max" if layout.is_v2("memory") else "memory.limit_in_bytes"
        found.append(("memory", file, str(memory_bytes)))
        if dies_whole and layout.is_v2("memory"):  # the kubelet's default for containers
            found.append(("memory", "memory.oom.group", "1"))
    if memory_high_bytes is not None and layout.is_v2("memory"):
        high = str(memory_high_bytes) if memory_high_bytes >= 0 else "max"
        found.append(("memory", "memory.high", high))
    if pids is not None:
        found.append(("pids", "pids.max", str(pids) if pids > 0 else "max"))
    return [setting for setting in found if layout.directory(setting[0], "x")]


def ensure(layout: CgroupLayout, path: str) -> None:
    """Make the cgroup `path` in every hierarchy, handing v2 controllers down to it.

    Raises OSError; EBUSY names a v2 parent that holds processes itself and so cannot hand controllers down.
    """
    for point in layout.v1_hierarchies:
        os.makedirs(f"{point}/{path}", exist_ok=True)
    if not layout.unified:
        return
    if not layout.unified_controllers:
        os.makedirs(f"{layout.unified}/{path}", exist_ok=True)
        return
    wanted = " ".join(f"+{name}" for name in layout.unified_controllers)
    directory = layout.unified
    for part in path.split("/"):
        _hand_down(directory, wanted)
        directory = f"{directory}/{part}"
        with contextlib.suppress(FileExistsError):
            os.mkdir(directory)


def _hand_down(directory: str, wanted: str) -> None:
    file = f"{directory}/cgroup.subtree_control"
    with open(file) as opened:
        enabled = opened.read().split()
    if all(name[1:] in enabled for name in wanted.split()):
        return
    write(file, wanted)


def write(file: str, content: str) -> None:
    """Write one cgroup file in one system call. OSError names the file."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content.encode())
    except OSError as failure:
        raise OSError(failure.errno, f'write "{content}": {failure.strerror}', file) from None
    finally:
        os.close(descriptor)


def limit(layout: CgroupLayout, path: str, limits: list[tuple[str, str, str]]) -> None:
    """Write what `settings` computed."""
    for controller, file, content in limits:
        write(f"{layout.directory(controller, path)}/{file}", content)


def is_wider(file: str, content: str) -> bool:
    """Whether `content` would allow more than the file does now ("max" and -1 allow everything)."""
    return _allowed(content) > _allowed(Path(file).read_text())


def _allowed(content: str) -> float:
    word = content.split()[0]
    return float("inf") if word in ("max", "-1") else float(word)


def enter_v1(layout: CgroupLayout, path: str, pid: int) -> None:
    """Move a process (0: this one, single-threaded) into `path` in every v1 hierarchy.

    Moving another process takes the kernel's lock on all clones and exits: about 8 ms after a quiet time, else under
    1. A thread that moves itself ("0" into `tasks`) needs no such lock: 0.2 ms (Linux 5.6, kernel/cgroup/cgroup.c).
    """
    file = "cgroup.procs" if pid else "tasks"
    for point in layout.v1_hierarchies:
        write(f"{point}/{path}/{file}", str(pid))


def enter(layout: CgroupLayout, path: str, pid: int) -> None:
    """Move a process (0: this one) into `path` in every hierarchy."""
    for point in layout.hierarchies:
        write(f"{point}/{path}/cgroup.procs", str(pid))


def processes(layout: CgroupLayout, path: str) -> list[int]:
    """Return the process ids in `path` and below it; empty when there is no such cgroup."""
    found: list[int] = []
    if not layout.hierarchies:
        return found
    for directory, _, _ in os.walk(f"{layout.hierarchies[0]}/{path}"):
        with (
            contextlib.suppress(FileNotFoundError, OSError),
            open(f"{directory}/cgroup.procs") as f,
        ):
            found += [int(line) for line in f]
    return found


def kill(layout: CgroupLayout, path: str, seconds: float = _KILL_SECONDS) -> None:
    """Kill every process in `path` and below, and wait until the kernel says that none is left.

    cgroup.kill (Linux 5.14) kills all at once; elsewhere processes are signalled until no new one appears. Zombies
    do not count. Raises TimeoutError naming what still lives (a process in uninterruptible sleep).
    """
    if _kill_v2(layout, path):
        _wait_unpopulated(f"{layout.unified}/{path}", seconds)
        return
    deadline = time.monotonic() + seconds
    while left := processes(layout, path):
        _signal_and_wait(left, deadline)
        if time.monotonic() > deadline:
            raise TimeoutError(f'processes {left} of cgroup "{path}" do not die')


def signal_all(layout: CgroupLayout, path: str) -> None:
    """Send SIGKILL to every process in `path` and below, without waiting."""
    if not _kill_v2(layout, path):
        for pid in processes(layout, path):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _kill_v2(layout: CgroupLayout, path: str) -> bool:
    """Use cgroup.kill; True when it did (or nothing is there), False where the kernel has none."""
    if not layout.unified:
        return False
    if not os.path.isdir(f"{layout.unified}/{path}"):
        return True
    try:
        write(f"{layout.unified}/{path}/cgroup.kill", "1")
    except FileNotFoundError:
        return not os.path.isdir(f"{layout.unified}/{path}")
    except OSError as failure:
        if failure.errno != errno.ENODEV:  # removed meanwhile
            raise
    return True


def _wait_unpopulated(directory: str, seconds: float) -> None:
    """Wait for `populated 0` in cgroup.events, which the kernel announces by POLLPRI."""
    deadline = time.monotonic() + seconds
    try:
        descriptor = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    poller = select.poll()
    poller.register(descriptor, select.POLLPRI)
    try:
        while b"populated 1" in os.pread(descriptor, 256, 0):
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f'processes of cgroup "{directory}" do not die')
            poller.poll(left * 1000)
    except OSError as failure:
        if failure.errno != errno.ENODEV:
            raise
    finally:
        os.close(descriptor)


def _signal_and_wait(pids: list[int], deadline: float) -> None:
    poller, opened = select.poll(), []
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            descriptor = pidfd_open(pid)
            opened.append(descriptor)
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            poller.register(descriptor, select.POLLIN)
    for _ in opened:
        poller.poll(max(0.0, deadline - time.monotonic()) * 1000)
    for descriptor in opened:
        os.close(descriptor)


def remove(layout: CgroupLayout, path: str) -> None:
    """Remove the cgroup `path` and those below it from every hierarchy. EBUSY while a process is inside."""
    for point in layout.hierarchies:
        for directory, _, _ in os.walk(f"{point}/{path}", topdown=False):
            with contextlib.suppress(FileNotFoundError):
                os.rmdir(directory)


def oom_kills(layout: CgroupLayout, path: str) -> int:
    """Return how many processes the kernel has killed here for want of memory (0 where it cannot be known)."""
    directory = layout.directory("memory", path)
    if not directory:
        return 0
    file = "memory.events" if layout.is_v2("memory") else "memory.oom_control"
    return _read_table(f"{directory}/{file}").get("oom_kill", 0)


@dataclass(frozen=True)
class CgroupStats:
    """What a cgroup has used; None where the host lacks the controller."""

    cpu_usage_ns: int | None
    memory_usage_bytes: int | None
    memory_working_set_bytes: int | None  # usage less inactive file pages, as the kubelet has it
    pids: int | None


def stats(layout: CgroupLayout, path: str) -> CgroupStats:
    """Read the current use of `path`. FileNotFoundError is never raised: a vanished cgroup has None everywhere."""
    cpu: int | None = None
    if layout.is_v2("cpu"):
        usage = _read_table(f"{layout.directory('cpu', path)}/cpu.stat").get("usage_usec")
        cpu = None if usage is None else usage * 1000
    elif directory := layout.directory("cpuacct", path):
        cpu = _read_number(f"{directory}/cpuacct.usage")
    memory = working_set = None
    if directory := layout.directory("memory", path):
        v2 = layout.is_v2("memory")
        memory = _read_number(f"{directory}/{'memory.current' if v2 else 'memory.usage_in_bytes'}")
        inactive = _read_table(f"{directory}/memory.stat").get(
            "inactive_file" if v2 else "total_inactive_file", 0
        )
        working_set = None if memory is None else max(0, memory - inactive)
    directory = layout.directory("pids", path)
    pids = _read_number(f"{directory}/pids.current") if directory else None
    return CgroupStats(cpu, memory, working_set, pids)


def _read_number(file: str) -> int | None:
    try:
        return int(Path(file).read_text())
    except OSError:
        return None


def _read_table(file: str) -> dict[str, int]:
    """Read "name number" lines; empty when the file is gone."""
    try:
        lines = Path(file).read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.split() for line in lines)
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2}
