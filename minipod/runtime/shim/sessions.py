"""Exec and attach: sessions that belong to one connection and end with it.

An exec'd process's streams go straight to the daemon as descriptors. So does an attached container's standard
input; its output passes through here, because the log wants it too.
"""

import fcntl
import struct
import termios
from dataclasses import dataclass, field
from functools import partial

from minipod.runtime.shim import exec_cgroups
from minipod.runtime.shim.connection import Connection, Request
from minipod.runtime.shim.containers import Container, Containers
from minipod.runtime.shim.core import Core, Refusal, number
from minipod.runtime.shim.launching import Pipes, Started, open_stdio
from minipod.runtime.shim.loop import Timer
from minipod.runtime.shim.output import ClientPipe
from minipod.runtime.shim.processes import KILLED, Exit

SIGKILL_CODE = 137


@dataclass(slots=True)
class Session:
    """One exec'd process (`pid`), or one attached client (`pid` 0, `pipes`)."""

    number: int
    connection: Connection
    container: Container
    pid: int = 0
    cgroup: str = ""
    stdin: bool = False
    pipes: dict[str, ClientPipe] = field(default_factory=dict)
    timed_out: bool = False
    timer: Timer | None = None


class Sessions:
    """All sessions of all connections."""

    def __init__(self, core: Core, containers: Containers) -> None:
        self._core = core
        self._containers = containers
        self.all: dict[int, Session] = {}
        self.last_number = 0
        containers.on_finished = self._on_container_finished

    def exec(self, request: Request) -> None:
        """Start a process in a running container; answer with its streams."""
        arguments = request.arguments
        container = self._containers.require_running(arguments)
        tty, stdin = bool(arguments.get("tty")), bool(arguments.get("stdin"))
        on_started = partial(self._on_started, request, container)
        exec_cgroups.start(
            self._core, container, request, partial(open_stdio, tty, stdin), on_started
        )

    def _on_started(
        self, request: Request, container: Container, path: str, started: Started, pipes: Pipes
    ) -> None:
        session = self._add(request, container)
        session.pid, session.cgroup = started.pid, path
        names, descriptors = pipes.hand_over()
        request.reply({"session": session.number, "streams": names}, descriptors)
        if request.arguments.get("timeout_seconds") is not None:
            seconds = number(request.arguments, "timeout_seconds")
            session.timer = self._core.loop.call_later(seconds, partial(self.time_out, session))
        on_exit = partial(self.on_exit, session)
        if ended := self._core.processes.watch(started.pid, on_exit) if started.pid else KILLED:
            on_exit(ended)
        elif request.connection.closed:
            self._end(session)

    def attach(self, request: Request) -> None:
        """Join a running container's streams; answer with descriptors for them."""
        container = self._containers.require_running(request.arguments)
        if container.output is None or not container.has_streams:
            raise Refusal("NotFound", f'container "{container.record.id}" has closed its streams')
        session = self._add(request, container)
        session.pipes, ends = container.output.join()
        if container.stdin >= 0 and container.record.stdin:
            session.stdin = True
            ends["stdin"] = fcntl.fcntl(container.stdin, fcntl.F_DUPFD_CLOEXEC, 3)
        reply = {"session": session.number, "streams": [*ends], "tty": container.record.tty}
        request.reply(reply, list(ends.values()))

    def resize(self, request: Request) -> None:
        """Set the size of an attached container's terminal."""
        session = self._require(request)
        columns, rows = (
            int(number(request.arguments, "columns")),
            int(number(request.arguments, "rows")),
        )
        if session.container.record.tty and session.container.stdin >= 0:
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            fcntl.ioctl(session.container.stdin, termios.TIOCSWINSZ, size)
        request.reply({})

    def close_stdin(self, request: Request) -> None:
        """End an attached client's input: the container's own ends too when it takes input once."""
        self._end_stdin(self._require(request))
        request.reply({})

    def close(self, request: Request) -> None:
        """End a session: kill an exec'd process with everything it started, detach an attached client."""
        if session := self.all.get(int(number(request.arguments, "session"))):
            self._end(session)
        request.reply({})

    def close_connection(self, connection: Connection) -> None:
        """End every session of a connection that is gone."""
        for session in [item for item in self.all.values() if item.connection is connection]:
            self._end(session)

    def _add(self, request: Request, container: Container) -> Session:
        self.last_number += 1
        session = Session(self.last_number, request.connection, container)
        self.all[session.number] = session
        return session

    def _require(self, request: Request) -> Session:
        session = self.all.get(int(number(request.arguments, "session")))
        if session is None or session.connection is not request.connection:
            raise Refusal("NotFound", "there is no such session")
        return session

    def _end(self, session: Session) -> None:
        if session.pid:
            self._kill(session)
            return
        self._end_stdin(session)
        self._detach(session)

    def _end_stdin(self, session: Session) -> None:
        if (
            session.stdin
            and session.container.record.stdin_once
            and not session.container.record.tty
        ):
            session.container.close_stdin()
        session.stdin = False

    def _detach(self, session: Session) -> None:
        self.all.pop(session.number, None)
        if session.container.output and session.pipes in session.container.output.audience:
            session.container.output.audience.remove(session.pipes)
        for pipe in session.pipes.values():
            pipe.close()

    def time_out(self, session: Session) -> None:
        """Kill an exec'd process that lasts too long."""
        session.timed_out = True
        self._kill(session)

    def _kill(self, session: Session) -> None:
        exec_cgroups.kill(self._core, session.cgroup, session.pid)

    def on_exit(self, session: Session, ended: Exit) -> None:
        """Tell the client how its process ended."""
        if session.timer:
            session.timer.cancel()
        self.all.pop(session.number, None)
        exec_cgroups.remove(self._core, session.cgroup)
        code = SIGKILL_CODE if session.timed_out else ended.code
        self._tell(session, code)

    def _on_container_finished(self, container: Container) -> None:
        for session in [item for item in self.all.values() if item.container is container]:
            if not session.pid:
                self.all.pop(session.number, None)
                self._tell(session, container.record.exit_code)

    def _tell(self, session: Session, code: int) -> None:
        message = {"event": "session-ended", "session": session.number, "exit_code": code}
        session.connection.send({**message, "timed_out": session.timed_out})
