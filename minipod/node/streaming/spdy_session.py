"""SPDY/3.1 on the asyncio loop: streams that wait for their peer, over anything that carries bytes."""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Protocol

from aiohttp import WSMsgType, web

from minipod.clock import call_off
from minipod.node.streaming.idle import IdleTimeout
from minipod.spdy import events, frames
from minipod.spdy.connection import Connection
from minipod.spdy.frames import ProtocolError

HELD_LIMIT = (
    256 << 10
)  # bytes that came and nobody read, of all streams, before the peer has to wait
OUTPUT_LIMIT = 128 << 10  # bytes to be sent before whoever sends has to wait
CLOSE_SECONDS = 5.0  # for a peer to take what was said last and close


class Pipe(Protocol):
    """Bytes both ways."""

    async def read(self) -> bytes:
        """Return what has come, b"" at the end."""

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer lags. Raises ConnectionError when it is gone."""

    def close(self) -> None:
        """Close."""


class WebSocketPipe:
    """SPDY's bytes as the binary messages of a WebSocket (KEP-4006, "tunnelling")."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._closing: asyncio.Future[bool] | None = None

    async def read(self) -> bytes:
        """Return the next message."""
        while (message := await self._socket.receive()).type is WSMsgType.BINARY:
            if message.data:
                return bytes(message.data)
        return b""

    async def write(self, data: bytes) -> None:
        """Send one message."""
        await self._socket.send_bytes(data)

    def close(self) -> None:
        """Begin to close."""
        self._closing = asyncio.ensure_future(self._socket.close())


