"""The vocabulary of a plan, continued: a new process, and what it does to itself before it is the program.

None of these is performed on the host: `compile*.py` makes them a program for the clone, `render*.py` shell.
"""

import shlex
from dataclasses import dataclass, field
from typing import Literal

from minipod.runtime.operations import Operation
from minipod.runtime.spec import Propagation, User

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


def _joined(source: str, subpath: str) -> str:
    return f"{source}/{subpath}" if subpath else source


def _below(root: str, path: str) -> str:
    return root.rstrip("/") + path
