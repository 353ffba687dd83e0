"""httpGet of probes and hooks: one GET from the node, certificates unchecked, redirects followed on the same host.

Semantics and words are the kubelet's (pkg/probe/http). The messages of failed connections are written as Go's
net/http has them, because people and dashboards look for those.
"""

import asyncio
import errno
import os
import ssl
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from yarl import URL

from minipod.client import Object
from minipod.node.ports import resolve_port

BODY_LIMIT = 10 * 1024  # bytes of the response that anybody reads
REDIRECT_LIMIT = 10
_REDIRECTS = (301, 302, 303, 307, 308)
Purpose = Literal["probe", "lifecycle"]


@dataclass(frozen=True)
class HttpRequest:
    """A GET: where to, and with which headers (a header may occur more than once)."""

    url: URL
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class HttpAnswer:
    """What came back: the last response's code and the beginning of its body, or why nothing did."""

    code: int = 0
    body: str = ""
    error: str = ""


def compute_http_request(
    action: Object, container: Object, address: str, purpose: Purpose
) -> HttpRequest:
    """Return the request of an httpGet action; `address` is the Pod's, for an action without a host. PortError."""
    scheme = str(action.get("scheme") or "HTTP").lower()
    host = action.get("host") or address
    port = resolve_port(action["port"], container)
    shown = f"[{host}]" if ":" in host else host
    path = action.get("path") or "/"
    path = path if path.startswith("/") else f"/{path}"
    url = URL(f"{scheme}://{shown}:{port}{path.replace(' ', '%20')}", encoded=True)
    listed = action.get("httpHeaders") or ()
    given = [(canonical_name(each["name"]), each.get("value", "")) for each in listed]
    names = {name.lower() for name, _ in given}
    if "host" not in names:
        given.append(("Host", _place(url)))
    if "accept" not in names:
        given.append(("Accept", "*/*"))
    elif ("accept", "") in [(name.lower(), value) for name, value in given]:
        given = [each for each in given if each[0].lower() != "accept"]
    if "user-agent" not in names:
        given.append(("User-Agent", f"kube-{purpose}/1.36"))
    elif ("user-agent", "") in [(name.lower(), value) for name, value in given]:
        given = [each for each in given if each[0].lower() != "user-agent"]
    return HttpRequest(url, tuple(given))


def written(url: URL) -> str:
    """Return a URL with its port, as it was given: yarl leaves one out that is its scheme's own."""
    return f"{url.scheme}://{_place(url)}{url.raw_path_qs}"


def _place(url: URL) -> str:
    host = url.raw_host or ""
    return f"[{host}]:{url.port}" if ":" in host else f"{host}:{url.port}"


def canonical_name(name: str) -> str:
    """Return a header's name as Go sends it: "x-me" is "X-Me"."""
    return "-".join(part[:1].upper() + part[1:].lower() for part in name.split("-"))


@dataclass
class HttpClient:
    """Sends such requests; each over a connection of its own."""

    _session: aiohttp.ClientSession | None = field(default=None, repr=False)

    async def get(self, request: HttpRequest, timeout: float) -> HttpAnswer:
        """Send a request and follow what it leads to, for at most `timeout` seconds."""
        url = request.url
        try:
            async with asyncio.timeout(timeout):
                return await self._follow(request)
        except TimeoutError:
            waiting = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return HttpAnswer(error=f'Get "{written(url)}": {waiting}')

    async def close(self) -> None:
        """End. Repeatable."""
        if self._session:
            await self._session.close()
            self._session = None

    async def _follow(self, request: HttpRequest) -> HttpAnswer:
        url, headers = request.url, request.headers
        for _ in range(REDIRECT_LIMIT):
            answer, location = await self._once(url, headers)
            if location is None:
                return answer
            target = url.join(location)
            if target.host != request.url.host:
                return answer
            if location.absolute:  # a Host header was meant for the first address
                headers = tuple(each for each in headers if each[0].lower() != "host")
            url = target
        return HttpAnswer(error=f'Get "{written(url)}": stopped after {REDIRECT_LIMIT} redirects')

    async def _once(
        self, url: URL, headers: tuple[tuple[str, str], ...]
    ) -> tuple[HttpAnswer, URL | None]:
        """Return the answer, and where it leads to when it is a redirect."""
        session = self._open()
        try:
            async with session.get(url, headers=headers, allow_redirects=False) as response:
                body = await _read(response)
                answer = HttpAnswer(response.status, body.decode(errors="replace"))
                place = response.headers.get("Location")
                follow = response.status in _REDIRECTS and place
                return answer, URL(place) if follow and place else None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return HttpAnswer(error=f'Get "{written(url)}": {explain(error, url)}'), None

    def _open(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                ssl=False, force_close=True, limit=0, use_dns_cache=False
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None),
                auto_decompress=False,
                skip_auto_headers=("User-Agent", "Accept", "Accept-Encoding"),
            )
        return self._session


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = b""
    while len(body) < BODY_LIMIT:
        chunk = await response.content.read(BODY_LIMIT - len(body))
        if not chunk:
            break
        body += chunk
    return body


def explain(error: BaseException, url: URL) -> str:
    """Return a failed connection as Go words it: "dial tcp 10.85.0.2:80: connect: connection refused"."""
    place = _place(url)
    if is_plain_answer(error):
        return "http: server gave HTTP response to HTTPS client"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"dial tcp: lookup {url.raw_host}: no such host"
    number = getattr(error, "errno", None)
    if isinstance(error, aiohttp.ClientConnectorError | ConnectionRefusedError) and number:
        return f"dial tcp {place}: connect: {os.strerror(number).lower()}"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "EOF"
    if number == errno.ECONNRESET:
        return f"read tcp {place}: read: connection reset by peer"
    return str(error) or type(error).__name__


def is_plain_answer(error: BaseException) -> bool:
    """Whether a server that was spoken to in TLS has answered without."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") in (
            "WRONG_VERSION_NUMBER",
            "HTTP_REQUEST",
            "RECORD_LAYER_FAILURE",
        ):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
