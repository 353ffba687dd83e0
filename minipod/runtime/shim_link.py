"""Keeps the daemon connected to its shim: starts one, waits for it, comes back after it was lost."""

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable

from minipod.paths import Layout
from minipod.runtime.program import fingerprint
from minipod.runtime.protocol import PROTOCOL_VERSION, Message
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim_connection import Answer, ShimConnection

logger = logging.getLogger(__name__)

START_SECONDS = 60.0  # a predecessor's processes are killed first; where the processor is emulated, twenty were too few
OUTAGE_SECONDS = 5.0  # how long a call waits for a shim that is coming back
RETRY_SECONDS = 1.0
ATTEMPTS, ATTEMPT_SECONDS = 5, 0.1
READY_DESCRIPTOR = 3
LOG_TAIL_BYTES = 500


class ShimLink:
    """One connection at a time, remade when it is lost. Events go to `on_event`, own ones ("shim-lost") too."""

    def __init__(self, layout: Layout, on_event: Callable[[Message], None]) -> None:
        self._layout = layout
        self._on_event = on_event
        self._connection: ShimConnection | None = None
        self.pod_cgroups = layout.instance  # below which the shim has the Pods' cgroups
        self._connected = asyncio.Event()
        self._reconnecting: asyncio.Task[None] | None = None
        self._spawn = True
        self._children: set[int] = set()  # shims that we started and have not reaped
        self._closed = False

    async def open(self, spawn: bool) -> None:
        """Connect, starting a shim when none answers. Raises RuntimeFailure("ShimUnavailable")."""
        self._spawn = spawn
        if not self._connected.is_set():
            await self._connect()

    async def call(self, verb: str, **arguments: object) -> Answer:
        """Ask the shim; wait a while for one that is coming back. Raises RuntimeFailure."""
        await self.wait_connected()
        return await self.begin(verb, **arguments)

    async def wait_connected(self) -> None:
        """Wait a while for a shim that is coming back; return at once when it is there."""
        if not self._connected.is_set() and not self._closed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._connected.wait(), OUTAGE_SECONDS)

    def begin(self, verb: str, **arguments: object) -> "asyncio.Future[Answer]":
        """Ask the shim at once. Raises RuntimeFailure when there is no connection."""
        if self._connection is None:
            raise RuntimeFailure("ShimUnavailable", "the shim is not reachable")
        return self._connection.begin(verb, **arguments)

    @property
    def idle_seconds(self) -> float:
        """How long the shim has been asked for nothing; 0 when there is no connection."""
        return self._connection.idle_seconds if self._connection else 0.0

    def expect_end(self) -> None:
        """Do not bring the shim back when it goes now."""
        self._closed = True

    async def wait_end(self) -> None:
        """Wait until a shim that was told to end has ended, if it is our child."""
        loop = asyncio.get_running_loop()
        for child in self._children:
            await loop.run_in_executor(None, _wait, child, 0)
        self._children.clear()

    def close(self) -> None:
        """Let go of the shim, which lives on. Repeatable."""
        self._closed = True
        if self._reconnecting:
            self._reconnecting.cancel()
        if self._connection:
            self._connection.close()
        self._connection = None
        self._connected.clear()

    async def _connect(self) -> None:
        """Connect and agree. A shim that is just ending is waited for: its successor must get the lock."""
        for attempt in range(ATTEMPTS, -1, -1):
            try:
                await self._connect_once()
            except RuntimeFailure:
                if not attempt:
                    raise
                await asyncio.sleep(ATTEMPT_SECONDS)
            else:
                return

    async def _connect_once(self) -> None:
        peer = _dial(self._layout)
        if peer is None and self._spawn:
            await self._start_shim()
            peer = _dial(self._layout)
        if peer is None:
            said = self._log_tail() if self._spawn else f'none at "{self._layout.shim_socket}"'
            raise RuntimeFailure("ShimUnavailable", f"the shim does not answer: {said}")
        connection = ShimConnection(peer, self._on_event, lambda: self._on_lost(connection))
        try:
            found = await _agree(connection, fingerprint())
            connection.binary = bool(found.get("binary"))
            subscribed = await connection.call("subscribe")
        except BaseException:  # a cancellation, too: nobody else has it to close
            connection.close()
            raise
        self.pod_cgroups = subscribed.result.get("pod_cgroups", self._layout.instance)
        self._connection = connection
        self._connected.set()

    async def _start_shim(self) -> None:
        """Start a shim, detached, and wait until it listens (or ends, when another was faster).

        One that is not ready in time is ended: it would take the root later, when nobody waits for it any more.
        """
        self._reap()
        child, ready = self._spawn_shim()
        try:
            await _wait_readable(ready)
        except BaseException:
            os.kill(child, signal.SIGKILL)  # whoever it is by now: our child, and not reaped yet
            raise

    def _spawn_shim(self) -> tuple[int, int]:
        """Spawn a shim; return its pid, and the pipe into which it says that it is ready."""
        read_end, write_end = os.pipe2(os.O_CLOEXEC)
        self._layout.log.mkdir(parents=True, exist_ok=True)
        arguments = [
            sys.executable,
            "-P",
            "-m",
            "minipod.runtime.shim",
            "--ready",
            str(READY_DESCRIPTOR),
        ]
        if self._layout.instance != "minipod":
            arguments += ["--root", os.fspath(self._layout.state.parent)]
        log_flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            child = os.posix_spawn(
                sys.executable,
                arguments,
                _environment(),
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, write_end, READY_DESCRIPTOR),
                    (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0),
                    (os.POSIX_SPAWN_OPEN, 1, os.fspath(self._log_path), log_flags, 0o640),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
                setsid=True,
                setsigmask=[],
                setsigdef=[signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE],
            )
        finally:
            os.close(write_end)
        self._children.add(child)
        return child, read_end

    @property
    def _log_path(self) -> str:
        return os.fspath(self._layout.log / "shim.log")

    def _log_tail(self) -> str:
        try:
            with open(self._log_path, "rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - LOG_TAIL_BYTES))
                lines = file.read().decode(errors="replace").strip().splitlines()
        except OSError:
            return "it says nothing"
        return lines[-1] if lines else "it says nothing"

    def _on_lost(self, connection: ShimConnection) -> None:
        if connection is not self._connection:
            return  # it never was in use
        self._connection = None
        self._connected.clear()
        if self._closed:
            return
        self._on_event({"event": "shim-lost"})
        self._reconnecting = asyncio.ensure_future(self._reconnect())

    async def _reconnect(self) -> None:
        while True:
            try:
                await self._connect()
            except (RuntimeFailure, OSError):
                await asyncio.sleep(RETRY_SECONDS)
            else:
                self._on_event({"event": "shim-connected"})
                return

    def _reap(self) -> None:
        """Collect shims of ours that have ended."""
        self._children = {child for child in self._children if not _wait(child, os.WNOHANG)}


_OUR_OWN = ("NOTIFY_SOCKET", "MINIPOD_FAULT", "MINIPOD_ROOT", "WATCHDOG_USEC", "WATCHDOG_PID")


def _environment() -> dict[str, str]:
    """Return a shim's environment. A test may arm a fault point of the first one; its successor must live."""
    armed = os.environ.pop("MINIPOD_SHIM_FAULT", None)
    kept = {name: text for name, text in os.environ.items() if name not in _OUR_OWN}
    return kept | {"MINIPOD_FAULT": armed} if armed else kept


def _wait(child: int, options: int) -> bool:
    """Reap a child; whether it is gone."""
    try:
        return os.waitpid(child, options)[0] == child
    except ChildProcessError:
        return True


def _dial(layout: Layout) -> socket.socket | None:
    peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        peer.connect(os.fspath(layout.shim_socket))
    except (FileNotFoundError, ConnectionRefusedError):
        peer.close()
        return None
    except OSError:
        peer.close()
        raise
    return peer


async def _agree(connection: ShimConnection, program: str) -> Message:
    """Have a shim that is not of the installed program upgrade itself; one that speaks another language must.

    Returns what it says of itself.
    """
    found = (await connection.call("version")).result
    if (found["protocol"], found.get("program")) == (PROTOCOL_VERSION, program):
        return found
    try:
        await connection.call("upgrade")
    except RuntimeFailure as error:
        if found["protocol"] != PROTOCOL_VERSION:
            raise
        logger.warning("the shim is of an older program, and stays so: %s", error)
        return found
    found = (await connection.call("version")).result
    if found["protocol"] != PROTOCOL_VERSION:
        message = f"the shim speaks protocol {found['protocol']}, this daemon {PROTOCOL_VERSION}"
        raise RuntimeFailure("ShimUnavailable", message)
    if found.get("program") != program:
        logger.warning("the shim is of another installation, which may not know all of this one's")
    return found


async def _wait_readable(descriptor: int) -> None:
    """Wait for a byte or the end of a pipe, then close it. RuntimeFailure when neither comes in time."""
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_reader(descriptor, ready.set)
    try:
        await asyncio.wait_for(ready.wait(), START_SECONDS)
    except TimeoutError:
        message = f"the shim is not ready after {START_SECONDS:.0f} s"
        raise RuntimeFailure("ShimUnavailable", message) from None
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
