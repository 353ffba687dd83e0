"""Removes cgroups whose processes have been killed, as soon as the kernel says that none is left."""

import os
import select
import time
from collections.abc import Callable

from minipod.linux import cgroup
from minipod.runtime.shim.core import Core
from minipod.runtime.shim.loop import Timer

PATIENCE_SECONDS = 10.0  # a process in uninterruptible sleep dies when it wakes
RETRY_SECONDS = 0.02  # for what the kernel does not announce: hosts without a v2 mount


class CgroupRemoval:
    """Kills everything in `path` and below, removes it, then calls `done` with "" or with what is in the way."""

    def __init__(self, core: Core, path: str, done: Callable[[str], None]) -> None:
        self._core = core
        self._path = path
        self._done = done
        self._give_up_at = time.monotonic() + PATIENCE_SECONDS
        self._timer: Timer | None = None
        self._events = self._watch_events()
        core.busy += 1
        self._try()

    def _watch_events(self) -> int:
        """Have the kernel tell when the last process is gone; -1 where it cannot (no v2 mount, no cgroup)."""
        if not self._core.cgroups.unified:
            return -1
        file = f"{self._core.cgroups.unified}/{self._path}/cgroup.events"
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return -1
        self._core.loop.watch(descriptor, select.EPOLLPRI, lambda _events: self._try())
        return descriptor

    def _try(self) -> None:
        problem = self._remove()
        if self._timer:
            self._timer.cancel()
        if not problem:
            self._finish("")
        elif time.monotonic() >= self._give_up_at:
            self._finish(f'cgroup "{self._path}" cannot be removed: {problem}')
        elif self._populated():
            self._timer = self._core.loop.call_at(self._give_up_at, self._try)
        else:
            self._timer = self._core.loop.call_later(RETRY_SECONDS, self._try)

    def _remove(self) -> str:
        try:
            cgroup.signal_all(self._core.cgroups, self._path)
            if self._populated():
                return "a process does not die"
            cgroup.remove(self._core.cgroups, self._path)
        except OSError as error:
            return (error.strerror or str(error)).lower()
        return ""

    def _populated(self) -> bool:
        try:
            return self._events >= 0 and b"populated 1" in os.pread(self._events, 256, 0)
        except OSError:
            return False  # ENODEV: somebody else removed it

    def _finish(self, problem: str) -> None:
        if self._events >= 0:
            self._core.loop.unwatch(self._events)
            os.close(self._events)
        for path in [each for each in self._core.emptying if each.startswith(f"{self._path}/")]:
            self._core.emptying[path](0)
        self._core.busy -= 1
        self._done(problem)
