"""What this host holds of minipod's, counted from the kernel before and after a test.

Everything minipod makes on a host carries its instance's name (`minipod...`, `mp-...`), so a snapshot needs no
record of what a test did: whatever bears such a name afterwards and did not before is a leak. The names of a run of
tests beside this one are the only ones left out (`tests/lanes.py`).
"""

import os
import re
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, fields
from pathlib import Path

from nftables import Nftables

from tests import lanes

LINKS = ("minipod", "mp-", "veth")
INSTANCE = re.compile("/((?:minipod|mp-)[^/\n]*)")  # the outermost cgroup of minipod's in a path
STARTED_IN = re.compile(rf"(?:^|\0){lanes.RUN}=([^\0]+)")


@dataclass(frozen=True)
class Host:
    """One look at the host. `visited` are the network namespaces that another run has processes in, the host's too."""

    processes: frozenset[str]
    mounts: frozenset[str]
    network_namespaces: frozenset[str]
    cgroups: frozenset[str]
    links: frozenset[str]
    routes: frozenset[str]
    nft_tables: frozenset[str]
    visited: frozenset[str]

    def leaked_since(self, before: "Host") -> dict[str, list[str]]:
        """Return what is here now and was not before, by kind."""
        return {
            each.name: sorted(new)
            for each in fields(self)
            if each.name != "visited"
            and (new := getattr(self, each.name) - getattr(before, each.name) - before.visited)
        }


def look() -> Host:
    """Take a snapshot of everything minipod could leave behind: after every test, so it starts no process."""
    mounts = [line.split() for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    processes, cgroups = list(find_processes()), list(_cgroups(mounts))
    others = lanes.find_others()
    visited = {each.network for each in processes if each.is_anothers(others)}
    processes = [each for each in processes if not each.is_anothers(others)]
    networks = {mount[3] for mount in mounts if mount[3].startswith("net:[")}
    networks |= {each.network for each in processes} - visited
    return Host(
        processes=frozenset(str(each) for each in processes if each.is_ours()),
        mounts=frozenset(" ".join(mount[3:5]) for mount in mounts),
        network_namespaces=frozenset(networks),
        cgroups=frozenset(each for each in cgroups if not _is_one_of(others, each)),
        links=frozenset(_links()),
        routes=frozenset(_routes()),
        nft_tables=frozenset(_nft_tables()),
        visited=frozenset(visited),
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


@dataclass(frozen=True)
class _Process:
    pid: int
    command: str
    run: str  # of tests, by its environment
    groups: str
    network: str

    def is_ours(self) -> bool:
        """Whether a test started it, or minipod has it in one of its cgroups."""
        started = self.run != "" and self.run == os.environ.get(lanes.RUN)
        return self.pid != os.getpid() and (started or INSTANCE.search(self.groups) is not None)

    def is_anothers(self, instances: frozenset[str]) -> bool:
        """Whether another run's test started it, or one of the others' instances."""
        started = self.run not in ("", os.environ.get(lanes.RUN))
        return started or _is_one_of(instances, self.groups)

    def __str__(self) -> str:
        return f"{self.pid} {self.command or '(zombie)'}"


def find_processes() -> Iterator[_Process]:
    """Yield all processes of the host."""
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):  # it has ended meanwhile
            yield _process(int(pid))


def _process(pid: int) -> _Process:
    place = f"/proc/{pid}"
    started = STARTED_IN.search(_read(f"{place}/environ"))
    groups = _read(f"{place}/cgroup")
    network = ""
    with suppress(OSError):  # it has ended, and nobody has waited for it yet
        network = os.readlink(f"{place}/ns/net")
    shown = started or INSTANCE.search(groups)
    command = _read(f"{place}/cmdline").replace("\0", " ").strip() if shown else ""
    return _Process(pid, command, started[1] if started else "", groups, network)


def _read(path: str) -> str:
    with open(path, "rb", buffering=0) as file:
        return os.fsdecode(file.readall())


def _is_one_of(instances: Iterable[str], path: str) -> bool:
    """Whether a cgroup is one of these instances', under systemd in a scope with its name."""
    found = INSTANCE.search(path)
    return found is not None and any(
        found[1] == each or found[1].startswith(f"{each}-") for each in instances
    )


def _cgroups(mounts: list[list[str]]) -> Iterator[str]:
    for mount in mounts:
        if mount[mount.index("-") + 1] in ("cgroup", "cgroup2"):
            yield from (each for each in _below(mount[4]) if INSTANCE.search(each))


def _below(directory: str) -> Iterator[str]:
    if os.stat(directory).st_nlink == 2:  # each cgroup in it would be one more
        return
    with os.scandir(directory) as entries:
        children = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
    for child in children:
        if not child.name.startswith("process_api"):
            yield child.path
            with suppress(OSError):  # it was removed meanwhile
                yield from _below(child.path)


def _links() -> list[str]:
    lines = Path("/proc/thread-self/net/dev").read_text().splitlines()[2:]
    names = [line.partition(":")[0].strip() for line in lines]
    return [name for name in names if name.startswith(LINKS)]


def _routes() -> list[str]:
    """Return the main table's routes, whether or not a bridge has a port that is up."""
    lines = Path("/proc/thread-self/net/route").read_text().splitlines()[1:]
    return [" ".join(line.split()) for line in lines]


def _nft_tables() -> list[str]:
    nft = Nftables()  # a new one each time: it keeps to the namespace that it began in
    code, tables, said = nft.cmd("list tables")
    assert code == 0, said
    return str(tables).splitlines()
