"""Local ports that lead to ports of a Pod: many connections over one SPDY session in a WebSocket, in one thread.

Each connection has two streams, one for data and one on which the node says what went wrong. Whoever does not read is
waited for: a local connection, or the server. Kubernetes: k8s.io/client-go tools/portforward.
"""

import contextlib
import errno
import os
import selectors
import socket
from collections.abc import Sequence
from dataclasses import dataclass, field

from minipod.cli.errors import CliError
from minipod.cli.terminal import progress
from minipod.cli.websocket import Closed, WebSocket
from minipod.spdy import events
from minipod.spdy.connection import Connection
from minipod.spdy.frames import ProtocolError

PROTOCOL = "SPDY/3.1+portforward.k8s.io"
READ_BYTES = 32768
UNSENT_LIMIT = 262144  # bytes that one side has not taken; beyond, the other is left alone
BACKLOG = 128
LOST = "lost connection to pod"


@dataclass(frozen=True)
class Port:
    """A port here and the one in the Pod that it leads to; 0 here is any that is free."""

    local: int
    remote: int

    def __str__(self) -> str:
        return f"{{{self.local} {self.remote}}}"


@dataclass
class _Forwarded:
    """One local connection and its streams."""

    peer: socket.socket
    port: Port
    data: int
    error: int
    unsent: bytearray = field(default_factory=bytearray)  # for the local end
    said: bytearray = field(default_factory=bytearray)  # on the error stream
    reading: bool = True  # the local end may still send
    ended: bool = False  # the Pod's end sends no more


def parse_port(text: str) -> Port:
    """Return the ports of `LOCAL:REMOTE`, `:REMOTE` or `PORT`. Raises CliError."""
    local, colon, remote = text.partition(":")
    if not colon:
        remote = local
    try:
        if ":" in remote or not remote or (colon and local and int(local) == 0):
            raise ValueError
        return Port(_number(local or "0", 0), _number(remote, 1))
    except ValueError:
        raise CliError(f"invalid port format '{text}'") from None


def _number(text: str, least: int) -> int:
    value = int(text)
    if not text.isdigit() or not least <= value <= 65535:
        raise ValueError(text)
    return value


def listen(ports: Sequence[Port], addresses: Sequence[str]) -> list[tuple[socket.socket, Port]]:
    """Listen on every port at every address, and say so. Raises CliError when none of a port's can be had."""
    found: list[tuple[socket.socket, Port]] = []
    for port in ports:
        opened, problems = _listen_on(port, addresses)
        if problems and not opened:
            failed = "Listeners failed to create with the following errors"
            progress(f"Unable to listen on port {port.local}: {failed}: [{' '.join(problems)}]")
        found += opened
    if not found:
        raise CliError(
            f"unable to listen on any of the requested ports: [{' '.join(map(str, ports))}]"
        )
    return found


def _listen_on(
    port: Port, addresses: Sequence[str]
) -> tuple[list[tuple[socket.socket, Port]], list[str]]:
    opened: list[tuple[socket.socket, Port]] = []
    problems: list[str] = []
    for address in addresses:
        try:
            listener = _listener(address, port.local)
        except OSError as error:
            host = f"[{address}]" if ":" in address else address
            family = "tcp6" if ":" in address else "tcp4"
            reason = os.strerror(error.errno or errno.EINVAL).lower()
            problems.append(
                f"unable to create listener: Error listen {family} {host}:{port.local}: bind: {reason}"
            )
            continue
        port = Port(listener.getsockname()[1], port.remote)  # the same one at every address
        opened.append((listener, port))
        host = f"[{address}]" if ":" in address else address
        print(f"Forwarding from {host}:{port.local} -> {port.remote}", flush=True)
    return opened, problems


def _listener(address: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address, port))
        listener.listen(BACKLOG)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


