"""A client of the OCI distribution specification 1.1: pulls manifests and blobs, and bears with bad weather.

What a cut leaves is continued with a Range request; what is throttled (429) or unwell (5xx) is asked again after a
pause; what does not have its digest is fetched once more and then refused. Credentials go to the registry and to the
token service that it names, never to where it redirects.
"""

import asyncio
import base64
import hashlib
import os
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

import aiohttp
from yarl import URL

from . import model
from .credentials import Credential
from .errors import ImageError
from .model import Descriptor
from .names import Reference
from .stream import CHUNK

ATTEMPTS = 5  # without any progress between them
FIRST_PAUSE, LAST_PAUSE = 0.5, 30.0  # seconds between attempts, doubling
STALL_SECONDS = 60.0  # without a byte
CONNECT_SECONDS = 30.0
MANIFEST_TYPES = (
    model.INDEX_TYPE,
    model.MANIFEST_TYPE,
    model.DOCKER_LIST_TYPE,
    model.DOCKER_MANIFEST_TYPE,
)
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_NUMBER = re.compile("[0-9]{1,9}")
_PYTHONS = re.compile(r"^\[[^]]*\] | \(_ssl\.c:\d+\)$")  # around what OpenSSL says
_TOKEN_LIMIT = 1 << 20
_PASSING = frozenset({408, 429, 500, 502, 503, 504})

Sleep = Callable[[float], Awaitable[None]]
A = TypeVar("A")
Tell = Callable[[int], None]  # takes the number of bytes that came


