"""The shim's process: one per root (a lock), one socket for root alone, verbs to their handlers."""

import contextlib
import fcntl
import os
import resource
import select
import signal
import socket
import struct
import traceback
from collections.abc import Callable
from pathlib import Path

from minipod.linux import cgroup, memory
from minipod.paths import Layout
from minipod.runtime import delegation, launch, protocol
from minipod.runtime.program import fingerprint
from minipod.runtime.rehearsal import rehearse
from minipod.runtime.shim.commands import Commands
from minipod.runtime.shim.connection import Connection, Request
from minipod.runtime.shim.containers import Containers
from minipod.runtime.shim.core import Core, Refusal
from minipod.runtime.shim.loop import Loop, Timer, report
from minipod.runtime.shim.records import Plain, RecordFiles
from minipod.runtime.shim.recovery import recover
from minipod.runtime.shim.sandboxes import Sandboxes
from minipod.runtime.shim.sessions import Sessions

BACKLOG = 16
SHUTDOWN_RETRY_SECONDS = 0.01
TIDY_SECONDS = 1.0  # after a request: many come together, and what they took is given back once
_PEER = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))


class AlreadyRunning(Exception):
    """Another shim serves this root."""


class Server:
    """Everything of one shim."""

    def __init__(self, layout: Layout, root: str) -> None:
        self.layout = layout
        self.root = root  # as given on the command line, for the next of us
        self._program = fingerprint()
        self.pod_cgroups = delegation.claim(cgroup.this_host(), layout.instance)
        self.loop = Loop()
        self.core = Core(self.loop, RecordFiles(layout.run / "shim"), self.publish)
        self.containers = Containers(self.core)
        self.sandboxes = Sandboxes(self.core, self.containers)
        self.sessions = Sessions(self.core, self.containers)
        self.commands = Commands(self.core, self.containers)
        self.connections: dict[int, Connection] = {}
        self.last_connection = 0
        self.lock = -1
        self.listener: socket.socket | None = None
        self._tidying: Timer | None = None
        self.on_upgrade: Callable[[Request | None], None] = lambda _request: None
        self._verbs = self._compute_verbs()

    def _compute_verbs(self) -> dict[str, Callable[[Request], None]]:
        return {
            "version": self._version,
            "subscribe": self._subscribe,
            "list": self._list,
            "run-sandbox": self.sandboxes.run,
            "sandbox-configured": self.sandboxes.configured,
            "remove-sandbox": self.sandboxes.remove,
            "expect-pod": self._expect_pod,
            "start-container": self._start_container,
            "release-container": self.containers.release,
            "stop-container": self.containers.stop,
            "remove-container": self.containers.remove,
            "signal": self.containers.signal,
            "reopen-log": self.containers.reopen_log,
            "update-resources": self.containers.update_resources,
            "spec": self.containers.spec,
            "exec": self.sessions.exec,
            "exec-sync": self.commands.run,
            "attach": self.sessions.attach,
            "resize": self.sessions.resize,
            "close-stdin": self.sessions.close_stdin,
            "close-session": self.sessions.close,
            "upgrade": self._upgrade,
            "shutdown": self._shutdown,
        }

    def start(self) -> list[str]:
        """Take the root, clean up after a predecessor, listen. Returns problems. Raises AlreadyRunning, OSError."""
        self._take_lock()
        sandboxes, containers, problems = recover(
            self.core.files, self.layout.run, self._former_pod_cgroups(), self.core.cgroups
        )
        with contextlib.suppress(
            OSError
        ):  # a full disk: only a successor in another scope needs it
            self._pod_cgroups_file.write_text(self.pod_cgroups)
        for sandbox in sandboxes:
            self.sandboxes.adopt(sandbox)
        for container in containers:
            self.containers.keep(container)
        self._listen()
        return problems

    @property
    def _pod_cgroups_file(self) -> Path:
        return self.layout.run / "shim" / "pod-cgroups"

    def _former_pod_cgroups(self) -> list[str]:
        """Return where Pods' cgroups may have been left: a predecessor had a scope of its own."""
        found = [self.layout.instance, self.pod_cgroups]
        with contextlib.suppress(OSError):
            found.append(self._pod_cgroups_file.read_text())
        return found

    def run(self) -> None:
        """Serve until shut down."""
        assert self.listener is not None
        self.loop.watch(self.listener.fileno(), select.EPOLLIN, self._accept)
        handlers = {
            signal.SIGCHLD: self.core.processes.reap,
            signal.SIGHUP: lambda: self.on_upgrade(None),
            signal.SIGTERM: self._terminate,
        }
        given = resource.getrlimit(resource.RLIMIT_NOFILE)
        launch.open_files = launch.open_files or given  # what programs are given
        resource.setrlimit(resource.RLIMIT_NOFILE, (given[1], given[1]))  # what we take
        self.loop.start_signals({int(number): handler for number, handler in handlers.items()})
        launch.prepare()
        self.core.processes.reap()  # who ended before the handlers were there
        self.loop.run()

    def _take_lock(self) -> None:
        path = self.layout.run / "shim.lock"
        self.lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self.lock)
            raise AlreadyRunning(f'another shim serves "{self.layout.shim_socket}"') from None

    def _listen(self) -> None:
        path = os.fspath(self.layout.shim_socket)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        former = os.umask(0o177)
        try:
            self.listener.bind(path)
        finally:
            os.umask(former)
        self.listener.listen(BACKLOG)

    def _accept(self, _events: int) -> None:
        assert self.listener is not None
        try:
            peer, _ = self.listener.accept()
        except OSError:
            return  # gone again, or out of descriptors: epoll asks again
        credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size)
        if _PEER.unpack(credentials)[1] != 0:
            peer.close()
            return
        self.last_connection += 1
        self.connect(peer, self.last_connection)

    def connect(
        self, peer: socket.socket, number: int, decoder: protocol.Decoder | None = None
    ) -> Connection:
        """Serve a connection."""
        made = Connection(self.loop, peer, number, self.dispatch, self._on_closed, decoder)
        self.connections[number] = made
        return made

    def _on_closed(self, connection: Connection) -> None:
        self.connections.pop(connection.number, None)
        self.sessions.close_connection(connection)
        self.commands.close_connection(connection)
        self.containers.close_connection()

    def dispatch(self, request: Request) -> None:
        """Answer one request. Whatever is wrong with it, the shim lives on."""
        try:
            handler = self._verbs.get(request.verb)
            if handler is None:
                raise Refusal("UnknownVerb", f'this shim has no verb "{request.verb[:40]}"')
            handler(request)
        except Refusal as refusal:
            request.fail(refusal.reason, str(refusal), refusal.step)
        except Exception as error:  # noqa: BLE001
            report(traceback.format_exc())
            request.fail("InternalError", f"{type(error).__name__}: {error}")
        finally:
            for descriptor in request.descriptors:
                os.close(descriptor)
            if self._tidying is None:
                self._tidying = self.loop.call_later(TIDY_SECONDS, self._tidy)

    def _tidy(self) -> None:
        """Give back what the last requests took: a shim lives long, and its memory is every Pod's cost."""
        self._tidying = None
        memory.give_back()

    def publish(self, event: Plain) -> None:
        """Send an event to every subscribed daemon."""
        frame = protocol.encode(event)
        for connection in list(self.connections.values()):
            if connection.subscribed:
                connection.send_frame(frame)

    def _upgrade(self, request: Request) -> None:
        self.on_upgrade(request)

    def _version(self, request: Request) -> None:
        request.reply(self.describe())

    def describe(self) -> Plain:
        """Return who this shim is."""
        version = protocol.PROTOCOL_VERSION
        return {
            "protocol": version,
            "binary": True,
            "program": self._program,
            "pid": os.getpid(),
        }

    def _subscribe(self, request: Request) -> None:
        request.connection.subscribed = True
        request.reply({"pod_cgroups": self.pod_cgroups})

    def _list(self, request: Request) -> None:
        request.reply(
            {
                "sandboxes": [item.status() for item in self.sandboxes.records()],
                "containers": [item.status() for item in self.containers.records()],
                "creating": self.containers.creating(),
            }
        )

    def _expect_pod(self, request: Request) -> None:
        request.reply({})
        rehearse()

    def _start_container(self, request: Request) -> None:
        sandbox = self.sandboxes.require_alive(request.arguments, "sandbox_id")
        references: Plain = {"pause_pid": sandbox.pid}
        target = request.arguments.get("pid_target")
        if target:
            joined = self.containers.require_running({"id": target})
            references["target_pid"] = joined.record.pid
        self.containers.start(request, sandbox, references)

    def _shutdown(self, request: Request) -> None:
        """End: with "force" after killing and removing everything, else only when nothing is there."""
        if request.arguments.get("force") is True:
            for identity in list(self.sandboxes.all):
                self.sandboxes.take_down(identity, lambda _problem: None)
        elif self.sandboxes.all:
            raise Refusal("Running", f"{len(self.sandboxes.all)} sandboxes are still there")
        self._end_when_idle(request)

    def _end_when_idle(self, request: Request) -> None:
        if self.core.busy:
            self.loop.call_later(SHUTDOWN_RETRY_SECONDS, lambda: self._end_when_idle(request))
            return
        for container in list(self.containers.all.values()):
            self.containers.forget(container)
        self._end()
        request.reply({})

    def _terminate(self) -> None:
        """End on SIGTERM when nothing runs; a service manager's stop must not take the Pods along."""
        if any(sandbox.pid for sandbox in self.sandboxes.all.values()):
            report("Pods are running, staying with them")
        else:
            self._end()

    def _end(self) -> None:
        with contextlib.suppress(OSError):  # somebody else's cgroups may be in it
            cgroup.remove(self.core.cgroups, self.pod_cgroups)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.layout.shim_socket)
        self.loop.running = False