class SpdyStream:
    """One stream of the peer's."""

    def __init__(self, session: "SpdySession", number: int, headers: dict[str, str]) -> None:
        self.number, self.headers = number, headers
        self.was_reset = False  # given up, by the peer or with the connection
        self._session = session
        self._pieces: deque[bytes] = deque()
        self._ended = self._discarding = False
        self._readable, self._writable = asyncio.Event(), asyncio.Event()

    async def read(self) -> bytes:
        """Return what has come, b"" once the peer sends no more on this stream."""
        while not self._pieces:
            if self._ended:
                return b""
            self._readable.clear()
            await self._readable.wait()
        piece = self._pieces.popleft()
        self._session.taken(self.number, len(piece))
        return piece

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer lags. Raises ConnectionError when it listens no more."""
        view = memoryview(data)
        while view:
            self._writable.clear()
            sent = await self._session.send(self.number, view)
            if sent == 0:
                await self._writable.wait()
            view = view[sent:]

    def end(self) -> None:
        """Send no more. Repeatable."""
        self._session.end(self.number)

    def discard(self) -> None:
        """Drop whatever comes from now on: nobody will read it, and the other streams must not wait for that."""
        self._discarding = True
        self._drop()

    def _drop(self) -> None:
        for piece in self._pieces:
            self._session.taken(self.number, len(piece))
        self._pieces.clear()

    def reset(self) -> None:
        """Give the stream up, both ways. Repeatable."""
        self._session.reset(self.number)
        self.feed_reset()

    # -- what the session tells -------------------------------------------------------------------

    def feed(self, data: bytes) -> None:
        """Keep what came."""
        self._pieces.append(data)
        self._readable.set()
        if self._discarding:
            self._drop()

    def feed_end(self) -> None:
        """No more will come."""
        self._ended = True
        self._readable.set()

    def feed_window(self) -> None:
        """More may be sent."""
        self._writable.set()

    def feed_reset(self) -> None:
        """The stream is given up."""
        self.was_reset = True
        self._drop()
        self.feed_end()
        self._writable.set()


class SpdySession:
    """One connection, on the server's side. `on_stream` takes a new stream, or refuses it by raising ValueError."""

    def __init__(
        self, pipe: Pipe, on_stream: Callable[[SpdyStream], None], idle_seconds: float
    ) -> None:
        self._pipe = pipe
        self._on_stream = on_stream
        self._connection = Connection(client=False)
        self._streams: dict[int, SpdyStream] = {}
        self._held = 0
        self._room, self._wake, self._taken = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self.over = asyncio.Event()  # the peer is gone
        self._idle = IdleTimeout(idle_seconds, pipe.close)

    async def run(self) -> None:
        """Serve until the peer is gone."""
        writing = asyncio.create_task(self._write_out())
        try:
            await self._read_in()
        except (ConnectionError, ProtocolError):
            pass  # the last word, if any, is on its way
        finally:
            self._end()
            await asyncio.shield(asyncio.create_task(self._last_words(writing)))

    async def close(self) -> None:
        """End the session: what has been sent arrives, then the peer is given a while to close."""
        self._connection.go_away()
        self._wake.set()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.over.wait(), CLOSE_SECONDS)
        self._pipe.close()

    # -- what streams ask -------------------------------------------------------------------------

    def taken(self, number: int, size: int) -> None:
        """A stream's data has been read: there is room for more."""
        self._held -= size
        self._connection.consumed(number, size)
        self._wake.set()
        if self._held < HELD_LIMIT:
            self._room.set()

    async def send(self, number: int, data: memoryview) -> int:
        """Send a piece of a stream's data; 0 when its window is closed. Raises ConnectionError."""
        while self._connection.output_size > OUTPUT_LIMIT and not self.over.is_set():
            self._taken.clear()
            await self._taken.wait()
        if self.over.is_set() or not self._connection.can_send(number):
            raise ConnectionResetError("the stream is closed")
        self._idle.touch()
        sent = self._connection.send_data(number, data)
        self._wake.set()
        return sent

    def end(self, number: int) -> None:
        """Send no more on a stream."""
        self._connection.end(number)
        self._tidy(number)
        self._wake.set()

    def reset(self, number: int) -> None:
        """Give a stream up."""
        self._connection.reset(number)
        self._tidy(number)
        self._wake.set()

    # -- inside -----------------------------------------------------------------------------------

    async def _read_in(self) -> None:
        while data := await self._pipe.read():
            self._idle.touch()
            for event in self._connection.receive(data):
                self._dispatch(event)
            self._wake.set()
            await self._wait_room()

    async def _wait_room(self) -> None:
        """Read no more while nobody takes what came, or the peer does not take our answers."""
        while self._held >= HELD_LIMIT:
            self._room.clear()
            await self._room.wait()
        while self._connection.output_size > 2 * OUTPUT_LIMIT:
            self._taken.clear()
            await self._taken.wait()

    def _dispatch(self, event: events.Event) -> None:
        match event:
            case events.StreamOpened():
                self._open(event)
            case events.DataReceived():
                if stream := self._streams.get(event.stream):
                    self._held += len(event.data)
                    stream.feed(event.data)
                else:
                    self._connection.consumed(event.stream, len(event.data))
            case events.StreamEnded():
                if stream := self._streams.get(event.stream):
                    stream.feed_end()
                    self._tidy(event.stream)
            case events.StreamReset():
                if stream := self._streams.pop(event.stream, None):
                    stream.feed_reset()
            case events.WindowOpened():
                for number, stream in self._streams.items():
                    if event.stream in (0, number):
                        stream.feed_window()

    def _open(self, event: events.StreamOpened) -> None:
        stream = SpdyStream(self, event.stream, event.headers)
        try:
            self._on_stream(stream)
        except ValueError:
            self._connection.reset(event.stream, frames.REFUSED_STREAM)
            return
        self._streams[event.stream] = stream
        self._connection.reply(event.stream)

    def _tidy(self, number: int) -> None:
        """Forget a stream that is over, both ways; whoever reads it still has what came."""
        if not self._connection.is_open(number):
            self._streams.pop(number, None)

    async def _write_out(self) -> None:
        with contextlib.suppress(ConnectionError):
            while True:
                await self._wake.wait()
                self._wake.clear()
                data = self._connection.take_output()
                self._taken.set()
                if data:
                    await self._pipe.write(data)

    def _end(self) -> None:
        self._idle.cancel()
        self.over.set()
        self._taken.set()
        for stream in list(self._streams.values()):
            stream.feed_reset()
        self._streams.clear()

    async def _last_words(self, writing: asyncio.Task[None]) -> None:
        await call_off(writing)
        with contextlib.suppress(ConnectionError, TimeoutError):
            if data := self._connection.take_output():
                await asyncio.wait_for(self._pipe.write(data), CLOSE_SECONDS)
        self._pipe.close()
