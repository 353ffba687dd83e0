"""HTTP/1.1 over a Unix socket: as much of RFC 9112 as one local client needs.

The standard library's client costs 25 ms to import, which is a third of what `minipod get pods` may take.
One connection serves one request at a time and is kept open between them.
"""

import socket
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minipod.cli.errors import CliError, Unreachable

RECEIVE_BYTES = 65536
HEAD_LIMIT = 65536  # bytes of status line and headers


@dataclass
class Response:
    """A status, its headers (lower-case names; `Warning` apart, since it may repeat), and a body still to be read."""

    status: int
    headers: dict[str, str]
    warnings: list[str] = field(default_factory=list)
    body: Iterator[bytes] = field(default_factory=lambda: iter(()))

    def read(self) -> bytes:
        """Return the whole body."""
        return b"".join(self.body)

    def lines(self) -> Iterator[bytes]:
        """Yield the body line by line as it arrives, without line ends."""
        rest = b""
        for piece in self.body:
            *whole, rest = (rest + piece).split(b"\n")
            yield from whole
        if rest:
            yield rest


class Connection:
    """One connection to the API server at `path`. Raises Unreachable when nobody listens or it breaks."""

    def __init__(self, path: str, *, start_with: str = "sudo minipod up") -> None:
        self.path = path
        self._start_with = start_with
        self._timeout: float | None = None
        self._socket: socket.socket | None = None
        self._buffer = b""

    def request(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
    ) -> Response:
        """Send one request and return its response once the head is here.

        An idle connection that the server has closed meanwhile is opened again, once, unless that could
        create something twice.
        """
        reused = self._socket is not None and method != "POST"
        try:
            return self._exchange(method, target, headers, body)
        except (ConnectionError, EOFError) as broken:
            self.close()
            if not reused:
                raise Unreachable(self._broken(broken)) from broken
        try:
            return self._exchange(method, target, headers, body)
        except (ConnectionError, EOFError) as broken:
            self.close()
            raise Unreachable(self._broken(broken)) from broken

    def upgrade(
        self, target: str, headers: Mapping[str, str]
    ) -> tuple[Response, socket.socket, bytes]:
        """Ask to switch protocols; return the response, the socket, and what already arrived behind the head.

        On any other status than 101 the response's body says why; the socket is then of no use.
        """
        response = self.request("GET", target, headers)
        assert self._socket is not None
        begun = self._take_buffer() if response.status == 101 else b""
        return response, self._socket, begun

    def close(self) -> None:
        """Close the connection; a later request opens a new one."""
        if self._socket is not None:
            self._socket.close()
        self._socket, self._buffer = None, b""

    def set_timeout(self, seconds: float | None) -> None:
        """Let every further wait for the server end after `seconds` with TimeoutError (None: never)."""
        self._timeout = seconds
        if self._socket is not None:
            self._socket.settimeout(seconds)

    def _exchange(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes | None
    ) -> Response:
        sock = self._socket or self._connect()
        lines = [f"{method} {target} HTTP/1.1", "Host: localhost"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        if body is not None:
            lines.append(f"Content-Length: {len(body)}")
        sock.sendall("\r\n".join([*lines, "", ""]).encode() + (body or b""))
        return self._response(method)

    def _connect(self) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        sock.settimeout(self._timeout)
        try:
            sock.connect(self.path)
        except (FileNotFoundError, ConnectionRefusedError) as refused:
            sock.close()
            raise Unreachable(self._refused()) from refused
        except PermissionError as denied:
            sock.close()
            raise CliError(
                f'may not open "{self.path}": minipod talks to root only; run this with sudo'
            ) from denied
        except OSError as failed:
            sock.close()
            raise Unreachable(
                f'cannot connect to "{self.path}": {failed.strerror or failed}'
            ) from failed
        self._socket, self._buffer = sock, b""
        return sock

    def _response(self, method: str) -> Response:
        head = self._head()
        while head.startswith((b"HTTP/1.1 100", b"HTTP/1.0 100")):
            head = self._head()
        first, *lines = head.decode("latin-1").split("\r\n")
        parts = first.split(" ", 2)
        if len(parts) < 2 or not parts[0].startswith("HTTP/1.") or not parts[1].isdigit():
            raise CliError(f'"{self.path}" does not speak HTTP (it said {first[:40]!r})')
        response = Response(int(parts[1]), {})
        for line in lines:
            name, _, value = line.partition(":")
            if name.lower() == "warning":
                response.warnings.append(value.strip())
            response.headers[name.lower()] = value.strip()
        response.body = self._body(method, response)
        return response

    def _head(self) -> bytes:
        while b"\r\n\r\n" not in self._buffer:
            if len(self._buffer) > HEAD_LIMIT:
                raise CliError(f'"{self.path}" sent a head of more than {HEAD_LIMIT} bytes')
            self._buffer += self._receive()
        head, _, self._buffer = self._buffer.partition(b"\r\n\r\n")
        return head

    def _receive(self) -> bytes:
        assert self._socket is not None
        piece = self._socket.recv(RECEIVE_BYTES)
        if not piece:
            raise EOFError("closed by the server")
        return piece

    def _take_buffer(self) -> bytes:
        taken, self._buffer = self._buffer, b""
        return taken

    def _body(self, method: str, response: Response) -> Iterator[bytes]:
        if method == "HEAD" or response.status in (101, 204, 304):
            return iter(())
        if "chunked" in response.headers.get("transfer-encoding", "").lower():
            body = self._chunks()
        elif "content-length" in response.headers:
            body = self._counted(int(response.headers["content-length"]))
        else:
            body = self._until_closed()
        return self._guarded(body, response.headers.get("connection", "").lower() == "close")

    def _guarded(self, body: Iterator[bytes], closing: bool) -> Iterator[bytes]:
        try:
            yield from body
        except (ConnectionError, EOFError) as broken:
            self.close()
            raise Unreachable(self._broken(broken)) from broken
        if closing:
            self.close()

    def _counted(self, length: int) -> Iterator[bytes]:
        while length > 0:
            piece = self._take_buffer() or self._receive()
            if len(piece) > length:
                self._buffer = piece[length:]
                piece = piece[:length]
            length -= len(piece)
            yield piece

    def _chunks(self) -> Iterator[bytes]:
        while True:
            size = int(self._line().split(b";")[0], 16)
            if size == 0:
                while self._line():  # trailers
                    pass
                return
            yield from self._counted(size)
            self._line()

    def _line(self) -> bytes:
        while b"\r\n" not in self._buffer:
            self._buffer += self._receive()
        line, _, self._buffer = self._buffer.partition(b"\r\n")
        return line

    def _until_closed(self) -> Iterator[bytes]:
        try:
            while True:
                yield self._take_buffer() or self._receive()
        except EOFError:
            self.close()

    def _broken(self, cause: BaseException) -> str:
        return f'the connection to the server "{self.path}" broke: {cause}; is minipod still up?'

    def _refused(self) -> str:
        refused = f"The connection to the server {self.path} was refused"
        return f"{refused} - is minipod up? try: {self._start_with}"
