"""The shim replaces its own program in place: same PID, same children, same descriptors, nothing lost.

The state is written into a sealed memory file, every descriptor that matters is kept across execve(2), and the new
program takes up where the old one was. While it starts, pipes and sockets hold what arrives. Before the step that
cannot be taken back, the new program is started once beside us to say whether it can read the state.
"""

import base64
import json
import os
import socket
import sys
import time
from dataclasses import asdict
from functools import partial
from typing import Any

from minipod.linux.process import sealed_memory_file
from minipod.runtime import launch
from minipod.runtime.protocol import Decoder
from minipod.runtime.shim.connection import Connection, Request
from minipod.runtime.shim.containers import Container
from minipod.runtime.shim.logs import LineStream, LogFile
from minipod.runtime.shim.loop import report
from minipod.runtime.shim.output import ClientPipe, EarlyOutput
from minipod.runtime.shim.processes import Exit
from minipod.runtime.shim.records import ContainerRecord, Plain, SandboxRecord, from_fields
from minipod.runtime.shim.server import Server
from minipod.runtime.shim.sessions import Session

STATE_FORMAT = 1
CHECK_DESCRIPTOR = 3
RETRY_SECONDS = 0.02


class Upgrade:
    """Upgrades a server on request or SIGHUP."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._checking = False

    def begin(self, request: Request | None) -> None:
        """Check the new program, then become it. The answer comes from the new one."""
        if self._checking:
            if request:
                request.fail("Upgrading", "an upgrade is in progress already")
            return
        self._checking = True
        state = sealed_memory_file(
            "minipod-shim-state", _encode(compute_state(self._server, request))
        )
        arguments = command(self._server.root, "--check", CHECK_DESCRIPTOR)
        actions = [(os.POSIX_SPAWN_DUP2, state, CHECK_DESCRIPTOR)]
        pid = os.posix_spawn(sys.executable, arguments, os.environ, file_actions=actions)
        os.close(state)
        self._server.core.processes.watch(pid, lambda ended: self._on_checked(request, ended))

    def _on_checked(self, request: Request | None, ended: Exit) -> None:
        self._checking = False
        if ended.code == 0:
            self._replace(request)
            return
        problem = f"the new program refuses this shim's state (exit code {ended.code})"
        report(f"upgrade abandoned: {problem}")
        if request:
            request.fail("UpgradeRefused", problem)

    def _replace(self, request: Request | None) -> None:
        if self._server.core.busy:  # short works that live in callbacks alone
            self._server.loop.call_later(RETRY_SECONDS, lambda: self._replace(request))
            return
        self._server.commands.abandon()
        state = compute_state(self._server, request)
        kept = [*state["descriptors"]]
        try:
            kept.append(sealed_memory_file("minipod-shim-state", _encode(state)))
            for descriptor in kept:
                os.set_inheritable(descriptor, True)
            arguments = command(self._server.root, "--resume", kept[-1])
            os.execve(sys.executable, arguments, os.environ)
        except OSError as error:
            for descriptor in kept:
                os.set_inheritable(descriptor, False)
            if request:
                request.fail("UpgradeRefused", f'"{sys.executable}" cannot be executed: {error}')


def command(root: str, *options: object) -> list[str]:
    """Return the command line of a shim."""
    chosen = ["--root", root] if root else []
    return [sys.executable, "-P", "-m", "minipod.runtime.shim", *chosen, *map(str, options)]


def compute_state(server: Server, request: Request | None) -> Plain:
    """Return all that the next program must know, with every descriptor to keep."""
    assert server.listener is not None
    containers = [_container_state(item) for item in server.containers.all.values()]
    sessions = [_session_state(item) for item in server.sessions.all.values()]
    connections = [_connection_state(item) for item in server.connections.values()]
    descriptors = [server.lock, server.listener.fileno()]
    for part in (*containers, *sessions, *connections):
        descriptors += part["descriptors"]
    return {
        "format": STATE_FORMAT,
        "lock": server.lock,
        "listener": server.listener.fileno(),
        "last_connection": server.last_connection,
        "last_session": server.sessions.last_number,
        "open_files": launch.open_files,
        "sandboxes": [asdict(item) for item in server.sandboxes.all.values()],
        "containers": containers,
        "sessions": sessions,
        "connections": connections,
        "descriptors": descriptors,
        "request": _request_state(request) if request else None,
    }


def _request_state(request: Request) -> list[int]:
    return [request.connection.number, request.id]


def _connection_state(connection: Connection) -> Plain:
    frames = [[_text(frame), held] for frame, held in connection.output]
    descriptors = [connection.peer.fileno(), *connection.decoder.descriptors]
    for _, held in connection.output:
        descriptors += held
    return {
        "number": connection.number,
        "peer": connection.peer.fileno(),
        "subscribed": connection.subscribed,
        "input": _text(connection.decoder.pending),
        "input_descriptors": connection.decoder.descriptors,
        "output": frames,
        "descriptors": descriptors,
    }


def _container_state(container: Container) -> Plain:
    output, timer = container.output, container.kill_timer
    streams = output.streams if output else {}
    return {
        "record": asdict(container.record),
        "stdin": container.stdin,
        "ended": container.ended,
        "ended_at": container.ended_at,
        "stopping": container.stopping,
        "deadline": timer.when if timer and timer.callback else None,
        "waiters": [_request_state(item) for item in container.waiters],
        "streams": [[fd, stream.name, _text(stream.carry)] for fd, stream in streams.items()],
        "early": _early_state(output.early) if output and output.early else None,
        "lost": output.log.lost if output else 0,
        "descriptors": [*streams, *([container.stdin] if container.stdin >= 0 else [])],
    }


def _early_state(early: EarlyOutput) -> Plain:
    return {name: [_text(data), missed] for name, (data, missed) in early.said.items()}


def _session_state(session: Session) -> Plain:
    pipes = {name: pipe for name, pipe in session.pipes.items() if pipe.descriptor >= 0}
    return {
        "number": session.number,
        "connection": session.connection.number,
        "container": session.container.record.id,
        "pid": session.pid,
        "cgroup": session.cgroup,
        "stdin": session.stdin,
        "timed_out": session.timed_out,
        "deadline": session.timer.when if session.timer else None,
        "pipes": {name: [p.descriptor, _text(p.buffer), p.missed] for name, p in pipes.items()},
        "descriptors": [pipe.descriptor for pipe in pipes.values()],
    }


def read_state(descriptor: int) -> Plain:
    """Read and close a state's memory file. Raises ValueError when it is of a format that this program cannot read."""
    with open(descriptor, "rb") as file:
        file.seek(0)
        state = json.loads(file.read())
    if state["format"] != STATE_FORMAT:
        raise ValueError(f"state of format {state['format']}, this program reads {STATE_FORMAT}")
    for item in state["sandboxes"]:
        from_fields(SandboxRecord, item)
    for item in state["containers"]:
        from_fields(ContainerRecord, item["record"])
    return dict(state)


