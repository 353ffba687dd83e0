"""Commands run in a container to their end, answered once with exit code and output: the CRI's ExecSync, for probes.

No descriptor leaves the shim and no session is kept: one question, one answer, however many run at a time. What a
command leaves in the background keeps nobody waiting; a command that lasts too long is killed with all it started.
"""

import contextlib
import os
import time
from dataclasses import dataclass
from functools import partial

from minipod.runtime.shim import exec_cgroups
from minipod.runtime.shim.connection import Connection, Request
from minipod.runtime.shim.containers import Containers
from minipod.runtime.shim.core import Core, number
from minipod.runtime.shim.launching import (
    Pipes,
    Started,
    open_combined,
)
from minipod.runtime.shim.loop import Timer
from minipod.runtime.shim.processes import KILLED, Exit

CHUNK_BYTES = 64 * 1024
DRAIN_CHUNKS = 16  # at its end: no more than the largest pipe holds


@dataclass(slots=True)
class Command:
    """One command on its way."""

    request: Request
    cgroup: str
    pid: int
    source: int  # where its output is read
    limit: int  # bytes of output that anybody wants
    output: bytearray
    timed_out: bool = False
    timer: Timer | None = None


class Commands:
    """All commands of all connections, by PID."""

    def __init__(self, core: Core, containers: Containers) -> None:
        self._core = core
        self._containers = containers
        self.all: dict[int, Command] = {}

    def run(self, request: Request) -> None:
        """Run a command; answer when it has ended or was killed."""
        container = self._containers.require_running(request.arguments)
        deadline = time.monotonic() + number(request.arguments, "timeout_seconds")
        on_started = partial(self._on_started, request, deadline)
        exec_cgroups.start(self._core, container, request, open_combined, on_started)

    def _on_started(
        self, request: Request, deadline: float, path: str, started: Started, pipes: Pipes
    ) -> None:
        pid = started.pid
        source = pipes.outputs.pop("stdout")
        os.set_blocking(source, False)
        limit = int(number(request.arguments, "output_limit"))
        command = Command(request, path, pid, source, limit, bytearray())
        self.all[pid] = command
        self._core.loop.watch_bulk(source, partial(self._on_readable, command))
        command.timer = self._core.loop.call_at(deadline, partial(self._time_out, command))
        on_exit = partial(self._on_exit, command)
        if ended := self._core.processes.watch(pid, on_exit) if pid else KILLED:
            on_exit(ended)
        elif request.connection.closed:
            self._kill(command)

    def _on_readable(self, command: Command, _events: int) -> None:
        self._read(command)

    def _read(self, command: Command) -> bool:
        """Take some of the output; return whether there may be more."""
        try:
            data = os.read(command.source, CHUNK_BYTES)
        except BlockingIOError:
            return False
        if data:
            wanted = command.limit - len(command.output)
            command.output += data[: max(0, wanted)]
            return True
        self._close(command)
        return False

    def _close(self, command: Command) -> None:
        if command.source >= 0:
            self._core.loop.unwatch(command.source)
            os.close(command.source)
            command.source = -1

    def _time_out(self, command: Command) -> None:
        command.timed_out = True
        self._kill(command)

    def _kill(self, command: Command) -> None:
        exec_cgroups.kill(self._core, command.cgroup, command.pid)

    def _on_exit(self, command: Command, ended: Exit) -> None:
        self.all.pop(command.pid, None)
        if command.timer:
            command.timer.cancel()
        for _ in range(DRAIN_CHUNKS):
            if command.source < 0 or not self._read(command):
                break
        self._close(command)
        exec_cgroups.remove(self._core, command.cgroup)
        command.request.reply(
            {
                "exit_code": ended.code,
                "output": command.output.decode(errors="replace"),
                "timed_out": command.timed_out,
            }
        )

    def close_connection(self, connection: Connection) -> None:
        """Kill what a connection that is gone has asked for."""
        for command in list(self.all.values()):
            if command.request.connection is connection:
                self._kill(command)

    def abandon(self) -> None:
        """End everything without its result, before this program is replaced: who asked is told to ask again."""
        for command in list(self.all.values()):
            self._kill(command)
            command.request.fail("ShimUnavailable", "the shim is being upgraded")
            self._close(command)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(command.pid, 0)
            self._core.processes.unwatch(command.pid)
            exec_cgroups.remove(self._core, command.cgroup)
        self.all.clear()
