"""Standard streams over a WebSocket: the channel protocol of exec and attach (v5.channel.k8s.io, v4 as fallback).

The first byte of a message is its channel: 0 stdin, 1 stdout, 2 stderr, 3 a Status that ends it all, 4 the terminal's
size; with v5, 255 closes the channel named by its second byte, which is how the end of stdin is passed on.
"""

import contextlib
import json
import os
import select
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minipod.cli import terminal
from minipod.cli.errors import CliError, SilentExit
from minipod.cli.websocket import Closed, WebSocket, connect

if TYPE_CHECKING:
    from minipod.cli.api import Api

Object = dict[str, Any]
V5, V4 = "v5.channel.k8s.io", "v4.channel.k8s.io"
STDIN, RESIZE, CLOSE = 0, 4, 255
READ_BYTES = 32768
UNSENT_LIMIT = 262144  # bytes waiting for the server; beyond, stdin is left alone
DRAIN_SECONDS = 1.0


class StreamFailed(CliError):
    """The server took the connection and could not serve it: the container may have ended."""


@dataclass(frozen=True)
class StreamOptions:
    """Which streams to connect."""

    stdin: bool
    tty: bool
    stdout: bool = True
    stderr: bool = True
    quiet: bool = False
    descriptors: tuple[int, int, int] = (
        0,
        1,
        2,
    )  # what stands for standard input, output and error

    def query(self) -> dict[str, str]:
        """Return the query parameters that ask for these streams."""
        wanted = {
            "stdin": self.stdin,
            "stdout": self.stdout,
            "stderr": self.stderr and not self.tty,
            "tty": self.tty,
        }
        return {key: "true" for key, value in wanted.items() if value}


def run(api: "Api", path: str, query: dict[str, Any], options: StreamOptions) -> None:
    """Connect this process's streams to a container until it ends.

    Raises SilentExit with the program's exit code (the message is printed), ServerError when the stream is
    refused, CliError when the program cannot be run.
    """
    from minipod.cli.api import target

    where = target(path, {**options.query(), **query})
    socket = connect(api.connection(), where, (V5, V4))
    raw = options.tty and options.stdin and terminal.is_terminal(0)
    status: Object | None
    try:
        with (
            terminal.raw_mode(0) if raw else contextlib.nullcontext(),
            _resizes(options) as resizes,
        ):
            status = _Copier(socket, options, resizes).run()
    finally:
        socket.close()
    finish(status)


def finish(status: Object | None) -> None:
    """Turn the Status that ended a stream into this command's end: an exit code, an error, or nothing."""
    if status is None:
        raise CliError("the connection was closed before the command's exit code arrived")
    if status.get("status") == "Success":
        return
    code = exit_code(status)
    if code is None:
        raise StreamFailed(str(status.get("message") or "the command could not be run"))
    terminal.progress(f"command terminated with exit code {code}")
    raise SilentExit(code)


def exit_code(status: Object) -> int | None:
    """Return the exit code that a Status of reason NonZeroExitCode carries, or None."""
    if status.get("reason") != "NonZeroExitCode":
        return None
    for cause in (status.get("details") or {}).get("causes") or []:
        if cause.get("reason") == "ExitCode" and str(cause.get("message", "")).isdigit():
            return int(cause["message"])
    return None


@contextlib.contextmanager
def _resizes(options: StreamOptions) -> Iterator[int]:
    """Give a descriptor that becomes readable whenever the terminal's size changes (-1 without a terminal)."""
    if not options.tty or terminal.size() is None:
        yield -1
        return
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before_fd = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    before = signal.signal(signal.SIGWINCH, lambda _number, _frame: None)
    try:
        yield reading
    finally:
        signal.signal(signal.SIGWINCH, before)
        signal.set_wakeup_fd(before_fd)
        os.close(reading)
        os.close(writing)


class _Copier:
    """Copies between this process's descriptors and the WebSocket, in one thread that never waits on one side only."""

    def __init__(self, socket: WebSocket, options: StreamOptions, resizes: int) -> None:
        self._socket = socket
        self._stdin_open = options.stdin
        self._stdin = options.descriptors[0]
        self._outputs = dict(zip((b"\x01", b"\x02"), options.descriptors[1:], strict=True))
        self._resizes = resizes
        self._status: Object | None = None

    def run(self) -> Object | None:
        """Copy until the server ends the stream; return its Status (None: there was none)."""
        try:
            if self._resizes >= 0:
                self._send_size()
            self._deliver()
            while True:
                self._copy_once()
        except Closed:
            self._drain()
            return self._status

    def _copy_once(self) -> None:
        sock = self._socket.fileno()
        reading = [sock] + ([self._resizes] if self._resizes >= 0 else [])
        if self._stdin_open and self._socket.unsent < UNSENT_LIMIT:
            reading.append(self._stdin)
        readable, writable, _ = select.select(reading, [sock] if self._socket.unsent else [], [])
        if writable:
            self._socket.flush()
        if self._resizes in readable:
            self._resized()
        if self._stdin in readable:
            self._read_stdin()
        if sock in readable:
            self._socket.receive()
            self._deliver()

    def _read_stdin(self) -> None:
        try:
            data = os.read(self._stdin, READ_BYTES)
        except OSError:
            data = b""
        if data:
            self._socket.send(bytes((STDIN,)) + data)
        else:
            self._end_stdin()

    def _end_stdin(self) -> None:
        self._stdin_open = False
        if self._socket.protocol == V5:
            self._socket.send(bytes((CLOSE, STDIN)))

    def _drain(self) -> None:
        """Take what the server said before it closed: the exit code may be among it."""
        with contextlib.suppress(Closed):
            while self._status is None:
                select.select([self._socket.fileno()], [], [], DRAIN_SECONDS)
                self._socket.receive()
                self._deliver()
                return

    def _resized(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self._resizes, READ_BYTES)
        self._send_size()

    def _send_size(self) -> None:
        size = terminal.size()
        if size is not None:
            text = json.dumps({"Width": size[0], "Height": size[1]}, separators=(",", ":"))
            self._socket.send(bytes((RESIZE,)) + text.encode())

    def _deliver(self) -> None:
        for message in self._socket.messages():
            channel, data = message[:1], message[1:]
            if channel in self._outputs and data:
                _write(self._outputs[channel], data)
            elif channel == b"\x03":
                self._status = _status(data)
                if self._status is not None:
                    raise Closed


def _write(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except (
            BlockingIOError
        ):  # a shared terminal may have been made non-blocking by another program
            select.select([], [descriptor], [])


def _status(data: bytes) -> Object | None:
    if not data:
        return None
    try:
        found = json.loads(data)
    except ValueError:
        return {"status": "Failure", "message": data.decode("utf-8", "replace")}
    return found if isinstance(found, dict) else None
