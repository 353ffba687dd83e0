"""Ports of a Pod for a client: connections to its loopback, each with a stream for data and one for an error.

    SPDY/3.1, portforward.k8s.io     any number of connections: two streams each, with one "requestid" and a "port"
    SPDY/3.1+portforward.k8s.io      the same as messages of a WebSocket
    v4.channel.k8s.io, its base64    one connection to each port of the query, begun at once; channels 2n and 2n+1,
    or no protocol                   each of which first tells its port (two bytes, little-endian)

Kubernetes: k8s.io/kubelet pkg/cri/streaming/portforward.
"""

import asyncio
import contextlib
import logging
import socket
import struct
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from aiohttp import WSMsgType, web

from minipod.api.errors import bad_request
from minipod.clock import call_off
from minipod.node.streaming.idle import IdleTimeout
from minipod.node.streaming.spdy_session import Pipe, SpdySession, SpdyStream
from minipod.node.streaming.websocket import Codec

logger = logging.getLogger(__name__)

CREATION_SECONDS = 30.0  # for the second stream of a pair
LINGER_SECONDS = 1.0  # for a client to end after the program has, as containerd gives it
CHUNK = 32 << 10
ERROR_CHANNEL_OFFSET = 1
QUEUE_MESSAGES = 16  # of one port's channel, before the client has to wait

Dial = Callable[[int], Awaitable[socket.socket]]  # raises OSError, ConnectionError


class ByteStream(Protocol):
    """A client's end of one connection."""

    async def read(self) -> bytes:
        """Return what has come, b"" once the client sends no more."""

    async def write(self, data: bytes) -> None:
        """Send, waiting while the client lags. Raises ConnectionError when it listens no more."""

    def end(self) -> None:
        """Send no more."""


class Forwarder:
    """Connects a client's streams to ports of one Pod."""

    def __init__(self, pod: str, uid: str, dial: Dial) -> None:
        self._pod, self._uid, self._dial = pod, uid, dial

    async def forward(self, port: int, client: ByteStream) -> str:
        """Connect and copy until the program has ended, or the client is gone; return what went wrong, or ""."""
        try:
            peer = await self._dial(port)
        except OSError as error:
            return f"error forwarding port {port} to pod {self._pod}, uid {self._uid}: {error}"
        reader, writer = await asyncio.open_connection(sock=peer, limit=CHUNK)
        inward = asyncio.create_task(_inward(client, writer))
        outward = asyncio.create_task(_outward(reader, client))
        try:
            await _both(inward, outward)
        except ConnectionError as broken:
            logger.debug("port %d of %s: %s", port, self._pod, broken)
        finally:
            await call_off(inward, outward)
            writer.close()
        return ""


async def _both(inward: "asyncio.Task[None]", outward: "asyncio.Task[None]") -> None:
    """Wait for both directions; once the program has ended its own, not for long. Raises ConnectionError.

    kubectl up to 1.31 ends its direction only when it is told that all is over.
    """
    await asyncio.wait({inward, outward}, return_when=asyncio.FIRST_COMPLETED)
    if inward.done():
        inward.result()
        await outward
    outward.result()
    await asyncio.wait({inward}, timeout=LINGER_SECONDS)


