"""Copies what a container writes to its log and to whoever is attached.

The container is never held up by a reader: the log takes or counts lines, an attached client has a bounded buffer
and is told how much it missed. A chunk is at most 64 KiB, so one turn of a flood lasts about a millisecond.
"""

import os
import select
from collections.abc import Callable, Mapping
from functools import partial

from minipod.runtime.shim.logs import LineStream, LogFile
from minipod.runtime.shim.loop import Loop, Timer

CHUNK_BYTES = 64 * 1024
CLIENT_BUFFER_BYTES = 1024 * 1024
EARLY_BYTES = 64 * 1024
DRAIN_CHUNKS = 32  # more than the largest pipe an ordinary user can make (1 MiB)
NOTE_RETRY_SECONDS = 1.0


class ClientPipe:
    """The pipe towards one attached client. `buffer` holds what it has not read, `missed` what did not fit."""

    def __init__(self, loop: Loop, descriptor: int, buffer: bytes = b"", missed: int = 0) -> None:
        self.descriptor = descriptor
        self.buffer = bytearray(buffer)
        self.missed = missed
        self.finishing = False
        self._loop = loop
        os.set_blocking(descriptor, False)
        self._flush()

    def push(self, data: bytes) -> None:
        """Pass `data` on, or count it as missed while the client lags."""
        if self.descriptor < 0:
            return
        if self.missed or len(self.buffer) + len(data) > CLIENT_BUFFER_BYTES:
            self.missed += len(data)
            return
        idle = not self.buffer
        self.buffer += data
        if idle:
            self._flush()

    def finish(self) -> None:
        """Close once everything is written: the client reads the end of the stream."""
        self.finishing = True
        if not self.buffer:
            self.close()

    def close(self) -> None:
        """Close at once. Repeatable."""
        if self.descriptor >= 0:
            self._loop.unwatch(self.descriptor)
            os.close(self.descriptor)
            self.descriptor = -1

    def _flush(self) -> None:
        try:
            while self.buffer:
                del self.buffer[: os.write(self.descriptor, self.buffer)]
                if not self.buffer and self.missed:
                    self.buffer += f"\r\n[minipod: {self.missed} bytes missed]\r\n".encode()
                    self.missed = 0
        except BlockingIOError:
            self._loop.watch(self.descriptor, select.EPOLLOUT, self._on_ready)
        except OSError:
            self.close()  # the client is gone
        else:
            self._loop.watch(self.descriptor, 0, self._on_ready)  # errors only: its end closed
            if self.finishing:
                self.close()

    def _on_ready(self, events: int) -> None:
        if events & select.EPOLLERR:
            self.close()
        else:
            self._flush()


class EarlyOutput:
    """What a program that is run for one client says before that client comes: its beginning, and how much more.

    A program may have said all it will by the time a client can attach: `kubectl run -i` attaches when it sees the
    Pod run.
    """

    def __init__(self, said: Mapping[str, tuple[bytes, int]] | None = None) -> None:
        self.said = {name: (bytearray(data), more) for name, (data, more) in (said or {}).items()}

    def append(self, name: str, data: bytes) -> None:
        """Keep what fits, and count the rest."""
        kept, missed = self.said.setdefault(name, (bytearray(), 0))
        fits = 0 if missed else EARLY_BYTES - len(kept)
        kept += data[:fits]
        self.said[name] = kept, missed + len(data[fits:])


class Output:
    """A container's output streams by descriptor, its log, and its audience.

    `early` is given for a container that is run for one client, until this has come.
    """

    def __init__(
        self,
        loop: Loop,
        log: LogFile,
        streams: Mapping[int, LineStream],
        on_end: Callable[[], None],
        early: EarlyOutput | None = None,
    ) -> None:
        self.log = log
        self.streams = dict(streams)
        self.early = early
        self.audience: list[dict[str, ClientPipe]] = []  # pipes by stream name
        self._loop = loop
        self._on_end = on_end
        self._retry: Timer | None = None
        for descriptor in self.streams:
            os.set_blocking(descriptor, False)
            loop.watch_bulk(descriptor, partial(self._on_ready, descriptor))
        if log.lost:
            self._retry_note()

    @property
    def ended(self) -> bool:
        """Whether every stream has been read to its end."""
        return not self.streams

    @property
    def has_more(self) -> bool:
        """Whether a client that joins now finds anything to read, or to wait for."""
        return bool(self.streams or (self.early and self.early.said))

    def join(self) -> tuple[dict[str, ClientPipe], dict[str, int]]:
        """Let one more client listen; return the pipes to it, and their other ends."""
        said = self.early.said if self.early else {}
        self.early = None
        open_ones = {stream.name for stream in self.streams.values()}
        pipes: dict[str, ClientPipe] = {}
        ends: dict[str, int] = {}
        for name in sorted(open_ones | said.keys()):
            ends[name], write_end = os.pipe2(os.O_CLOEXEC)
            pipes[name] = ClientPipe(self._loop, write_end, *said.get(name, ()))
            if name not in open_ones:
                pipes[name].finish()
        self.audience.append(pipes)
        return pipes, ends

    def drain(self) -> None:
        """Read what is there without waiting, then end: somebody beyond the container holds the other end."""
        for descriptor in list(self.streams):
            for _ in range(DRAIN_CHUNKS):
                if descriptor not in self.streams or not self._copy(descriptor):
                    break
        for descriptor in list(self.streams):
            self._end_stream(descriptor)

    def close(self) -> None:
        """Let go of streams, log and audience. Repeatable."""
        for descriptor in self.streams:
            self._loop.unwatch(descriptor)
            os.close(descriptor)
        self.streams.clear()
        self.log.write_note()
        self.log.close()
        if self._retry:
            self._retry.cancel()
        for pipes in self.audience:
            for pipe in pipes.values():
                pipe.finish()
        self.audience.clear()

    def _on_ready(self, descriptor: int, _events: int) -> None:
        self._copy(descriptor)

    def _copy(self, descriptor: int) -> bool:
        """Copy one chunk. False when there was nothing to read."""
        stream = self.streams[descriptor]
        try:
            chunk = os.read(descriptor, CHUNK_BYTES)
        except BlockingIOError:
            return False
        except OSError:
            chunk = b""  # EIO: every holder of the terminal is gone (pty(7))
        if not chunk:
            self._end_stream(descriptor)
            return False
        self._append(stream.feed(chunk, self.log.stamp()))
        if self.early:
            self.early.append(stream.name, chunk)
        for pipes in self.audience:
            if pipe := pipes.get(stream.name):
                pipe.push(chunk)
        return True

    def _end_stream(self, descriptor: int) -> None:
        stream = self.streams.pop(descriptor)
        self._append(stream.flush(self.log.stamp()))
        self._loop.unwatch(descriptor)
        os.close(descriptor)
        for pipes in self.audience:
            if pipe := pipes.get(stream.name):
                pipe.finish()
        if not self.streams:
            self._on_end()

    def _append(self, lines: bytes) -> None:
        self.log.append(lines)
        if self.log.lost and not self._retry:
            self._retry_note()

    def _retry_note(self) -> None:
        self._retry = self._loop.call_later(NOTE_RETRY_SECONDS, self._on_retry)

    def _on_retry(self) -> None:
        self._retry = None
        if not self.log.write_note():
            self._retry_note()
