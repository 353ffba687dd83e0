"""The messages of rtnetlink(7), and a socket that carries them in batches.

pyroute2 takes answers apart. Requests are packed here and travel over a plain socket, because a Pod's start waits for
them: its encoder takes 0.7 ms for a Pod's nine messages where 0.1 are enough, its synchronous API runs an event loop
per call, and its package loads every protocol it knows (110 ms, 14 MB) where three message classes are wanted (15 ms,
2 MB). A unit test holds every request to what pyroute2 would make of it. Errors are OSErrors with the kernel's errno,
its extended message, and the culprit's name.
"""

import importlib
import importlib.util
import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

Attributes = list[tuple[str, Any]]

RTM_NEWLINK, RTM_DELLINK, RTM_GETLINK = 16, 17, 18
RTM_NEWADDR, RTM_DELADDR, RTM_GETADDR = 20, 21, 22
RTM_NEWROUTE, RTM_DELROUTE, RTM_GETROUTE = 24, 25, 26
NLM_F_REQUEST, NLM_F_ACK, NLM_F_DUMP = 0x1, 0x4, 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_CAPPED, NLM_F_ACK_TLVS = 0x100, 0x200
NLMSGERR_ATTR_MSG = 1
RTMGRP_LINK = 1
IFLA_IFNAME = 3
SOL_NETLINK, NETLINK_CAP_ACK, NETLINK_EXT_ACK = 270, 10, 11
IFF_UP = 1
RTN_UNICAST, RTN_UNREACHABLE = 1, 7
RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RT_SCOPE_LINK = 254, 3, 0, 253

_HEADER = struct.Struct("=IHHII")  # nlmsghdr: length, type, flags, sequence, port
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_ADDRESS = struct.Struct("=BBBBI")  # ifaddrmsg: family, prefix length, flags, scope, index
_ROUTE = struct.Struct("=8BI")  # rtmsg: family, lengths, tos, table, protocol, scope, type, flags
_ATTRIBUTE = struct.Struct("=HH")  # nlattr: length, type


@dataclass(frozen=True)
class Link:
    """An interface as the kernel has it. `peer_index` is the other end of a veth pair (in its own namespace)."""

    name: str
    index: int
    kind: str = ""
    master: int = 0
    up: bool = False
    mtu: int = 0
    hardware_address: str = ""
    peer_index: int = 0


@dataclass(frozen=True)
class Route:
    """A route of the main table. `destination` is 0.0.0.0/0 for the default one."""

    destination: IPv4Network
    interface_index: int = 0
    gateway: str = ""
    unreachable: bool = False
    metric: int = 0


# ---- messages ----


def _message_class(module: str, name: str) -> Any:
    """Return one of pyroute2's message classes without loading the rest of pyroute2.

    The package's __init__ is left out by standing a bare package of the same path in its place during the import.
    """
    full = f"pyroute2.netlink.rtnl.{module}"
    if full in sys.modules:
        return getattr(sys.modules[full], name)
    with _IMPORTING:
        whole = "pyroute2" in sys.modules
        if not whole:
            spec = importlib.util.find_spec("pyroute2")
            if spec is None:
                raise ModuleNotFoundError("pyroute2 is not installed; run: pip install pyroute2")
            sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
        try:
            return getattr(importlib.import_module(full), name)
        finally:
            if not whole:
                del sys.modules["pyroute2"]  # whoever imports it himself gets all of it


_IMPORTING = threading.Lock()


def link_message(
    kind: int, flags: int, attributes: Attributes, *, index: int = 0, up: bool | None = None
) -> bytes:
    """Encode an RTM_*LINK request; `up` None leaves the interface's state as it is."""
    change = 0 if up is None else IFF_UP
    head = _LINK.pack(socket.AF_UNSPEC, 0, index, IFF_UP if up else 0, change)
    return _encode(kind, flags, head, attributes)


