"""Plans, as whole lists: their order is what makes them right."""

from dataclasses import replace

import pytest

from minipod.linux.capabilities import NAMES
from minipod.runtime.child_operations import (
    AwaitTurn,
    BindMount,
    ChangeDirectory,
    Clone,
    Exec,
    ExecPause,
    JoinNamespaces,
    LimitCapabilities,
    LoadSeccomp,
    MakeDevices,
    MakeMountPoints,
    MakeReadOnly,
    MaskPaths,
    MountCgroups,
    MountFilesystem,
    MountOverlay,
    NewSession,
    OpenMountTree,
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
from minipod.runtime.plan import (
    SandboxRef,
    compute_container_plan,
    compute_exec_plan,
    compute_network_removal,
    compute_sandbox_plan,
)
from minipod.runtime.spec import ExecSpec, Mount, PortMapping, Resources, Security, User
from tests.unit.runtime.plans import CONTAINER, POD, SANDBOX, SECURITY, V1, V2

STRICT = ("nosuid", "nodev", "noexec")
PORTS = (PortMapping(8001, 8080),)


def plain(steps: tuple[Step, ...]) -> list[tuple[str, Operation]]:
    return [(step.where, step.operation) for step in steps]


def test_sandbox() -> None:
    nobody = User(uid=65535, gid=65535, merge_image_groups=False)
    empty = (*STRICT, "size=64k", "nr_inodes=16", "mode=555")
    shm = (*STRICT, "mode=1777", "size=65536k")
    assert plain(compute_sandbox_plan(SANDBOX, V2)) == [
        ("shim", MakeDirectory("/run/root", 0o700)),
        ("shim", MakeCgroup("minipod/pod1", limit_devices=True)),
        ("shim", MakeCgroup("minipod/pod1/s1")),
        ("shim", Clone("pause", ("mnt", "net", "uts", "ipc"), "minipod/pod1/s1")),
        ("child", NewSession()),
        ("child", SetOomScoreAdj(-998)),
        ("child", SetPropagation("/", "rprivate")),
        ("child", SetHostname("web-0")),
        ("child", WriteSysctl("net.core.somaxconn", "1024")),
        ("child", MountFilesystem("tmpfs", "/", "/run/root", options=empty)),
        ("child", MountFilesystem("tmpfs", "/dev/shm", "/run/root", options=shm)),
        ("child", PivotRoot("/run/root")),
        ("child", RemountReadOnly("/")),
        ("child", LimitCapabilities(())),
        ("child", SetUser(nobody)),
        ("child", SetCapabilities(())),
        ("child", SetNoNewPrivileges()),
        ("child", ExecPause()),
        ("daemon", AddNftElements("minipod", "veth123", "10.85.0.7", PORTS)),
        ("daemon", AddVeth("veth123", "minipod0", "$pause_pid")),
        ("daemon", ConfigureNetwork("$pause_pid", "10.85.0.7/16", "10.85.0.1")),
    ]


def test_container() -> None:
    root = "/run/root"
    assert plain(compute_container_plan(CONTAINER, POD, V2)) == [
        ("shim", RemoveTree("/lib/c1/work")),
        ("shim", MakeDirectory("/lib/c1/upper")),
        ("shim", MakeDirectory("/lib/c1/work", 0o700)),
        ("shim", MakeDirectory(root, 0o700)),
        ("shim", MakeCgroup("minipod/pod1/c1", Resources(memory_bytes=1 << 20))),
        ("shim", Clone("container", ("mnt", "pid"), "minipod/pod1/c1")),
        ("child", JoinNamespaces("$pause_pid", ("net", "uts", "ipc"))),
        ("child", NewSession()),
        ("child", SetOomScoreAdj(1000)),
        ("child", SetPropagation("/", "rslave")),
        ("child", MountOverlay(root, ("/images/b", "/images/a"), "/lib/c1/upper", "/lib/c1/work")),
        ("child", MountFilesystem("proc", "/proc", root, options=STRICT)),
        ("child", MountFilesystem("sysfs", "/sys", root, options=(*STRICT, "ro"))),
        ("child", MountFilesystem("tmpfs", "/dev", root, options=DEV)),
        ("child", MakeDevices(root)),
        ("child", MountFilesystem("devpts", "/dev/pts", root, options=PTS)),
        ("child", MountFilesystem("mqueue", "/dev/mqueue", root, options=STRICT)),
        ("child", AwaitTurn()),
        ("child", OpenMountTree("shm", "/dev/shm", target="$pause_pid", recursive=False)),
        ("child", BindMount("/dev/shm", root, tree="shm", options=STRICT)),
        (
            "child",
            BindMount("/data", root, "/pods/1/data", "x", read_only=True, options=("nodev",)),
        ),
        (
            "child",
            MountFilesystem("tmpfs", "/cache", root, options=("nosuid", "nodev", "size=64k")),
        ),
        ("child", PivotRoot(root)),
        ("child", Unshare(("cgroup",))),
        ("child", MountCgroups()),
        ("child", MakeReadOnly(("/proc/sys",))),
        ("child", MaskPaths(("/proc/kcore",))),
        ("child", ChangeDirectory("/srv")),
        ("child", LimitCapabilities(("CHOWN", "KILL"))),
        ("child", LoadSeccomp(bytes(16))),
        ("child", SetUser(User("nginx"))),
        ("child", SetCapabilities(("CHOWN", "KILL"))),
        ("child", Exec(("nginx", "-g", "daemon off;"), ("PATH=/bin", "A=2"))),
    ]


DEV = ("nosuid", "strictatime", "mode=755", "size=65536k")
PTS = ("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5")


def test_exec() -> None:
    spec = ExecSpec(("sh",), tty=True, env=("A=3",))
    assert plain(compute_exec_plan(CONTAINER, spec, POD, V2)) == [
        ("shim", Clone("exec", (), "minipod/pod1/c1")),
        ("child", SetOomScoreAdj(1000)),
        ("child", JoinNamespaces("$container_pid", ("cgroup", "ipc", "uts", "net", "mnt"))),
        ("child", NewSession()),
        ("child", OpenTerminal()),
        ("child", ChangeDirectory("/srv")),
        ("child", JoinNamespaces("$container_pid", ("pid",))),
        ("child", LimitCapabilities(("CHOWN", "KILL"))),
        ("child", LoadSeccomp(bytes(16))),
        ("child", SetUser(User("nginx"))),
        ("child", SetCapabilities(("CHOWN", "KILL"))),
        ("child", Exec(("sh",), ("PATH=/bin", "TERM=xterm", "A=3"), spawn=True)),
    ]


def operations(steps: tuple[Step, ...], kind: type[Operation]) -> list[Operation]:
    return [step.operation for step in steps if isinstance(step.operation, kind)]


@pytest.mark.parametrize(
    ("changes", "namespaces"),
    [
        ({"pid": "pod"}, ("mnt", "net", "uts", "ipc", "pid")),
        ({"network": None}, ("mnt", "ipc")),
        ({"network": None, "host_ipc": True, "pid": "host"}, ("mnt",)),
    ],
)
def test_pause_has_what_the_pod_does_not_share_with_the_host(
    changes: dict[str, object], namespaces: tuple[str, ...]
) -> None:
    plan = compute_sandbox_plan(replace(SANDBOX, **changes), V2)

    (clone,) = operations(plan, Clone)
    assert clone == Clone("pause", namespaces, "minipod/pod1/s1")
    assert bool(operations(plan, SetHostname)) == ("uts" in namespaces)
    assert bool(operations(plan, AddVeth)) == ("net" in namespaces)


@pytest.mark.parametrize(
    ("changes", "clone", "joined"),
    [
        ({}, Clone("container", ("mnt", "pid"), "minipod/pod1/c1"), ("net", "uts", "ipc")),
        ({"network": None}, Clone("container", ("mnt", "pid"), "minipod/pod1/c1"), ("ipc",)),
        ({"host_ipc": True}, Clone("container", ("mnt", "pid"), "minipod/pod1/c1"), ("net", "uts")),
    ],
)
def test_container_joins_what_the_pod_shares(
    changes: dict[str, object], clone: Clone, joined: tuple[str, ...]
) -> None:
    plan = compute_container_plan(CONTAINER, SandboxRef.of(replace(SANDBOX, **changes)), V2)

    assert operations(plan, Clone) == [clone]
    assert operations(plan, JoinNamespaces) == [JoinNamespaces("$pause_pid", joined)]


def test_in_a_shared_pid_namespace_nothing_is_done_but_executing_the_program() -> None:
    shared = replace(SANDBOX, pid="pod")
    plan = compute_container_plan(CONTAINER, SandboxRef.of(shared), V2)

    assert operations(plan, Clone) == [Clone("container", ("mnt",), "minipod/pod1/c1")]
    join = JoinNamespaces("$pause_pid", ("pid",))
    after = [step.operation for step in plan][[step.operation for step in plan].index(join) :]
    assert [type(operation) for operation in after] == [
        *(JoinNamespaces, LimitCapabilities, LoadSeccomp, SetUser, SetCapabilities, Exec)
    ]
    assert operations(plan, Exec)[0].spawn
    taken = OpenMountTree("proc", "/proc", target="$pause_pid", recursive=False, covered=True)
    assert taken in operations(plan, OpenMountTree)
    assert not [each for each in operations(plan, MountFilesystem) if each.type == "proc"]


def test_the_pause_keeps_the_pods_proc_under_a_cover() -> None:
    plan = compute_sandbox_plan(replace(SANDBOX, pid="pod"), V2)

    at_proc = [each.type for each in operations(plan, MountFilesystem) if each.target == "/proc"]
    assert at_proc == ["proc", "tmpfs"]


def test_container_on_the_hosts_namespaces_joins_none() -> None:
    host = SandboxRef("minipod/pod1", host_network=True, host_ipc=True, pid="host")
    plan = compute_container_plan(CONTAINER, host, V2)

    assert operations(plan, JoinNamespaces) == []
    assert operations(plan, Clone) == [Clone("container", ("mnt",), "minipod/pod1/c1")]
    assert BindMount("/dev/shm", "/run/root", "/dev/shm", options=STRICT) in operations(
        plan, BindMount
    )


@pytest.mark.parametrize(
    ("plan", "path"),
    [
        (compute_sandbox_plan(SANDBOX, V1), "minipod/pod1/s1"),
        (compute_container_plan(CONTAINER, POD, V1), "minipod/pod1/c1"),
        (compute_exec_plan(CONTAINER, ExecSpec(("a",)), POD, V1), "minipod/pod1/c1"),
    ],
)
def test_on_v1_a_process_is_moved_before_its_cgroup_namespace(
    plan: tuple[Step, ...], path: str
) -> None:
    assert operations(plan, EnterCgroup) == [EnterCgroup(path)]
    kinds = [type(step.operation) for step in plan]
    for later in (Unshare, JoinNamespaces):
        assert later not in kinds or kinds.index(EnterCgroup) < kinds.index(later)


def test_no_new_privileges_come_before_the_filter_that_then_needs_no_power() -> None:
    spec = replace(CONTAINER, security=replace(SECURITY, no_new_privileges=True))
    plan = compute_container_plan(spec, POD, V2)

    assert [type(step.operation) for step in plan][-5:] == [
        *(SetUser, SetCapabilities, SetNoNewPrivileges, LoadSeccomp, Exec)
    ]


def test_privileged_hides_and_filters_nothing() -> None:
    spec = replace(CONTAINER, security=Security(privileged=True, seccomp=bytes(8)))
    plan = compute_container_plan(spec, POD, V2)

    for kind in (LoadSeccomp, MaskPaths, MakeReadOnly):
        assert operations(plan, kind) == []
    assert operations(plan, MakeDevices) == [MakeDevices("/run/root", all=True)]
    assert operations(plan, SetCapabilities) == [SetCapabilities(NAMES)]
    assert operations(plan, MountCgroups) == [MountCgroups(read_only=False)]
    assert all("nodev" not in each.options for each in operations(plan, BindMount)[1:])


def test_devices_are_limited_for_the_pod_or_for_each_beside_a_privileged_container() -> None:
    mixed = replace(SANDBOX, privileged=True)
    assert not any(
        each.limit_devices for each in operations(compute_sandbox_plan(mixed, V2), MakeCgroup)
    )
    for privileged in (True, False):
        spec = replace(CONTAINER, security=Security(privileged=privileged))
        (made,) = operations(compute_container_plan(spec, SandboxRef.of(mixed), V2), MakeCgroup)
        assert made.limit_devices is not privileged


def test_shared_volumes_are_taken_while_they_are_peers_of_the_hosts() -> None:
    mounts = (Mount("/a", "/plain"), Mount("/b", "/shared", "sub", propagation="rshared"))
    plan = compute_container_plan(replace(CONTAINER, mounts=mounts), POD, V2)

    kinds = [step.operation for step in plan]
    taken = OpenMountTree("volume1", "/shared", "sub")
    assert kinds.index(taken) < kinds.index(SetPropagation("/", "rslave"))
    bound = operations(plan, BindMount)[-1]
    assert (bound.tree, bound.source, bound.propagation) == ("volume1", "", "rshared")


def test_mount_points_are_made_early_where_nothing_will_cover_them() -> None:
    mounts = (
        Mount("/data/", "/a", kind="directory"),
        Mount("/database", "/b", kind="directory"),
        Mount("/etc/hosts", "/hosts", kind="file"),
        Mount("/dev/log", "/c", kind="file"),  # on the /dev that every container has
        Mount("/data/sub", "/d", kind="directory"),  # in a volume
        Mount("/unknown", "/e"),
    )
    plan = compute_container_plan(replace(CONTAINER, mounts=mounts), POD, V2)

    made = MakeMountPoints(V2.staging, ("/data/", "/database"), ("/etc/hosts",))
    kinds = [step.operation for step in plan]
    overlay = next(index for index, each in enumerate(kinds) if isinstance(each, MountOverlay))
    assert overlay < kinds.index(made) < kinds.index(AwaitTurn())
    assert [each.target for each in operations(plan, BindMount)][-6:] == [
        each.destination for each in mounts
    ]


def test_network_removal() -> None:
    assert plain(compute_network_removal(SANDBOX)) == [
        ("daemon", RemoveNftElements("minipod", "veth123", "10.85.0.7", PORTS)),
        ("daemon", DeleteLink("veth123")),
    ]
    assert compute_network_removal(replace(SANDBOX, network=None)) == ()


def test_every_step_of_a_process_ends_in_its_program() -> None:
    for plan in (compute_sandbox_plan(SANDBOX, V1), compute_container_plan(CONTAINER, POD, V1)):
        last = [step.operation for step in plan if step.where == "child"][-1]
        assert isinstance(last, Exec | ExecPause)
