"""Containers as their programs see them."""

import errno
import os
import signal
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from minipod.linux import capabilities, cgroup, seccomp
from minipod.linux.mounts import mounts
from minipod.runtime import execute
from minipod.runtime.launch import Stdio, launch
from minipod.runtime.launch import _devices as devices_below
from minipod.runtime.launched import LaunchError
from minipod.runtime.operations import Operation, Step
from minipod.runtime.plan import SandboxRef, compute_exec_plan
from minipod.runtime.spec import ExecSpec, Mount, Resources, Security, User
from tests.kernel.runtime.world import SECURITY, World, end

pytestmark = pytest.mark.kernel


def namespace(pid: int | str, name: str) -> str:
    return os.readlink(f"/proc/{pid}/ns/{name}")


def test_program_is_pid_1_in_the_pods_namespaces(pod: World) -> None:
    script = "echo $$; hostname; for n in net uts ipc pid mnt; do readlink /proc/self/ns/$n; done"
    finished = pod.run("sh", "-c", script)

    assert finished.code == 0
    pid, hostname, net, uts, ipc, own_pid, mnt = finished.lines()
    assert (pid, hostname) == ("1", "pod-1")
    assert pod.pause is not None
    for name, seen in (("net", net), ("uts", uts), ("ipc", ipc)):
        assert seen == namespace(pod.pause.pid, name) != namespace("self", name)
    for name, seen in (("pid", own_pid), ("mnt", mnt)):
        assert seen not in (namespace(pod.pause.pid, name), namespace("self", name))


def test_exit_codes_and_the_default_environment_reach_the_program(pod: World) -> None:
    finished = pod.run("sh", "-c", "env; exit 7", env=("A=1", "A=2", "B="), hostname="pod-1")

    assert finished.code == 7
    found = dict(line.split("=", 1) for line in finished.lines() if "=" in line)
    assert (found["A"], found["B"], found["HOSTNAME"], found["HOME"]) == ("2", "", "pod-1", "/root")
    assert "/usr/local/sbin:" in found["PATH"]


def mount_table(text: str) -> dict[str, tuple[str, str]]:
    fields = [line.split() for line in text.splitlines()]
    return {each[4]: (each[each.index("-") + 1], each[5]) for each in fields}


def test_root_is_an_overlay_and_the_kernel_is_out_of_reach(pod: World) -> None:
    finished = pod.run("cat", "/proc/self/mountinfo")

    mounts = mount_table(finished.output)
    kinds = {point: kind for point, (kind, _) in mounts.items()}
    assert kinds["/"] == "overlay"
    assert [kinds[f"/dev{each}"] for each in ("", "/pts", "/mqueue", "/shm")] == [
        *("tmpfs", "devpts", "mqueue", "tmpfs")
    ]
    assert "ro" in mounts["/sys"][1].split(",")
    assert "ro" in mounts["/proc/sys"][1].split(",")
    assert any(kind.startswith("cgroup") for kind in kinds.values())
    # Nothing of the host's is left: only what the container was given.
    assert not [point for point in kinds if str(pod.directory) in point]


def test_masked_and_read_only_paths(pod: World) -> None:
    script = "ls /sys/firmware | wc -l; cat /proc/keys | wc -c; echo x > /proc/sys/kernel/panic"
    finished = pod.run("sh", "-c", script)

    assert finished.lines()[:2] == ["0", "0"]
    assert "Read-only file system" in finished.output


def test_read_only_root_keeps_its_volumes_writable(pod: World) -> None:
    volume = pod.directory / "volume"
    volume.mkdir()
    spec = pod.spec(
        *("sh", "-c", "touch /data/yes; touch /no"), mounts=(Mount("/data", str(volume)),)
    )
    finished = pod.run_spec(replace(spec, rootfs=replace(spec.rootfs, read_only=True)))

    assert (volume / "yes").exists()
    assert "Read-only file system" in finished.output


