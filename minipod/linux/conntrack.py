"""Connections that the kernel tracks: forgetting those that lead to an address (nfnetlink, conntrack(8)).

A UDP "connection" outlives the Pod it leads to for as long as its client keeps sending: with the translation of a
hostPort remembered, the packets would go on to the old address, whatever the rules say by then.
"""

import os
import socket
from ipaddress import IPv4Address

from minipod.linux.nfnetlink import (
    NLA_F_NESTED,
    NLM_F_ACK,
    answers,
    attribute,
    attributes,
    dump,
    message,
    open_socket,
)

CT_GET, CT_DELETE = 0x101, 0x102  # NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_*
CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, CTA_ZONE = 1, 2, 18
CTA_TUPLE_IP, CTA_TUPLE_PROTO, CTA_IP_V4_SRC, CTA_PROTO_NUM = 1, 2, 1, 1


def forget_flows(address: str, protocol: int = socket.IPPROTO_UDP) -> int:
    """Forget every tracked connection of `protocol` that is answered from `address`; return how many there were.

    Reads the whole table (a few ms per thousand connections): call it where such connections can be.
    """
    wanted = IPv4Address(address).packed, protocol
    with open_socket() as reader, open_socket() as writer:
        flows = dump(
            reader, CT_GET, socket.AF_INET, "conntrack", lambda flow: _answered_from(flow) == wanted
        )
        return sum(_delete(writer, flow) for flow in flows)


def _delete(writer: socket.socket, flow: dict[int, bytes]) -> bool:
    """Delete one connection; False when it has ended by itself."""
    body = attribute(CTA_TUPLE_ORIG | NLA_F_NESTED, flow[CTA_TUPLE_ORIG])
    if CTA_ZONE in flow:
        body += attribute(CTA_ZONE, flow[CTA_ZONE])
    writer.send(message(CT_DELETE, NLM_F_ACK, socket.AF_INET, body))
    _, number = next(answers(writer))
    try:
        if number:
            raise OSError(number, os.strerror(number), "conntrack")
    except FileNotFoundError:
        return False
    return True


def _answered_from(flow: dict[int, bytes]) -> tuple[bytes, int] | None:
    """Return (source address, protocol) of a connection's answers."""
    answered = attributes(flow.get(CTA_TUPLE_REPLY, b""))
    source = attributes(answered.get(CTA_TUPLE_IP, b"")).get(CTA_IP_V4_SRC)
    protocol = attributes(answered.get(CTA_TUPLE_PROTO, b"")).get(CTA_PROTO_NUM)
    return (source, protocol[0]) if source and protocol else None