class Forwarder:
    """Serves the listeners over one WebSocket until it closes."""

    def __init__(
        self, websocket: WebSocket, listeners: Sequence[tuple[socket.socket, Port]]
    ) -> None:
        self._websocket = websocket
        self._spdy = Connection(client=True)
        self._listeners = dict(listeners)
        self._streams: dict[int, _Forwarded] = {}  # by either stream's number
        self._requests = 0
        self._lost = False

    def run(self) -> None:
        """Forward until the server closes the session. Raises CliError then: there is no other end."""
        try:
            while not self._lost:
                self._turn()
                self._flush()
        except (Closed, ProtocolError):
            pass
        finally:
            for forwarded in {id(each): each for each in self._streams.values()}.values():
                forwarded.peer.close()
        raise CliError(LOST)

    def _turn(self) -> None:
        """Wait for something to do and do it."""
        with selectors.DefaultSelector() as selector:
            self._register(selector)
            for key, ready in selector.select():
                if key.data is None:
                    self._serve_websocket(ready)
                elif isinstance(key.data, Port):
                    self._accept(self._listener_of(key.fd), key.data)
                else:
                    self._serve_local(key.data, ready)

    def _register(self, selector: selectors.BaseSelector) -> None:
        read, write = selectors.EVENT_READ, selectors.EVENT_WRITE
        locals_ = {id(each): each for each in self._streams.values()}.values()
        takes_all = all(len(each.unsent) < UNSENT_LIMIT for each in locals_)
        room = self._websocket.unsent < UNSENT_LIMIT
        wanted = (read if takes_all else 0) | (write if self._websocket.unsent else 0)
        if wanted:
            selector.register(self._websocket.fileno(), wanted, None)
        for listener, port in self._listeners.items():
            selector.register(listener, read, port)
        for each in locals_:
            may_read = each.reading and room and self._spdy.sendable(each.data)
            wanted = (read if may_read else 0) | (write if each.unsent else 0)
            if wanted:
                selector.register(each.peer, wanted, each)

    def _listener_of(self, descriptor: int) -> socket.socket:
        return next(each for each in self._listeners if each.fileno() == descriptor)

    def _accept(self, listener: socket.socket, port: Port) -> None:
        try:
            peer, _ = listener.accept()
        except OSError:
            return  # gone again
        peer.setblocking(False)
        print(f"Handling connection for {port.local}", flush=True)
        headers = {"port": str(port.remote), "requestid": str(self._requests)}
        self._requests += 1
        error = self._spdy.open_stream({"streamtype": "error", **headers}, fin=True)
        data = self._spdy.open_stream({"streamtype": "data", **headers})
        self._streams[data] = self._streams[error] = _Forwarded(peer, port, data, error)

    def _serve_local(self, forwarded: _Forwarded, ready: int) -> None:
        if ready & selectors.EVENT_WRITE:
            self._write_local(forwarded)
        if ready & selectors.EVENT_READ and forwarded.data in self._streams:
            self._read_local(forwarded)

    def _read_local(self, forwarded: _Forwarded) -> None:
        room = min(READ_BYTES, self._spdy.sendable(forwarded.data))
        if not room:
            return  # used up meanwhile: reading nothing would look like the end
        try:
            data = forwarded.peer.recv(room)
        except BlockingIOError:
            return
        except OSError:
            self._give_up(forwarded)
            return
        if data:
            self._spdy.send_data(forwarded.data, data)
        else:
            forwarded.reading = False
            self._spdy.end(forwarded.data)

    def _write_local(self, forwarded: _Forwarded) -> None:
        try:
            sent = forwarded.peer.send(forwarded.unsent)
        except BlockingIOError:
            return
        except OSError:
            self._give_up(forwarded)
            return
        del forwarded.unsent[:sent]
        self._spdy.consumed(forwarded.data, sent)
        self._end_if_over(forwarded)

    def _end_if_over(self, forwarded: _Forwarded) -> None:
        """Pass the Pod's end on once it is all written: as kubectl does, that ends the local connection."""
        if forwarded.ended and not forwarded.unsent:
            self._give_up(forwarded)

    def _give_up(self, forwarded: _Forwarded) -> None:
        """Close a local connection; what the node still says on its error stream is heard."""
        forwarded.peer.close()
        self._spdy.reset(forwarded.data)
        self._streams.pop(forwarded.data, None)

    def _serve_websocket(self, ready: int) -> None:
        if ready & selectors.EVENT_WRITE:
            self._websocket.flush()
        if ready & selectors.EVENT_READ:
            self._websocket.receive()
            for message in self._websocket.messages():
                for event in self._spdy.receive(message):
                    self._take(event)

    def _take(self, event: events.Event) -> None:
        if isinstance(event, events.GoneAway):
            raise Closed
        forwarded = self._streams.get(getattr(event, "stream", 0))
        if forwarded is None:
            if isinstance(event, events.DataReceived):
                self._spdy.consumed(event.stream, len(event.data))
            return
        if isinstance(event, events.DataReceived):
            self._take_data(forwarded, event)
        elif isinstance(event, events.StreamEnded | events.StreamReset):
            self._take_end(forwarded, event.stream)

    def _take_data(self, forwarded: _Forwarded, event: events.DataReceived) -> None:
        if event.stream == forwarded.error:
            forwarded.said += event.data
            self._spdy.consumed(event.stream, len(event.data))
        else:
            forwarded.unsent += event.data
            self._write_local(forwarded)

    def _take_end(self, forwarded: _Forwarded, stream: int) -> None:
        if stream == forwarded.data:
            forwarded.ended = True
            self._end_if_over(forwarded)
            return
        self._streams.pop(stream, None)
        if forwarded.said:  # kubectl gives the whole session up then
            port, text = forwarded.port, forwarded.said.decode("utf-8", "replace")
            progress(f"an error occurred forwarding {port.local} -> {port.remote}: {text}")
            self._lost = True

    def _flush(self) -> None:
        if output := self._spdy.take_output():
            self._websocket.send(output)


def resolve_addresses(given: str) -> list[str]:
    """Return the addresses of `--address`: localhost is both loopbacks. Raises CliError."""
    found: list[str] = []
    for word in given.split(","):
        if word == "localhost":
            found += ["127.0.0.1", "::1"]
            continue
        try:
            socket.inet_pton(socket.AF_INET6 if ":" in word else socket.AF_INET, word)
        except OSError:
            raise CliError(f"{word} is not a valid IP") from None
        found.append(word)
    return list(dict.fromkeys(found))


def close_all(listeners: Sequence[tuple[socket.socket, Port]]) -> None:
    """Listen no more."""
    for listener, _ in listeners:
        with contextlib.suppress(OSError):
            listener.close()
