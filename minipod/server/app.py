"""The API server: one store, one Unix socket, HTTPS, one in-process transport.

    store = await Store.open(layout.database)
    server = ApiServer(store, layout, ServerOptions(...))
    await server.start()
    client = Client(server.transport)
    ...
    await server.stop()   # before store.close()

Constructor:

- `store`: an open Store. The server does not close it.
- `layout`: names the socket to listen on (`api_socket`, made 0600 in a 0700 directory) and the kubelet's
  (`kubelet_socket`), to which logs, exec, attach and the node proxy are forwarded.
- `options`: see `ServerOptions`.

`start()` first makes the namespaces that every cluster has, each with its `default` ServiceAccount, then listens. It
raises ServerError when another server answers on the socket, or the socket cannot be made, and ServingError or
PkiError when HTTPS cannot be served. `transport` works as soon
as the server exists. `stop()` ends every watch and stream and returns within about STOP_SECONDS; calling it twice is
no error.
"""

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from minipod.api.errors import (
    StatusError,
    header_too_large,
    internal_error,
    status_error,
    uri_too_long,
)
from minipod.paths import Layout
from minipod.server.audit import AuditOptions
from minipod.server.authentication import Authenticator
from minipod.server.health import Check, HealthChecks
from minipod.server.http import HttpFrontend
from minipod.server.metrics import Metrics
from minipod.server.non_resources import NonResources, Sources
from minipod.server.oversight import Oversight
from minipod.server.proxying import BackendProxy
from minipod.server.resources import Resources
from minipod.server.responses import status_response
from minipod.server.service_range import USUAL
from minipod.server.serving import SecureServing
from minipod.server.stream_requests import Streams
from minipod.server.streams import NodeStreams
from minipod.server.token_authentication import Credentials
from minipod.server.transport import InProcessTransport
from minipod.store import Store

STOP_SECONDS = 2.0  # for requests under way; watches are told to end at once
_LINE_LIMIT = 64 << 10  # bytes of a request line: an exec's command is part of it
logger = logging.getLogger(__name__)


