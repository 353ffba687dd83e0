"""Channels over WebSocket: each message begins with its channel.

    v5.channel.k8s.io                           a byte; 255 and a channel number close that channel; a Status ends it
    v4.channel.k8s.io, v4.base64.channel.k8s.io  a byte, or a digit and base64; a Status ends it
    channel.k8s.io, base64.channel.k8s.io, none  the same, with an error's text in the Status's place

Kubernetes: k8s.io/apimachinery util/httpstream/wsstream, util/remotecommand, KEP-4006.
"""

import asyncio
import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import WSMessage, WSMsgType, web

from minipod.api.errors import status_error
from minipod.client import Object
from minipod.node.streaming.idle import IdleTimeout
from minipod.node.streaming.remote_command import (
    ERROR,
    FIRST_SIZE_SECONDS,
    NO_SIZE,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    Size,
    Take,
    Wanted,
    parse_size,
)

V5, V4, V4_BASE64 = "v5.channel.k8s.io", "v4.channel.k8s.io", "v4.base64.channel.k8s.io"
OLD, OLD_BASE64, NONE = "channel.k8s.io", "base64.channel.k8s.io", ""
PROTOCOLS = (V5, V4, V4_BASE64, OLD, OLD_BASE64, NONE)
CLOSE = 255
MESSAGE_LIMIT = 32 << 20  # bytes, as upstream's
EARLY_MESSAGES = 8
NO_CHANNEL = -1
PONG_SECONDS = 15.0


def choose_protocol(request: web.Request, known: Sequence[str]) -> str:
    """Return the protocol to speak: `known[0]` if it is offered at all, else the client's first that we know.

    "" when it offers none. Raises Forbidden.
    """
    offered = ",".join(request.headers.getall("Sec-WebSocket-Protocol", []))
    names = [name.strip() for name in offered.split(",")]
    for name in [known[0]] * (known[0] in names) + names:
        if name in known:
            return name
    message = f"requested protocol(s) are not supported: [{' '.join(names)}]; supports [{' '.join(known)}]"
    raise status_error(403, "Forbidden", message)


async def accept(request: web.Request, protocol: str) -> web.WebSocketResponse:
    """Agree to the upgrade, and to the protocol."""
    socket = web.WebSocketResponse(
        protocols=(protocol,) if protocol else (),
        max_msg_size=MESSAGE_LIMIT,
        compress=False,
        autoclose=True,
    )
    await socket.prepare(request)
    return socket


@dataclass(frozen=True)
class Codec:
    """How a channel's data becomes a message."""

    base64: bool

    def decode(self, message: str | bytes) -> tuple[int, bytes] | None:
        """Return channel and data; None for what is no message."""
        raw = message.encode() if isinstance(message, str) else bytes(message)
        if not raw:
            return None
        if not self.base64:
            return raw[0], raw[1:]
        try:
            return raw[0] - ord("0"), base64.b64decode(raw[1:], validate=True)
        except binascii.Error:
            return None

    async def send(self, socket: web.WebSocketResponse, channel: int, data: bytes) -> None:
        """Send one message. Raises ConnectionError when the client is gone."""
        if self.base64:
            await socket.send_str(chr(ord("0") + channel) + base64.b64encode(data).decode())
        else:
            await socket.send_bytes(bytes((channel,)) + data)


class WebSocketChannels:
    """A client's end of a remote command, over a WebSocket."""

    def __init__(self, socket: web.WebSocketResponse, protocol: str, idle_seconds: float) -> None:
        self._socket = socket
        self._codec = Codec(protocol in (V4_BASE64, OLD_BASE64))
        self._status_as_json = protocol in (V5, V4, V4_BASE64)
        self._can_close = protocol == V5
        self._early: list[WSMessage] = []  # came while the first size was waited for
        self._idle = IdleTimeout(idle_seconds, self._end_idle)

    async def begin(self, wanted: Wanted) -> None:
        """Say that the connection stands: an empty message on the lowest channel that the client listens to."""
        channel = STDOUT if wanted.stdout else STDERR if wanted.stderr else ERROR
        await self._codec.send(self._socket, channel, b"")

    async def first_size(self) -> Size:
        """Wait a little for the size of the client's terminal; what comes before it is kept for `pump`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + FIRST_SIZE_SECONDS
        while len(self._early) < EARLY_MESSAGES and (left := deadline - loop.time()) > 0:
            try:
                message = await self._socket.receive(left)
            except TimeoutError:
                break
            channel, data = self._decode(message)
            if channel == RESIZE and (size := parse_size(data)):
                return size
            self._early.append(message)
            if channel == NO_CHANNEL:
                break
        return NO_SIZE

    async def pump(self, take: Take) -> None:
        """Hand over what comes until the client closes. It may close its input and still listen."""
        for message in self._early:
            await self._hand_over(message, take)
        async for message in self._socket:
            await self._hand_over(message, take)

    async def _hand_over(self, message: WSMessage, take: Take) -> None:
        self._idle.touch()
        channel, data = self._decode(message)
        with _Pongs(self._socket):
            if channel == CLOSE and self._can_close and data[:1] == bytes((STDIN,)):
                await take(STDIN, b"")
            elif data:
                await take(channel, data)

    def _decode(self, message: WSMessage) -> tuple[int, bytes]:
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            return NO_CHANNEL, b""
        return self._codec.decode(message.data) or (NO_CHANNEL, b"")

    async def send(self, channel: int, data: bytes) -> None:
        """Send output, waiting while the client lags."""
        self._idle.touch()
        await self._codec.send(self._socket, channel, data)

    async def finish(self, status: Object) -> None:
        """Send the final Status, or what the older protocols have for it, and close."""
        self._idle.cancel()
        if self._status_as_json:
            await self.send(ERROR, json.dumps(status).encode())
        elif status["status"] != "Success":
            await self.send(ERROR, status["message"].encode())
        await self._socket.close()

    def close(self) -> None:
        """Forget the connection's timer."""
        self._idle.cancel()

    def _end_idle(self) -> None:
        self._closing = asyncio.ensure_future(self._socket.close())


class _Pongs:
    """Keeps a client patient while its program does not read: kubectl gives a peer up that answers no ping."""

    def __init__(self, socket: web.WebSocketResponse) -> None:
        self._socket = socket
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[None] | None = None

    def __enter__(self) -> None:
        self._timer = self._loop.call_later(PONG_SECONDS, self._start)

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._send())

    async def _send(self) -> None:
        """Send pongs that nobody asked for (RFC 6455, 5.5.3): pings wait behind the input that is not read."""
        while not self._socket.closed:
            await self._socket.pong()
            await asyncio.sleep(PONG_SECONDS)
