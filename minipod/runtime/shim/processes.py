"""The shim's children: every exit is seen once and told to whoever asked for it.

Orphans of containers without a PID namespace of their own come to the shim too (it is their subreaper): they are
reaped and forgotten.
"""

import contextlib
import os
import signal
from collections.abc import Callable
from typing import NamedTuple


class Exit(NamedTuple):
    """How a process ended: `code` as shells have it (128 + signal), `signal` 0 when it exited by itself."""

    code: int
    signal: int


KILLED = Exit(128 + signal.SIGKILL, signal.SIGKILL)


class Processes:
    """Who waits for which child."""

    def __init__(self) -> None:
        self._waiting: dict[int, Callable[[Exit], None]] = {}
        self._expected: dict[int, Exit | None] = {}
        self._unknown: dict[int, Exit] = {}
        self._introductions = 0  # children whose pid we shall be told

    def expect_unknown(self) -> None:
        """Keep the exits of all unknown children, until `introduce` tells which one is meant."""
        self._introductions += 1

    def introduce(self, pid: int | None) -> None:
        """Expect a child that is there already; None: there will be none."""
        self._introductions -= 1
        if pid is not None:
            self._expected[pid] = None if _is_unreaped(pid) else self._unknown.pop(pid, None)
        if not self._introductions:
            self._unknown.clear()

    def find_unknown(self, cgroups: str) -> list[int]:
        """Return the children that nobody has asked about, in the cgroups that a /proc/PID/cgroup tells of."""
        if not cgroups:
            return []
        known = {*self._waiting, *self._expected}
        return [
            pid for pid in _children(os.getpid()) if pid not in known and cgroups_of(pid) == cgroups
        ]

    def is_known(self, pid: int) -> bool:
        """Whether somebody has asked about the child; one on its way to its program, spawned, is not known yet."""
        return pid in self._waiting or pid in self._expected

    def expect(self, pid: int) -> None:
        """Keep the exit of a child that is on its way to its program, until it is watched or forgotten."""
        self._expected[pid] = None

    def forget(self, pid: int) -> None:
        """Stop expecting a child."""
        self._expected.pop(pid, None)

    def watch(self, pid: int, on_exit: Callable[[Exit], None]) -> Exit | None:
        """Call `on_exit` once when the child ends. The PID stays ours until then: it is not reaped before.

        Returns how it ended when it has been reaped already; `on_exit` is not called then.
        """
        ended = self._expected.pop(pid, None)
        if ended is None:
            self._waiting[pid] = on_exit
        return ended

    def unwatch(self, pid: int) -> None:
        """Stop watching a child that its caller has reaped."""
        self._waiting.pop(pid, None)

    def kill(self, pid: int, signal: int) -> bool:
        """Send a signal to a watched child, or do nothing. The child is not reaped yet, so the PID is its own."""
        if pid not in self._waiting:
            return False
        os.kill(pid, signal)
        return True

    def reap(self) -> None:
        """Collect every child that has ended (after SIGCHLD: one signal may stand for many)."""
        while ended := _wait_any():
            pid, result = ended
            if on_exit := self._waiting.pop(pid, None):
                on_exit(result)
            elif pid in self._expected:
                self._expected[pid] = result
            elif self._introductions:
                self._unknown[pid] = result


def _is_unreaped(pid: int) -> bool:
    try:
        os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def cgroups_of(pid: int) -> str:
    """Return the text of /proc/PID/cgroup; "" when the process is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cgroup") as file:
        return file.read()
    return ""


def _wait_any() -> tuple[int, Exit] | None:
    try:
        found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
    except ChildProcessError:
        return None
    if found is None:
        return None
    if found.si_code == os.CLD_EXITED:
        return found.si_pid, Exit(found.si_status, 0)
    return found.si_pid, Exit(128 + found.si_status, found.si_status)


def kill_tree(pid: int) -> None:
    """Kill a child and all its descendants (/proc/PID/task/TID/children, proc(5)).

    They are stopped on the way down, so that none can make another unseen. For hosts without cgroup.kill, and for
    what left its cgroup.
    """
    pending, found = [pid], []
    while pending:
        current = pending.pop()
        found.append(current)
        with contextlib.suppress(ProcessLookupError):
            os.kill(current, signal.SIGSTOP)
        pending += _children(current)
    for current in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(current, signal.SIGKILL)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                found += [int(word) for word in file.read().split()]
    return found
