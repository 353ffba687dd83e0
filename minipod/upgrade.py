"""An HTTP connection that both ends have agreed to use for something else (RFC 9110, 7.8): bytes, both ways.

aiohttp knows WebSocket alone; this takes the connection itself, for SPDY and for what is only passed on.
"""

import asyncio
from collections import deque

from aiohttp import web

HIGH_WATER = 256 << 10  # bytes that came and nobody took before the peer has to wait
LOW_WATER = HIGH_WATER // 4


def wants_upgrade(request: web.BaseRequest) -> bool:
    """Whether a request asks to switch protocols."""
    connection = ",".join(request.headers.getall("Connection", [])).lower()
    asked = {word.strip() for word in connection.split(",")}
    return "upgrade" in asked and bool(request.headers.get("Upgrade"))


class UpgradedConnection:
    """The connection behind a request, once `take` has written the head that agrees to the upgrade."""

    def __init__(self, request: web.BaseRequest, transport: asyncio.Transport) -> None:
        self._request = request
        self._transport = transport
        self._pieces: deque[bytes] = deque()
        self._size = 0
        self._ended = self._paused = False
        self._ready = asyncio.Event()

    @classmethod
    def take(cls, request: web.BaseRequest, head: bytes) -> "UpgradedConnection":
        """Answer the request with `head` and take its connection. Raises ConnectionError when it is gone."""
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        taken = cls(request, transport)
        # any object with WebSocketReader's feed methods will do
        request.protocol.set_parser(taken)  # type: ignore[arg-type]
        transport.write(head)
        return taken

    async def read(self) -> bytes:
        """Return what has come, b"" once the peer sends no more."""
        while not self._pieces:
            if self._ended:
                return b""
            self._ready.clear()
            await self._ready.wait()
        piece = self._pieces.popleft()
        self._size -= len(piece)
        if self._paused and self._size <= LOW_WATER:
            self._paused = False
            if not self._transport.is_closing():
                self._transport.resume_reading()
        return piece

    async def write(self, data: bytes) -> None:
        """Send, waiting while the peer lags. Raises ConnectionError when it is gone."""
        if self._transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self._transport.write(data)
        await self._request.writer.drain()

    def close(self) -> None:
        """Close once everything is sent. Repeatable."""
        self._transport.close()

    # -- what aiohttp's protocol calls ------------------------------------------------------------

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Keep bytes that came; ask the peer to wait while there are too many."""
        self._pieces.append(bytes(data))
        self._size += len(data)
        self._ready.set()
        if self._size > HIGH_WATER and not self._paused:
            self._paused = True
            self._transport.pause_reading()
        return False, b""

    def feed_eof(self) -> None:
        """The peer is gone."""
        self._ended = True
        self._ready.set()

    def set_exception(self, *_: object) -> None:
        """The connection broke."""
        self.feed_eof()


class Taken(web.StreamResponse):
    """Stands for a connection that has been used up: there is nothing left to answer on it."""

    def __init__(self) -> None:
        super().__init__()
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> None:
        """Nothing: the head went out long ago."""

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing: the other end has closed."""