def status(text: str) -> dict[str, str]:
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_default_powers(pod: World) -> None:
    finished = pod.run("cat", "/proc/self/status")

    found = status(finished.output)
    wanted = f"{capabilities.mask(capabilities.DEFAULT):016x}"
    assert (found["CapBnd"], found["CapPrm"], found["CapEff"]) == (wanted, wanted, wanted)
    assert (found["CapInh"], found["CapAmb"]) == ("0" * 16, "0" * 16)
    assert found["NoNewPrivs"] == "0"
    assert (found["SigBlk"], found["SigIgn"]) == ("0" * 16, "0" * 16)


def test_signals_are_as_a_program_expects_them(pod: World) -> None:
    """Whatever this process ignores or blocks (`nohup`, a shell's background, Python itself)."""
    changed = (signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE, signal.SIGRTMIN)
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in changed]
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    try:
        found = status(pod.run("cat", "/proc/self/status").output)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
        for number, handler in before:
            signal.signal(number, handler)

    assert (found["SigBlk"], found["SigIgn"], found["SigCgt"]) == ("0" * 16,) * 3


def test_user_comes_from_the_images_own_files(pod: World) -> None:
    user = User(name="app", supplementary=(50,))
    finished = pod.run("sh", "-c", "id; echo $HOME; cat /proc/self/status", user=user)

    identity, home, *rest = finished.lines()
    assert identity == "uid=7(app) gid=8(app) groups=8(app),9(extra),50"
    assert home == "/home/app"
    assert status("\n".join(rest))["CapEff"] == "0" * 16


def test_numeric_user_without_image_groups(pod: World) -> None:
    user = User(uid=7, gid=70, supplementary=(80,), merge_image_groups=False)

    assert pod.run("id", user=user).output.strip() == "uid=7(app) gid=70 groups=70,80"


def test_unknown_user_is_named(pod: World) -> None:
    with pytest.raises(LaunchError, match='unable to find user "nobody"') as caught:
        pod.run("id", user=User(name="nobody"))
    assert caught.value.reason == "CreateContainerError"


def test_user_may_open_its_output_again(pod: World) -> None:
    finished = pod.run("sh", "-c", "echo hello > /dev/stdout", user=User(name="app"))

    assert (finished.code, finished.output) == (0, "hello\n")


@pytest.mark.parametrize("no_new_privileges", [False, True])
def test_seccomp_filters_the_program(pod: World, no_new_privileges: bool) -> None:
    security = replace(
        SECURITY,
        seccomp=seccomp.compile_default(capabilities.DEFAULT),
        no_new_privileges=no_new_privileges,
    )
    script = "cat /proc/self/status; unshare -U true; echo done"
    found = pod.run("sh", "-c", script, security=security)

    values = status(found.output)
    assert (values["Seccomp"], values["NoNewPrivs"]) == ("2", str(int(no_new_privileges)))
    assert "Operation not permitted" in found.output
    assert found.lines()[-1] == "done"


def test_privileged_container_has_the_hosts_devices_and_all_powers(pod: World) -> None:
    finished = pod.run(
        *("sh", "-c", "ls /dev; cat /proc/self/status; mount -t tmpfs x /tmp && echo mounted"),
        security=Security(privileged=True),
    )

    assert status(finished.output)["CapEff"] == f"{capabilities.bounding():016x}"
    devices = [each for each in Path("/dev").iterdir() if not each.is_symlink()]  # as udev's cdrom
    host = {each.name for each in devices if each.is_block_device()}
    assert host <= set(finished.lines())
    assert finished.lines()[-1] == "mounted"


def test_no_device_but_the_harmless_ones_works(pod: World) -> None:
    """CAP_MKNOD is in the default set, so root can make any node: none of them may open."""
    volume = pod.directory / "volume"
    volume.mkdir()
    script = """
    head -c 1 /dev/zero | wc -c
    for place in / /dev /dev/shm /data /tmp; do
        mknod $place/copy c 1 8 && head -c 1 $place/copy >/dev/null && echo $place works
    done
    """
    finished = pod.run("sh", "-c", script, mounts=(Mount("/data", str(volume)),))

    lines = finished.lines()
    assert lines[0] == "1"
    assert [line.rpartition(": ")[2] for line in lines[1:]] == ["Permission denied"] * 5