def resume(server: Server, state: Plain) -> None:
    """Take up where the former program was. The loop has not begun to turn yet."""
    for descriptor in state["descriptors"]:
        os.set_inheritable(descriptor, False)
    server.lock = state["lock"]
    server.listener = socket.socket(fileno=state["listener"])
    server.last_connection = state["last_connection"]
    server.sessions.last_number = state["last_session"]
    soft, hard = state["open_files"]
    launch.open_files = soft, hard
    connections = {
        item["number"]: _resume_connection(server, item) for item in state["connections"]
    }
    for item in state["sandboxes"]:
        server.sandboxes.adopt(from_fields(SandboxRecord, item))
    for item in state["containers"]:
        _resume_container(server, item, connections)
    for item in state["sessions"]:
        _resume_session(server, item, connections)
    if request := _resume_request(state["request"], connections):
        request.reply(server.describe())


def _resume_connection(server: Server, state: Plain) -> Connection:
    decoder = Decoder(_bytes(state["input"]), state["input_descriptors"])
    made = server.connect(socket.socket(fileno=state["peer"]), state["number"], decoder)
    made.subscribed = state["subscribed"]
    for frame, descriptors in state["output"]:
        made.send_frame(_bytes(frame), descriptors)
    return made


def _resume_request(state: Any, connections: dict[int, Connection]) -> Request | None:
    if not state or state[0] not in connections:
        return None
    return Request(connections[state[0]], {"id": state[1]})


def _resume_container(server: Server, state: Plain, connections: dict[int, Connection]) -> None:
    record = from_fields(ContainerRecord, state["record"])
    if record.state == "exited":
        server.containers.keep(record)
        return
    container = Container(record)
    container.stdin, container.stopping = state["stdin"], state["stopping"]
    container.ended = Exit(*state["ended"]) if state["ended"] else None
    container.ended_at = state["ended_at"]
    waiters = (_resume_request(item, connections) for item in state["waiters"])
    container.waiters = [item for item in waiters if item]
    log = LogFile(record.log_path, record.log_max_bytes, record.log_max_files, lost=state["lost"])
    streams = {fd: LineStream(name, _bytes(carry)) for fd, name, carry in state["streams"]}
    server.containers.resume(container, log, streams, _resume_early(state.get("early")))
    if state["deadline"] is not None and not container.ended:
        server.containers.set_deadline(container, state["deadline"])


def _resume_early(state: Plain | None) -> EarlyOutput | None:
    """Take early output up; a shim from before there was any has kept none."""
    if state is None:
        return None
    return EarlyOutput({name: (_bytes(data), missed) for name, (data, missed) in state.items()})


def _resume_session(server: Server, state: Plain, connections: dict[int, Connection]) -> None:
    container = server.containers.all[state["container"]]
    session = Session(state["number"], connections[state["connection"]], container, state["pid"])
    session.cgroup, session.stdin = state["cgroup"], state["stdin"]
    session.timed_out = state["timed_out"]
    server.sessions.all[session.number] = session
    for name, (descriptor, buffer, missed) in state["pipes"].items():
        session.pipes[name] = ClientPipe(server.loop, descriptor, _bytes(buffer), missed)
    if container.output and session.pipes:
        container.output.audience.append(session.pipes)
    if session.pid:
        server.core.processes.watch(session.pid, partial(server.sessions.on_exit, session))
    if state["deadline"] is not None and session.pid:
        seconds = max(0.0, state["deadline"] - time.monotonic())
        session.timer = server.loop.call_later(seconds, lambda: server.sessions.time_out(session))


def _encode(state: Plain) -> bytes:
    return json.dumps(state).encode()


def _text(data: bytes | bytearray | memoryview) -> str:
    return base64.b64encode(data).decode()


def _bytes(text: str) -> bytes:
    return base64.b64decode(text)
