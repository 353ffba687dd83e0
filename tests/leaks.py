"""What this host holds of minipod's, counted from the kernel before and after a test.

Everything minipod makes on a host carries its instance's name (`minipod...`, `mp-...`), so a snapshot needs no
record of what a test did: whatever bears such a name afterwards and did not before is a leak.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from nftables import Nftables

MARKER = "MINIPOD_TEST_RUN"  # in the environment of everything the tests start
NAMES = ("minipod", "mp-", "veth")


@dataclass(frozen=True)
class Host:
    """One look at the host."""

    processes: frozenset[str]
    mounts: frozenset[str]
    network_namespaces: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    nft_tables: frozenset[str]

    def leaked_since(self, before: "Host") -> dict[str, list[str]]:
        """Return what is here now and was not before, by kind."""
        return {
            each.name: sorted(new)
            for each in fields(self)
            if (new := getattr(self, each.name) - getattr(before, each.name))
        }


def look() -> Host:
    """Take a snapshot of everything minipod could leave behind: after every test, so it starts no process."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    processes, namespaces = _processes()
    return Host(
        processes=frozenset(processes),
        mounts=frozenset(" ".join(mount[3:5]) for mount in mounts),
        network_namespaces=frozenset(
            namespaces | {mount[3] for mount in mounts if mount[3].startswith("net:[")}
        ),
        cgroups=frozenset(_cgroups(mounts)),
        links=frozenset(_links()),
        routes=frozenset(_routes()),
        nft_tables=frozenset(_nft_tables()),
    )


def wait_until_clean(before: Host, seconds: float = 10.0) -> tuple[dict[str, list[str]], Host]:
    """Return what stays leaked, and the host as it is then.

    The kernel frees namespaces and cgroups a moment after their last user.
    """
    deadline = time.monotonic() + seconds
    while leaked := (now := look()).leaked_since(before):
        if time.monotonic() > deadline:
            break
        time.sleep(0.02)  # the kernel tells nobody when it has freed a namespace
    return leaked, now


def _processes() -> tuple[set[str], set[str]]:
    """Return the processes that minipod or a test started, and the network namespaces of all there are."""
    marker = f"{MARKER}={os.environ.get(MARKER, '')}".encode()
    found, namespaces = set(), set()
    for process in os.scandir("/proc"):
        if not process.name.isdigit():
            continue
        with suppress(OSError):
            namespaces.add(os.readlink(f"{process.path}/ns/net"))
        if int(process.name) == os.getpid():
            continue
        with suppress(OSError):
            environment = _read(f"{process.path}/environ")
            groups = _read(f"{process.path}/cgroup")
            contained = any(b"/" + name.encode() in groups for name in NAMES[:2])
            if contained or marker in environment.split(b"\0"):
                command = _read(f"{process.path}/cmdline").replace(b"\0", b" ").decode().strip()
                found.add(f"{process.name} {command or '(zombie)'}")
    return found, namespaces


def _read(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.readall()


def _cgroups(mounts: list[list[str]]) -> Iterator[str]:
    for mount in mounts:
        if mount[mount.index("-") + 1] in ("cgroup", "cgroup2"):
            yield from _below(mount[4], named=False)


def _below(directory: str, *, named: bool) -> Iterator[str]:
    """Yield the cgroups that are minipod's by their own name or by that of one above them."""
    if os.stat(directory).st_nlink == 2:  # each cgroup in it would be one more
        return
    with os.scandir(directory) as entries:
        children = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    for child in children:
        if not child.name.startswith("process_api"):
            ours = named or child.name.startswith(NAMES[:2])
            if ours:
                yield child.path
            with suppress(OSError):  # it was removed meanwhile
                yield from _below(child.path, named=ours)


def _links() -> list[str]:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    names = [line.partition(":")[0].strip() for line in lines]
    return [name for name in names if name.startswith(NAMES)]


def _routes() -> list[str]:
    """Return the main table's routes, whether or not a bridge has a port that is up."""
    return [
        " ".join(line.split())
        for line in Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    ]


def _nft_tables() -> list[str]:
    nft = Nftables()  # a new one each time: it keeps to the namespace that it began in
    code, tables, said = nft.cmd("list tables")
    assert code == 0, said
    return str(tables).splitlines()
