"""Who has to go when the node is short of something: pure decisions, with the kubelet's order and words.

(pkg/kubelet/eviction/helpers.go: rankMemoryPressure, rankDiskPressureFunc, rankPIDPressure, evictionMessage.)
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minipod.api.pod_resources import compute_granted
from minipod.api.quantity import canonical, in_binary, value
from minipod.client import Object
from minipod.node.admission import CRITICAL_PRIORITY
from minipod.node.pods import containers_of, uid_of
from minipod.node.pressure import Level, Threshold

MEMORY, STORAGE, INODES, PIDS = "memory", "ephemeral-storage", "inodes", "pids"
RESOURCES = {
    "memory.available": MEMORY,
    "nodefs.available": STORAGE,
    "imagefs.available": STORAGE,
    "nodefs.inodesFree": INODES,
    "imagefs.inodesFree": INODES,
    "pid.available": PIDS,
}


@dataclass(frozen=True)
class Shortage:
    """What there is too little of, how much should be left and how much is, as the kubelet writes it."""

    resource: str
    wanted: str = ""
    left: str = ""


@dataclass(frozen=True)
class Use:
    """How much of one resource a Pod uses, and each of its containers where that is told apart."""

    whole: int
    containers: Mapping[str, int] = field(default_factory=dict)


def find_shortage(thresholds: Sequence[Threshold], levels: Mapping[str, Level]) -> Shortage | None:
    """Return what has to be won back first: memory before all else."""
    met = [
        each
        for each in thresholds
        if (level := levels.get(each.signal)) and level.available < each.of(level.capacity)
    ]
    if not met:
        return None
    first = min(met, key=lambda each: each.signal != "memory.available")
    level, resource = levels[first.signal], RESOURCES[first.signal]
    left = in_binary(level.available) if resource in (MEMORY, STORAGE) else str(level.available)
    wanted = canonical(first.written) if first.written else in_binary(first.of(level.capacity))
    return Shortage(resource, wanted, left)


def rank(pods: Sequence[Object], resource: str, uses: Mapping[str, Use]) -> list[Object]:
    """Return the Pods in the order in which they have to go; `uses` by UID, without those that cannot be measured.

    First whoever uses more than it asked for, of those the least important, of those who exceeds the most.
    """

    def order(pod: Object) -> tuple[bool, bool, int, int]:
        priority, use = int(pod["spec"].get("priority") or 0), uses.get(uid_of(pod))
        if resource == PIDS:  # nobody asks for some
            return False, False, priority, -use.whole if use else -sys.maxsize
        if use is None:
            return False, False, priority, 0
        excess = use.whole - int(compute_granted(pod).get(resource, 0))
        return True, excess <= 0, priority, -excess

    return sorted(pods, key=order)


def may_go(pod: Object) -> bool:
    """Whether the node may end a Pod for its own sake: never a critical one."""
    return int(pod["spec"].get("priority") or 0) < CRITICAL_PRIORITY


def compute_message(pod: Object, shortage: Shortage, use: Use | None) -> str:
    """Return what is told of a Pod that has to go."""
    resource = shortage.resource
    said = f"The node was low on resource: {resource}. "
    if shortage.wanted:
        said += f"Threshold quantity: {shortage.wanted}, available: {shortage.left}. "
    if use is None:
        return said
    larger = f"has larger consumption of {resource}. "
    own = ((pod["spec"].get("resources") or {}).get("requests") or {}).get(resource)
    if resource == MEMORY and own:
        name, used = pod["metadata"]["name"], in_binary(use.whole)
        said += f"Pod {name} was using {used}, request is {canonical(own)}, {larger}"
    for _, each in containers_of(pod):
        used_here = use.containers.get(each["name"], 0)
        asked = ((each.get("resources") or {}).get("requests") or {}).get(resource, "0")
        if used_here > value(asked):
            shown = f"{in_binary(used_here)}, request is {canonical(asked)}"
            said += f"Container {each['name']} was using {shown}, {larger}"
    return said