def address_message(index: int, address: IPv4Interface, kind: int = RTM_NEWADDR) -> bytes:
    """Encode the request that ensures an address on the interface (RTM_DELADDR: that removes it)."""
    head = _ADDRESS.pack(socket.AF_INET, address.network.prefixlen, 0, 0, index)
    attributes: Attributes = [("IFA_LOCAL", str(address.ip)), ("IFA_ADDRESS", str(address.ip))]
    if address.network.prefixlen < 31:
        attributes.append(("IFA_BROADCAST", str(address.network.broadcast_address)))
    flags = NLM_F_CREATE | NLM_F_REPLACE if kind == RTM_NEWADDR else 0
    return _encode(kind, flags, head, attributes)


def route_message(
    kind: int,
    flags: int,
    destination: IPv4Network,
    *,
    gateway: str = "",
    metric: int = 0,
    interface: int = 0,
    source: str = "",
) -> bytes:
    """Encode an RTM_*ROUTE request: by the gateway or the interface (its index), unreachable without either."""
    scope = RT_SCOPE_LINK if interface else RT_SCOPE_UNIVERSE
    leads = RTN_UNICAST if gateway or interface else RTN_UNREACHABLE
    lengths = destination.prefixlen, 0
    table = RT_TABLE_MAIN, RTPROT_BOOT
    head = _ROUTE.pack(socket.AF_INET, *lengths, 0, *table, scope, leads, 0)
    attributes: Attributes = []
    if destination.prefixlen:
        attributes.append(("RTA_DST", str(destination.network_address)))
    if gateway:
        attributes.append(("RTA_GATEWAY", gateway))
    if interface:
        attributes.append(("RTA_OIF", interface))
    if source:
        attributes.append(("RTA_PREFSRC", source))
    if metric:
        attributes.append(("RTA_PRIORITY", metric))
    return _encode(kind, flags, head, attributes)


def _encode(kind: int, flags: int, head: bytes, attributes: Attributes) -> bytes:
    body = head + _pack(attributes)
    return _HEADER.pack(_HEADER.size + len(body), kind, NLM_F_REQUEST | flags, 0, 0) + body


def _pack(attributes: Attributes) -> bytes:
    """Pack attributes, each to a multiple of four bytes (netlink(7))."""
    packed = bytearray()
    for name, value in attributes:
        number, convert = _ATTRIBUTES[name]
        content = convert(value)
        packed += _ATTRIBUTE.pack(_ATTRIBUTE.size + len(content), number) + content
        packed += bytes(-len(packed) % 4)
    return bytes(packed)


def _text(value: str) -> bytes:
    return value.encode() + b"\0"


def _u32(value: int) -> bytes:
    return struct.pack("=I", value)


def _u8(value: int) -> bytes:
    return struct.pack("=B", value)


def _hardware(value: str) -> bytes:
    return bytes.fromhex(value.replace(":", ""))


def _peer(attributes: Attributes) -> bytes:
    return bytes(_LINK.size) + _pack(attributes)


_ATTRIBUTES: dict[
    str, tuple[int, Callable[[Any], bytes]]
] = {  # linux/if_link.h, if_addr.h, rtnetlink.h, veth.h
    "IFLA_ADDRESS": (1, _hardware),
    "IFLA_IFNAME": (3, _text),
    "IFLA_MTU": (4, _u32),
    "IFLA_MASTER": (10, _u32),
    "IFLA_LINKINFO": (18, _pack),
    "IFLA_NET_NS_FD": (28, _u32),
    "IFLA_INFO_KIND": (1, _text),
    "IFLA_INFO_DATA": (2, _pack),
    "IFLA_INFO_SLAVE_KIND": (4, _text),
    "IFLA_INFO_SLAVE_DATA": (5, _pack),
    "IFLA_BR_FORWARD_DELAY": (1, _u32),
    "IFLA_BR_STP_STATE": (5, _u32),
    "IFLA_BR_MCAST_SNOOPING": (23, _u8),
    "IFLA_BRPORT_MODE": (4, _u8),
    "VETH_INFO_PEER": (1, _peer),
    "IFA_ADDRESS": (1, socket.inet_aton),
    "IFA_LOCAL": (2, socket.inet_aton),
    "IFA_BROADCAST": (4, socket.inet_aton),
    "RTA_DST": (1, socket.inet_aton),
    "RTA_OIF": (4, _u32),
    "RTA_GATEWAY": (5, socket.inet_aton),
    "RTA_PRIORITY": (6, _u32),
    "RTA_PREFSRC": (7, socket.inet_aton),
}


