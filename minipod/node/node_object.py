"""This host as a Node object: what it has, how it is, what it is called."""

import contextlib
import os
import platform
import socket
from collections.abc import Set
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

from minipod import __version__
from minipod.api.quantity import in_binary, in_decimal, is_quantity, parse, value
from minipod.client import Object
from minipod.clock import format_time
from minipod.node.config import NodeConfig
from minipod.node.pressure import DISK, MEMORY, PIDS, describe, kept_back
from minipod.node.resources import MemoryThrottling, compute_shares
from minipod.runtime.spec import Resources

KUBERNETES_VERSION = "v1.36.0"  # whose API and behaviour this node follows
RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")
HUGE_PAGES = Path("/sys/kernel/mm/hugepages")
_KEPT_FREE = {"memory": "memory.available", "ephemeral-storage": "nodefs.available"}
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm"}


def detect_host_ip() -> str:
    """Return the address this host uses towards others, 127.0.0.1 when it has no route. Sends nothing."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # TEST-NET-1: only the routing table is asked
        except OSError:
            return "127.0.0.1"
        return str(probe.getsockname()[0])


def compute_node(
    config: NodeConfig, now: float, ready: bool, pressed: Set[str] = frozenset()
) -> Object:
    """Return the Node object as it should be now."""
    name = config.node_name
    labels = {
        "kubernetes.io/hostname": name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture(),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {},
        "status": compute_status(config, now, ready, {}, pressed),
    }


def compute_status(
    config: NodeConfig,
    now: float,
    ready: bool,
    previous: Object,
    pressed: Set[str] = frozenset(),
) -> Object:
    """Return the Node's status; `pressed`: the pressures that hold. Transition times are kept from `previous`."""
    return {
        "capacity": compute_capacity(config),
        "allocatable": compute_allocatable(config),
        "conditions": _conditions(now, ready, previous, pressed),
        "addresses": [
            {"type": "InternalIP", "address": config.host_ip},
            {"type": "Hostname", "address": config.node_name},
        ],
        "nodeInfo": dict(_node_info()),
        "features": {"supplementalGroupsPolicy": True},
        "runtimeHandlers": [{"name": "", "features": {"recursiveReadOnlyMounts": True}}],
    }


def architecture() -> str:
    """Return the machine's name as Kubernetes has it."""
    machine = platform.machine()
    return _ARCHITECTURES.get(machine, machine)


def compute_allocatable(config: NodeConfig) -> Object:
    """Return what Pods may ask for (node allocatable): what the node has, less what is to stay free.

    That is what is reserved for the host, and what would mean pressure if it were taken. Huge pages are memory that
    nothing else can have, and Pods are not given any yet.
    """
    amounts = compute_capacity(config)
    kept = {name: parse(amount) for name, amount in config.reserved.items() if name in amounts}
    huge = {name: each for name, each in amounts.items() if name.startswith("hugepages-")}
    amounts |= dict.fromkeys(huge, "0")
    kept["memory"] = kept.get("memory", Fraction()) + sum(map(parse, huge.values()), Fraction())
    for name, signal in _KEPT_FREE.items():
        free = kept_back(config.eviction, signal, value(amounts[name]))
        kept[name] = kept.get(name, Fraction()) + free
    for name, amount in kept.items():
        left = max(parse(amounts[name]) - amount, Fraction())
        if amount:
            amounts[name] = in_binary(left) if name != "cpu" else in_decimal(left)
    return amounts


def compute_pods_limits(config: NodeConfig, pids: int) -> Resources:
    """Return what all Pods together may have (kubelet --enforce-node-allocatable=pods), of `pids` processes.

    What is to stay free is theirs, too: reached, it means pressure, and who uses most has to go.
    """
    capacity = {**compute_capacity(config), "pid": str(pids)}
    left = {
        name: max(parse(capacity[name]) - parse(config.reserved.get(name, "0")), Fraction())
        for name in ("cpu", "memory", "pid")
    }
    return Resources(
        cpu_shares=compute_shares(left["cpu"]),
        memory_bytes=int(left["memory"]),
        pids=int(left["pid"]) if pids else None,
    )