@pytest.fixture(params=["v1", "v2"])
def devices_world(
    request: pytest.FixtureRequest, world: World, monkeypatch: pytest.MonkeyPatch
) -> World:
    """A world where v1's controller alone, or a program on v2 alone, limits devices."""
    layout = cgroup.this_host()
    if request.param == "v2":
        layout = replace(layout, v1=())
    else:
        points = [(e.point, e.super_options) for e in mounts() if e.type == "cgroup"]
        devices = next((point for point, options in points if "devices" in options), None)
        if devices is None:
            pytest.skip("this host has no devices controller of cgroup v1")
        v1 = tuple(sorted({*layout.v1, ("devices", devices)}))
        layout = replace(layout, unified="", unified_controllers=(), v1=v1)
    if not layout.hierarchies:
        pytest.skip("this host has no v2 hierarchy")
    monkeypatch.setattr(cgroup, "this_host", lambda: layout)
    world.host = replace(world.host, cgroups=layout)
    return world


BY_NODE = """
mount -t tmpfs x /tmp
mknod /tmp/memory c 1 1; mknod /tmp/log c 1 11; mknod /tmp/disk b {disk}; mknod /tmp/zero c 1 5
head -c 1 /tmp/zero | wc -c
for node in memory log disk; do head -c 1 /tmp/$node >/dev/null; done
"""


def some_disk() -> str:
    """Return the numbers of a disk of the host's, or of one that it might have."""
    found = [
        each
        for each in os.scandir("/dev")
        if stat.S_ISBLK(each.stat(follow_symlinks=False).st_mode)
    ]
    number = found[0].stat().st_rdev if found else os.makedev(8, 0)
    return f"{os.major(number)} {os.minor(number)}"


