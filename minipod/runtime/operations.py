"""The vocabulary of a plan: small operations, each one Linux step that a learner can name.

A plan is an ordered list of `Step`s. The executor performs them with system calls, the renderer prints them as
shell. Operations are immutable values of JSON-able members, so that they travel to the shim as they are. What is
only known at run time is a reference, "$NAME": the pid of a `Clone` named "pause" is "$pause_pid".
"""

import shlex
from dataclasses import dataclass, field
from typing import ClassVar, Literal

from minipod.runtime.spec import PortMapping, Propagation, Resources, User

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


def _joined(source: str, subpath: str) -> str:
    return f"{source}/{subpath}" if subpath else source


def _below(root: str, path: str) -> str:
    return root.rstrip("/") + path


def kinds() -> dict[str, type[Operation]]:
    """Return every operation by its name."""
    return dict(_kinds)


# --- on the host: directories, files, volumes ---------------------------------------------------------------------


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


# --- a new process and its namespaces -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Clone(Operation, summary="clone {name} with new namespaces {namespaces}"):
    """Make a process in new namespaces (names as in /proc/PID/ns), born in a v2 cgroup; "$NAME_pid" is its pid."""

    name: str
    namespaces: tuple[str, ...] = ()
    cgroup: str = ""


@dataclass(frozen=True)
class AwaitTurn(Operation, summary="wait for the sandbox and the containers before"):
    """Wait until the sandbox is whole and every earlier container has started: all prepare themselves side by side."""


@dataclass(frozen=True)
class JoinNamespaces(Operation, summary="join namespaces {namespaces} of {target}"):
    """Enter the namespaces of another process. Of a PID namespace only children are part (setns(2))."""

    target: str
    namespaces: tuple[str, ...]


@dataclass(frozen=True)
class Unshare(Operation, summary="leave namespaces {namespaces} for new ones"):
    """Leave namespaces for new ones: a cgroup namespace must be made from inside the cgroup it shall show as root."""

    namespaces: tuple[str, ...]


@dataclass(frozen=True)
class NewSession(Operation, summary="begin a session and an empty keyring"):
    """Begin a session of its own (setsid) with an empty kernel keyring."""


@dataclass(frozen=True)
class SetHostname(Operation, summary="set hostname {name}"):
    """Set the hostname of this UTS namespace."""

    name: str


@dataclass(frozen=True)
class WriteSysctl(Operation, summary="set sysctl {name} = {value}"):
    """Set a namespaced kernel parameter, dotted as in sysctl(8)."""

    name: str
    value: str


@dataclass(frozen=True)
class SetOomScoreAdj(Operation, summary="set oom_score_adj {value}"):
    """Tell the kernel whom to kill first when memory runs out (-1000..1000); never lower than a host allows us."""

    value: int


# --- its view of the filesystem -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class SetPropagation(Operation, summary="make {path} {propagation}"):
    """Set how mounts at and below `path` spread to and from other mount namespaces."""

    path: str
    propagation: Literal["rprivate", "rslave", "rshared"]


@dataclass(frozen=True)
class OpenMountTree(Operation):
    """Take a detached copy of a mount, to be attached later by a `BindMount` of this `tree` name.

    From the host while it is still its peer (propagation rshared), or from the mount namespace of `target`, where
    it may be `covered` by another mount, which is taken off in a copy of that namespace.
    """

    name: str
    source: str
    subpath: str = ""
    target: str = ""
    recursive: bool = True
    covered: bool = False

    def summary(self) -> str:
        """Return the operation in one line."""
        return f"take mount {_joined(self.source, self.subpath)} as {self.name}"


@dataclass(frozen=True)
class MountOverlay(Operation, summary="mount overlay of {layers} at {target}"):
    """Mount image layers (topmost first) under a writable directory. Devices on it are dead unless `devices`."""

    target: str
    layers: tuple[str, ...]
    upper: str
    work: str
    devices: bool = False


@dataclass(frozen=True)
class MountFilesystem(Operation):
    """Mount a new filesystem at `target` inside `root`, making the directory where missing."""

    type: str
    target: str
    root: str = "/"
    source: str = ""
    options: tuple[str, ...] = ()  # as in mount(8): "nosuid", "ro", "size=65536k"

    def summary(self) -> str:
        """Return the operation in one line."""
        return f"mount {self.type} at {_below(self.root, self.target)}"


