"""What the runtime is asked for: sandboxes and containers as plain, serialisable values.

The node agent translates Pods into these; the runtime never sees an API object. Every value is immutable and
holds only JSON-able members, because the same values travel to the shim.
"""

from dataclasses import dataclass, field
from typing import Literal

PidNamespace = Literal["container", "pod", "host"]
Propagation = Literal["private", "rslave", "rshared"]
MountKind = Literal["", "file", "directory"]  # "": only the source itself tells


@dataclass(frozen=True)
class Resources:
    """Limits for one cgroup; None leaves the kernel's default. CPU as the v1 numbers, converted for v2."""

    cpu_shares: int | None = None  # 2..262144
    cpu_quota_us: int | None = None  # per cpu_period_us; -1 is unlimited
    cpu_period_us: int | None = None
    memory_bytes: int | None = None
    memory_high_bytes: int | None = None  # slowed down beyond it, on v2 only; -1 is never
    pids: int | None = None


@dataclass(frozen=True)
class PortMapping:
    """A port of the host that leads to a port of the sandbox (nftables)."""

    host_port: int
    container_port: int
    protocol: Literal["tcp", "udp", "sctp"] = "tcp"
    host_ip: str = ""  # "" and "0.0.0.0": every local address

    def __str__(self) -> str:
        """Return HOST:CONTAINER/PROTOCOL."""
        return f"{self.host_port}:{self.container_port}/{self.protocol}"


@dataclass(frozen=True)
class SandboxNetwork:
    """The sandbox's own interface: a veth pair whose host end is a port of the bridge."""

    bridge: str
    address: str  # "10.85.0.7/16"
    gateway: str  # "10.85.0.1"
    host_interface: str  # name of the host end, at most 15 characters, derived from the sandbox id
    mtu: int = 1500
    table: str = "minipod"  # nft table (inet) whose maps hold the port mappings
    ports: tuple[PortMapping, ...] = ()


@dataclass(frozen=True)
class SandboxSpec:
    """One Pod's shared part: the pause process, its namespaces, its address and its parent cgroup."""

    id: str  # [a-z0-9-]{1,63}, unique per attempt: everything on the host is named from it
    hostname: str
    cgroup: str  # path below every hierarchy's root: "minipod/pod1234"
    network: SandboxNetwork | None = None  # None: the host's network namespace
    host_ipc: bool = False
    pid: PidNamespace = "container"  # "pod": pause is PID 1 of all the Pod's containers
    resources: Resources = Resources()
    privileged: bool = (
        False  # one of its containers is: devices are limited for each of them, not for all
    )
    seccomp: bytes | None = None  # the pause's filter (compiled BPF), where containers may trace it
    sysctls: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)  # handed back by list(), never interpreted


@dataclass(frozen=True)
class Mount:
    """A bind mount (or a tmpfs) into the container's root, made before the root is changed.

    `source_subpath` is resolved beneath `source` (openat2 RESOLVE_BENEATH), `destination` within the container's
    root (RESOLVE_IN_ROOT); a missing subpath is made as a directory, a missing destination as what the source is.
    `kind` says what that is where it is known before the source is there: the destination is then made early.
    """

    destination: str
    source: str = ""  # absolute host path; "" with type "tmpfs"
    source_subpath: str = ""
    type: Literal["bind", "tmpfs"] = "bind"
    kind: MountKind = ""
    read_only: bool = False
    recursive_read_only: bool = False  # and what is mounted below it too
    recursive: bool = True
    propagation: Propagation = "private"
    devices: bool = False  # nodes in it work, as far as the Pod's devices go
    options: tuple[
        str, ...
    ] = ()  # tmpfs options: "size=67108864", "mode=1777"; bind: "nosuid", "nodev", "noexec"


@dataclass(frozen=True)
class Rootfs:
    """An overlay: image layers (topmost first), and a writable directory of the container's own."""

    layers: tuple[str, ...]
    upper: str
    work: str
    read_only: bool = False


