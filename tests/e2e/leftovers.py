"""What one root holds for its Pods: looked at in the kernel and on the disk, so that nothing hides.

`look` names everything by kind; with no Pod there must be nothing. Images, the store and the network itself are not a
Pod's and are not listed.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, wait_until

NFT_SETS = ("ports", "address_ports", "sources", "guarded")


def look(instance: Instance) -> dict[str, list[str]]:
    """Return what is there, by kind; kinds without anything are left out."""
    place = instance.layout
    records = place.run / "shim"
    found = {
        "pod directories": _names(place.pods),
        "container directories": _names(place.containers),
        "log directories": _names(place.pod_logs),
        "links to logs": _names(place.container_logs),
        "sandbox records": _names(records / "sandboxes"),
        "container records": _names(records / "containers"),
        "image leases": _names(place.images / "leases"),
        "half-made images": _names(place.images / "scratch"),
        "addresses": list(_addresses(place.state / "network" / "addresses")),
        "mounts": list(_mounts(str(place.state))),
        "cgroups": list(pod_cgroups(place.instance)),
        "ports of the bridge": _bridge_ports(place.bridge),
        "nft elements": list(_elements(place.instance)),
    }
    return {kind: names for kind, names in found.items() if names}


def wait_nothing_left(instance: Instance, seconds: float = 15) -> None:
    """Wait until nothing of any Pod is left; a failure names what is."""
    try:
        wait_until(lambda: not look(instance), "nothing left", seconds)
    except AssertionError:
        raise AssertionError(f"left behind: {look(instance)}") from None


def _names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory)) if directory.is_dir() else []


def _addresses(journal: Path) -> Iterator[str]:
    held: dict[str, str] = {}
    for line in journal.read_text().splitlines() if journal.exists() else ():
        sign, address, *owner = line.split()
        if sign == "+":
            held[address] = owner[0]
        else:
            held.pop(address, None)
    yield from (f"{address} {owner}" for address, owner in held.items())


def _mounts(below: str) -> Iterator[str]:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4]
        if point.startswith(f"{below}/"):
            yield point


def pod_cgroups(instance: str) -> Iterator[str]:
    """Yield the Pods' cgroups of an instance, in every hierarchy."""
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        before, _, after = line.partition(" - ")
        if after.split()[0] not in ("cgroup", "cgroup2"):
            continue
        for top, directories, _ in os.walk(before.split()[4]):  # what goes meanwhile is left out
            if os.path.basename(top) == instance:
                yield from (f"{top}/{name}" for name in directories)


def _bridge_ports(bridge: str) -> list[str]:
    command = ["ip", "-json", "link", "show", "master", bridge]
    shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return [link["ifname"] for link in json.loads(shown or "[]")]


def _elements(table: str) -> Iterator[str]:
    for family in ("inet", "bridge"):
        command = ["nft", "-j", "list", "table", family, table]
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
        for each in json.loads(shown)["nftables"] if shown else ():
            kind: dict[str, Any] = each.get("map") or each.get("set") or {}
            if kind.get("name") in NFT_SETS:
                yield from (f"{kind['name']}: {element}" for element in kind.get("elem", ()))