async def _inward(client: ByteStream, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(
        OSError
    ):  # the program may have gone first: what it said is still on its way
        while data := await client.read():
            writer.write(data)
            await writer.drain()
        writer.write_eof()
        return
    while await client.read():
        pass


async def _outward(reader: asyncio.StreamReader, client: ByteStream) -> None:
    while data := await reader.read(CHUNK):
        await client.write(data)
    client.end()


# -- SPDY --------------------------------------------------------------------------------------------


async def serve_spdy(pipe: Pipe, forwarder: Forwarder, idle_seconds: float) -> None:
    """Forward connections until the client is gone."""
    pairs = _Pairs(forwarder)
    session = SpdySession(pipe, pairs.add, idle_seconds)
    try:
        await session.run()
    finally:
        await asyncio.shield(asyncio.create_task(pairs.close()))


class _Pairs:
    """The pairs of one connection: those still incomplete, and those at work."""

    def __init__(self, forwarder: Forwarder) -> None:
        self._forwarder = forwarder
        self._waiting: dict[str, dict[str, SpdyStream]] = {}
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def add(self, stream: SpdyStream) -> None:
        """Take one stream; with its second, begin. Raises ValueError for what is no stream of a forwarding."""
        kind, _ = stream.headers.get("streamtype", ""), parse_port(stream.headers.get("port", ""))
        if kind not in ("data", "error"):
            raise ValueError(f'invalid stream type "{kind}"')
        request = stream.headers.get("requestid") or _pseudo_request(stream, kind)
        pair = self._waiting.setdefault(request, {})
        if kind in pair:
            raise ValueError(f"{kind} stream already assigned")
        pair[kind] = stream
        if len(pair) == 1:
            loop = asyncio.get_running_loop()
            self._timers[request] = loop.call_later(CREATION_SECONDS, self._expire, request)
            return
        self._timers.pop(request).cancel()
        del self._waiting[request]
        self._start(self._forward(pair["data"], pair["error"]))

    async def close(self) -> None:
        """Give up whatever is under way."""
        for timer in self._timers.values():
            timer.cancel()
        tasks = list(self._tasks)
        await call_off(*tasks)

    def _start(self, work: "asyncio.Future[None] | Awaitable[None]") -> None:
        task = asyncio.ensure_future(work)
        assert isinstance(task, asyncio.Task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _forward(self, data: SpdyStream, error: SpdyStream) -> None:
        problem = await self._forwarder.forward(parse_port(data.headers["port"]), data)
        with contextlib.suppress(ConnectionError):
            if problem:
                await error.write(problem.encode())
        for stream in (data, error):
            stream.end()
            stream.discard()

    def _expire(self, request: str) -> None:
        self._timers.pop(request)
        self._start(self._give_up(request, self._waiting.pop(request)))

    async def _give_up(self, request: str, pair: dict[str, SpdyStream]) -> None:
        with contextlib.suppress(ConnectionError):
            if "error" in pair:
                message = f"(request={request}) timed out waiting for streams"
                await pair["error"].write(message.encode())
        for stream in pair.values():
            stream.reset()


def _pseudo_request(stream: SpdyStream, kind: str) -> str:
    """Return what stands for the request of a client that names none: it opens error and data one after the other."""
    return str(stream.number if kind == "error" else stream.number - 2)


def parse_port(text: str) -> int:
    """Return a port. Raises ValueError."""
    if not text.isascii() or not text.isdigit() or not 0 < int(text) < 1 << 16:
        raise ValueError(f'unable to parse "{text}" as a port')
    return int(text)


# -- WebSocket channels -------------------------------------------------------------------------------


def parse_ports(values: Sequence[str]) -> list[int]:
    """Return the ports of a WebSocket's query ("port=1,2"). Raises BadRequest."""
    if not values:
        raise bad_request('query parameter "port" is required')
    if not all(values):
        raise bad_request('query parameter "port" cannot be empty')
    try:
        return [parse_port(text) for value in values for text in value.split(",")]
    except ValueError as error:
        raise bad_request(str(error)) from None


class _Channel:
    """One port's data channel on a WebSocket, which cannot end one direction alone."""

    def __init__(self, socket: web.WebSocketResponse, codec: Codec, number: int) -> None:
        self._socket, self._codec, self._number = socket, codec, number
        self.queue: asyncio.Queue[bytes] = asyncio.Queue(QUEUE_MESSAGES)

    async def read(self) -> bytes:
        """Return the next message's data, b"" when the client is gone."""
        return await self.queue.get()

    async def write(self, data: bytes) -> None:
        """Send one message."""
        await self._codec.send(self._socket, self._number, data)

    async def write_error(self, data: bytes) -> None:
        """Send on the channel for errors that belongs to this one."""
        await self._codec.send(self._socket, self._number + ERROR_CHANNEL_OFFSET, data)

    def end(self) -> None:
        """Read no more either: nothing tells a client that one direction has ended."""
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(b"")


async def serve_websocket(
    socket: web.WebSocketResponse,
    codec: Codec,
    ports: Sequence[int],
    forwarder: Forwarder,
    idle_seconds: float,
) -> None:
    """Forward one connection to each port until all have ended or the client has gone."""
    closing: list[asyncio.Future[bool]] = []
    idle = IdleTimeout(idle_seconds, lambda: closing.append(asyncio.ensure_future(socket.close())))
    channels = [_Channel(socket, codec, 2 * index) for index in range(len(ports))]
    for channel, port in zip(channels, ports, strict=True):
        await channel.write(struct.pack("<H", port))
        await channel.write_error(struct.pack("<H", port))
    receiving = asyncio.create_task(_receive(socket, codec, channels, idle))
    forwarding = [
        asyncio.create_task(_forward_channel(forwarder, port, channel))
        for channel, port in zip(channels, ports, strict=True)
    ]
    everything = asyncio.create_task(_all(forwarding))
    try:
        await asyncio.wait({receiving, everything}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        idle.cancel()
        await asyncio.shield(asyncio.create_task(call_off(receiving, everything, *forwarding)))
    await socket.close()


async def _all(tasks: list[asyncio.Task[None]]) -> None:
    await asyncio.gather(*tasks)


async def _receive(
    socket: web.WebSocketResponse, codec: Codec, channels: list[_Channel], idle: IdleTimeout
) -> None:
    async for message in socket:
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            continue
        idle.touch()
        found = codec.decode(message.data)
        if found is None:
            continue
        index, is_error = divmod(found[0], 2)
        if index < len(channels) and not is_error and found[1]:
            await channels[index].queue.put(found[1])


async def _forward_channel(forwarder: Forwarder, port: int, channel: _Channel) -> None:
    problem = await forwarder.forward(port, channel)
    if problem:
        with contextlib.suppress(ConnectionError):
            await channel.write_error(problem.encode())
