"""The proxy to Pods and Services (pods/proxy, services/proxy, other ports of nodes): HTTP to an address of the cluster.

What goes on is the request as it came, to the path behind `/proxy`, without the caller's credentials; what comes back
is the answer, its links led through the proxy (`links`). A backend that speaks TLS is not asked who it is, as upstream.
"""

import asyncio
import ssl
import zlib
from functools import cached_property

import aiohttp
from aiohttp import web
from yarl import URL

from minipod.api.errors import StatusError, service_unavailable
from minipod.server.links import Links, rewrite_html
from minipod.server.proxy_locations import Location
from minipod.server.relaying import (
    CHUNK,
    HopBroken,
    error_words,
    passed_on,
    request_head,
    stream_back,
    upgrade,
)
from minipod.upgrade import wants_upgrade

CONNECT_SECONDS = 30.0
_HEAD_LIMIT = 65536
PAGE_LIMIT = 8 << 20  # bytes of a page whose links are rewritten; a larger one goes as it is
_OF_THE_BODY = frozenset(("content-length", "content-encoding"))


class BackendProxy:
    """Connects the API server's clients with servers in the cluster."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Give up the idle connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def forward(
        self, request: web.BaseRequest, location: Location, rest: str
    ) -> web.StreamResponse:
        """Let the server at `location` answer; `rest` is the path behind `/proxy`. Raises ServiceUnavailable."""
        if wants_upgrade(request):
            return await self._upgrade(request, location, rest)
        if not rest and request.method in ("GET", "HEAD"):
            return _to_slash(
                request
            )  # so that links relative to the page keep leading through the proxy
        links = Links(
            request.rel_url.raw_path.removesuffix(rest), (location.authority, request.host)
        )
        target = URL(f"{location.root}{_target(request, rest)}", encoded=True)
        try:
            answered = await self._client().request(
                request.method,
                target,
                headers=[*_forwarded(request, links, rest), ("Host", request.host)],
                data=request.content if request.body_exists else None,
                allow_redirects=False,
                skip_auto_headers=("User-Agent", "Content-Type", "Accept-Encoding"),
            )
        except (aiohttp.ClientError, OSError) as error:
            raise _unreachable(_dialling(location, error)) from error
        async with answered:
            return await _answer(request, answered, links)

    async def _upgrade(
        self, request: web.BaseRequest, location: Location, rest: str
    ) -> web.StreamResponse:
        context = self._unverified if location.scheme == "https" else None
        opening = asyncio.open_connection(
            location.host, location.port, ssl=context, limit=_HEAD_LIMIT
        )
        try:
            reader, writer = await asyncio.wait_for(opening, CONNECT_SECONDS)
        except OSError as error:
            raise _unreachable(_dialling(location, error)) from error
        headers = list(request.headers.items())
        if request.remote:
            headers.append(("X-Forwarded-For", request.remote))
        head = request_head(request.method, _target(request, rest), request.host, headers)
        try:
            return await upgrade(request, head, reader, writer)
        except HopBroken as broken:
            raise _unreachable(str(broken)) from broken
        finally:
            writer.close()

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, ssl=self._unverified, use_dns_cache=False),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
                auto_decompress=False,
                read_bufsize=CHUNK,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    @cached_property
    def _unverified(self) -> ssl.SSLContext:
        """A Pod has a certificate of its own making: only the bytes on the way are protected."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context


def _target(request: web.BaseRequest, rest: str) -> str:
    query = request.rel_url.raw_query_string
    path = rest or "/"
    return f"{path}?{query}" if query else path


def _to_slash(request: web.BaseRequest) -> web.Response:
    query = request.rel_url.raw_query_string
    where = f"{request.rel_url.raw_path}/"
    return web.Response(status=301, headers={"Location": f"{where}?{query}" if query else where})


def _forwarded(request: web.BaseRequest, links: Links, rest: str) -> list[tuple[str, str]]:
    """Return the headers of the request as it goes on: with where it came from, and without who sent it."""
    kept = [
        (name, value)
        for name, value in passed_on(request.headers.items())
        if name.lower() not in ("x-forwarded-for", "x-forwarded-uri")
    ]
    hops = [*request.headers.getall("X-Forwarded-For", []), *filter(None, [request.remote])]
    if hops:
        kept.append(("X-Forwarded-For", ", ".join(hops)))
    return [*kept, ("X-Forwarded-Uri", f"{links.prefix}{rest}")]


