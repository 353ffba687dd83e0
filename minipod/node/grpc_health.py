"""The client's side of grpc.health.v1.Health/Check: one unary call over HTTP/2 without TLS.

The protocol is gRPC over HTTP/2 (grpc/doc/PROTOCOL-HTTP2.md); h2 speaks HTTP/2, and the two messages are small enough
to be written out here: a request of one string, a response of one enum (grpc/doc/health-checking.md).
"""

import asyncio
import importlib
import struct
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

SERVING_NAME = "SERVING"
_STATES = {0: "UNKNOWN", 1: SERVING_NAME, 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
_CODES = (
    *("OK", "Canceled", "Unknown", "InvalidArgument", "DeadlineExceeded", "NotFound"),
    *("AlreadyExists", "PermissionDenied", "ResourceExhausted", "FailedPrecondition", "Aborted"),
    *("OutOfRange", "Unimplemented", "Internal", "Unavailable", "DataLoss", "Unauthenticated"),
)
_STREAM = 1


@dataclass
class _Call:
    """What the server has sent so far."""

    data: bytearray = field(default_factory=bytearray)
    code: int | None = None  # grpc-status
    message: str = ""
    ended: bool = False


class GrpcError(Exception):
    """The call was answered with a gRPC status, or not as gRPC at all. `code` is the status's name."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"rpc error: code = {code} desc = {message}")
        self.code = code
        self.message = message


async def check(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, authority: str, service: str
) -> str:
    """Ask for the health of `service`; return the state's name. Raises GrpcError, OSError."""
    h2: Any = importlib.import_module("h2.connection")  # not loaded before somebody needs it
    config: Any = importlib.import_module("h2.config")
    settings = config.H2Configuration(client_side=True, header_encoding="utf-8")
    connection = h2.H2Connection(config=settings)
    connection.initiate_connection()
    connection.send_headers(_STREAM, _headers(authority))
    connection.send_data(_STREAM, _request(service), end_stream=True)
    writer.write(connection.data_to_send())
    await writer.drain()
    call = _Call()
    while not call.ended:
        received = await reader.read(65536)
        if not received:
            raise GrpcError("Unavailable", "error reading from server: EOF")
        _take(connection, received, call)
        writer.write(connection.data_to_send())
    return _conclude(call)


def _headers(authority: str) -> list[tuple[str, str]]:
    return [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", "/grpc.health.v1.Health/Check"),
        (":authority", authority),
        ("content-type", "application/grpc"),
        ("user-agent", "kube-probe/1.36"),
        ("te", "trailers"),
    ]


def _request(service: str) -> bytes:
    """HealthCheckRequest{service: string = 1}, uncompressed, length-prefixed."""
    name = service.encode()
    message = b"\x0a" + _varint(len(name)) + name if name else b""
    return struct.pack("!BI", 0, len(message)) + message


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def _take(connection: Any, received: bytes, call: _Call) -> None:
    problem: type[Exception] = importlib.import_module("h2.exceptions").ProtocolError
    try:
        events = connection.receive_data(received)
    except problem as error:
        raise GrpcError("Unavailable", f"connection error: {error}") from None
    for event in events:
        match type(event).__name__:
            case "ResponseReceived" | "TrailersReceived":
                _take_headers(dict(event.headers), call)
            case "DataReceived":
                call.data += event.data
                connection.acknowledge_received_data(event.flow_controlled_length, _STREAM)
            case "StreamEnded":
                call.ended = True
            case "StreamReset" | "ConnectionTerminated":
                raise GrpcError("Unavailable", "the connection was closed by the server")


def _take_headers(headers: dict[str, str], call: _Call) -> None:
    if headers.get(":status", "200") != "200":
        code = "Unimplemented" if headers[":status"] == "404" else "Unknown"
        text = f"unexpected HTTP status code received from server: {headers[':status']}"
        raise GrpcError(code, text)
    if "grpc-status" in headers:
        text = headers["grpc-status"]
        call.code = int(text) if text.isdigit() else 2
        call.message = unquote(headers.get("grpc-message", ""))


def _conclude(call: _Call) -> str:
    if call.code:
        name = _CODES[call.code] if call.code < len(_CODES) else f"Code({call.code})"
        raise GrpcError(name, call.message)
    if call.code is None:
        raise GrpcError("Internal", "server closed the stream without sending trailers")
    state = 0
    message = call.data[5:]  # after the length prefix; HealthCheckResponse{status: enum = 1}
    if len(message) >= 2 and message[0] == 0x08:
        state = message[1]
    return _STATES.get(state, str(state))