def test_a_device_that_is_unplugged_while_they_are_listed_is_left_out(tmp_path: Path) -> None:
    for name in ("one", "two"):
        os.mknod(tmp_path / name, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    listed = devices_below(str(tmp_path), "")
    first, *_ = next(listed)
    (tmp_path / ("two" if first == "one" else "one")).unlink()
    assert list(listed) == []


@pytest.mark.parametrize("mixed", [False, True])
def test_no_power_but_being_privileged_opens_the_hosts_devices(
    devices_world: World, mixed: bool
) -> None:
    """CAP_SYS_ADMIN can mount a filesystem where nodes work, and CAP_MKNOD make them there."""
    devices_world.start_sandbox(privileged=mixed)
    powers = replace(
        SECURITY, capabilities=(*SECURITY.capabilities, "SYS_ADMIN", "SYS_RAWIO", "SYSLOG")
    )
    script = BY_NODE.format(disk=some_disk())
    finished = devices_world.run("sh", "-c", script, security=powers)

    lines = finished.lines()
    assert lines[0] == "1"
    assert [line.rpartition(": ")[2] for line in lines[1:]] == ["Operation not permitted"] * 3


def test_a_privileged_container_opens_the_hosts_devices(devices_world: World) -> None:
    devices_world.start_sandbox(privileged=True)
    script = "mount -t tmpfs x /tmp; mknod /tmp/log c 1 11; head -c 0 /tmp/log && echo opened"
    finished = devices_world.run("sh", "-c", script, security=Security(privileged=True))

    assert finished.lines() == ["opened"]


def test_a_container_cannot_allow_itself_more_devices(devices_world: World) -> None:
    """With CAP_SYS_ADMIN it mounts its own cgroup writable; the Pod's, above it, is out of its sight."""
    devices_world.start_sandbox()
    powers = replace(SECURITY, capabilities=(*SECURITY.capabilities, "SYS_ADMIN"))
    script = """
    mkdir /cg; mount -t cgroup -o devices devices /cg 2>/dev/null && echo a >/cg/devices.allow
    mount -t tmpfs x /tmp; mknod /tmp/memory c 1 1; head -c 1 /tmp/memory >/dev/null
    """
    finished = devices_world.run("sh", "-c", script, security=powers)

    assert "Operation not permitted" in finished.lines()[-1]


def test_hosts_devices_cannot_be_changed(pod: World) -> None:
    before = os.stat("/dev/null")
    pod.run("chmod", "0", "/dev/null")

    assert os.stat("/dev/null").st_mode == before.st_mode


def test_terminal_is_the_containers_own(pod: World) -> None:
    finished = pod.run("sh", "-c", "tty; test -c /dev/console && echo console", tty=True)

    assert finished.lines() == ["/dev/pts/0", "console"]


def test_working_directory_is_made_and_entered(pod: World) -> None:
    assert pod.run("sh", "-c", "pwd", cwd="/made/here").output == "/made/here\n"


@pytest.mark.parametrize("number", range(3, 8))
def test_working_directory_never_leads_out(pod: World, number: int) -> None:
    """A descriptor of the host's, left open, would be a way out of the root (CVE-2024-21626)."""
    with pytest.raises(LaunchError):
        pod.run("ls", cwd=f"/proc/self/fd/{number}")


def test_no_descriptor_reaches_the_program(pod: World) -> None:
    held = os.open("/", os.O_RDONLY)  # inheritable would not matter: everything unknown is closed
    os.set_inheritable(held, True)
    try:
        finished = pod.run("ls", "/proc/self/fd")
    finally:
        os.close(held)

    assert set(finished.lines()) <= {"0", "1", "2", "3"}  # 3 is the directory that ls itself reads


@pytest.mark.parametrize(
    ("args", "number", "message"),
    [
        (("nothing",), errno.ENOENT, 'exec: "nothing": executable file not found in $PATH'),
        (("/nothing",), errno.ENOENT, 'exec: "/nothing": stat /nothing: no such file or directory'),
        (("/etc/passwd",), errno.EACCES, 'exec: "/etc/passwd": permission denied'),
        (("/etc",), errno.EACCES, 'exec: "/etc": is a directory'),
        (("/bin/text",), errno.ENOEXEC, 'exec: "/bin/text": exec format error'),
    ],
)
def test_program_that_cannot_run_is_named(
    pod: World, args: tuple[str, ...], number: int, message: str
) -> None:
    text = pod.layer / "bin/text"
    text.write_text("no program\n")
    text.chmod(0o755)

    with pytest.raises(LaunchError) as caught:
        pod.run(*args)

    error = caught.value
    assert (error.reason, error.errno, error.message) == ("StartError", number, message)


def test_failed_step_is_named_and_nothing_is_left(pod: World) -> None:
    missing = replace(pod.spec("true"), mounts=(Mount("/data", "/nowhere/at/all"),))
    with pytest.raises(LaunchError) as caught:
        pod.run_spec(missing)

    assert caught.value.reason == "CreateContainerError"
    assert '"/nowhere/at/all"' in caught.value.message
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)  # only the pause is there to wait for


def test_trace_has_every_step_in_order(pod: World) -> None:
    spec = pod.spec("true")
    finished = pod.run_spec(spec)

    planned = [type(step.operation).__name__ for step in pod.plan(spec)]
    traced = [type(each.step.operation).__name__ for each in finished.steps]
    assert sorted(traced) == sorted(set(traced) and planned[:-1])  # exec itself leaves no trace
    starts = [step.start_us for step in finished.steps]
    assert starts == sorted(starts)
    assert {each.step.where for each in finished.steps} == {"shim", "child"}


def test_limits_are_set_and_seen_from_inside(pod: World) -> None:
    layout = pod.host.cgroups
    if not layout.directory("memory", "x"):
        pytest.skip("this host has no memory controller")
    resources = Resources(memory_bytes=32 * 1024 * 1024, pids=20, cpu_shares=512)
    launched = pod.start(pod.spec("sleep", "60", resources=resources))

    directory = layout.directory("memory", f"{pod.name}/pod/c1")
    file = "memory.max" if layout.is_v2("memory") else "memory.limit_in_bytes"
    assert Path(directory, file).read_text() == "33554432\n"
    assert Path(layout.directory("pids", f"{pod.name}/pod/c1"), "pids.max").read_text() == "20\n"
    for hierarchy in layout.hierarchies:
        members = Path(hierarchy, pod.name, "pod/c1/cgroup.procs").read_text().split()
        assert members == [str(launched.pid)]


