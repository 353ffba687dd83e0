"""Streams between a client and a node: logs, exec, attach and the node proxy, through the kubelet's HTTP API.

The server adds nothing to a stream: it checks who asks for what, then copies bytes. Plain requests are copied as
HTTP; an upgraded connection (WebSocket, SPDY/3.1) byte by byte, so that whatever client and kubelet agree upon goes
through.
"""

import asyncio
from collections.abc import Iterable, Mapping
from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from minipod.api.errors import StatusError, service_unavailable
from minipod.upgrade import Taken, UpgradedConnection, wants_upgrade

_CHUNK = 65536
_HEAD_LIMIT = 65536
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


class NodeStreams:
    """The kubelet behind one Unix socket."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give up the idle connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def forward(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        """Let the kubelet answer `request` at `target` (path and query). Raises ServiceUnavailable."""
        if wants_upgrade(request):
            return await self._upgrade(request, target)
        return await self._copy(request, target)

    async def _copy(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        try:
            answered = await self._client().request(
                request.method,
                URL(f"http://kubelet{target}", encoded=True),
                headers=_passed_on(request.headers.items()),
                data=body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding"),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error) from error
        async with answered:
            return await _stream_back(request, answered)

    async def _upgrade(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        try:
            reader, writer = await asyncio.open_unix_connection(self._path, limit=_HEAD_LIMIT)
        except OSError as error:
            raise self._unreachable(error) from error
        try:
            writer.write(_request_head(request, target))
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, OSError) as error:
                raise self._unreachable(error) from error
            status = int(head.split(b" ", 2)[1])
            if status != 101:
                return await _refusal(reader, head, status)
            client = UpgradedConnection.take(request, head)
            try:
                await _relay(client, reader, writer)
            finally:
                client.close()
            return Taken()
        finally:
            writer.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._path), limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                auto_decompress=False,
                read_bufsize=_CHUNK,
            )
        return self._session

    def _unreachable(self, error: Exception) -> StatusError:
        reason = " ".join(str(error).split()) or type(error).__name__
        return service_unavailable(f'error trying to reach the kubelet at "{self._path}": {reason}')


def _passed_on(headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Return the headers that concern the ends, not the hop."""
    return [
        (name, value)
        for name, value in headers
        if name.lower() not in _HOP_BY_HOP and not _is_credential(name)
    ]


def _is_credential(name: str) -> bool:
    """Whether a header says who the caller is, which the server has dealt with: no node gets to see a token."""
    lowered = name.lower()
    return lowered in ("authorization", "cookie") or lowered.startswith("impersonate-")


async def _stream_back(
    request: web.BaseRequest, answered: aiohttp.ClientResponse
) -> web.StreamResponse:
    response = web.StreamResponse(status=answered.status, reason=answered.reason)
    for name, value in _passed_on(answered.headers.items()):
        response.headers.add(name, value)
    await response.prepare(request)
    try:
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


def _request_head(request: web.BaseRequest, target: str) -> bytes:
    lines = [f"{request.method} {target} HTTP/1.1", "Host: kubelet"]
    lines += [
        f"{name}: {value}"
        for name, value in request.headers.items()
        if name.lower() not in _OURS and not _is_credential(name)
    ]
    return "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")


async def _refusal(reader: asyncio.StreamReader, head: bytes, status: int) -> web.Response:
    """Return the kubelet's refusal to upgrade as the client's answer."""
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
        while data := await reader.read(_CHUNK):
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
