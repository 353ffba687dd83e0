"""How a sandbox, a container and an exec are made: each an ordered list of steps, computed without touching the host.

The order is the lesson: what a later step takes away (the host's root, the privileges) comes after what needs it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from minipod.linux.capabilities import NAMES
from minipod.linux.cgroup import CgroupLayout
from minipod.runtime import defaults
from minipod.runtime.child_operations import (
    ChangeDirectory,
    Clone,
    Exec,
    ExecPause,
    JoinNamespaces,
    LimitCapabilities,
    LoadSeccomp,
    MountFilesystem,
    NewSession,
    OpenTerminal,
    PivotRoot,
    RemountReadOnly,
    SetCapabilities,
    SetHostname,
    SetNoNewPrivileges,
    SetOomScoreAdj,
    SetPropagation,
    SetUser,
    Unshare,
    WriteSysctl,
)
from minipod.runtime.operations import (
    AddNftElements,
    AddVeth,
    ConfigureNetwork,
    DeleteLink,
    EnterCgroup,
    MakeCgroup,
    MakeDirectory,
    Operation,
    RemoveNftElements,
    RemoveTree,
    Step,
)
from minipod.runtime.plan_mounts import mount_steps, root_mount_steps
from minipod.runtime.spec import (
    ContainerSpec,
    ExecSpec,
    PidNamespace,
    SandboxNetwork,
    SandboxSpec,
    Security,
    User,
)

PAUSE_OOM_SCORE = -998  # the kubelet's: the pause is the last of a Pod to be killed


@dataclass(frozen=True)
class HostFacts:
    """What a plan must know of the host.

    `staging` is an empty directory: every new root is put together on it, seen only in its own mount namespace.
    """

    cgroups: CgroupLayout
    staging: str


@dataclass(frozen=True)
class SandboxRef:
    """What a container's plan must know of its sandbox."""

    cgroup: str
    host_network: bool = False
    host_ipc: bool = False
    pid: PidNamespace = "container"
    privileged: bool = False

    @classmethod
    def of(cls, spec: SandboxSpec) -> "SandboxRef":
        """Return the reference to the sandbox that `spec` makes."""
        network = spec.network is None
        return cls(spec.cgroup, network, spec.host_ipc, spec.pid, spec.privileged)


def pause_cgroup(spec: SandboxSpec) -> str:
    """Return the cgroup of the pause process: a leaf, since v2 wants no processes beside child cgroups."""
    return f"{spec.cgroup}/{spec.id}"


def container_cgroup(spec: ContainerSpec, sandbox: SandboxRef) -> str:
    """Return the cgroup of a container and of everything exec'd in it."""
    return f"{sandbox.cgroup}/{spec.id}"


def compute_sandbox_plan(spec: SandboxSpec, host: HostFacts) -> tuple[Step, ...]:
    """Return the steps that make a sandbox: cgroups, the pause and its namespaces, then the network around it."""
    network = spec.network
    namespaces = ["mnt"]
    if network is not None:
        namespaces += ["net", "uts"]
    if not spec.host_ipc:
        namespaces.append("ipc")
    if spec.pid == "pod":
        namespaces.append("pid")
    steps = [
        Step(MakeDirectory(host.staging, 0o700), "shim", "where new roots are put together"),
        Step(
            MakeCgroup(spec.cgroup, spec.resources, limit_devices=not spec.privileged),
            "shim",
            "the Pod's cgroup and its limits",
        ),
        Step(MakeCgroup(pause_cgroup(spec)), "shim", "a leaf for the pause"),
        Step(
            Clone("pause", tuple(namespaces), pause_cgroup(spec)),
            "shim",
            "the pause holds the namespaces that the Pod's containers share",
        ),
    ]
    steps += _enter_steps(pause_cgroup(spec), host)
    steps += _pause_steps(spec, host)
    return (*steps, *_network_steps(spec))