@dataclass(frozen=True)
class User:
    """Whom the process runs as. `name` is looked up in the container's own /etc/passwd and /etc/group.

    `name` is the image's USER syntax ("nginx", "101:102", "app:staff"); `uid`/`gid` override what it gives.
    """

    name: str = ""
    uid: int | None = None
    gid: int | None = None
    supplementary: tuple[int, ...] = ()
    merge_image_groups: bool = True  # supplementaryGroupsPolicy: Merge

    def __str__(self) -> str:
        """Return USER[:GROUP], as a person would type it, with further groups in brackets."""
        user = self.name if self.uid is None else str(self.uid)
        group = "" if self.gid is None else f":{self.gid}"
        further = f" ({', '.join(map(str, self.supplementary))})" if self.supplementary else ""
        return (user or "root") + group + further


@dataclass(frozen=True)
class Security:
    """What the process may do. Capability names without the CAP_ prefix."""

    capabilities: tuple[
        str, ...
    ] = ()  # bounding, permitted, effective (inheritable and ambient stay empty)
    privileged: bool = False  # all capabilities, all devices, nothing masked, no seccomp
    no_new_privileges: bool = False
    seccomp: bytes | None = None  # compiled BPF (struct sock_filter array); None: unconfined
    masked_paths: tuple[str, ...] = ()
    read_only_paths: tuple[str, ...] = ()
    oom_score_adj: int = 0


@dataclass(frozen=True)
class ContainerSpec:
    """One container of a running sandbox."""

    id: str  # 64 hexadecimal characters, as every runtime's; names its cgroup and its directory
    sandbox_id: str
    args: tuple[str, ...]  # entrypoint and arguments; args[0] is searched in the container's PATH
    rootfs: Rootfs
    env: tuple[str, ...] = ()  # "NAME=value", last one wins
    cwd: str = "/"  # made when missing
    mounts: tuple[Mount, ...] = ()  # in order of mounting (parents first)
    user: User = User()
    security: Security = Security()
    resources: Resources = Resources()
    hostname: str = ""
    pid_target: str = ""  # id of a running container of the sandbox whose PID namespace it joins
    stdin: bool = False
    stdin_once: bool = False
    tty: bool = False
    log_path: str = ""  # absolute; CRI line format; "" discards
    log_max_bytes: int = 10 * 1024 * 1024
    log_max_files: int = 5
    stop_signal: str = "SIGTERM"
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ExecSpec:
    """One more process in a running container: its namespaces, root, cgroup, and limits of power."""

    args: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    env: tuple[str, ...] = ()  # added to the container's own
    timeout_seconds: float | None = None  # killed with everything it started when it lasts longer
    terminal_size: tuple[int, int] = (0, 0)  # columns, rows; with `tty`


@dataclass(frozen=True)
class CommandSpec:
    """A command that is run in a container to its end, for its exit code and output (the CRI's ExecSync)."""

    args: tuple[str, ...]
    timeout_seconds: float  # killed with everything it started when it lasts longer
    output_limit: int = 10 * 1024  # bytes of output, both streams together, that are kept


@dataclass(frozen=True)
class CommandResult:
    """How a command ended."""

    exit_code: int
    output: str
    timed_out: bool = False


ContainerState = Literal["running", "exited"]


@dataclass(frozen=True)
class ContainerStatus:
    """What the shim knows of a container. Times are seconds since the epoch (float, microsecond precision)."""

    id: str
    sandbox_id: str
    state: ContainerState
    pid: int  # on the host; 0 once exited
    created_at: float
    started_at: float
    finished_at: float = 0.0
    exit_code: int = 0  # 128 + signal when killed by one, as shells and the kubelet have it
    signal: int = 0
    oom_killed: bool = False
    reason: str = ""  # "" | "Completed" | "Error" | "OOMKilled" | "StartError"
    message: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    log_path: str = ""


@dataclass(frozen=True)
class SandboxStatus:
    """What the shim knows of a sandbox."""

    id: str
    ready: bool  # the pause process lives
    pid: int
    created_at: float
    address: str = ""  # without prefix length
    labels: dict[str, str] = field(default_factory=dict)
    cgroup: str = ""  # the Pod's
