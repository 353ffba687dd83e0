"""One HTTP hop: a request passed on to somebody who answers it, and the answer passed back as it comes.

Plain answers are copied as HTTP; an upgraded connection (WebSocket, SPDY/3.1) byte by byte, so that whatever the two
ends agree upon goes through.
"""

import asyncio
from collections.abc import Iterable, Mapping

import aiohttp
from aiohttp import web

from minipod.upgrade import Taken, UpgradedConnection

CHUNK = 65536
_ERROR_BODY_LIMIT = 1 << 20
# What an upgrade's head does not pass on: a request that asks for one has no body.
_OURS = frozenset(("host", "content-length", "transfer-encoding", "expect", "authorization"))
_HOP_BY_HOP = frozenset(
    (
        "connection",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    )
)
Headers = Iterable[tuple[str, str]]


class HopBroken(Exception):
    """The next one did not answer; the message says why."""


def passed_on(headers: Headers) -> list[tuple[str, str]]:
    """Return the headers that concern the ends, not the hop."""
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in _HOP_BY_HOP and not _is_credential(name)
    ]


def _is_credential(name: str) -> bool:
    """Whether a header says who the caller is, which the server has dealt with: nobody else gets to see a token."""
    lowered = name.lower()
    return lowered == "authorization" or lowered.startswith("impersonate-")


async def stream_back(
    request: web.BaseRequest,
    answered: aiohttp.ClientResponse,
    headers: Headers,
    *,
    begun: bytes = b"",
) -> web.StreamResponse:
    """Pass an answer back with the headers given, piece by piece as they come, after what was read of it before."""
    response = web.StreamResponse(status=answered.status, reason=answered.reason)
    for name, value in headers:
        response.headers.add(name, value)
    await response.prepare(request)
    try:
        if begun:
            await response.write(begun)
        async for piece in answered.content.iter_any():
            await response.write(piece)
    except (aiohttp.ClientError, ConnectionError):
        # one end is gone: the other must not take what it has for the whole
        response.force_close()
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


async def upgrade(
    request: web.BaseRequest,
    head: bytes,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> web.StreamResponse:
    """Send an upgrade's head and, once it is agreed to, copy both ways until one end is gone. Raises HopBroken."""
    writer.write(head)
    try:
        answer = await reader.readuntil(b"\r\n\r\n")
        status = int(answer.split(b" ", 2)[1])
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
        raise HopBroken(error_words(error)) from error
    except (IndexError, ValueError):
        raise HopBroken("malformed HTTP response") from None
    if status != 101:
        return await _refusal(reader, answer, status)
    client = UpgradedConnection.take(request, answer)
    try:
        await _relay(client, reader, writer)
    finally:
        client.close()
    return Taken()


def error_words(error: Exception) -> str:
    """Return what is said about a failure of the network, on one line."""
    return " ".join(str(error).split()) or type(error).__name__


def request_head(method: str, target: str, host: str, headers: Headers) -> bytes:
    """Return the head of a request to upgrade, without what concerns the hop before."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [
        f"{name}: {value}"
        for name, value in headers
        if name.lower() not in _OURS and not _is_credential(name)
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


async def _refusal(reader: asyncio.StreamReader, head: bytes, status: int) -> web.Response:
    """Return a refusal to upgrade as the client's answer."""
    headers = _parse_headers(head)
    length = headers.get("content-length", "")
    wanted = min(int(length), _ERROR_BODY_LIMIT) if length.isdigit() else 0
    try:
        body = await reader.readexactly(wanted)
    except asyncio.IncompleteReadError as cut:
        body = cut.partial
    kind = headers.get("content-type", "text/plain")
    return web.Response(status=status, body=body, headers={"Content-Type": kind})


def _parse_headers(head: bytes) -> Mapping[str, str]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    pairs = (line.partition(":") for line in lines if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _relay(
    client: UpgradedConnection, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Copy both ways until either end closes; the other is closed then."""

    async def inward() -> None:
        while data := await client.read():
            writer.write(data)
            await writer.drain()

    async def outward() -> None:
        while data := await reader.read(CHUNK):
            await client.write(data)

    copying = [asyncio.create_task(inward()), asyncio.create_task(outward())]
    try:
        await asyncio.wait(copying, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in copying:
            task.cancel()
        for ended in await asyncio.gather(*copying, return_exceptions=True):
            if isinstance(ended, Exception) and not isinstance(ended, OSError):
                raise ended