def _pause_steps(spec: SandboxSpec, host: HostFacts) -> list[Step]:
    """Return what the pause does to itself before it sleeps: settings of its namespaces, then giving up everything."""
    steps: list[tuple[Operation, str]] = [
        (NewSession(), "no terminal and no keys of the shim's"),
        (SetOomScoreAdj(PAUSE_OOM_SCORE), "the last to be killed when memory runs out"),
        (SetPropagation("/", "rprivate"), "what is mounted from here on stays in here"),
    ]
    if spec.network is not None:
        steps.append((SetHostname(spec.hostname), "the Pod's hostname"))
    for name, value in sorted(spec.sysctls.items()):
        steps.append((WriteSysctl(name, value), "a kernel parameter of the Pod's own namespaces"))
    empty = ("nosuid", "nodev", "noexec", "size=64k", "nr_inodes=16", "mode=555")
    steps.append((MountFilesystem("tmpfs", "/", host.staging, options=empty), "an empty root"))
    if not spec.host_ipc:
        shm = ("nosuid", "nodev", "noexec", "mode=1777", f"size={defaults.SHM_BYTES // 1024}k")
        comment = "/dev/shm, shared by the Pod's containers"
        steps.append((MountFilesystem("tmpfs", "/dev/shm", host.staging, options=shm), comment))
    if spec.pid == "pod":
        proc = MountFilesystem("proc", "/proc", host.staging, options=("nosuid", "nodev", "noexec"))
        cover = MountFilesystem("tmpfs", "/proc", host.staging, options=empty)
        steps.append((proc, "the Pod's processes: only one of them can mount this"))
        steps.append((cover, "under a cover that only the making of containers takes off"))
    user = User(uid=defaults.PAUSE_UID, gid=defaults.PAUSE_UID, merge_image_groups=False)
    steps += [
        (PivotRoot(host.staging), "leave the host's filesystem"),
        (RemountReadOnly("/"), "nothing to write on"),
        (LimitCapabilities(()), "no capability, now or later"),
        (SetUser(user), "nobody in particular"),
        (SetCapabilities(()), ""),
        (SetNoNewPrivileges(), ""),
    ]
    if spec.seccomp is not None:
        filtered = "whoever traces it makes no other calls than a container's"
        steps.append((LoadSeccomp(spec.seccomp), filtered))
    steps += [
        (ExecPause(), "a few hundred bytes that sleep; not a file of the host's"),
    ]
    return [Step(operation, "child", comment) for operation, comment in steps]


def _network_steps(spec: SandboxSpec) -> list[Step]:
    """Return what the daemon does around the pause: a veth pair, the address, the mapped ports."""
    network = spec.network
    if network is None:
        return []
    veth = AddVeth(network.host_interface, network.bridge, "$pause_pid", mtu=network.mtu)
    configure = ConfigureNetwork("$pause_pid", network.address, network.gateway)
    return [
        compute_admission(network),
        Step(veth, "daemon", "a cable between the bridge and the Pod"),
        Step(configure, "daemon", "the Pod's address and the way out"),
    ]


def compute_admission(network: SandboxNetwork) -> Step:
    """Return the daemon's step that writes a sandbox into the packet rules' sets and maps."""
    address = network.address.partition("/")[0]
    admit = AddNftElements(network.table, network.host_interface, address, network.ports)
    return Step(admit, "daemon", "no other address from this interface; its hostPorts")


def compute_network_removal(spec: SandboxSpec) -> tuple[Step, ...]:
    """Return the steps that take down what `compute_sandbox_plan` has the daemon make; for a host network, none."""
    network = spec.network
    if network is None:
        return ()
    address = network.address.partition("/")[0]
    interface = network.host_interface
    forget = RemoveNftElements(network.table, interface, address, network.ports)
    return (
        Step(forget, "daemon", "its hostPorts are free again"),
        Step(DeleteLink(interface), "daemon", "the Pod's end goes with it"),
    )


def compute_container_plan(
    spec: ContainerSpec, sandbox: SandboxRef, host: HostFacts
) -> tuple[Step, ...]:
    """Return the steps that make a container in a running sandbox, whose pause is "$pause_pid"."""
    cgroup = container_cgroup(spec, sandbox)
    joined = _joined_pid(spec, sandbox)
    own_pid = sandbox.pid == "container" and not joined
    namespaces = ("mnt", "pid") if own_pid else ("mnt",)
    limited = sandbox.privileged and not spec.security.privileged
    left = "what a start that failed has left: overlayfs would refuse it"
    steps = [
        Step(RemoveTree(spec.rootfs.work), "shim", left),
        Step(MakeDirectory(spec.rootfs.upper), "shim", "what the container will write"),
        Step(MakeDirectory(spec.rootfs.work, 0o700), "shim", "overlayfs works here"),
        Step(MakeDirectory(host.staging, 0o700), "shim", "where new roots are put together"),
        Step(MakeCgroup(cgroup, spec.resources, limited), "shim", "the container's limits"),
        Step(
            Clone("container", namespaces, cgroup),
            "shim",
            "the container's first process, with mounts and process ids of its own"
            if "pid" in namespaces
            else "a process with mounts of its own",
        ),
        *_enter_steps(cgroup, host),
        *_child(_join_steps(sandbox)),
        *_child([(NewSession(), ""), (SetOomScoreAdj(spec.security.oom_score_adj), "")]),
        *_child(_root_steps(spec, sandbox, host)),
        *_child([(PivotRoot(host.staging), "leave the host's filesystem")]),
    ]
    steps += _child([(Unshare(("cgroup",)), "from here its cgroup looks like the root")])
    steps += _child(mount_steps(spec))
    terminal = OpenTerminal(console=True) if spec.tty else None
    join = _join_pid(joined) if joined else []
    steps += _child(_program_steps(spec, spec.args, spec.env, terminal, join))
    return tuple(steps)


