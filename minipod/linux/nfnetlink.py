"""The frame of nfnetlink's messages, in which nftables and conntrack(8) are spoken to (linux/netfilter/nfnetlink.h)."""

import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator

NETLINK_NETFILTER = 12
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP_INTR, NLM_F_DUMP = 0x1, 0x4, 0x10, 0x300
NLM_F_CREATE = 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLA_F_NESTED = 0x8000
NESTED_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
DUMPS = 10  # how often what changes while it is read is read again

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_GENERAL = struct.Struct("!BBH")  # nfgenmsg: family, version, resource


def open_socket(groups: int = 0) -> socket.socket:
    """Open a socket of the calling thread's network namespace; it hears what goes to these groups (a bit each)."""
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    made = socket.socket(socket.AF_NETLINK, kind, NETLINK_NETFILTER)
    made.bind((0, groups))
    return made


def message(
    kind: int, flags: int, family: int, body: bytes = b"", *, sequence: int = 1, resource: int = 0
) -> bytes:
    """Encode one request."""
    length = _HEADER.size + _GENERAL.size + len(body)
    header = _HEADER.pack(length, kind, NLM_F_REQUEST | flags, sequence, 0)
    return header + _GENERAL.pack(family, 0, resource) + body


def attribute(kind: int, payload: bytes) -> bytes:
    """Encode one attribute, padded."""
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(-len(payload) % 4)


def nested(kind: int, *attributes: bytes) -> bytes:
    """Encode an attribute that holds others."""
    return attribute(kind | NLA_F_NESTED, b"".join(attributes))


def attributes(data: bytes) -> dict[int, bytes]:
    """Return the attributes of a message or of another attribute, by number."""
    found, offset = {}, 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & NESTED_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def answers(reader: socket.socket) -> Iterator[tuple[int, int]]:
    """Yield (sequence, errno or 0) of the answers to requests, without end. OSError when there are too many."""
    while True:
        for kind, _, sequence, body in _split(reader.recv(1 << 18)):
            if kind == NLMSG_ERROR:
                yield sequence, _errno(body)


def dump(
    reader: socket.socket,
    kind: int,
    family: int,
    culprit: str,
    wanted: Callable[[dict[int, bytes]], bool] = lambda _: True,
) -> list[dict[int, bytes]]:
    """Return the attributes of everything wanted of one kind, each with its family as number -1. OSError."""
    for _ in range(DUMPS):
        reader.send(message(kind, NLM_F_DUMP, family))
        found, whole = _read_dump(reader, culprit, wanted)
        if whole:
            return found
    raise OSError(errno.EBUSY, "what is there changes faster than it can be read", culprit)


def _read_dump(
    reader: socket.socket, culprit: str, wanted: Callable[[dict[int, bytes]], bool]
) -> tuple[list[dict[int, bytes]], bool]:
    found: list[dict[int, bytes]] = []
    whole = True
    while True:
        for kind, flags, _, body in _split(reader.recv(1 << 18)):
            whole = whole and not flags & NLM_F_DUMP_INTR
            if kind == NLMSG_DONE:
                return found, whole
            if kind == NLMSG_ERROR:
                number = _errno(body)
                raise OSError(number, os.strerror(number), culprit)
            each = attributes(body[_GENERAL.size :]) | {-1: body[:1]}
            if wanted(each):  # of what may be hundreds of thousands
                found.append(each)


def _errno(body: bytes) -> int:
    return -int(struct.unpack_from("=i", body)[0])


def _split(received: bytes) -> Iterator[tuple[int, int, int, bytes]]:
    """Yield type, flags, sequence and body of each message."""
    offset = 0
    while offset + _HEADER.size <= len(received):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(received, offset)
        yield kind, flags, sequence, received[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3
