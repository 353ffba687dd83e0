"""HTTPS: where the API server listens, with which certificate, and its renewal while it runs.

HTTP/1.1 only: every client of Kubernetes speaks it, exec and port-forward need it, and watches have connections of
their own anyway. TLS 1.2 or newer. A client certificate is asked for and not required: who shows none brings a token.

The port is the root's own. The first start takes the one that belongs to the root (6443 for the system's, any
other's made from its name), or the next one that is free; it is remembered, so that a kubeconfig stays true.
"""

import asyncio
import contextlib
import errno
import json
import logging
import socket
import ssl
import zlib
from asyncio import sslproto
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path

from minipod.clock import Clock, SystemClock, Timer
from minipod.paths import Layout
from minipod.pki import Authority, PkiError, utc, write_file

logger = logging.getLogger(__name__)

DEFAULT_PORT = 6443
DEFAULT_ADDRESSES = ("127.0.0.1",)
NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)
HANDSHAKE_SECONDS = 10
# Ports of other roots: outside of what the kernel gives to outgoing connections (ip_local_port_range, ip(7)).
_OTHER_PORTS = range(16443, 26443)
_ATTEMPTS = 50
_RETRY = 60.0  # seconds after a renewal that failed
_LONGEST_SLEEP = 12 * 3600.0  # a host that slept finds its certificates out in time
_NO_CHECK_TIME = 0x200000  # X509_V_FLAG_NO_CHECK_TIME: X509_VERIFY_PARAM_set_flags(3)


class _TlsProtocol(sslproto.SSLProtocol):
    """TLS as asyncio has it, but who fails the handshake is told why: asyncio drops the alert (RFC 8446, 6.2)."""

    def _fatal_error(self, exc: BaseException, message: str = "fatal error") -> None:
        if self._transport is not None and isinstance(exc, ssl.SSLError):
            self._process_outgoing()  # type: ignore[attr-defined]
        super()._fatal_error(exc, message)


class ServingError(ValueError):
    """The server cannot listen; the message is one line."""


@dataclass(frozen=True)
class ServingOptions:
    """What is asked for: `port` 0 is the root's own; `hosts` are further addresses that the certificate names."""

    addresses: tuple[str, ...] = DEFAULT_ADDRESSES
    port: int = 0
    hosts: tuple[str, ...] = field(default=())


