"""SPDY's frames as bytes. The first bit tells control frames from data frames; lengths have 24 bits."""

import struct
from dataclasses import dataclass

VERSION = 3

SYN_STREAM, SYN_REPLY, RST_STREAM, SETTINGS, PING, GOAWAY = 1, 2, 3, 4, 6, 7
HEADERS, WINDOW_UPDATE = 8, 9

FLAG_FIN = 1
FLAG_UNIDIRECTIONAL = 2

# RST_STREAM
PROTOCOL_ERROR, INVALID_STREAM, REFUSED_STREAM, UNSUPPORTED_VERSION = 1, 2, 3, 4
CANCEL, INTERNAL_ERROR, FLOW_CONTROL_ERROR, STREAM_IN_USE, STREAM_ALREADY_CLOSED = 5, 6, 7, 8, 9
# GOAWAY
GOAWAY_OK, GOAWAY_PROTOCOL_ERROR, GOAWAY_INTERNAL_ERROR = 0, 1, 2

SETTINGS_INITIAL_WINDOW_SIZE = 7

MASK = 0x7FFFFFFF  # of stream identifiers and window sizes
HEAD = 8  # bytes before a frame's payload
CONTROL_LIMIT = 64 << 10  # bytes of a control frame; the draft asks for 8192 at least


class ProtocolError(Exception):
    """The peer broke the protocol: the connection cannot go on."""


@dataclass(frozen=True, slots=True)
class ControlHead:
    """The first eight bytes of a control frame."""

    type: int
    flags: int
    length: int


@dataclass(frozen=True, slots=True)
class DataHead:
    """The first eight bytes of a data frame."""

    stream: int
    flags: int
    length: int


def parse_head(data: bytes | bytearray | memoryview) -> ControlHead | DataHead:
    """Return what the first eight bytes say. Raises ProtocolError for another version or an endless control frame."""
    first, second = struct.unpack_from("!II", data)
    flags, length = second >> 24, second & 0xFFFFFF
    if not first >> 31:
        return DataHead(first & MASK, flags, length)
    version = first >> 16 & 0x7FFF
    if version != VERSION:
        raise ProtocolError(f"a frame of SPDY version {version}, not {VERSION}")
    if length > CONTROL_LIMIT:
        raise ProtocolError(f"a control frame of {length} bytes")
    return ControlHead(first & 0xFFFF, flags, length)


def control(kind: int, flags: int, payload: bytes) -> bytes:
    """Return a control frame."""
    return struct.pack("!HHI", 0x8000 | VERSION, kind, flags << 24 | len(payload)) + payload


def data(stream: int, flags: int, payload: bytes | memoryview) -> bytes:
    """Return a data frame."""
    return struct.pack("!II", stream, flags << 24 | len(payload)) + payload


def syn_stream(stream: int, flags: int, block: bytes) -> bytes:
    """Return the frame that opens a stream. No associated stream, highest priority, no slot."""
    return control(SYN_STREAM, flags, struct.pack("!IIBB", stream, 0, 0, 0) + block)


def syn_reply(stream: int, flags: int, block: bytes) -> bytes:
    """Return the frame that accepts a stream."""
    return control(SYN_REPLY, flags, struct.pack("!I", stream) + block)


def numbers(kind: int, *values: int) -> bytes:
    """Return a control frame that holds 32-bit numbers: RST_STREAM, PING, GOAWAY, WINDOW_UPDATE."""
    return control(kind, 0, struct.pack(f"!{len(values)}I", *values))
