"""A Pod's processes held for a moment, so that a program can begin that another of them keeps from it.

Whoever shares a PID namespace may stop everybody in it (`kill -STOP -1`, in a loop): a program that is continued is
stopped again before its first instruction. So whatever runs in there is stopped first, from outside, and continued when
the program runs. Nothing needs to be remembered beyond this process: who follows a killed shim ends its Pods.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NamedTuple

from minipod.linux import cgroup
from minipod.linux.process import pidfd_open

_ROUNDS = 10  # what forks while it is being stopped is found in the next round
_AT_REST = "TtZX"  # stopped, traced, ended (proc_pid_stat(5)): none of them does anything now


class _State(NamedTuple):
    """What /proc/PID/stat says of a process; `begun` tells it from a later one with the same number."""

    state: str
    parent: int
    begun: int


def is_stopped(pid: int) -> bool:
    """Whether the process waits for SIGCONT. One that a tracer holds does not: only the tracer lets it go on."""
    found = _look(pid)
    return found is not None and found.state == "T"


class Hold:
    """The processes of a Pod that this holds; `release` lets exactly those go on."""

    def __init__(self, layout: cgroup.CgroupLayout, path: str) -> None:
        self._layout, self._path = layout, path
        self._stopped: dict[int, int] = {}  # pid -> begun

    def take(self, beside: int, is_ours: Callable[[int], bool]) -> bool:
        """Stop all that runs in the Pod's cgroups and the PID namespace of `beside`, but children that are `is_ours`.

        True when nothing of it runs any more; False when it is to be asked again: somebody is too quick, or waits for
        a processor before he stops.
        """
        namespace = _namespace(beside)
        return any(not self._stop_running(namespace, is_ours) for _ in range(_ROUNDS))

    def _stop_running(self, namespace: str, is_ours: Callable[[int], bool]) -> bool:
        """Send SIGSTOP to what runs; True when anything did."""
        found = False
        for pid in cgroup.processes(self._layout, self._path):
            seen = _look(pid)
            if seen is None or seen.state in _AT_REST or _namespace(pid) != namespace:
                continue
            if seen.parent == os.getpid() and is_ours(pid):
                continue
            found = True
            if _send(pid, seen.begun, signal.SIGSTOP):
                self._stopped[pid] = seen.begun
        if found:
            os.sched_yield()
        return found

    def release(self) -> None:
        """Let go on what was stopped. Repeatable."""
        for pid, begun in self._stopped.items():
            _send(pid, begun, signal.SIGCONT)
        self._stopped.clear()


def _look(pid: int) -> _State | None:
    """Return a process's state; None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()  # its name may hold anything
    except OSError:
        return None
    return _State(fields[0].decode(), int(fields[1]), int(fields[19]))


def _namespace(pid: int) -> str:
    with contextlib.suppress(OSError):
        return os.readlink(f"/proc/{pid}/ns/pid")
    return ""


def _send(pid: int, begun: int, number: int) -> bool:
    """Send a signal to this very process; False when it is gone."""
    try:
        descriptor = pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        seen = _look(pid)
        if seen is None or seen.begun != begun:
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except ProcessLookupError:
        return False
    finally:
        os.close(descriptor)
