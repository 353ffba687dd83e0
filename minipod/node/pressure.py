"""Whether the node runs out of something: the eviction signals, their thresholds, and the Node's pressure conditions.

Names and wordings are the kubelet's (eviction manager). A condition stays for five minutes after its cause is
gone, so that Pods do not come and go with it. What it leads to: the Node is tainted (`controllers.node_lifecycle`) and
takes no more Pods (`node.admission`); who asks for it by name has Pods evicted, too (`node.pressure_eviction`).
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from minipod.api.quantity import is_quantity, value
from minipod.client import Object
from minipod.paths import Layout

# The kubelet's, but for the disks (10% and 15% there): it deletes images before it turns Pods away, and a machine that
# is somebody's own is often as full. k3s has the same.
DEFAULT_THRESHOLDS = (
    "memory.available<100Mi,nodefs.available<5%,nodefs.inodesFree<5%,"
    "imagefs.available<5%,imagefs.inodesFree<5%"
)
HOLD = 300.0  # seconds (kubelet evictionPressureTransitionPeriod)
MEMORY, DISK, PIDS = "MemoryPressure", "DiskPressure", "PIDPressure"
_SIGNALS = {
    "memory.available": MEMORY,
    "nodefs.available": DISK,
    "nodefs.inodesFree": DISK,
    "imagefs.available": DISK,
    "imagefs.inodesFree": DISK,
    "pid.available": PIDS,
}
# condition -> (reason, message, reason of the Event) while it does not hold and while it does
_WORDS = {
    MEMORY: (
        (
            "KubeletHasSufficientMemory",
            "kubelet has sufficient memory available",
            "NodeHasSufficientMemory",
        ),
        (
            "KubeletHasInsufficientMemory",
            "kubelet has insufficient memory available",
            "NodeHasInsufficientMemory",
        ),
    ),
    DISK: (
        ("KubeletHasNoDiskPressure", "kubelet has no disk pressure", "NodeHasNoDiskPressure"),
        ("KubeletHasDiskPressure", "kubelet has disk pressure", "NodeHasDiskPressure"),
    ),
    PIDS: (
        ("KubeletHasSufficientPID", "kubelet has sufficient PID available", "NodeHasSufficientPID"),
        (
            "KubeletHasInsufficientPID",
            "kubelet has insufficient PID available",
            "NodeHasInsufficientPID",
        ),
    ),
}


@dataclass(frozen=True)
class Threshold:
    """Below what a signal means pressure: an amount, or a part (0 to 1) of the capacity."""

    signal: str
    amount: int = 0
    part: float = 0.0
    written: str = field(default="", compare=False)  # the amount, as it was given

    def of(self, capacity: int) -> int:
        """Return the amount: bytes, inodes or processes."""
        return int(capacity * self.part) if self.part else self.amount


@dataclass(frozen=True)
class Level:
    """What a signal says: how much is left, and of how much."""

    available: int
    capacity: int


def parse_thresholds(text: str) -> tuple[Threshold, ...]:
    """Parse "memory.available<100Mi,nodefs.available<10%" (kubelet --eviction-hard); 0% is none. ValueError."""
    found = []
    for each in filter(None, text.split(",")):
        signal, sign, amount = each.partition("<")
        percent = amount.removesuffix("%")
        if (
            signal in _SIGNALS
            and sign
            and percent != amount
            and percent.replace(".", "", 1).isdigit()
        ):
            part = float(percent) / 100
            if 0 < part < 1:  # the kubelet, too, takes 0% and 100% for "never"
                found.append(Threshold(signal, part=part))
        elif signal in _SIGNALS and sign and is_quantity(amount) and value(amount) >= 0:
            found.append(Threshold(signal, value(amount), written=amount))
        else:
            raise ValueError(
                f'--eviction-hard "{each}" is not SIGNAL<QUANTITY or SIGNAL<PERCENT% with a SIGNAL of {[*_SIGNALS]}'
            )
    return tuple(found)


def compute_pressed(thresholds: Sequence[Threshold], levels: Mapping[str, Level]) -> set[str]:
    """Return the conditions whose thresholds are met. Pure."""
    return {
        _SIGNALS[each.signal]
        for each in thresholds
        if (level := levels.get(each.signal)) and level.available < each.of(level.capacity)
    }


def kept_back(thresholds: Sequence[Threshold], signal: str, capacity: int) -> int:
    """Return what Pods cannot ask for because it is to stay free: the largest threshold of a signal. Pure."""
    return max((each.of(capacity) for each in thresholds if each.signal == signal), default=0)


def describe(condition: str, pressed: bool) -> tuple[str, str]:
    """Return the reason and the message of a condition."""
    reason, message, _ = _WORDS[condition][pressed]
    return reason, message


def event_reason(condition: str, pressed: bool) -> str:
    """Return the reason of the Event that tells of a change."""
    return _WORDS[condition][pressed][2]


def conditions_of(node: Object) -> list[str]:
    """Return the pressures that a Node tells of."""
    found = (node.get("status") or {}).get("conditions") or ()
    return sorted(
        each["type"] for each in found if each["type"] in _WORDS and each["status"] == "True"
    )


@dataclass
class Pressure:
    """What has been met lately: until when each condition holds, by the caller's clock."""

    thresholds: Sequence[Threshold]
    _until: dict[str, float] = field(default_factory=dict)

    def update(self, levels: Mapping[str, Level], now: float) -> frozenset[str]:
        """Take what was measured; return the conditions that hold."""
        for each in compute_pressed(self.thresholds, levels):
            self._until[each] = now + HOLD
        return frozenset(name for name, until in self._until.items() if now < until)


# -- measuring ---------------------------------------------------------------------------------------


def measure(layout: Layout) -> dict[str, Level]:
    """Read the signals: memory as the kubelet counts it (what is free, and files not used lately), disks, processes."""
    levels = _disk("nodefs", layout.state) | _disk("imagefs", layout.images)
    memory = _meminfo()
    if memory:
        available = memory["MemFree"] + memory["Inactive(file)"]
        levels["memory.available"] = Level(available, memory["MemTotal"])
    if most := most_processes():
        running = int(Path("/proc/loadavg").read_text().split()[3].partition("/")[2])
        levels["pid.available"] = Level(most - running, most)
    return levels


def most_processes() -> int:
    """Return how many processes and threads the host may have, 0 when that cannot be known."""
    return min(_number("/proc/sys/kernel/pid_max"), _number("/proc/sys/kernel/threads-max"))


def _disk(name: str, path: Path) -> dict[str, Level]:
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    levels = {}
    if found.f_blocks:
        size = found.f_frsize
        levels[f"{name}.available"] = Level(found.f_bavail * size, found.f_blocks * size)
    if found.f_files:  # some file systems count none
        levels[f"{name}.inodesFree"] = Level(found.f_ffree, found.f_files)
    return levels


def _meminfo() -> dict[str, int]:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":")[::2] for line in lines)
    return {name: int(rest.split()[0]) * 1024 for name, rest in pairs}


def _number(path: str) -> int:
    try:
        return int(Path(path).read_text())
    except (OSError, ValueError):
        return 0
