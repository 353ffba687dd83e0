"""The vocabulary of a plan: small operations, each one Linux step that a learner can name.

A plan is an ordered list of `Step`s. The executor performs them with system calls, the renderer prints them as
shell. Operations are immutable values of JSON-able members, so that they travel to the shim as they are. What is
only known at run time is a reference, "$NAME": the pid of a `Clone` named "pause" is "$pause_pid".

Here is what is done on the host; what a new process does to itself is in `child_operations`.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

from minipod.runtime.spec import PortMapping, Resources

Where = Literal["daemon", "shim", "child"]

_kinds: dict[str, "type[Operation]"] = {}


@dataclass(frozen=True)
class Operation:
    """The base of every operation; subclasses add their fields, and the line that `minipod trace` prints."""

    summary_format: ClassVar[str] = ""

    def __init_subclass__(cls, summary: str = "", **rest: object) -> None:
        super().__init_subclass__(**rest)
        cls.summary_format = summary or cls.__name__
        _kinds[cls.__name__] = cls

    def summary(self) -> str:
        """Return the operation in one line."""
        return self.summary_format.format_map(_Words(self))


class _Words:
    """The members of an operation as a sentence has them."""

    def __init__(self, operation: Operation) -> None:
        self._operation = operation

    def __getitem__(self, name: str) -> object:
        value = getattr(self._operation, name)
        return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else value


def kinds() -> dict[str, type[Operation]]:
    """Return every operation by its name."""
    return dict(_kinds)


@dataclass(frozen=True)
class Step:
    """One operation, where it runs, and why it is there (rendered as the comment above it)."""

    operation: Operation
    where: Where = "daemon"
    comment: str = ""


@dataclass(frozen=True, slots=True)
class TracedStep:
    """A step that really ran: when it began (CLOCK_MONOTONIC, the same in every process) and how long it took."""

    step: Step
    start_us: int
    duration_us: int


# --- directories, files, volumes ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MakeDirectory(Operation, summary="make directory {path}"):
    """Ensure a directory (and its parents, 0755) with the given mode and owner."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class WriteFile(Operation, summary="write file {path}"):
    """Ensure a file with this content and mode, replaced atomically."""

    path: str
    content: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class MakeSymlink(Operation, summary="link {path} to {target}"):
    """Ensure a symbolic link at `path`, replaced atomically."""

    path: str
    target: str


@dataclass(frozen=True)
class KeepOnly(Operation, summary="remove from {path} all but {names}"):
    """Ensure that a directory holds no other entries than these; what is removed is not followed through links."""

    path: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class MountTmpfs(Operation, summary="mount tmpfs {path}"):
    """Ensure a tmpfs at `path` on the host (an emptyDir of `medium: Memory`, secrets)."""

    path: str
    size_bytes: int | None = None
    mode: int = 0o777
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class MountLayers(Operation, summary="mount layers {layers} at {path}"):
    """Ensure image layers (topmost first), merged and read-only, at `path` on the host (an image volume)."""

    path: str
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Unmount(Operation, summary="unmount {path}"):
    """Ensure that nothing is mounted at or below `path`."""

    path: str


@dataclass(frozen=True)
class RemoveTree(Operation, summary="remove tree {path}"):
    """Remove a directory tree without crossing mounts or following links."""

    path: str


@dataclass(frozen=True)
class CheckHostPath(Operation, summary='check hostPath {path} type "{type}"'):
    """Hold a hostPath volume to its `type`, making what the `...OrCreate` types make."""

    path: str
    type: Literal[
        "",
        "DirectoryOrCreate",
        "Directory",
        "FileOrCreate",
        "File",
        "Socket",
        "CharDevice",
        "BlockDevice",
    ] = ""


# --- control groups -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class MakeCgroup(Operation, summary="make cgroup {path}"):
    """Ensure the cgroup `path` (below every hierarchy's root) with these limits.

    `limit_devices` leaves it only the devices that every container has (the OCI runtime spec's default).
    """

    path: str
    resources: Resources = field(default_factory=Resources)
    limit_devices: bool = False


@dataclass(frozen=True)
class EnterCgroup(Operation, summary="move {pid} into cgroup {path}"):
    """Move a process ("self", or a reference) into `path` in every v1 hierarchy; with v2 it was born there."""

    path: str
    pid: str = "self"


@dataclass(frozen=True)
class RemoveCgroup(Operation, summary="kill and remove cgroup {path}"):
    """Kill whatever lives in the cgroup `path`, wait for it, and remove the cgroup everywhere."""

    path: str


# --- the Pod's network --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class AddVeth(Operation, summary="add veth {host_interface} in {bridge}, {interface} in {target}"):
    """Ensure a veth pair: one end a port of `bridge`, the other `interface` in the target's network namespace."""

    host_interface: str
    bridge: str
    target: str
    interface: str = "eth0"
    mtu: int = 1500


@dataclass(frozen=True)
class ConfigureNetwork(
    Operation, summary="give {interface} of {target} {address} via {gateway}, lo up"
):
    """Ensure address, default route and links up (loopback too) inside the target's network namespace."""

    target: str
    address: str  # "10.85.0.7/16"
    gateway: str
    interface: str = "eth0"


@dataclass(frozen=True)
class AddNftElements(Operation, summary="admit {address} at {host_interface}, ports {ports}"):
    """Ensure the Pod's elements in the rules: its interface passes its own address only, and its ports are mapped."""

    table: str
    host_interface: str
    address: str  # without prefix length
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True)
class RemoveNftElements(Operation, summary="forget {address} at {host_interface}, ports {ports}"):
    """Ensure that none of the Pod's elements is left in the rules."""

    table: str
    host_interface: str
    address: str
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True)
class DeleteLink(Operation, summary="delete link {name}"):
    """Ensure that the host has no interface of this name; a veth's other end goes with it."""

    name: str
