"""exec and attach over WebSocket: one byte of channel before each message (subprotocols v5 and v4.channel.k8s.io).

Channels: 0 stdin, 1 stdout, 2 stderr, 3 the final Status as JSON, 4 terminal size; with v5, 255 and a channel number
closes that channel. Kubernetes: k8s.io/apimachinery util/remotecommand, KEP-4006.
"""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import WSMessage, WSMsgType, web

from minipod.client import Object
from minipod.runtime.service import Streams

logger = logging.getLogger(__name__)

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, STDERR, ERROR, RESIZE, CLOSE = 0, 1, 2, 3, 4, 255
# How long a program with a terminal waits for the size of its client's: it comes right behind the upgrade, if at all.
FIRST_SIZE_SECONDS = 0.25
Size = tuple[int, int]  # columns, rows
NO_SIZE: Size = (0, 0)


@dataclass(frozen=True)
class Wanted:
    """Which streams the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


def success() -> Object:
    """Return the Status of a program that ended with 0."""
    return {"metadata": {}, "status": "Success"}


def exit_status(code: int) -> Object:
    """Return the Status that carries a program's exit code."""
    if code == 0:
        return success()
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure(message: str) -> Object:
    """Return the Status of a stream that could not be served."""
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": {"causes": [{"message": message}]},
        "code": 500,
    }


async def open_channels(request: web.Request) -> web.WebSocketResponse:
    """Accept the upgrade in a protocol both sides know."""
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=0, autoclose=True)
    await socket.prepare(request)
    return socket


async def receive_first_size(socket: web.WebSocketResponse) -> tuple[Size, list[WSMessage]]:
    """Wait for the size of the client's terminal; return it and whatever came before it, for `serve`.

    A program looks at its terminal's size once, at its start. Upstream sets it some time after that; here the program
    is started with it. A client that sends anything else first, or nothing soon, has none to tell: (0, 0).
    """
    try:
        message = await socket.receive(FIRST_SIZE_SECONDS)
    except TimeoutError:
        return NO_SIZE, []
    channel, data = _parse(message)
    size = _parse_size(data) if channel == RESIZE else None
    return (size, []) if size else (NO_SIZE, [message])


async def serve(
    socket: web.WebSocketResponse,
    streams: Streams,
    wanted: Wanted,
    early: Sequence[WSMessage] = (),
    *,
    wait_for_exit: bool,
) -> None:
    """Carry the streams until the program has ended or the client has gone; then say how it ended.

    `early` are messages that have been received already.
    """
    incoming = asyncio.create_task(_receive(socket, streams, wanted, early))
    outgoing = asyncio.create_task(_send(socket, streams, wanted))
    try:
        await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
        if socket.closed:
            return
        await outgoing
        code = await streams.wait() if wait_for_exit else 0
        await send_status(socket, exit_status(code))
    except (ConnectionError, RuntimeError) as error:
        logger.debug("stream ended: %s", error)
    finally:
        # a task of its own: the client's leaving cancels this one, at this very moment as well
        await asyncio.shield(asyncio.create_task(_end(streams, incoming, outgoing)))


async def _end(streams: Streams, *copying: asyncio.Task[None]) -> None:
    for task in copying:
        task.cancel()
    await asyncio.gather(*copying, return_exceptions=True)
    await streams.close()


async def send_status(socket: web.WebSocketResponse, status: Object) -> None:
    """Send the final Status and close."""
    await socket.send_bytes(bytes((ERROR,)) + json.dumps(status).encode())
    await socket.close()


async def _send(socket: web.WebSocketResponse, streams: Streams, wanted: Wanted) -> None:
    while (chunk := await streams.read()) is not None:
        stream, data = chunk
        channel, asked = (STDOUT, wanted.stdout) if stream == "stdout" else (STDERR, wanted.stderr)
        if asked:
            await socket.send_bytes(bytes((channel,)) + data)


async def _receive(
    socket: web.WebSocketResponse, streams: Streams, wanted: Wanted, early: Sequence[WSMessage]
) -> None:
    """Pass input on until the client closes. It may close its input and still listen."""
    for message in early:
        await _take(streams, wanted, *_parse(message))
    async for message in socket:
        await _take(streams, wanted, *_parse(message))


def _parse(message: WSMessage) -> tuple[int, bytes]:
    """Return the channel and the data of a message; channel -1 when it is none."""
    data = b""
    if message.type is WSMsgType.TEXT:
        data = str(message.data).encode()
    elif message.type is WSMsgType.BINARY:
        data = bytes(message.data)
    return (data[0], data[1:]) if data else (-1, b"")


def _parse_size(data: bytes) -> Size | None:
    """Return (columns, rows) of {"Width": columns, "Height": rows}."""
    try:
        size = json.loads(data)
        return int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        logger.debug("terminal size %r is none", data)
        return None


async def _take(streams: Streams, wanted: Wanted, channel: int, data: bytes) -> None:
    try:
        if channel == STDIN and wanted.stdin and data:
            await streams.write(data)
        elif channel == CLOSE and data[:1] == bytes((STDIN,)) and wanted.stdin:
            await streams.close_stdin()
        elif channel == RESIZE and wanted.tty and (size := _parse_size(data)):
            await streams.resize(*size)
    except BrokenPipeError:
        logger.debug("nobody reads this input any more")