def compute_throttling(config: NodeConfig) -> MemoryThrottling | None:
    """Return from where on containers are slowed down; None where they are not."""
    if config.memory_throttling_factor is None:
        return None
    room = value(compute_allocatable(config)["memory"])
    return MemoryThrottling(config.memory_throttling_factor, room)


def parse_throttling_factor(text: str) -> float | None:
    """Parse a part; None for "". ValueError for what is none."""
    if not text:
        return None
    with contextlib.suppress(ValueError):
        if 0 < (factor := float(text)) <= 1:
            return factor
    raise ValueError(f'--memory-throttling-factor "{text}" is not above 0 and up to 1')


def parse_reserved(text: str) -> dict[str, str]:
    """Parse "cpu=100m,memory=200Mi". ValueError says what is wrong with it."""
    found = {}
    for each in filter(None, text.split(",")):
        name, _, amount = each.partition("=")
        if name not in RESERVABLE or not is_quantity(amount) or parse(amount) < 0:
            raise ValueError(
                f'--system-reserved "{each}" is not NAME=QUANTITY with a NAME of {[*RESERVABLE]}'
            )
        found[name] = amount
    return found


def check_reserved(config: NodeConfig, pids: int) -> None:
    """Raise ValueError where more is reserved than this host has, of `pids` processes (0: nobody knows).

    The kubelet does not start then either (validateNodeAllocatable): nothing would be left for Pods to run in.
    """
    capacity = {**compute_capacity(config), **({"pid": str(pids)} if pids else {})}
    for name, amount in config.reserved.items():
        if name in capacity and parse(amount) > parse(capacity[name]):
            raise ValueError(
                f'--system-reserved "{name}={amount}" is more than the {capacity[name]} that this host has'
            )


def compute_capacity(config: NodeConfig) -> Object:
    """Return what the node has."""
    return {
        "cpu": str(os.cpu_count() or 1),
        "memory": f"{config.memory_bytes // 1024}Ki",
        "pods": str(config.max_pods),
        "ephemeral-storage": f"{_disk_bytes(config.layout.state) // 1024}Ki",
        **_huge_pages(),
    }


def _huge_pages() -> dict[str, str]:
    """Return the bytes of each size of huge pages that this host has set apart: {"hugepages-2Mi": "0"}."""
    found = {}
    for directory in sorted(HUGE_PAGES.glob("hugepages-*kB")):
        size = int(directory.name.removeprefix("hugepages-").removesuffix("kB")) * 1024
        pages = int(_read(str(directory / "nr_hugepages")) or 0)
        found[f"hugepages-{in_binary(size)}"] = in_binary(pages * size)
    return found


@lru_cache(maxsize=8)
def _disk_bytes(path: Path) -> int:
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_blocks * found.f_frsize


def _conditions(now: float, ready: bool, previous: Object, pressed: Set[str]) -> list[Object]:
    known = {each["type"]: each for each in previous.get("conditions") or ()}
    wanted = [
        (kind, "True" if kind in pressed else "False", *describe(kind, kind in pressed))
        for kind in (MEMORY, DISK, PIDS)
    ]
    if ready:
        wanted.append(("Ready", "True", "KubeletReady", "kubelet is posting ready status"))
    else:
        wanted.append(("Ready", "False", "KubeletNotReady", "container runtime is down"))
    return [_condition(*each, now, known.get(each[0])) for each in wanted]


def _condition(
    kind: str, status: str, reason: str, message: str, now: float, old: Object | None
) -> Object:
    time = format_time(now)
    kept = old.get("lastTransitionTime") if old and old["status"] == status else None
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": message,
        "lastHeartbeatTime": time,
        "lastTransitionTime": kept or time,
    }


@lru_cache(maxsize=1)
def _node_info() -> Object:
    return {
        "machineID": _read("/etc/machine-id"),
        "systemUUID": _read("/sys/class/dmi/id/product_uuid") or _read("/etc/machine-id"),
        "bootID": _read("/proc/sys/kernel/random/boot_id"),
        "kernelVersion": platform.release(),
        "osImage": _os_image(),
        "containerRuntimeVersion": f"minipod://{__version__}",
        "kubeletVersion": f"{KUBERNETES_VERSION}+minipod-{__version__}",
        "kubeProxyVersion": "",
        "operatingSystem": "linux",
        "architecture": architecture(),
    }


def _os_image() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", "Linux")
    except OSError:
        return "Linux"


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
