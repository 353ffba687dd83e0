"""What this host holds of minipod's, counted from the kernel before and after a test.

Everything minipod makes on a host carries its instance's name (`minipod...`, `mp-...`), so a snapshot needs no
record of what a test did: whatever bears such a name afterwards and did not before is a leak.
"""

import os
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

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
    """Take a snapshot of everything minipod could leave behind."""
    processes = dict(_marked_processes())
    return Host(
        processes=frozenset(processes.values()),
        mounts=frozenset(_mounts()),
        network_namespaces=frozenset(_network_namespaces()),
        cgroups=frozenset(_cgroups()),
        links=frozenset(_links()),
        routes=frozenset(_routes()),
        nft_tables=frozenset(_nft_tables()),
    )


def wait_until_clean(before: Host, seconds: float = 10.0) -> dict[str, list[str]]:
    """Return what stays leaked: the kernel frees namespaces and cgroups a moment after their last user."""
    deadline = time.monotonic() + seconds
    while leaked := look().leaked_since(before):
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)  # the kernel tells nobody when it has freed a namespace
    return leaked


def _marked_processes() -> Iterator[tuple[int, str]]:
    marker = f"{MARKER}={os.environ.get(MARKER, '')}".encode()
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes()
            groups = Path(entry.path, "cgroup").read_text()
            command = Path(entry.path, "cmdline").read_bytes().replace(b"\0", b" ").decode()
        except OSError:
            continue
        contained = any(f"/{name}" in groups for name in NAMES[:2])
        if marker in environment.split(b"\0") or contained:
            yield int(entry.name), f"{entry.name} {command.strip() or '(zombie)'}"


def _mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        yield " ".join(line.split()[3:5])


def _network_namespaces() -> Iterator[str]:
    for entry in os.scandir("/proc"):
        if entry.name.isdigit():
            try:
                yield os.readlink(f"{entry.path}/ns/net")
            except OSError:
                continue
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        root = line.split()[3]
        if root.startswith("net:["):
            yield root


def _cgroups() -> Iterator[str]:
    for hierarchy in _cgroup_mounts():
        for directory, children, _ in os.walk(hierarchy):
            if any(part.startswith(NAMES[:2]) for part in directory.split("/")):
                yield directory
            children[:] = [child for child in children if not child.startswith("process_api")]


def _cgroup_mounts() -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] in ("cgroup", "cgroup2"):
            yield before.split()[4]


def _links() -> list[str]:
    shown = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    names = [line.split(": ")[1].split("@")[0] for line in shown.splitlines()]
    return [name for name in names if name.startswith(NAMES)]


def _routes() -> list[str]:
    """Return the main table's routes, whether or not a bridge has a port that is up."""
    shown = subprocess.run(["ip", "route"], capture_output=True, text=True, check=True)
    return [line.rstrip().removesuffix(" linkdown") for line in shown.stdout.splitlines()]


def _nft_tables() -> list[str]:
    shown = subprocess.run(["nft", "list", "tables"], capture_output=True, text=True, check=True)
    return shown.stdout.splitlines()
