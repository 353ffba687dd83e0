"""One direction over WebSocket: what a GET would answer, as messages (upstream's wsstream.Reader).

    binary.k8s.io, none    the bytes as they are, in binary messages
    base64.binary.k8s.io   the bytes in base64, in text messages

What the client sends is read and dropped. The connection is closed when there is no more to say.
"""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterable, Sequence

from aiohttp import web

from minipod.node.streaming.websocket import accept, choose_protocol

BINARY, BASE64, NONE = "binary.k8s.io", "base64.binary.k8s.io", ""
PROTOCOLS: Sequence[str] = (NONE, BINARY, BASE64)


def wants_websocket(request: web.Request) -> bool:
    """Whether a request asks to be answered over WebSocket (RFC 6455, 4.1)."""
    upgrades = request.headers.get("Upgrade", "").lower()
    return request.method == "GET" and upgrades == "websocket"


async def send_text(request: web.Request, pieces: AsyncIterable[bytes]) -> web.WebSocketResponse:
    """Answer with the pieces, one message each. Raises Forbidden for protocols that are not known."""
    protocol = choose_protocol(request, PROTOCOLS)
    socket = await accept(request, protocol)
    hearing = asyncio.create_task(_hear(socket), name="what a log's reader says")
    try:
        async for piece in pieces:
            if protocol == BASE64:
                await socket.send_str(base64.b64encode(piece).decode())
            else:
                await socket.send_bytes(piece)
            if hearing.done():
                break
    finally:
        hearing.cancel()
        with contextlib.suppress(ConnectionError):
            await socket.close()
    return socket


async def _hear(socket: web.WebSocketResponse) -> None:
    """Read and drop until the client closes: pings are answered on the way."""
    async for _ in socket:
        pass
