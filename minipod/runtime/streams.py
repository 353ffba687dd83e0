"""A process's standard streams in the daemon: plain descriptors on the asyncio loop, `service.Streams`.

What an exec'd process writes comes straight from its pipe or terminal; only its exit code comes from the shim. Data
is read when it is asked for, so a slow reader slows the process and nothing piles up here.
"""

import asyncio
import contextlib
import fcntl
import os
import struct
import termios
from collections.abc import Awaitable, Callable, Mapping
from typing import Literal

CHUNK_BYTES = 64 * 1024
StreamName = Literal["stdout", "stderr"]
Resize = Callable[[int, int], Awaitable[None]]


class DescriptorStreams:
    """Streams over descriptors, which it owns. `ended` is set by the owner: the exit code."""

    def __init__(
        self,
        descriptors: Mapping[str, int],
        *,
        on_close: Callable[[], Awaitable[None]],
        on_hang_up: Callable[[], Awaitable[None]] | None = None,
        on_close_stdin: Callable[[], Awaitable[None]] | None = None,
        resize: Resize | None = None,
        always_end: bool = False,
    ) -> None:
        """Take "stdin", "stdout", "stderr", or a "terminal" that is all three.

        `always_end` says that the output ends whatever the program leaves behind: more may come once it has ended.
        """
        self._loop = asyncio.get_running_loop()
        self.ended: asyncio.Future[int] = self._loop.create_future()
        self.timed_out = False  # killed because it lasted longer than it was given
        self._on_close, self._on_close_stdin = on_close, on_close_stdin
        self._on_hang_up = on_hang_up or on_close
        self._resize, self._always_end = resize, always_end
        self._closed = False
        self._readable = asyncio.Event()
        terminal = descriptors.get("terminal", -1)
        self._terminal = terminal
        self._stdin = descriptors.get("stdin", terminal)
        self._sources: dict[int, StreamName] = {}
        if "stdout" in descriptors:
            self._sources[descriptors["stdout"]] = "stdout"
        if "stderr" in descriptors:
            self._sources[descriptors["stderr"]] = "stderr"
        if terminal >= 0:
            self._sources[terminal] = "stdout"
        for descriptor in {*self._sources, self._stdin} - {-1}:
            os.set_blocking(descriptor, False)
        self.ended.add_done_callback(lambda _future: self._readable.set())

    async def read(self) -> tuple[StreamName, bytes] | None:
        """Return the next chunk, or None at the end.

        The end is the end of both streams, or, once the process has ended, that nothing is left to read: what it
        left in the background may hold the streams open for ever.
        """
        while self._sources:
            # before reading: whatever was written by then is in the pipe
            over = self.ended.done() and not self._always_end
            self._readable.clear()
            if chunk := self._read_any():
                return chunk
            if over:
                return None
            await self._wait_readable()
        return None

    def _read_any(self) -> tuple[StreamName, bytes] | None:
        for descriptor, name in list(self._sources.items()):
            with contextlib.suppress(BlockingIOError):
                if data := _read(descriptor):
                    self._sources[descriptor] = self._sources.pop(
                        descriptor
                    )  # the others first, next time
                    return name, data
                self._drop_source(descriptor)
        return None

    async def _wait_readable(self) -> None:
        if not self._sources:
            return
        watched = list(self._sources)
        for descriptor in watched:
            self._loop.add_reader(descriptor, self._readable.set)
        try:
            await self._readable.wait()
        finally:
            for descriptor in watched:
                self._loop.remove_reader(descriptor)

    def _drop_source(self, descriptor: int) -> None:
        del self._sources[descriptor]
        if descriptor != self._terminal:
            os.close(descriptor)

    async def write(self, data: bytes) -> None:
        """Write to standard input, waiting while it is full. BrokenPipeError when nobody reads."""
        view = memoryview(data)
        while view:
            if self._stdin < 0 or self._closed:
                raise BrokenPipeError("standard input is closed")
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await self._wait_writable()
            except OSError as error:
                raise BrokenPipeError(str(error)) from None

    async def _wait_writable(self) -> None:
        writable = asyncio.Event()
        descriptor = self._stdin
        self._loop.add_writer(descriptor, writable.set)
        self.ended.add_done_callback(lambda _future: writable.set())
        try:
            await writable.wait()
        finally:
            self._loop.remove_writer(descriptor)
        if self.ended.done():
            raise BrokenPipeError("the process has ended")

    async def close_stdin(self) -> None:
        """End standard input. On an exec's terminal that is what a person types for it: the end-of-file character."""
        if self._terminal >= 0:
            with contextlib.suppress(OSError):
                await self.write(b"\x04")
            return
        self._close_stdin_descriptor()
        if self._on_close_stdin and not self._closed:
            await self._on_close_stdin()

    def _close_stdin_descriptor(self) -> None:
        if self._stdin >= 0 and self._stdin != self._terminal:
            self._loop.remove_writer(self._stdin)
            os.close(self._stdin)
        self._stdin = -1

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; nothing without a terminal."""
        if self._closed:
            return
        if self._resize:
            await self._resize(columns, rows)
        elif self._terminal >= 0:
            size = struct.pack("HHHH", rows & 0xFFFF, columns & 0xFFFF, 0, 0)
            fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, size)

    async def wait(self) -> int:
        """Return the exit code of the process, or of the attached container. RuntimeFailure when the shim died."""
        return await asyncio.shield(self.ended)

    async def close(self) -> None:
        """Let go of every descriptor; an exec'd process is killed with everything it started. Repeatable."""
        if self._let_go():
            await self._on_close()

    async def hang_up(self) -> None:
        """Let go of every descriptor and leave the rest to the kernel: what an exec'd process reads ends, what it
        writes breaks its pipe, its terminal hangs up. One that heeds none of this lives on. Repeatable.
        """
        if self._let_go():
            await self._on_hang_up()

    def _let_go(self) -> bool:
        if self._closed:
            return False
        self._closed = True
        self._readable.set()
        self._close_stdin_descriptor()
        for descriptor in list(self._sources):
            self._drop_source(descriptor)
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        return True


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, CHUNK_BYTES)
    except BlockingIOError:
        raise
    except OSError:
        return b""  # EIO: the last holder of a terminal's other side is gone (pty(7))