def _decode(body: bytes, module: str, name: str) -> Any:
    message = _message_class(module, name)(body)
    message.decode()
    return message


def _parse_link(message: Any) -> Link:
    information = message.get_attr("IFLA_LINKINFO")
    return Link(
        name=message.get_attr("IFLA_IFNAME"),
        index=message["index"],
        kind=(information.get_attr("IFLA_INFO_KIND") or "") if information else "",
        master=message.get_attr("IFLA_MASTER") or 0,
        up=bool(message["flags"] & IFF_UP),
        mtu=message.get_attr("IFLA_MTU") or 0,
        hardware_address=message.get_attr("IFLA_ADDRESS") or "",
        peer_index=message.get_attr("IFLA_LINK") or 0,
    )


def _parse_route(message: Any) -> Route:
    destination = message.get_attr("RTA_DST") or "0.0.0.0"
    return Route(
        destination=IPv4Network(f"{destination}/{message['dst_len']}"),
        interface_index=message.get_attr("RTA_OIF") or 0,
        gateway=message.get_attr("RTA_GATEWAY") or "",
        unreachable=message["type"] == RTN_UNREACHABLE,
        metric=message.get_attr("RTA_PRIORITY") or 0,
    )


# ---- the socket ----


class NetlinkSocket:
    """A NETLINK_ROUTE socket of the namespace that the opening thread was in."""

    def __init__(self, groups: int = 0) -> None:
        """Open the socket, subscribed to the multicast `groups` (RTMGRP_*)."""
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_CAP_ACK, 1)
        self._socket.setsockopt(SOL_NETLINK, NETLINK_EXT_ACK, 1)
        self._socket.bind((0, groups))
        self._sequence = 0
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def request(
        self, messages: Sequence[bytes], culprit: str, ignore: tuple[int, ...] = ()
    ) -> None:
        """Send the messages at once, in order, and wait until the kernel has answered each.

        The kernel performs every one of them, whatever became of the others. Raises OSError for the first that failed
        with an errno not in `ignore`.
        """
        with self._lock:
            first = self._sequence + 1
            self._send(messages, NLM_F_ACK)
            answers = self._answers(first, len(messages))
        for number, message in answers:
            if number and number not in ignore:
                raise OSError(number, message or os.strerror(number), culprit)

    def links(self) -> list[Link]:
        """Return all interfaces of the socket's namespace."""
        found = self._dump(link_message(RTM_GETLINK, 0, []), "ifinfmsg", "ifinfmsg")
        return [_parse_link(each) for each in found]

    def routes(self) -> list[Route]:
        """Return the IPv4 routes of the main table."""
        head = _ROUTE.pack(socket.AF_INET, *bytes(7), 0)
        found = self._dump(_encode(RTM_GETROUTE, 0, head, []), "rtmsg", "rtmsg")
        return [_parse_route(each) for each in found if each["table"] == RT_TABLE_MAIN]

    def addresses(self, index: int) -> list[IPv4Interface]:
        """Return the IPv4 addresses of one interface."""
        head = _ADDRESS.pack(socket.AF_INET, 0, 0, 0, 0)
        found = self._dump(_encode(RTM_GETADDR, 0, head, []), "ifaddrmsg", "ifaddrmsg")
        return [
            IPv4Interface((each.get_attr("IFA_LOCAL"), each["prefixlen"]))
            for each in found
            if each["index"] == index
        ]

    def _dump(self, message: bytes, module: str, name: str) -> list[Any]:
        decoded = []
        with self._lock:
            self._send([message], NLM_F_DUMP)
            for kind, body in self._dumped():
                if kind == NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body, 16)[0]
                    raise OSError(number, os.strerror(number))
                decoded.append(_decode(body, module, name))
        return decoded

    def link(self, name: str) -> Link | None:
        """Return one interface of the socket's namespace."""
        with self._lock:
            self._send([link_message(RTM_GETLINK, 0, [("IFLA_IFNAME", name)])], 0)
            for header, body in _split(self._socket.recv(1 << 18)):
                if header[1] == RTM_NEWLINK and header[3] == self._sequence:
                    return _parse_link(_decode(body, "ifinfmsg", "ifinfmsg"))
        return None

    def wait_removal(self, name: str, seconds: float) -> bool:
        """Wait for the news that an interface is gone (needs RTMGRP_LINK); return whether it came in time."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                received = self._socket.recv(1 << 18)
            except TimeoutError:
                return False
            for header, body in _split(received):
                if header[1] == RTM_DELLINK and _is_about(body, name):
                    return True
        return False

    def _send(self, messages: Sequence[bytes], flags: int) -> None:
        batch = bytearray()
        for message in messages:
            self._sequence += 1
            length, kind, own, _, port = _HEADER.unpack_from(message)
            batch += _HEADER.pack(length, kind, own | flags, self._sequence, port)
            batch += message[_HEADER.size :]
            batch += bytes(-len(batch) % 4)
        self._socket.send(batch)

    def _answers(self, first: int, count: int) -> list[tuple[int, str]]:
        """Return (errno, extended message) of each of the `count` messages from sequence `first` on."""
        answers: dict[int, tuple[int, str]] = {}
        while len(answers) < count:
            for header, body in _split(self._socket.recv(1 << 16)):
                if header[1] == NLMSG_ERROR and header[3] >= first:
                    answers[header[3]] = _parse_error(header, body)
        return [answers[first + each] for each in range(count)]

    def _dumped(self) -> Iterator[tuple[int, bytes]]:
        while True:
            for header, body in _split(self._socket.recv(1 << 18)):
                if header[3] != self._sequence:
                    continue
                if header[1] == NLMSG_DONE:
                    return
                yield header[1], body


def _split(received: bytes) -> Iterator[tuple[tuple[int, ...], bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(received):
        header = _HEADER.unpack_from(received, offset)
        yield header, received[offset : offset + header[0]]
        offset += (header[0] + 3) & ~3


def _is_about(body: bytes, name: str) -> bool:
    """Whether a link's news is its own, not that of its leaving a bridge (family AF_BRIDGE)."""
    attribute = struct.pack("=HH", 5 + len(name), IFLA_IFNAME) + name.encode() + b"\0"
    return body[_HEADER.size] == socket.AF_UNSPEC and attribute in body


def _parse_error(header: tuple[int, ...], body: bytes) -> tuple[int, str]:
    """Read a struct nlmsgerr and its NLMSGERR_ATTR_MSG, if any."""
    number = -struct.unpack_from("=i", body, _HEADER.size)[0]
    if not number or not header[2] & NLM_F_ACK_TLVS:
        return number, ""
    offset = _HEADER.size + 4
    offset += (
        _HEADER.size if header[2] & NLM_F_CAPPED else struct.unpack_from("=I", body, offset)[0]
    )
    while offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if kind & 0x3FFF == NLMSGERR_ATTR_MSG:
            return number, body[offset + 4 : offset + length].rstrip(b"\0").decode()
        offset += max(4, (length + 3) & ~3)
    return number, ""