class RegistryError(ImageError):
    """The registry refuses. `status` is HTTP's; 0 when it could not be reached."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class _Retry(Exception):
    """An answer that may be better next time, after `pause` seconds when the registry says so."""

    def __init__(self, why: str, pause: float | None = None) -> None:
        super().__init__(why)
        self.why = why
        self.pause = pause


class RegistryClient:
    """One repository of one registry, at one address."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        endpoint: str,
        reference: Reference,
        credentials: Sequence[Credential] = (),
        sleep: Sleep = asyncio.sleep,
    ) -> None:
        self._session = session
        self._base = f"{endpoint}/v2/{reference.path}"
        self._reference = reference
        self._credentials = list(credentials) or [Credential()]
        self._sleep = sleep
        self._authorization = ""
        self.shown = (
            Credential()
        )  # what the registry has been shown last; empty for an anonymous caller

    async def digest(self, what: str) -> str:
        """Return the digest of the manifest `what` (a tag or a digest), "" when the registry does not say."""

        async def ask() -> str:
            async with self._get(
                f"manifests/{what}", {"Accept": ", ".join(MANIFEST_TYPES)}, "HEAD"
            ) as answer:
                return answer.headers.get("Docker-Content-Digest", "")

        return await self._persist(ask)

    async def manifest(self, what: str, limit: int) -> tuple[Descriptor, bytes]:
        """Return the manifest or index `what` (a tag or a digest). Raises RegistryError."""

        async def ask() -> tuple[Descriptor, bytes]:
            headers = {"Accept": ", ".join(MANIFEST_TYPES)}
            async with self._get(f"manifests/{what}", headers) as answer:
                data = await _read(answer, limit, str(self._reference))
                kind = answer.content_type
            digest = model.compute_digest(data)
            if model.is_digest(what) and digest != what:
                raise _Retry(f'its content is "{digest}"')
            return Descriptor(kind, digest, len(data)), data

        return await self._persist(ask)

    async def fetch(self, blob: Descriptor, target: Path, tell: Tell) -> None:
        """Write a blob to `target` (a new file), whole and verified. Raises RegistryError."""
        with open(target, "xb") as stream:  # noqa: ASYNC230 - a process that does nothing else
            for last in (False, True):
                await self._fill(blob, stream, tell)
                if _digest(target) == blob.digest:
                    return
                if last:
                    break
                tell(-stream.tell())
                stream.truncate(0)
                stream.seek(0)
        found = _digest(target)
        raise RegistryError(f'{self._where(blob.digest)}: its content is "{found}", twice')

    # -- one blob --------------------------------------------------------------------------------

    async def _fill(self, blob: Descriptor, stream: BinaryIO, tell: Tell) -> None:
        """Append what is missing of the blob; each cut that brought something starts the attempts anew."""
        failures: list[str] = []

        async def ask() -> None:
            before = stream.tell()
            try:
                await self._append(blob, stream, tell)
            finally:
                stream.flush()
                if stream.tell() > before:
                    failures.clear()
            if stream.tell() < blob.size:
                raise _Retry(f"it ended after {stream.tell()} of {blob.size} bytes")

        await self._persist(ask, failures)

    async def _append(self, blob: Descriptor, stream: BinaryIO, tell: Tell) -> None:
        have = stream.tell()
        headers = {"Range": f"bytes={have}-"} if have else {}
        async with self._get(f"blobs/{blob.digest}", headers) as answer:
            if have and answer.status != 206:  # it begins again, so do we
                tell(-have)
                stream.truncate(0)
                stream.seek(0)
            async for piece in answer.content.iter_chunked(CHUNK):
                if stream.tell() + len(piece) > blob.size:
                    message = f"it is longer than the {blob.size} bytes announced"
                    raise RegistryError(f"{self._where(blob.digest)}: {message}")
                stream.write(piece)
                tell(len(piece))

    # -- requests --------------------------------------------------------------------------------

    async def _persist(
        self, ask: Callable[[], Awaitable[A]], failures: list[str] | None = None
    ) -> A:
        """Ask until there is an answer, pausing ever longer. Raises RegistryError with the last failure."""
        failures = [] if failures is None else failures
        while True:
            pause: float | None = None
            try:
                return await ask()
            except _Retry as retry:
                failures.append(retry.why)
                pause = retry.pause
            except aiohttp.ClientConnectorError as error:
                raise RegistryError(f"{self._where()}: {_words(error)}") from None
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as error:
                failures.append(_words(error))
            if len(failures) >= ATTEMPTS:
                raise RegistryError(f"{self._where()}: {failures[-1]} ({ATTEMPTS} attempts)")
            wait = FIRST_PAUSE * 2 ** (len(failures) - 1) if pause is None else pause
            await self._sleep(min(wait, LAST_PAUSE))

    @asynccontextmanager
    async def _get(
        self, path: str, headers: dict[str, str], method: str = "GET"
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send one request, authenticating when asked to. Raises RegistryError, _Retry."""
        tried = 0
        while True:
            sent = headers | ({"Authorization": self._authorization} if self._authorization else {})
            async with self._session.request(
                method, f"{self._base}/{path}", headers=sent
            ) as answer:
                if answer.status in (401, 403) and tried < len(self._credentials):
                    tried = await self._authenticate_with(answer, tried)
                    if tried:
                        continue
                if answer.status >= 400:
                    raise await self._refusal(answer, path)
                yield answer
                return

    async def _authenticate_with(self, answer: aiohttp.ClientResponse, first: int) -> int:
        """Take the next credential that can be shown; return how many are used up then, 0 when none was left."""
        for number, credential in enumerate(self._credentials[first:], first + 1):
            try:
                if await self._authenticate(answer, credential):
                    return number
            except RegistryError as error:  # the token service's word on this one alone
                if error.status not in (401, 403) or number == len(self._credentials):
                    raise
        return 0

    async def _authenticate(self, answer: aiohttp.ClientResponse, credential: Credential) -> bool:
        """Answer a challenge (RFC 9110, distribution's token specification); False when there is nothing to say."""
        challenge = answer.headers.get("WWW-Authenticate", "")
        scheme, _, rest = challenge.partition(" ")
        if scheme.lower() == "bearer":
            if credential.registry_token:
                token = credential.registry_token
            else:
                token = await self._token(dict(_CHALLENGE.findall(rest)), credential)
            self._authorization, self.shown = f"Bearer {token}", credential
            return True
        if scheme.lower() == "basic" and credential.username:
            self._authorization, self.shown = _basic(credential), credential
            return True
        return False

    async def _token(self, challenge: dict[str, str], credential: Credential) -> str:
        """Fetch a token for pulling from this repository."""
        realm = _realm(challenge.get("realm", ""))
        if realm is None:
            what = challenge.get("realm", "")[:200]
            raise RegistryError(f'{self._where()}: its token service "{what}" is no URL')
        if realm.scheme == "http" and self._base.startswith("https:"):
            raise RegistryError(f'{self._where()}: its token service "{realm}" is without TLS')
        scope = challenge.get("scope") or f"repository:{self._reference.path}:pull"
        parameters = {"service": challenge.get("service", ""), "scope": scope}
        if credential.identity_token:
            form = parameters | {
                "grant_type": "refresh_token",
                "client_id": "minipod",
                "refresh_token": credential.identity_token,
            }
            # a redirect (307, 308) would carry the body, and the credential in it, to somebody else
            request = self._session.post(realm, data=form, allow_redirects=False)
        else:
            shown = {"Authorization": _basic(credential)} if credential.username else {}
            request = self._session.get(realm.update_query(parameters), headers=shown)
        async with request as answer:
            if answer.status >= 400:
                raise await self._refusal(answer, "token")
            if answer.status >= 300:
                message = f'its token service "{realm}" leads elsewhere: it is shown nothing there'
                raise RegistryError(f"{self._where()}: {message}", answer.status)
            found = model.parse_object(await _read(answer, _TOKEN_LIMIT, str(realm)), str(realm))
        token = found.get("token") or found.get("access_token")
        if (
            not isinstance(token, str)
            or not token.isascii()
            or not token.isprintable()
            or not token
        ):
            raise RegistryError(f'{self._where()}: its token service "{realm}" gives no token')
        return token

    async def _refusal(self, answer: aiohttp.ClientResponse, path: str) -> Exception:
        """Return what a status of 400 or more means."""
        status = answer.status
        if status in _PASSING:
            pause = answer.headers.get("Retry-After", "")
            return _Retry(
                f"HTTP {status} {answer.reason}", float(pause) if _NUMBER.fullmatch(pause) else None
            )
        words = {
            401: "authentication required: the registry accepts none of the credentials",
            403: "access denied",
            404: "not found",
        }.get(status, f"HTTP {status} {answer.reason}")
        detail = await _detail(answer)
        what = "" if path.startswith("manifests/") else path.partition("/")[2]
        message = f"{self._where(what)}: {words}{f' ({detail})' if detail else ''}"
        return RegistryError(message, status)

    def _where(self, what: str = "") -> str:
        host = URL(self._base).authority
        via = "" if host == self._reference.domain else f" at {host}"
        return f"{self._reference}{via}{f', blob {what[:19]}' if what else ''}"


@asynccontextmanager
async def connected(ca: str = "") -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a session; `ca` names a file of authorities that are trusted beside the host's."""
    import ssl

    context = ssl.create_default_context()
    if ca:
        try:
            context.load_verify_locations(ca)
        except OSError as error:  # which names no file
            raise ImageError(f'"{ca}" (ca): {error.strerror or error}') from None
    # With `trust_env` aiohttp reads ~/.netrc too, and shows what is there to every host that it fits (its "default"
    # entry: to all), those that a registry redirects to among them. This process needs nobody else's credentials.
    os.environ["NETRC"] = os.devnull
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=CONNECT_SECONDS, sock_read=STALL_SECONDS
    )
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(ssl=context, limit_per_host=8),
        timeout=timeout,
        trust_env=True,  # HTTPS_PROXY and its kin
        auto_decompress=False,  # a blob is what its digest says, byte for byte
        headers={"User-Agent": "minipod", "Accept-Encoding": "identity"},
    ) as session:
        yield session