def compute_exec_plan(
    container: ContainerSpec, spec: ExecSpec, sandbox: SandboxRef, host: HostFacts
) -> tuple[Step, ...]:
    """Return the steps of one more process in a running container, whose first process is "$container_pid"."""
    cgroup = container_cgroup(container, sandbox)
    steps = [Step(Clone("exec", (), cgroup), "shim", "one more process")]
    steps += _child([(SetOomScoreAdj(container.security.oom_score_adj), "")])
    steps += _enter_steps(cgroup, host)
    join = JoinNamespaces("$container_pid", ("cgroup", "ipc", "uts", "net", "mnt"))
    steps += _child(
        [(join, "the container's view of the machine, its root included"), (NewSession(), "")]
    )
    env = (*container.env, *spec.env)
    terminal = OpenTerminal(False, *spec.terminal_size) if spec.tty else None
    joined = [] if sandbox.pid == "host" else _join_pid("$container_pid")
    steps += _child(_program_steps(container, spec.args, env, terminal, joined))
    return tuple(steps)


def _root_steps(
    spec: ContainerSpec, sandbox: SandboxRef, host: HostFacts
) -> list[tuple[Operation, str]]:
    joined = _joined_pid(spec, sandbox)
    return root_mount_steps(spec, host.staging, host_ipc=sandbox.host_ipc, pid_holder=joined)


def _joined_pid(spec: ContainerSpec, sandbox: SandboxRef) -> str:
    """Return whose PID namespace the container joins: the Pod's, another container's, or nobody's ("")."""
    if sandbox.pid == "pod":
        return "$pause_pid"
    return "$target_pid" if sandbox.pid == "container" and spec.pid_target else ""


def _join_pid(target: str) -> list[tuple[Operation, str]]:
    """Return the joining of a PID namespace that others live in: late, for they may look at what is in it."""
    return [(JoinNamespaces(target, ("pid",)), "whom its children, and only they, will live among")]


def _child(operations: list[tuple[Operation, str]]) -> list[Step]:
    return [Step(operation, "child", comment) for operation, comment in operations]


def _enter_steps(path: str, host: HostFacts) -> list[Step]:
    """Return the move into the v1 hierarchies: a process that moves itself does it forty times as fast as another."""
    if not host.cgroups.v1:
        return []
    return [Step(EnterCgroup(path), "child", "on v1 a process is moved; on v2 it was born there")]


def _join_steps(sandbox: SandboxRef) -> list[tuple[Operation, str]]:
    """Return the joining of the pause's namespaces; the host's own are simply kept."""
    shared = []
    if not sandbox.host_network:
        shared += ["net", "uts"]
    if not sandbox.host_ipc:
        shared.append("ipc")
    if not shared:
        return []
    return [(JoinNamespaces("$pause_pid", tuple(shared)), "what all containers of the Pod share")]


def _program_steps(
    spec: ContainerSpec,
    args: tuple[str, ...],
    env: tuple[str, ...],
    terminal: OpenTerminal | None,
    join: Sequence[tuple[Operation, str]],
) -> list[tuple[Operation, str]]:
    """Return the last steps: terminal, directory, user, powers, and the program.

    A seccomp filter without no_new_privs needs CAP_SYS_ADMIN to load, so it comes before the capabilities go;
    with it, it comes last, where it need not allow what the earlier steps do. `join` is the PID namespace of others, in
    which the program is then a child without any of this process's memory and descriptors.
    """
    security = spec.security
    names = _capabilities(security)
    filters: list[tuple[Operation, str]] = []
    if security.seccomp is not None and not security.privileged:
        filters = [(LoadSeccomp(security.seccomp), "refuse dangerous system calls")]
    early, late = ([], filters) if security.no_new_privileges else (filters, [])
    steps: list[tuple[Operation, str]] = []
    if terminal:
        steps.append((terminal, "a terminal of the container's own"))
    steps += [(ChangeDirectory(spec.cwd), ""), *join]
    steps += [(LimitCapabilities(names), "the most that anything in here can ever have"), *early]
    steps += [(SetUser(spec.user), ""), (SetCapabilities(names), "")]
    if security.no_new_privileges:
        steps.append((SetNoNewPrivileges(), ""))
    environment = _environment(spec, env, terminal is not None)
    program = Exec(args, environment, spawn=bool(join))
    return [*steps, *late, (program, "the program itself")]


def _capabilities(security: Security) -> tuple[str, ...]:
    return NAMES if security.privileged else security.capabilities


def _environment(spec: ContainerSpec, env: tuple[str, ...], tty: bool) -> tuple[str, ...]:
    """Return the environment, the last value of a name winning, with PATH, HOSTNAME and TERM where not given."""
    values = {"PATH": defaults.PATH}
    if spec.hostname:
        values["HOSTNAME"] = spec.hostname
    if tty:
        values["TERM"] = "xterm"
    for item in env:
        name, _, value = item.partition("=")
        values[name] = value
    return tuple(f"{name}={value}" for name, value in values.items())