class SecureServing:
    """Listeners with one TLS context, whose certificate is renewed before it expires."""

    def __init__(self, layout: Layout, options: ServingOptions, clock: Clock | None = None) -> None:
        self._layout = layout
        self._options = options
        self._clock = clock or SystemClock()
        self.authority = Authority(layout.pki)
        self._context: ssl.SSLContext | None = None
        self._timer: Timer | None = None
        self.port = 0

    @property
    def address(self) -> str:
        """Host and port by which Pods and others reach the server: the last address, the Pods' gateway by default."""
        host = self._options.addresses[-1]
        return f"[{host}]:{self.port}" if ":" in host else f"{host}:{self.port}"

    def prepare(self) -> None:
        """Make what is missing of keys and certificates, and load it. Raises PkiError, OSError."""
        self._renew()
        self._context = context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        context.load_cert_chain(*self.authority.server_paths)
        context.load_verify_locations(self.authority.certificate_path)
        context.verify_mode = ssl.CERT_OPTIONAL
        # An expired certificate is the authenticator's to refuse, in words: see `authentication`.
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)

    def bind(self) -> list[socket.socket]:
        """Return sockets bound to every address at one port, and remember the port. Raises ServingError."""
        bound = self._bind()
        self.port = int(bound[0].getsockname()[1])
        record = {"port": self.port, "addresses": list(self._options.addresses)}
        told, path = json.dumps(record).encode() + b"\n", self._layout.serving
        if not path.exists() or path.read_bytes() != told:  # a full disk may have what is needed
            write_file(path, told, 0o600)
        return bound

    async def listen(
        self, protocol: Callable[[], asyncio.Protocol], bound: list[socket.socket]
    ) -> list[asyncio.AbstractServer]:
        """Accept connections on bound sockets. `prepare` comes before."""
        loop, context = asyncio.get_running_loop(), self._context
        assert context is not None

        def secured() -> _TlsProtocol:
            return _TlsProtocol(
                loop,
                protocol(),
                context,
                None,  # type: ignore[arg-type]  # nobody waits for the handshake
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )

        servers: list[asyncio.AbstractServer] = [
            await loop.create_server(secured, sock=each, backlog=1024) for each in bound
        ]
        self._schedule()
        return servers

    def stop(self) -> None:
        """Renew no more."""
        if self._timer is not None:
            self._timer.cancel()

    def _renew(self) -> bool:
        now = utc(self._clock.now())
        self.authority.ensure(now)
        addresses = dict.fromkeys(("127.0.0.1", *self._options.addresses, *self._options.hosts))
        named = [each for each in addresses if not ip_address(each).is_unspecified]
        return self.authority.ensure_server(NAMES, named, now)

    def _schedule(self) -> None:
        due = self.authority.due().timestamp()
        self._timer = self._clock.call_at(
            min(due, self._clock.now() + _LONGEST_SLEEP), self._on_timer
        )

    def _on_timer(self) -> None:
        """Renew when it is time; new connections get the new certificate, old ones go on."""
        try:
            if self._renew():
                assert self._context is not None
                self._context.load_cert_chain(*self.authority.server_paths)
                self._context.load_verify_locations(self.authority.certificate_path)
                logger.info("renewed the API server's certificate")
            self._schedule()
        except (PkiError, OSError) as error:
            logger.warning("renewing the API server's certificate: %s; trying again", error)
            self._timer = self._clock.call_at(self._clock.now() + _RETRY, self._on_timer)

    def _bind(self) -> list[socket.socket]:
        if self._options.port:
            return self._bind_at(self._options.port)
        remembered = remembered_port(self._layout)
        for port in self._candidates(remembered):
            try:
                bound = self._bind_at(port)
            except ServingError as error:
                if not isinstance(error.__cause__, OSError):
                    raise
                if error.__cause__.errno != errno.EADDRINUSE:
                    raise
                continue
            if remembered not in (0, port):
                logger.warning(
                    "port %d is taken by another program: serving at %d; "
                    "make kubeconfigs anew with: minipod kubeconfig",
                    remembered,
                    port,
                )
            return bound
        raise ServingError("found no free port to serve at; choose one with --secure-port")

    def _candidates(self, remembered: int) -> Iterator[int]:
        if remembered:
            yield remembered
        if self._layout.instance == "minipod":
            yield DEFAULT_PORT
        first = zlib.crc32(self._layout.instance.encode())
        for attempt in range(_ATTEMPTS):
            yield _OTHER_PORTS[(first + attempt) % len(_OTHER_PORTS)]

    def _bind_at(self, port: int) -> list[socket.socket]:
        bound: list[socket.socket] = []
        try:
            for address in self._options.addresses:
                bound.append(_bind(address, port))
        except ServingError:
            for each in bound:
                each.close()
            raise
        return bound


def remembered_port(layout: Layout) -> int:
    """Return the port that this root serves at, 0 when it never did."""
    port = read_record(layout.serving).get("port")
    return port if isinstance(port, int) else 0


def read_record(path: Path) -> dict[str, object]:
    """Return what was remembered of where the server listens; nothing when it never did."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        found = json.loads(path.read_bytes())
        if isinstance(found, dict):
            return found
    return {}


def _bind(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # The Pods' gateway may come later than the server (IP_FREEBIND, ip(7)).
        listener.setsockopt(socket.IPPROTO_IP, 15, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        raise ServingError(
            f'cannot serve at "{address}:{port}": {error.strerror or error}; '
            "choose another --secure-port or --bind-address"
        ) from error
    listener.setblocking(False)
    return listener
