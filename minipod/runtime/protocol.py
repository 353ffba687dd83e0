"""The language of daemon and shim: length-prefixed JSON over a Unix stream socket, descriptors beside it.

A frame is a header (bytes of the body, number of descriptors; both u32, network order) and the body. Descriptors
travel as SCM_RIGHTS with the frame's first byte (unix(7)), so they are in the receiver's hands no later than the
header. Three kinds of message:

    request   {"id": 7, "verb": "start-container", "arguments": {...}}
    response  {"id": 7, "ok": {...}}  or  {"id": 7, "error": {"reason", "message", "step"}}
    event     {"event": "container-exited", ...}

Framing and the verbs `version` and `upgrade` never change, so that any daemon can bring any shim up to date.
A shim that says `binary` of itself takes bodies in marshal's form as well, which the length's highest bit tells: a plan
holds its system call filter twice, and there it is written once, as it is. Both ends are root's and ours.
Standard library only: the shim loads this.
"""

import base64
import json
import marshal
import socket
import struct
from array import array
from collections.abc import Iterator, Sequence
from typing import Any

PROTOCOL_VERSION = 1
FRAME_LIMIT = 32 * 1024 * 1024  # bytes of JSON in one frame
DESCRIPTOR_LIMIT = 16  # descriptors in one frame
RECEIVE_BYTES = 64 * 1024  # at once: more would be mapped anew by malloc for every message
_HEADER = struct.Struct("!II")
_BINARY = 1 << 31  # in the length
_MARSHAL = 4  # the format that every Python since 3.4 writes and reads
_DESCRIPTOR_BYTES = array("i").itemsize

Message = dict[str, Any]


class ProtocolError(ValueError):
    """The peer sent something that is no frame: the connection cannot go on."""


def encode(message: Message, descriptors: int = 0, *, binary: bool = False) -> bytes:
    """Return `message` as one frame that says it brings `descriptors` descriptors. In JSON bytes become base64."""
    if binary:
        body = marshal.dumps(message, _MARSHAL)
        return _HEADER.pack(len(body) | _BINARY, descriptors) + body
    body = json.dumps(message, separators=(",", ":"), default=to_base64).encode()
    return _HEADER.pack(len(body), descriptors) + body


def to_base64(value: object) -> str:
    """Return bytes as JSON has them. TypeError for anything else that JSON does not know."""
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return base64.b64encode(value).decode()


class Decoder:
    """Cuts a byte stream into messages. Owns received descriptors until it hands them out."""

    def __init__(self, pending: bytes = b"", descriptors: Sequence[int] = ()) -> None:
        self.pending = bytearray(pending)
        self.binary = False  # whether the last message was: whoever sends these takes them
        self.descriptors = list(descriptors)

    def feed(self, data: bytes, descriptors: Sequence[int] = ()) -> None:
        """Take what one recvmsg gave."""
        self.pending += data
        self.descriptors += descriptors

    def messages(self) -> Iterator[tuple[Message, list[int]]]:
        """Yield every complete message with its descriptors. Raises ProtocolError."""
        while len(self.pending) >= _HEADER.size:
            length, count = _HEADER.unpack_from(self.pending)
            self.binary, length = length >= _BINARY, length % _BINARY
            if length > FRAME_LIMIT or count > DESCRIPTOR_LIMIT:
                raise ProtocolError(f"frame of {length} bytes and {count} descriptors is too large")
            end = _HEADER.size + length
            if len(self.pending) < end:
                return
            if len(self.descriptors) < count:
                raise ProtocolError(f"frame announces {count} descriptors that did not arrive")
            body = bytes(self.pending[_HEADER.size : end])
            message = _parse_binary(body) if self.binary else _parse(body)
            del self.pending[:end]
            given, self.descriptors = self.descriptors[:count], self.descriptors[count:]
            yield message, given


def _parse(body: bytes) -> Message:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"frame is not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("frame is not a JSON object")
    return message


def _parse_binary(body: bytes) -> Message:
    try:
        message = marshal.loads(body)
    except (ValueError, EOFError, TypeError) as error:
        raise ProtocolError(f"frame is not in marshal's form: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("frame is not an object")
    return message


def receive(connection: socket.socket) -> tuple[bytes, list[int]]:
    """Read once from `connection`: bytes (empty at the end of the stream) and close-on-exec descriptors."""
    space = socket.CMSG_SPACE(DESCRIPTOR_LIMIT * _DESCRIPTOR_BYTES)
    data, ancillary, _, _ = connection.recvmsg(RECEIVE_BYTES, space, socket.MSG_CMSG_CLOEXEC)
    descriptors = array("i")
    for level, kind, payload in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            descriptors.frombytes(payload[: len(payload) - len(payload) % _DESCRIPTOR_BYTES])
    return data, list(descriptors)


def send(connection: socket.socket, frame: bytes | memoryview, descriptors: Sequence[int]) -> int:
    """Write once; return the bytes taken. The descriptors go with the first of them."""
    if not descriptors:
        return connection.send(frame)
    rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array("i", descriptors))
    return connection.sendmsg([frame], [rights])