def test_a_host_with_v2_alone(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    layout = replace(cgroup.this_host(), v1=())
    if not layout.unified:
        pytest.skip("this host has no v2 hierarchy")
    monkeypatch.setattr(cgroup, "this_host", lambda: layout)
    world.host = replace(world.host, cgroups=layout)
    world.start_sandbox()

    finished = world.run("sh", "-c", "grep '^0::' /proc/self/cgroup; cat /proc/self/mountinfo")

    assert finished.lines()[0] == "0::/"
    kinds = mount_table("\n".join(finished.lines()[1:]))
    assert kinds["/sys/fs/cgroup"][0] == "cgroup2"
    assert "ro" in kinds["/sys/fs/cgroup"][1].split(",")
    assert "EnterCgroup" not in [type(each.step.operation).__name__ for each in finished.steps]


def test_exec_joins_everything(pod: World) -> None:
    spec = pod.spec("sleep", "60", env=("A=1",), cwd="/tmp")
    launched = pod.start(spec)

    script = "pwd; echo $A$B; ps; for n in net uts ipc pid mnt cgroup; do readlink /proc/self/ns/$n; done"
    finished = pod.exec(spec, launched, ExecSpec(("sh", "-c", script), env=("B=2",)))

    lines = finished.lines()
    assert lines[:2] == ["/tmp", "12"]
    assert any("sleep 60" in line for line in lines)
    names = ("net", "uts", "ipc", "pid", "mnt", "cgroup")
    assert lines[-6:] == [namespace(launched.pid, name) for name in names]
    assert {type(each.step.operation).__name__ for each in finished.steps} >= {
        "Clone",
        "JoinNamespaces",
    }


def test_exec_terminal_and_exit_code(pod: World) -> None:
    spec = pod.spec("sleep", "60")
    launched = pod.start(spec)

    finished = pod.exec(spec, launched, ExecSpec(("sh", "-c", "tty; exit 3"), tty=True))

    assert (finished.code, finished.lines()) == (3, ["/dev/pts/0"])


def test_exec_in_an_ended_container_says_so(pod: World) -> None:
    spec = pod.spec("sleep", "60")
    launched = pod.start(spec)
    end(launched)

    with pytest.raises(LaunchError):
        pod.exec(spec, launched, ExecSpec(("true",)))


def test_shared_memory_is_the_pods(pod: World) -> None:
    pod.run("sh", "-c", "echo shared > /dev/shm/note")

    assert pod.run("cat", "/dev/shm/note", name="c2").output == "shared\n"


def test_launch_without_a_sandbox_says_that_it_is_gone(pod: World) -> None:
    spec = pod.spec("true")
    plan = pod.plan(spec)
    with pytest.raises(LaunchError) as caught:
        launch(plan, Stdio(), {"pause_pid": 2**22 - 1})
    assert caught.value.reason == "SandboxGone"


class Look(Operation, summary="look into everybody"):
    """A test's own step of the parent's, while the child waits for it."""


def look_into_everybody(world: World, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Have an attacker with CAP_SYS_PTRACE look into all it sees whenever a plan has a `Look`; return what it saw."""
    powers = replace(SECURITY, capabilities=(*SECURITY.capabilities, "SYS_PTRACE"))
    attacker = world.spec("sleep", "60", name="attacker", security=powers)
    running = world.start(attacker)
    script = """
    for p in /proc/[0-9]*; do
        for link in exe root cwd fd/0 fd/1 fd/2 fd/3 fd/4 fd/5 fd/6; do readlink $p/$link; done
        ls $p/root/; cat $p/environ $p/maps
    done; ps
    """
    seen = []

    def look(*_: object) -> None:
        seen.append(world.exec(attacker, running, ExecSpec(("sh", "-c", script + " 2>&1"))).output)

    monkeypatch.setitem(execute._ACTIONS, Look, look)
    return seen


def with_looks(steps: tuple[Step, ...]) -> list[Step]:
    """Return the plan with the attacker's look before and after every step of the child's."""
    plan: list[Step] = []
    for step in steps:
        plan += [step] if step.where != "child" else [Step(Look(), "shim"), step]
    return plan


@pytest.mark.parametrize("pid", ["pod", "container"])
@pytest.mark.parametrize("what", ["start", "exec"])
def test_nothing_of_the_host_is_seen_in_a_pid_namespace_of_others(
    world: World, monkeypatch: pytest.MonkeyPatch, pid: str, what: str
) -> None:
    """A child that has not executed yet has the host's root, descriptors and memory (CVE-2019-5736, CVE-2016-9962)."""
    monkeypatch.setenv("HOST_SECRET", "the-hosts")
    pause = world.start_sandbox(pid=pid)
    seen = look_into_everybody(world, monkeypatch)
    victim = world.spec("sleep", "60", name="victim")
    if what == "start":
        plan, references = with_looks(world.plan(victim)), {"pause_pid": pause.pid}
    else:
        attacker = world.running[-1]
        steps = compute_exec_plan(
            world.spec("sleep", "60", name="attacker"),
            ExecSpec(("sleep", "60")),
            SandboxRef.of(world.sandbox),
            world.host,
        )
        plan, references = with_looks(steps), {"container_pid": attacker.pid}
    world.running.append(launch(plan, Stdio(), references))

    assert len(seen) >= 8
    for output in seen:
        assert "sleep 60" in output  # it can look into its own kind
        for word in ("python", "/usr/lib", "the-hosts", "socket:", "boot"):
            assert word not in output, output


def test_a_spawned_program_is_a_child_like_any_other(world: World) -> None:
    world.start_sandbox(pid="pod")
    script = "echo $$; ls /proc/self/fd; ps -o pid,args; kill -9 $$"
    finished = world.run("sh", "-c", script)

    assert finished.code == -signal.SIGKILL
    assert finished.lines()[:5] == ["2", "0", "1", "2", "3"]  # 3 is what ls itself reads
    assert [line.split()[:2] for line in finished.lines()[6:8]] == [["1", "/pause"], ["2", "sh"]]


def test_a_spawned_program_has_a_terminal_of_its_own(world: World) -> None:
    world.start_sandbox(pid="pod")
    finished = world.run("sh", "-c", "tty; echo hi >/dev/tty; ps -o pid,tty,args", tty=True)

    assert finished.lines()[:2] == ["/dev/pts/0", "hi"]
    assert any(line.split()[:2] == ["2", "136,0"] for line in finished.lines())


def test_a_spawned_program_that_cannot_run_is_named(world: World) -> None:
    world.start_sandbox(pid="pod")
    text = world.layer / "bin/text"
    text.write_text("no program\n")
    text.chmod(0o755)
    with pytest.raises(LaunchError) as caught:
        world.run("/bin/text")

    assert (caught.value.reason, caught.value.errno) == ("StartError", errno.ENOEXEC)
    assert caught.value.message == 'exec: "/bin/text": exec format error'
    assert os.waitpid(-1, os.WNOHANG) == (0, 0)  # only the pause is there to wait for


def test_the_covered_proc_of_the_pause_shows_nothing(world: World) -> None:
    pause = world.start_sandbox(pid="pod")

    assert os.listdir(f"/proc/{pause.pid}/root/proc") == []


def test_a_start_that_failed_is_tried_again_in_its_place(pod: World) -> None:
    """overlayfs takes no writable layer that was mounted before and may not be on the disk ("volatile")."""
    for _ in range(2):
        with pytest.raises(LaunchError, match="Not a directory"):
            pod.run("true", cwd="/etc/passwd")
    assert pod.run("echo", "well").output == "well\n"
