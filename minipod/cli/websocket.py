"""A WebSocket client (RFC 6455) over an upgraded connection: binary messages, masked, with pings answered."""

import base64
import contextlib
import os
import socket
import struct
from collections.abc import Iterator

from minipod.cli.errors import CliError
from minipod.cli.http import Connection

BINARY, TEXT, CONTINUATION, CLOSE, PING, PONG = 2, 1, 0, 8, 9, 10
RECEIVE_BYTES = 65536
MESSAGE_LIMIT = 64 << 20  # bytes


class Closed(Exception):
    """The other side has closed the connection."""


class WebSocket:
    """An open WebSocket that never blocks: `receive` when it is readable, `flush` when it is writable.

    A caller that sends without ever receiving could wait for a server that waits for it.
    """

    def __init__(self, sock: socket.socket, protocol: str, begun: bytes = b"") -> None:
        sock.setblocking(False)
        self._socket = sock
        self._unsent = bytearray()
        self.protocol = protocol
        self._buffer = bytearray(begun)
        self._fragments = bytearray()

    def fileno(self) -> int:
        """The descriptor to select on."""
        return self._socket.fileno()

    @property
    def unsent(self) -> int:
        """How many bytes wait to be sent."""
        return len(self._unsent)

    def send(self, payload: bytes, opcode: int = BINARY) -> None:
        """Queue one message and send what goes without waiting. Raises Closed."""
        key = os.urandom(4)
        length = len(payload)
        if length < 126:
            head = struct.pack("!BB", 0x80 | opcode, 0x80 | length)
        elif length < 65536:
            head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, length)
        else:
            head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, length)
        self._unsent += head + key + masked(payload, key)
        self.flush()

    def flush(self) -> None:
        """Send as much as goes without waiting. Raises Closed."""
        try:
            while self._unsent:
                del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except ConnectionError as gone:
            raise Closed from gone

    def receive(self) -> None:
        """Read what is there. Raises Closed when nothing more will come."""
        try:
            piece = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except ConnectionError as gone:
            raise Closed from gone
        if not piece:
            raise Closed
        self._buffer += piece

    def messages(self) -> Iterator[bytes]:
        """Yield the whole messages received so far. Raises Closed behind the last one when it was a close."""
        while (frame := self._frame()) is not None:
            final, opcode, payload = frame
            if opcode == CLOSE:
                raise Closed
            if opcode == PING:
                self.send(payload, PONG)
            elif opcode in (BINARY, TEXT, CONTINUATION):
                self._fragments += payload
                if len(self._fragments) > MESSAGE_LIMIT:
                    raise CliError(
                        f"the server sent a message of more than {MESSAGE_LIMIT >> 20} MiB"
                    )
                if final:
                    whole, self._fragments = bytes(self._fragments), bytearray()
                    yield whole

    def close(self) -> None:
        """Say goodbye and close the socket."""
        with contextlib.suppress(Closed):
            self.send(struct.pack("!H", 1000), CLOSE)
        self._socket.close()

    def _frame(self) -> tuple[bool, int, bytes] | None:
        data = self._buffer
        if len(data) < 2:
            return None
        length, at = data[1] & 0x7F, 2
        if length == 126:
            if len(data) < 4:
                return None
            length, at = struct.unpack_from("!H", data, 2)[0], 4
        elif length == 127:
            if len(data) < 10:
                return None
            length, at = struct.unpack_from("!Q", data, 2)[0], 10
        if length > MESSAGE_LIMIT:
            raise CliError(f"the server sent a frame of {length} bytes")
        key = b""
        if data[1] & 0x80:  # servers do not mask; tolerated
            key, at = bytes(data[at : at + 4]), at + 4
        if len(data) < at + length:
            return None
        payload = bytes(data[at : at + length])
        final, opcode = bool(data[0] & 0x80), data[0] & 0x0F
        del data[: at + length]
        return final, opcode, masked(payload, key) if key else payload


def masked(payload: bytes, key: bytes) -> bytes:
    """Return the payload XORed with the repeated key (RFC 6455, 5.3); the same again undoes it."""
    if not payload:
        return b""
    mask = (key * (len(payload) // 4 + 1))[: len(payload)]
    mixed = int.from_bytes(payload, "big") ^ int.from_bytes(mask, "big")
    return mixed.to_bytes(len(payload), "big")


def connect(connection: Connection, target: str, protocols: tuple[str, ...]) -> WebSocket:
    """Open a WebSocket at `target`, offering `protocols`. Raises ServerError with what the server says instead."""
    from minipod.cli.api import failure

    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": ", ".join(protocols),
    }
    response, sock, begun = connection.upgrade(target, headers)
    if response.status != 101:
        raise failure(response, f"GET {target}")
    chosen = response.headers.get("sec-websocket-protocol", "")
    if chosen not in protocols:
        raise CliError(
            f'the server chose the protocol "{chosen}", of {", ".join(protocols)} offered'
        )
    return WebSocket(sock, chosen, begun)