class _Protocol(web.RequestHandler):
    """One connection. What is not HTTP is answered with a Status too, and is no event for the log."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that never became one, then close."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer has begun: it can only be cut short")
        refused = refusal(status, exc, message)
        logger.debug("answering %d: %s", refused.code, refused)
        response = status_response(refused)
        response.force_close()
        return response


def refusal(status: int, exc: BaseException | None, message: str | None) -> StatusError:
    """Return what a sender is told whose bytes make no request."""
    if isinstance(exc, LineTooLong):
        line = exc.args[0]  # older parsers of aiohttp tell which line, newer ones how it begins
        of_url = line.startswith("Status line") if isinstance(line, str) else line[:1] == b"/"
        return uri_too_long(_LINE_LIMIT) if of_url else header_too_large(_LINE_LIMIT)
    words = " ".join((message or str(exc) or "malformed request").split())
    return internal_error(words) if status >= 500 else status_error(status, "BadRequest", words)


class _Server(web.Server):
    """Makes our protocol for each connection."""

    def __call__(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        return _Protocol(self, loop=self._loop, **self._kwargs)


class ServerError(Exception):
    """The server cannot start; the message is one line."""


@dataclass(frozen=True)
class ServerOptions:
    """What a server may be told beside its store and its places.

    - `unready`: called for /readyz; returns why the daemon is not ready, or "" when it is.
    - `administrators`: user IDs that may connect, by SO_PEERCRED; each is system:admin of system:masters.
    - `serving`: HTTPS beside the socket; None for none.
    - `service_cidr`: the range of Service addresses of a new cluster; an existing one has it in its store.
    - `max_watches`: watch streams over HTTP at one time, four fifths of them one user's; more are refused with 429.
    - `credentials`: who signs tokens, and what time credentials are held against.
    """

    unready: Callable[[], str] = lambda: ""
    administrators: frozenset[int] = frozenset({0})
    serving: SecureServing | None = None
    service_cidr: str = USUAL
    max_watches: int = 5000
    credentials: Credentials = field(default_factory=Credentials)


class ApiServer:
    """Serves the Kubernetes API. See the module's docstring."""

    def __init__(self, store: Store, layout: Layout, options: ServerOptions | None = None) -> None:
        options = options or ServerOptions()
        credentials = options.credentials
        self._layout = layout
        self._serving = options.serving
        self._service_cidr = options.service_cidr
        node = NodeStreams(layout.kubelet_socket)
        self._resources = Resources(store, credentials, node.fetch)
        self._streams = Streams(self._resources, node, BackendProxy())
        metrics = Metrics(lambda: len(store))
        self._oversight = Oversight(metrics, credentials.clock, options.max_watches)
        authenticator = Authenticator(
            options.administrators, credentials.clock, self._resources.tokens
        )
        self._frontend = HttpFrontend(
            self._resources,
            self._streams,
            self._non_resources_of(store, options.unready, credentials, metrics),
            authenticator,
            self._oversight,
        )
        self.transport = InProcessTransport(self._resources)
        self._http: web.Server | None = None
        self._listening: list[asyncio.AbstractServer] = []

    def keep_audit_log(self, options: AuditOptions) -> None:
        """Keep an audit log from now on; without this nothing is kept."""
        self._oversight.keep_audit_log(options)

    def _non_resources_of(
        self,
        store: Store,
        unready: Callable[[], str],
        credentials: Credentials,
        metrics: Metrics,
    ) -> NonResources:
        alive: dict[str, Check] = {"ping": lambda: "", "store": lambda: _store_problem(store)}
        ready: dict[str, Check] = {**alive, "node-agent": unready, "shutdown": self._shutting_down}
        health = HealthChecks({"healthz": alive, "livez": alive, "readyz": ready})
        return NonResources(Sources(health, credentials.signer, self._address, metrics.text))

    def _address(self) -> str:
        return self._serving.address if self._serving is not None else "localhost"

    def _shutting_down(self) -> str:
        return "" if self._listening else "the server is shutting down"

    async def start(self) -> None:
        """Make the first namespaces and listen. Raises ServerError, StatusError."""
        await self._resources.bootstrap(self._service_cidr)
        listener = bind(self._layout.api_socket)
        secure = await self._prepare_serving()
        self._http = _Server(
            self._frontend.handle,
            handler_cancellation=True,
            access_log=None,
            tcp_keepalive=False,
            max_line_size=_LINE_LIMIT,
            max_field_size=_LINE_LIMIT,
            lingering_time=1.0,
            logger=logger,
        )
        loop = asyncio.get_running_loop()
        unix = await loop.create_unix_server(self._http, sock=listener, backlog=1024)
        self._listening = [unix]
        if self._serving is not None:
            self._listening += await self._serving.listen(self._http, secure)

    async def _prepare_serving(self) -> list[socket.socket]:
        """Bind for HTTPS and have its certificates ready (made in a thread: the first ones take a moment)."""
        if self._serving is None:
            return []
        await asyncio.to_thread(self._serving.prepare)
        return self._serving.bind()

    async def stop(self) -> None:
        """Stop listening, end watches, let requests finish, close connections. Idempotent."""
        listening, self._listening = self._listening, []
        if not listening or self._http is None:
            return
        with contextlib.suppress(FileNotFoundError):
            self._layout.api_socket.unlink()
        for each in listening:
            each.close()
        if self._serving is not None:
            self._serving.stop()
        self._frontend.stop_watches()
        self._http.pre_shutdown()
        await self._http.shutdown(STOP_SECONDS)
        await self._streams.close()
        self._oversight.close()


def _store_problem(store: Store) -> str:
    return "the store has closed" if store.closed else ""


def bind(path: Path) -> socket.socket:
    """Return a socket bound at `path` for its owner alone; a dead server's leftover is replaced. Raises ServerError."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.parent.chmod(0o700)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.bind(os.fspath(path))
        path.chmod(0o600)
    except OSError as error:
        listener.close()
        raise ServerError(f'cannot listen on "{path}": {error.strerror or error}') from error
    listener.setblocking(False)
    return listener


def _remove_stale(path: Path) -> None:
    """Remove a socket nobody listens on (connect(2): ECONNREFUSED). Raises ServerError when somebody does."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        probe.setblocking(False)
        try:
            probe.connect(os.fspath(path))
        except FileNotFoundError:
            return
        except ConnectionRefusedError:
            if not path.is_socket():
                raise ServerError(
                    f'"{path}" is in the way: it is no socket; move it away'
                ) from None
            path.unlink(missing_ok=True)
            return
        except BlockingIOError:
            pass  # its backlog is full: somebody is there
        except OSError as error:
            raise ServerError(f'cannot use "{path}": {error.strerror or error}') from error
    raise ServerError(f'another server answers on "{path}"; stop it or choose another --root')