async def _answer(
    request: web.BaseRequest, answered: aiohttp.ClientResponse, links: Links
) -> web.StreamResponse:
    headers = passed_on(answered.headers.items())
    redirect = answered.headers.get("Location", "")
    if redirect:
        kept = [item for item in headers if item[0].lower() != "location"]
        headers = [*kept, ("Location", links.rewritten(redirect))]
    elif _is_page(request, answered):
        return await _page(request, answered, headers, links)
    return await stream_back(request, answered, headers)


def _is_page(request: web.BaseRequest, answered: aiohttp.ClientResponse) -> bool:
    """Whether an answer is HTML whose links can be rewritten: all of it, and in an encoding that is understood."""
    if request.method == "HEAD" or answered.status in (204, 206, 304):
        return False
    encoding = answered.headers.get("Content-Encoding", "")
    length = answered.content_length or 0
    known = encoding in ("", "identity", "gzip", "deflate")
    return answered.content_type == "text/html" and known and length <= PAGE_LIMIT


async def _page(
    request: web.BaseRequest,
    answered: aiohttp.ClientResponse,
    headers: list[tuple[str, str]],
    links: Links,
) -> web.StreamResponse:
    """Pass a page back with its links rewritten; one that is too long or cannot be read goes as it is."""
    try:
        data, whole = await _read(answered)
    except (aiohttp.ClientError, OSError) as error:
        raise _unreachable(error_words(error)) from error
    rewritten = _rewritten(data, answered, links) if whole else None
    if rewritten is None:
        return await stream_back(request, answered, headers, begun=data)
    response = web.Response(status=answered.status, reason=answered.reason, body=rewritten)
    for name, value in headers:
        if name.lower() not in _OF_THE_BODY:
            response.headers.add(name, value)
    return response


async def _read(answered: aiohttp.ClientResponse) -> tuple[bytes, bool]:
    """Return a page, or as much of it as is read before it turns out to be too long."""
    data = bytearray()
    async for piece in answered.content.iter_any():
        data += piece
        if len(data) > PAGE_LIMIT:
            return bytes(data), False
    return bytes(data), True


def _rewritten(data: bytes, answered: aiohttp.ClientResponse, links: Links) -> bytes | None:
    """Return a page with its links rewritten, None when it is not what its headers say."""
    charset = answered.charset or "utf-8"
    try:
        page = _unpacked(data, answered.headers.get("Content-Encoding", ""))
        text = rewrite_html(page.decode(charset, "surrogateescape"), links)
        return text.encode(charset, "surrogateescape")
    except (LookupError, ValueError, zlib.error):
        return None


def _unpacked(data: bytes, encoding: str) -> bytes:
    """Return a page that was sent packed (RFC 9110, 8.4.1). Raises zlib.error, ValueError."""
    if encoding not in ("gzip", "deflate") or not data:
        return data
    bits = 16 + zlib.MAX_WBITS
    if encoding == "deflate":  # with zlib's header as the RFC says, or without as many send it
        bits = zlib.MAX_WBITS if data[0] & 0x0F == 8 else -zlib.MAX_WBITS
    unpacking = zlib.decompressobj(bits)
    page = unpacking.decompress(data, PAGE_LIMIT)
    if unpacking.unconsumed_tail:
        raise ValueError(f"the page is longer than {PAGE_LIMIT} bytes")
    return page


def _dialling(location: Location, error: Exception) -> str:
    """Return why a connection did not come about, in the words that Go has for it."""
    if isinstance(error, TimeoutError):
        return f"dial tcp {location.authority}: i/o timeout"
    reason = getattr(error, "os_error", error)
    if isinstance(reason, ConnectionRefusedError):
        return f"dial tcp {location.authority}: connect: connection refused"
    if isinstance(reason, OSError) and reason.strerror and not isinstance(reason, ssl.SSLError):
        return f"dial tcp {location.authority}: connect: {_lower(reason.strerror)}"
    return error_words(error)


def _lower(words: str) -> str:
    return words[:1].lower() + words[1:]


def _unreachable(reason: str) -> StatusError:
    return service_unavailable(f"error trying to reach service: {reason}")
