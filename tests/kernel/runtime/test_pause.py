"""The pause: what it holds, what it offers, how it ends."""

import os
import select
import signal
from pathlib import Path

import pytest

from minipod.linux import seccomp
from minipod.runtime.spec import SandboxSpec
from tests.kernel.runtime.world import World, end, wait_until

pytestmark = pytest.mark.kernel


def status(pid: int) -> dict[str, str]:
    text = Path(f"/proc/{pid}/status").read_text()
    return dict(line.split(":\t", 1) for line in text.splitlines() if ":\t" in line)


def test_pause_has_nothing_worth_taking(pod: World) -> None:
    assert pod.pause is not None
    proc = Path(f"/proc/{pod.pause.pid}")
    found = status(pod.pause.pid)

    assert (found["Uid"].split()[0], found["Gid"].split()[0]) == ("65535", "65535")
    assert {found[f"Cap{each}"] for each in ("Inh", "Prm", "Eff", "Bnd", "Amb")} == {"0" * 16}
    assert found["NoNewPrivs"] == "1"
    assert (proc / "cmdline").read_bytes() == b"/pause\0"
    assert os.readlink(proc / "exe").startswith("/memfd:pause")
    assert os.listdir(proc / "fd") == []
    assert (proc / "environ").read_bytes() == b""
    assert os.listdir(proc / "root") == ["dev"]
    assert os.listdir(proc / "root/dev/shm") == []


def test_pause_names_itself(pod: World) -> None:
    assert pod.pause is not None
    pid = pod.pause.pid  # its first instructions come after the exec that ends the launch
    wait_until(lambda: status(pid)["Name"] == "pause")


def test_pause_is_small(pod: World) -> None:
    assert pod.pause is not None
    rollup = Path(f"/proc/{pod.pause.pid}/smaps_rollup").read_text()
    pss = next(line for line in rollup.splitlines() if line.startswith("Pss:"))

    assert int(pss.split()[1]) < 50  # kB


def test_pause_root_is_read_only(pod: World) -> None:
    assert pod.pause is not None
    flags = os.statvfs(f"/proc/{pod.pause.pid}/root").f_flag

    assert flags & os.ST_RDONLY


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("pid", ["container", "pod"])
def test_pause_leaves_when_told(world: World, number: signal.Signals, pid: str) -> None:
    pause = world.start_sandbox(pid=pid)
    signal.pidfd_send_signal(pause.pidfd, number)

    assert os.waitpid(pause.pid, 0) == (pause.pid, 0)


def test_shared_pid_namespace_shows_the_pause_first_and_it_reaps(world: World) -> None:
    pause = world.start_sandbox(pid="pod")
    finished = world.run("ps")

    first = finished.lines()[1].split()
    assert (first[0], first[1], first[2]) == ("1", "65535", "/pause")

    # An orphan of the container's becomes the pause's child, and no zombie of it stays.
    launched = world.start(
        world.spec("sh", "-c", "sh -c 'sleep 0.01 & echo' ; sleep 60", name="c2")
    )
    wait_for_children(pause.pid, 0)
    end(launched)


def wait_for_children(pid: int, count: int) -> None:
    """Wait until a process has so many children: a zombie keeps its place until it is reaped."""
    file = Path(f"/proc/{pid}/task/{pid}/children")
    for _ in range(500):
        if len(file.read_text().split()) == count:
            return
        select.select([], [], [], 0.01)
    raise AssertionError(f"process {pid} has children {file.read_text()}")


def test_pause_makes_no_more_calls_than_a_container_where_it_can_be_traced(world: World) -> None:
    pause = world.start_sandbox(pid="pod", seccomp=seccomp.compile_default(()))

    assert status(pause.pid)["Seccomp"] == "2"
    signal.pidfd_send_signal(pause.pidfd, signal.SIGTERM)  # its own calls are among them
    assert os.waitpid(pause.pid, 0) == (pause.pid, 0)


def test_no_container_can_look_into_the_pause(world: World) -> None:
    world.start_sandbox(pid="pod")
    script = "readlink /proc/1/exe || echo no; ls /proc/1/root || echo no; cat /proc/1/environ || echo no"
    for user in (0, 65535):
        from minipod.runtime.spec import User

        finished = world.run("sh", "-c", script, name=f"c{user}", user=User(uid=user, gid=user))
        assert finished.lines().count("no") == 3


def test_host_namespaces_are_kept_when_asked_for(world: World) -> None:
    fields = {**vars(world.sandbox), "network": None, "host_ipc": True, "pid": "host"}
    world.sandbox = SandboxSpec(**fields)
    world.start_sandbox()
    script = "for n in net uts ipc pid; do readlink /proc/self/ns/$n; done"
    finished = world.run("sh", "-c", script)

    own = [os.readlink(f"/proc/self/ns/{name}") for name in ("net", "uts", "ipc", "pid")]
    assert finished.lines() == own


def test_sysctls_belong_to_the_pod(world: World) -> None:
    before = Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text()
    sysctls = {"net.ipv4.ip_unprivileged_port_start": "81", "kernel.shm_rmid_forced": "1"}
    world.start_sandbox(sysctls=sysctls)
    script = "cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/kernel/shm_rmid_forced"

    assert world.run("sh", "-c", script).lines() == ["81", "1"]
    assert Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text() == before
