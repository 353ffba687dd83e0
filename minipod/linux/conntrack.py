"""Connections that the kernel tracks: forgetting those that lead to an address (nfnetlink, conntrack(8)).

A UDP "connection" outlives the Pod it leads to for as long as its client keeps sending: with the translation of a
hostPort remembered, the packets would go on to the old address, whatever the rules say by then.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from ipaddress import IPv4Address

NETLINK_NETFILTER = 12
CT_GET, CT_DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLMSG_ERROR, NLMSG_DONE = 2, 3
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE = 1, 2, 18
CTA_TUPLE_IP, CTA_TUPLE_PROTO, CTA_IP_V4_SRC, CTA_PROTO_NUM = 1, 2, 1, 1
NESTED_MASK = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER

_HEADER = struct.Struct("=IHHII")  # nlmsghdr
_GENERAL = struct.pack("=BBH", socket.AF_INET, 0, 0)  # nfgenmsg


def forget_flows(address: str, protocol: int = socket.IPPROTO_UDP) -> int:
    """Forget every tracked connection of `protocol` that is answered from `address`; return how many there were.

    Reads the whole table (a few ms per thousand connections): call it where such connections can be.
    """
    wanted = IPv4Address(address).packed
    forgotten = 0
    with _socket() as reader, _socket() as writer:
        for attributes in _dump(reader):
            if _answered_from(attributes) == (wanted, protocol):
                forgotten += _delete(writer, attributes)
    return forgotten


def _socket() -> socket.socket:
    made = socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
    )
    made.bind((0, 0))
    return made


def _dump(reader: socket.socket) -> Iterator[dict[int, bytes]]:
    reader.send(_message(CT_GET, NLM_F_DUMP, b""))
    while True:
        received = reader.recv(1 << 18)
        offset = 0
        while offset + _HEADER.size <= len(received):
            length, kind, _, _, _ = _HEADER.unpack_from(received, offset)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                _raise(received, offset)
            start = offset + _HEADER.size + len(_GENERAL)
            yield _attributes(received[start : offset + length])
            offset += (length + 3) & ~3


def _delete(writer: socket.socket, attributes: dict[int, bytes]) -> bool:
    """Delete one connection; False when it has ended by itself."""
    body = _attribute(CTA_TUPLE_ORIG | 0x8000, attributes[CTA_TUPLE_ORIG])
    if CTA_ZONE in attributes:
        body += _attribute(CTA_ZONE, attributes[CTA_ZONE])
    writer.send(_message(CT_DELETE, NLM_F_ACK, body))
    try:
        _raise(writer.recv(1 << 16), 0)
    except FileNotFoundError:
        return False
    return True


def _raise(received: bytes, offset: int) -> None:
    number = -struct.unpack_from("=i", received, offset + _HEADER.size)[0]
    if number:
        raise OSError(number or errno.EIO, os.strerror(number), "conntrack")


def _answered_from(attributes: dict[int, bytes]) -> tuple[bytes, int] | None:
    """Return (source address, protocol) of a connection's answers."""
    answers = _attributes(attributes.get(CTA_TUPLE_REPLY, b""))
    source = _attributes(answers.get(CTA_TUPLE_IP, b"")).get(CTA_IP_V4_SRC)
    protocol = _attributes(answers.get(CTA_TUPLE_PROTO, b"")).get(CTA_PROTO_NUM)
    return (source, protocol[0]) if source and protocol else None


def _message(kind: int, flags: int, body: bytes) -> bytes:
    length = _HEADER.size + len(_GENERAL) + len(body)
    return _HEADER.pack(length, kind, NLM_F_REQUEST | flags, 1, 0) + _GENERAL + body


def _attribute(kind: int, payload: bytes) -> bytes:
    padding = bytes(-len(payload) % 4)
    return struct.pack("=HH", 4 + len(payload), kind) + payload + padding


def _attributes(data: bytes) -> dict[int, bytes]:
    found, offset = {}, 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & NESTED_MASK] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found
