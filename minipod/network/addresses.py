"""Which Pod has which address: a pool over one range, kept in an append-only journal.

A journal of whole lines ("+ 10.85.0.7 OWNER", "- 10.85.0.7") survives kill -9 between any two lines of this file: what
was appended happened, a torn last line did not. It is rewritten whenever it is opened, and when it has grown long.
A machine's crash needs no fsync: the Pods are gone with it, and `reconcile` frees what nobody owns.
"""

import contextlib
import errno
import os
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Interface, IPv4Network
from pathlib import Path

JOURNAL = "addresses"
COMPACT_AFTER = 4096  # lines beyond what a fresh journal would hold


class PoolExhausted(Exception):
    """Every address of the range is taken."""


class AddressPool:
    """The addresses of one range, each with at most one owner. Safe for use from several threads.

    Never hands out the network's own, the broadcast or the gateway's (the first) address. Addresses never used come
    first, in order, then the one that has been free longest, so that a late packet for a dead Pod rarely meets another.
    """

    def __init__(self, directory: Path, cidr: str) -> None:
        """Open the pool kept in `directory` (made when missing).

        Raises ValueError when the range is none, too small (beyond /30), or holds less than what is owned.
        """
        self._network = IPv4Network(cidr)
        if self._network.prefixlen > 30:
            raise ValueError(
                f'Pod range "{cidr}" has no room for a gateway and a Pod; use a /30 or wider'
            )
        self._lock = threading.Lock()
        self._path = directory / JOURNAL
        self._owners: dict[str, IPv4Address] = {}
        self._held: dict[IPv4Address, str] = {}
        self._freed: OrderedDict[IPv4Address, None] = OrderedDict()
        self._next = int(self._network.network_address) + 2  # everything below it is held or freed
        directory.mkdir(parents=True, exist_ok=True)
        self._replay()
        self._file = -1
        self._open()

    @property
    def gateway(self) -> IPv4Interface:
        """The bridge's own address: the first of the range."""
        return IPv4Interface((int(self._network.network_address) + 1, self._network.prefixlen))

    @property
    def capacity(self) -> int:
        """How many owners the range has room for."""
        return self._network.num_addresses - 3

    def allocate(self, owner: str) -> IPv4Interface:
        """Return the owner's address, a new one if it has none.

        Raises PoolExhausted, ValueError for an owner with white space, and OSError (a full disk) with nothing changed.
        """
        if not owner or owner.split() != [owner]:
            raise ValueError(f'owner "{owner}" must be one word')
        with self._lock:
            address = self._owners.get(owner)
            if address is None:
                address = self._choose()
                self._append(f"+ {address} {owner}\n")
                self._take(address, owner)
            return IPv4Interface((int(address), self._network.prefixlen))

    def release(self, owner: str) -> None:
        """Free the owner's address. Nothing when it has none."""
        with self._lock:
            address = self._owners.get(owner)
            if address is None:
                return
            self._append(f"- {address}\n")
            self._free(address, owner)

    def owners(self) -> dict[str, IPv4Interface]:
        """Return every owner's address."""
        with self._lock:
            held = dict(self._owners)
        width = self._network.prefixlen
        return {owner: IPv4Interface((int(address), width)) for owner, address in held.items()}

    def reconcile(self, live: Iterable[str]) -> list[str]:
        """Free what belongs to nobody of `live`; return those owners. Call when no allocation is under way."""
        alive = set(live)
        gone = sorted(owner for owner in self.owners() if owner not in alive)
        for owner in gone:
            self.release(owner)
        return gone

    def close(self) -> None:
        """Close the journal."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    # ---- the range ----

    def _choose(self) -> IPv4Address:
        while self._is_known(IPv4Address(self._next)):
            self._next += 1
        if self._next < int(self._network.broadcast_address):
            return IPv4Address(self._next)
        for address in self._freed:
            return address
        raise PoolExhausted(
            f"no free address in Pod range {self._network}: all {self.capacity} are in use; "
            "delete Pods, or give the daemon a wider --pod-cidr"
        )

    def _take(self, address: IPv4Address, owner: str) -> None:
        self._freed.pop(address, None)
        self._owners[owner] = address
        self._held[address] = owner

    def _free(self, address: IPv4Address, owner: str) -> None:
        del self._owners[owner], self._held[address]
        self._freed[address] = None

    # ---- the journal ----

    def _replay(self) -> None:
        for sign, address, owner in self._lines():
            holder = self._held.get(address)
            if sign == "-" and holder is not None:
                self._free(address, holder)
            elif (
                sign == "-"
            ):  # a compacted journal lists free addresses in the order of their freeing
                self._freed[address] = None
            elif holder is None and owner not in self._owners:
                self._take(address, owner)
        self._hold_to_range()

    def _lines(self) -> Iterator[tuple[str, IPv4Address, str]]:
        try:
            whole, _, _torn = self._path.read_text(errors="replace").rpartition("\n")
        except FileNotFoundError:
            return
        for line in whole.split("\n"):
            with contextlib.suppress(ValueError, IndexError):  # a damaged line counts for nothing
                sign, address, *owner = line.split(" ")
                yield sign, IPv4Address(address), owner[0] if sign == "+" else ""

    def _hold_to_range(self) -> None:
        """Refuse while somebody owns an address outside of the range (it has changed); find the first never used."""
        first, last = self._network.network_address + 1, self._network.broadcast_address
        outside = {o: a for o, a in self._owners.items() if not first < a < last}
        if outside:
            owner, address = min(outside.items())
            raise ValueError(
                f"{len(outside)} addresses outside of Pod range {self._network} are in use "
                f"({address} by {owner}); keep the former range until these Pods are gone"
            )
        if any(not first < address < last for address in self._freed):
            self._freed.clear()
        self._next = int(first) + 1
        while self._is_known(IPv4Address(self._next)):
            self._next += 1

    def _is_known(self, address: IPv4Address) -> bool:
        return address in self._held or address in self._freed

    def _append(self, line: str) -> None:
        """Append one line, or nothing: what a full disk cut off is taken back."""
        if self._appended > COMPACT_AFTER:
            with contextlib.suppress(OSError):  # the long journal is as good
                self._compact()
        size = os.fstat(self._file).st_size
        data = line.encode()
        try:
            if os.write(self._file, data) != len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._path))
        except OSError:
            os.ftruncate(self._file, size)
            raise
        self._appended += 1

    def _open(self) -> None:
        """Begin with a fresh journal; on a full disk go on with the old one, behind its last whole line."""
        try:
            self._compact()
        except OSError:
            if not self._path.exists():
                raise
            self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
            os.ftruncate(self._file, self._path.read_bytes().rfind(b"\n") + 1)
            self._appended = COMPACT_AFTER + 1

    def _compact(self) -> None:
        """Put a fresh journal in the old one's place at once."""
        lines = [f"- {address}\n" for address in self._freed]
        lines += [f"+ {address} {owner}\n" for owner, address in self._owners.items()]
        fresh = self._path.with_suffix(".new")
        try:
            fresh.write_text("".join(lines))
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        opened = os.open(fresh, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        os.rename(fresh, self._path)
        self.close()
        self._file, self._appended = opened, 0