@dataclass(frozen=True)
class BindMount(Operation):
    """Mount a directory or file of the host (or a taken `tree`) at `target` inside `root`.

    `subpath` is resolved beneath `source` and made as a directory when missing, `target` within `root`.
    What is mounted below it stays writable with `read_only` alone, as it is upstream.
    """

    target: str
    root: str = "/"
    source: str = ""
    subpath: str = ""
    tree: str = ""
    recursive: bool = True
    read_only: bool = False
    recursive_read_only: bool = False
    propagation: Propagation = "private"
    options: tuple[str, ...] = ()  # "nosuid", "nodev", "noexec"

    def summary(self) -> str:
        """Return the operation in one line."""
        source = self.tree or _joined(self.source, self.subpath)
        return f"bind {source} at {_below(self.root, self.target)}"


@dataclass(frozen=True)
class MakeMountPoints(Operation, summary="make mount points {directories}, {files} in {root}"):
    """Make where mounts of a known kind will be, inside `root`. What cannot be made is left to the mounts themselves.

    In the writable layer of an overlay that takes longer than the mounts do, and waits for nothing.
    """

    root: str
    directories: tuple[str, ...] = ()
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class MakeDevices(Operation, summary="make devices in {root}/dev"):
    """Make /dev/null, zero, full, random, urandom, tty and the usual links; no other device will work there.

    With `all`, the host's devices instead (a privileged container).
    """

    root: str
    all: bool = False


@dataclass(frozen=True)
class PivotRoot(Operation, summary="pivot root to {new_root}"):
    """Make `new_root` the root and let go of the old one."""

    new_root: str


@dataclass(frozen=True)
class MountCgroups(Operation, summary="mount cgroups at {target}"):
    """Mount every hierarchy of the host as this cgroup namespace sees it."""

    target: str = "/sys/fs/cgroup"
    read_only: bool = True


@dataclass(frozen=True)
class MaskPaths(Operation, summary="mask {paths}"):
    """Hide files behind /dev/null and directories behind an empty read-only tmpfs; what is missing is skipped."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class MakeReadOnly(Operation, summary="make {paths} read-only"):
    """Make existing paths read-only by a bind mount of each on itself; what is missing is skipped."""

    paths: tuple[str, ...]


@dataclass(frozen=True)
class RemountReadOnly(Operation, summary="remount {path} read-only"):
    """Make the mount at `path` read-only (not those below it)."""

    path: str = "/"


# --- what it may do, and its program ------------------------------------------------------------------------------


@dataclass(frozen=True)
class OpenTerminal(Operation, summary="open a terminal"):
    """Open a terminal in this namespace's /dev/pts as stdin, stdout, stderr; `console` also at /dev/console.

    Its size is set before the program starts; 0 by 0 is that of a terminal whose size nobody knows.
    """

    console: bool = False
    columns: int = 0
    rows: int = 0


@dataclass(frozen=True)
class ChangeDirectory(Operation, summary="change directory to {path}"):
    """Go to the working directory, made where missing."""

    path: str


@dataclass(frozen=True)
class LimitCapabilities(Operation, summary="limit the bounding set to {names}"):
    """Take every other capability from the bounding set, for good."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class SetUser(Operation, summary="become user {user}"):
    """Become the user, looked up in the root's own /etc/passwd and /etc/group. Capabilities stay until they are set."""

    user: User


@dataclass(frozen=True)
class SetCapabilities(Operation, summary="keep capabilities {names}"):
    """Set permitted and effective; nothing inheritable or ambient."""

    names: tuple[str, ...]


@dataclass(frozen=True)
class SetNoNewPrivileges(Operation, summary="forbid new privileges"):
    """No setuid program or file capability will raise this process again."""


@dataclass(frozen=True)
class LoadSeccomp(Operation, summary="load the seccomp filter"):
    """Load a compiled system call filter (struct sock_filter array)."""

    program: bytes = field(repr=False)


@dataclass(frozen=True)
class Exec(Operation):
    """Execute the program, args[0] searched in the environment's PATH. HOME is the user's unless `env` has it.

    With `spawn` in a child, which is in the PID namespace that was joined, and holds nothing but what the program gets.
    """

    args: tuple[str, ...]
    env: tuple[str, ...] = ()
    spawn: bool = False

    def summary(self) -> str:
        """Return the operation in one line."""
        return f"execute {shlex.join(self.args)}"


@dataclass(frozen=True)
class ExecPause(Operation, summary="execute the pause program"):
    """Execute the pause: a few hundred bytes in a sealed memory file, which sleep, reap and leave on SIGTERM."""


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
