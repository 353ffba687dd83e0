"""Streams between a client and a node: logs, exec, attach and the node proxy, through the kubelet's HTTP API.

The server adds nothing to a stream: it checks who asks for what, then copies bytes.
"""

from pathlib import Path

import aiohttp
from aiohttp import web
from yarl import URL

from minipod.api.errors import StatusError, service_unavailable
from minipod.client import Object
from minipod.server.relaying import (
    CHUNK,
    HopBroken,
    error_words,
    passed_on,
    request_head,
    stream_back,
    upgrade,
)
from minipod.server.spare_connection import SpareConnection
from minipod.upgrade import wants_upgrade

_HEAD_LIMIT = 65536


class NodeStreams:
    """The kubelet behind one Unix socket."""

    def __init__(self, socket_path: Path) -> None:
        self._path = socket_path
        self._session: aiohttp.ClientSession | None = None
        self._spare = SpareConnection(socket_path, _HEAD_LIMIT)

    async def close(self) -> None:
        """Give up the idle connections."""
        await self._spare.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def forward(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        """Let the kubelet answer `request` at `target` (path and query). Raises ServiceUnavailable."""
        if wants_upgrade(request):
            return await self._upgrade(request, target)
        return await self._copy(request, target)

    async def fetch(self, target: str) -> Object:
        """Return the JSON object that the kubelet has at `target`. Raises ServiceUnavailable."""
        try:
            async with self._client().get(URL(f"http://kubelet{target}", encoded=True)) as answered:
                found: Object = await answered.json()
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise self._unreachable(error_words(error)) from error
        if answered.status != 200:
            raise StatusError(found)
        return found

    async def _copy(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        body = request.content if request.body_exists else None
        try:
            answered = await self._client().request(
                request.method,
                URL(f"http://kubelet{target}", encoded=True),
                headers=passed_on(_without_cookies(request)),
                data=body,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding"),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise self._unreachable(error_words(error)) from error
        async with answered:
            return await stream_back(request, answered, passed_on(answered.headers.items()))

    async def _upgrade(self, request: web.BaseRequest, target: str) -> web.StreamResponse:
        try:
            reader, writer = await self._spare.take()
        except OSError as error:
            raise self._unreachable(error_words(error)) from error
        head = request_head(request.method, target, "kubelet", _without_cookies(request))
        try:
            return await upgrade(request, head, reader, writer)
        except HopBroken as broken:
            raise self._unreachable(str(broken)) from broken
        finally:
            writer.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.UnixConnector(str(self._path), limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
                auto_decompress=False,
                read_bufsize=CHUNK,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    def _unreachable(self, reason: str) -> StatusError:
        return service_unavailable(f'error trying to reach the kubelet at "{self._path}": {reason}')


def _without_cookies(request: web.BaseRequest) -> list[tuple[str, str]]:
    return [item for item in request.headers.items() if item[0].lower() != "cookie"]