async def _read(answer: aiohttp.ClientResponse, limit: int, what: str) -> bytes:
    data = bytearray()
    async for piece in answer.content.iter_chunked(CHUNK):
        data += piece
        if len(data) > limit:
            raise RegistryError(f"{what}: the document exceeds {limit} bytes")
    return bytes(data)


async def _detail(answer: aiohttp.ClientResponse) -> str:
    """Return the first error's words, as the specification's "Error Codes" writes them."""
    try:
        found = model.parse_json(await _read(answer, 1 << 16, "error"), "error")
        first = found["errors"][0]  # type: ignore[index]
        return " ".join(f"{first['code']}: {first['message']}".split())[:200]
    except (ImageError, LookupError, TypeError, aiohttp.ClientError):
        return ""


def _realm(text: str) -> URL | None:
    """Return a token service's address; None when it is none. A user in it would go before the credential: left out."""
    try:
        realm = URL(text)
    except ValueError:
        return None
    return realm.with_user(None) if realm.scheme in ("http", "https") and realm.host else None


def _basic(credential: Credential) -> str:
    pair = f"{credential.username}:{credential.password}".encode()
    return f"Basic {base64.b64encode(pair).decode()}"


def _digest(path: Path) -> str:
    with open(path, "rb") as stream:
        return f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"


def _words(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return f"no byte for {STALL_SECONDS:.0f} seconds"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f'no address is known for "{error.host}"; is there a network?'
    if isinstance(error, aiohttp.ClientConnectorError):
        return f'cannot connect to "{error.host}:{error.port}": {_why(error)}'
    return " ".join(str(error).split()) or type(error).__name__


def _why(error: aiohttp.ClientConnectorError) -> str:
    """Return why a connection was not made: in the kernel's words, or in TLS's."""
    if isinstance(error, aiohttp.ClientSSLError):  # its number is none of the kernel's
        return _PYTHONS.sub("", error.strerror or str(error))
    # what asyncio says has the address once more, as Python writes it
    return os.strerror(error.errno).lower() if error.errno else error.strerror or str(error)
