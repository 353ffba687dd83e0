"""nftables by netlink, where libnftables is in the way (linux/netfilter/nf_tables.h).

Before it adds an element, deletes a table or lists the names of tables, libnftables reads every set of every table
there is: the more there are the longer it takes, and what a newer nft(8) has written into one may be its end (SIGSEGV,
up to 1.1.3). Here nobody else's sets are read, and a Pod's elements take a tenth of a millisecond.
"""

import os
import re
import socket
import struct
from collections.abc import Iterable, Sequence

from minipod.linux.nfnetlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    answers,
    attribute,
    dump,
    message,
    nested,
    open_socket,
)

FAMILIES = {"inet": 1, "ip": 2, "arp": 3, "netdev": 5, "bridge": 7, "ip6": 10}
PROTOCOLS = {"tcp": 6, "udp": 17, "sctp": 132}
BUFFER_BYTES = (
    1 << 22
)  # of a transaction, and of its answers: the system's limit is for other users

_SO_SNDBUFFORCE, _SO_RCVBUFFORCE = 32, 33  # asm-generic/socket.h
_SUBSYSTEM = 10
_NEWTABLE, _GETTABLE, _DELTABLE, _GETCHAIN, _GETSET = (
    _SUBSYSTEM << 8 | n for n in (0, 1, 2, 4, 10)
)
_NEWSETELEM, _DELSETELEM = _SUBSYSTEM << 8 | 12, _SUBSYSTEM << 8 | 14
_BATCH_BEGIN, _BATCH_END = 0x10, 0x11
_TABLE_NAME = _CHAIN_TABLE = _SET_TABLE = _ELEMENTS_TABLE = 1
_SET_NAME = _ELEMENTS_SET = 2
_CHAIN_NAME = _ELEMENTS = 3
_TABLE_HANDLE = 4
_LIST_ELEMENT = _ELEMENT_KEY = _DATA_VALUE = 1
_ELEMENT_DATA = 2
_HARDWARE = re.compile(r"(?:[0-9a-f]{2}:){5}[0-9a-f]{2}", re.I)
_NUMBER = re.compile(r"\d+(?:\.\d+){3}")

Scalar = str | int
Request = tuple[int, int, int, bytes]  # type, flags, family, body


def tables() -> list[tuple[str, str]]:
    """Return (family, name) of every table of the namespace."""
    with open_socket() as reader:
        found = dump(reader, _GETTABLE, socket.AF_UNSPEC, "nftables")
    names = {number: name for name, number in FAMILIES.items()}
    return [
        (names[each[-1][0]], _name(each[_TABLE_NAME])) for each in found if each[-1][0] in names
    ]


def table_handles(table: str) -> dict[str, int]:
    """Return, by family, what tells the table of this name from any other that had the name before."""
    numbers = {number: name for name, number in FAMILIES.items()}
    with open_socket() as reader:
        found = dump(
            *(reader, _GETTABLE, socket.AF_UNSPEC, "nftables"),
            lambda each: _name(each[_TABLE_NAME]) == table and each[-1][0] in numbers,
        )
    return {numbers[each[-1][0]]: int.from_bytes(each[_TABLE_HANDLE]) for each in found}


def chains(family: str, table: str) -> list[str]:
    """Return the names of a table's chains; none when there is no such table."""
    with open_socket() as reader:
        found = dump(reader, _GETCHAIN, FAMILIES[family], f"{family} {table}")
    return [_name(each[_CHAIN_NAME]) for each in found if _name(each[_CHAIN_TABLE]) == table]


def sets(family: str, table: str) -> list[str]:
    """Return the names of a table's sets and maps, but for those that rules have written into them."""
    with open_socket() as reader:
        found = dump(reader, _GETSET, FAMILIES[family], f"{family} {table}")
    names = [_name(each[_SET_NAME]) for each in found if _name(each[_SET_TABLE]) == table]
    return [each for each in names if not each.startswith("__")]


def delete_table(family: str, table: str) -> None:
    """Ensure that there is no such table: it is added first, as deleting what is not there would fail."""
    body = attribute(_TABLE_NAME, _text(table))
    add = _NEWTABLE, NLM_F_CREATE, FAMILIES[family], body
    perform([add, (_DELTABLE, 0, FAMILIES[family], body)], f"table {family} {table}")


def element_request(
    family: str,
    table: str,
    name: str,
    key: Sequence[Scalar],
    value: Sequence[Scalar] | None,
    *,
    delete: bool = False,
) -> Request:
    """Return the request that ensures an element (a map's with its value), or deletes it.

    A part is an interface, an IPv4 or a hardware address, a protocol ("tcp") or a port (a number).
    """
    parts = [nested(_ELEMENT_KEY, attribute(_DATA_VALUE, _concatenation(key)))]
    if value is not None and not delete:
        parts.append(nested(_ELEMENT_DATA, attribute(_DATA_VALUE, _concatenation(value))))
    body = (
        attribute(_ELEMENTS_TABLE, _text(table))
        + attribute(_ELEMENTS_SET, _text(name))
        + nested(_ELEMENTS, nested(_LIST_ELEMENT, *parts))
    )
    kind, flags = (_DELSETELEM, 0) if delete else (_NEWSETELEM, NLM_F_CREATE)
    return kind, flags, FAMILIES[family], body


def perform(requests: Iterable[Request], culprit: str) -> None:
    """Perform requests as one transaction: all of it happens, or nothing. OSError is the first, with the culprit."""
    batch = [message(_BATCH_BEGIN, 0, 0, sequence=0, resource=_SUBSYSTEM)]
    asked = list(requests)
    for number, (kind, flags, family, body) in enumerate(asked, 1):
        flags |= NLM_F_ACK if number == len(asked) else 0  # failures are told of without it
        batch.append(message(kind, flags, family, body, sequence=number))
    batch.append(message(_BATCH_END, 0, 0, sequence=len(asked) + 1, resource=_SUBSYSTEM))
    failed = 0
    with open_socket() as writer:
        for option in (_SO_SNDBUFFORCE, _SO_RCVBUFFORCE):
            writer.setsockopt(socket.SOL_SOCKET, option, BUFFER_BYTES)
        writer.send(b"".join(batch))
        for sequence, number in answers(writer):
            failed = failed or number
            if sequence == len(asked) or (number and not sequence):  # the last, or all at once
                break
    if failed:
        raise OSError(failed, f"nftables: {os.strerror(failed)}", culprit)


def _concatenation(parts: Sequence[Scalar]) -> bytes:
    """Encode a key or a value: parts of a concatenation fill four bytes, or multiples."""
    encoded = [_part(each) for each in parts]
    if len(encoded) == 1:
        return encoded[0]
    return b"".join(each + bytes(-len(each) % 4) for each in encoded)


def _part(part: Scalar) -> bytes:
    if isinstance(part, int):
        return struct.pack("!H", part)
    if part in PROTOCOLS:
        return bytes([PROTOCOLS[part]])
    if _NUMBER.fullmatch(part):
        return socket.inet_aton(part)
    if _HARDWARE.fullmatch(part):
        return bytes.fromhex(part.replace(":", ""))
    return part.encode().ljust(16, b"\0")


def _text(name: str) -> bytes:
    return name.encode() + b"\0"


def _name(data: bytes) -> str:
    return data.rstrip(b"\0").decode()
