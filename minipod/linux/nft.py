"""Packet rules through libnftables, in this process (libnftables-json(5), nft(8)).

One context for the life of the process, guarded by a lock: worker threads share it. Every call is one transaction:
all of it happens, or nothing. Elements of sets and maps are added and deleted idempotently, and by netlink
(`nft_messages`), as Pods' starts wait for it; rules are libnftables' alone.
"""

import errno
import json
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from minipod.linux.netlink import hardware_address
from minipod.linux.nft_messages import (
    Request,
    Scalar,
    chains,
    delete_table,
    element_request,
    perform,
    sets,
    table_handles,
    tables,
)

__all__ = [
    "Element",
    "add_elements",
    "chains",
    "delete_elements",
    "delete_table",
    "guard_elements",
    "list_elements",
    "port_elements",
    "run",
    "sets",
    "table_handles",
    "tables",
]

Family = Literal["inet", "ip", "ip6", "bridge"]


@dataclass(frozen=True)
class Element:
    """An element of a named set, or of a map when it has a value. Several parts make a concatenation."""

    family: Family
    table: str
    name: str  # of the set or map
    key: tuple[Scalar, ...]
    value: tuple[Scalar, ...] | None = None

    def __str__(self) -> str:
        shown = " . ".join(map(str, self.key))
        if self.value is not None:
            shown += " : " + " . ".join(map(str, self.value))
        return f"{self.family} {self.table} {self.name} {{ {shown} }}"


_ERRNO = {
    "No such file or directory": errno.ENOENT,
    "File exists": errno.EEXIST,
    "Operation not permitted": errno.EPERM,
    "Operation not supported": errno.EOPNOTSUPP,
    "Device or resource busy": errno.EBUSY,
    "Too many open files in system": errno.ENFILE,
    "Cannot allocate memory": errno.ENOMEM,
}
_ERROR_LINE = re.compile(r"Error: (.+)")


class _Context:
    """libnftables' context, made on first use: loading the library takes a few milliseconds."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._made: Any = None

    def get(self) -> Any:
        if self._made is None:
            try:
                import nftables

                self._made = nftables.Nftables()
            except ImportError as error:
                raise OSError(
                    errno.ENOPKG, "pip-nftables is not installed; run: pip install pip-nftables"
                ) from error
            except OSError as error:
                raise OSError(
                    errno.ENOPKG,
                    f"cannot load libnftables ({error}); run: apt-get install libnftables1",
                ) from error
        return self._made


_context = _Context()


def run(family: Family, table: str, commands: str) -> None:
    """Perform nft(8) commands on one table as one transaction. OSError carries libnftables' first message.

    They end with a listing of the table, which is there then: the library reads nobody else's sets (`nft_messages`) if
    the last command names the table that is wanted.
    """
    with _context.lock:
        context = _context.get()
        context.set_json_output(False)
        code, _, error = context.cmd(f"{commands}\nlist table {family} {table}\n")
    if code:
        raise _failure(error, f"table {family} {table}")


def _list(what: dict[str, Any], culprit: str) -> list[dict[str, Any]]:
    """Return what libnftables lists (libnftables-json(5))."""
    with _context.lock:
        context = _context.get()
        context.set_json_output(True)
        code, output, error = context.cmd(json.dumps({"nftables": [{"list": what}]}))
    if code:
        raise _failure(error, culprit)
    listed: list[dict[str, Any]] = json.loads(output)["nftables"] if output else []
    return listed


def _failure(error: str, culprit: str) -> OSError:
    found = _ERROR_LINE.search(error)
    text = found.group(1).strip() if found else error.strip() or "unknown error"
    number = next((code for words, code in _ERRNO.items() if words in text), errno.EINVAL)
    return OSError(number, f"nftables: {text}", culprit)


def add_elements(elements: Sequence[Element]) -> None:
    """Ensure all elements, or none of them.

    FileExistsError names the first map element whose key already leads to another value.
    """
    if not elements:
        return
    try:
        perform([_request(each) for each in elements], str(elements[0]))
    except FileExistsError:
        taken = [each for each in elements if _is_taken(each)]
        culprit = str(taken[0] if taken else elements[0])
        raise FileExistsError(
            errno.EEXIST, "nftables: the key leads elsewhere already", culprit
        ) from None


def delete_elements(elements: Sequence[Element]) -> None:
    """Ensure that these elements are gone. One whose key leads to another value is somebody else's, and stays."""
    if not elements:
        return
    try:
        perform(_deletions(elements), str(elements[0]))
    except (FileExistsError, FileNotFoundError):
        for each in elements:
            _delete_own(each)


def _delete_own(element: Element) -> None:
    try:
        perform(_deletions([element]), str(element))
    except (FileExistsError, FileNotFoundError):
        return  # another value, or the table itself is gone


def _deletions(elements: Sequence[Element]) -> list[Request]:
    """Add, then delete: deleting what is not there would fail, adding over another value does fail."""
    return [_request(each, delete=delete) for each in elements for delete in (False, True)]


def _request(element: Element, *, delete: bool = False) -> Request:
    family, table, name = element.family, element.table, element.name
    return element_request(family, table, name, element.key, element.value, delete=delete)


def _is_taken(element: Element) -> bool:
    found = list_elements(element.family, element.table, element.name)
    return any(each.key == element.key and each.value != element.value for each in found)


def list_elements(family: Family, table: str, name: str) -> list[Element]:
    """Return the elements of a set or map; none when there is no such table or set."""
    identity = {"family": family, "table": table, "name": name}
    for kind in ("set", "map"):
        try:
            listed = _list({kind: identity}, f"{family} {table} {name}")
        except FileNotFoundError:
            continue
        for each in listed:
            if kind in each:
                return [
                    _parse(family, table, name, kind, one) for one in each[kind].get("elem", [])
                ]
    return []


def _parse(family: Family, table: str, name: str, kind: str, listed: Any) -> Element:
    if kind == "set":
        return Element(family, table, name, _parts(listed))
    key, value = listed
    return Element(family, table, name, _parts(key), _parts(value))


def _parts(listed: Any) -> tuple[Scalar, ...]:
    if isinstance(listed, dict):
        listed = listed["elem"]["val"] if "elem" in listed else listed["concat"]
    return tuple(listed) if isinstance(listed, list) else (listed,)


# ---- elements of an instance's tables (their sets and maps are described in network/bridge.py) ----


def port_elements(
    table: str, address: str, mappings: Sequence[tuple[str, str, int, int]]
) -> list[Element]:
    """Return the elements that lead ports of the host to `address`.

    A mapping is (host IP or "", "tcp" | "udp" | "sctp", host port, port at the address).
    """
    found = []
    for host_ip, protocol, host_port, port in mappings:
        everywhere = host_ip in ("", "0.0.0.0")
        key = (protocol, host_port) if everywhere else (host_ip, protocol, host_port)
        name = "ports" if everywhere else "address_ports"
        found.append(Element("inet", table, name, key, (address, port)))
    return found


def guard_elements(table: str, interface: str, address: str) -> list[Element]:
    """Return the elements that hold a bridge port to one IPv4 source address, and to the hardware address of it."""
    return [
        Element("bridge", table, "guarded", (interface,)),
        Element("bridge", table, "sources", (interface, hardware_address(address), address)),
    ]
