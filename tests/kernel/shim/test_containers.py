"""Sandboxes and containers through the shim, as the kernel sees them."""

import asyncio
import os
import resource
import time
from pathlib import Path

import pytest

from minipod.runtime.child_operations import Clone, MountOverlay
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim_client import ShimRuntime
from minipod.runtime.spec import Resources
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel


def namespaces(pid: int) -> dict[str, str]:
    return {
        name: os.readlink(f"/proc/{pid}/ns/{name}") for name in ("mnt", "pid", "ipc", "net", "uts")
    }


@asynchronous
async def test_a_container_that_two_remove_at_once_is_removed_once(shim: ShimWorld) -> None:
    await shim.sandbox()
    ended = await shim.run("for each in $(seq 300); do mkdir -p /many/$each/below; done")
    await asyncio.gather(*(shim.runtime.remove_container(ended.id) for _ in range(3)))
    assert not (shim.layout.containers / ended.id).exists()
    assert not (await shim.runtime.state()).containers
    await shim.runtime.remove_container(ended.id)  # and nothing there is fine


@asynchronous
async def test_a_container_shares_the_sandbox_but_not_mounts_and_pids(shim: ShimWorld) -> None:
    sandbox = await shim.sandbox()
    container = await shim.start("sleep", "1000")
    pause, inside, host = map(namespaces, (sandbox.pid, container.pid, os.getpid()))
    assert inside["ipc"] == pause["ipc"] != host["ipc"]
    assert inside["net"] == pause["net"] == host["net"]  # no network was asked for
    assert len({inside["mnt"], pause["mnt"], host["mnt"]}) == 3
    assert inside["pid"] != pause["pid"] == host["pid"]
    cgroups = Path(f"/proc/{container.pid}/cgroup").read_text()
    assert f"/{shim.pods}/sandbox/{container.id}\n" in cgroups


@asynchronous
async def test_containers_do_not_inherit_what_the_shim_has_for_itself(shim: ShimWorld) -> None:
    await shim.sandbox()
    ours = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, ours[1]))
    try:
        await shim.runtime.shutdown()
        await shim.runtime.close()
        await shim.open()
        await shim.sandbox()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, ours)
    await asyncio.get_running_loop().run_in_executor(None, shim.ask, "upgrade")
    container = await shim.shell("ls /proc/self/fd; ulimit -n; sleep 1000")
    await wait_until(lambda: shim.log(container)[-1:] == ["1024"])
    assert shim.log(container) == ["0", "1", "2", "3", "1024"]  # 3 is the directory that ls reads
    assert resource.prlimit(shim.pid, resource.RLIMIT_NOFILE) == (ours[1], ours[1])
    plain = await shim.start("sleep", "1000")
    status = Path(f"/proc/{plain.pid}/status").read_text().split()
    ignored, blocked = (int(status[status.index(name) + 1], 16) for name in ("SigIgn:", "SigBlk:"))
    assert (ignored & 0x7FFFFFFF, blocked) == (0, 0)  # 32 and 33 are the C library's own


@asynchronous
async def test_asking_twice_makes_one(shim: ShimWorld) -> None:
    first, again = await shim.sandbox(), await shim.sandbox()
    assert first == again
    spec = shim.spec("sleep", "1000")
    started = await asyncio.gather(*(shim.runtime.start_container(spec) for _ in range(3)))
    assert len({status.pid for status, _ in started}) == 1
    assert len((await shim.runtime.state()).containers) == 1


@asynchronous
async def test_every_step_of_a_start_is_traced_in_order(shim: ShimWorld) -> None:
    await shim.sandbox()
    before = time.monotonic_ns() // 1000
    _, trace = await shim.runtime.start_container(shim.spec("true"))
    steps = [each.step for each in trace]
    assert [step.where for step in steps if isinstance(step.operation, Clone)] == ["shim"]
    assert [step.where for step in steps if isinstance(step.operation, MountOverlay)] == ["child"]
    starts = [each.start_us for each in trace]
    assert starts == sorted(starts)
    assert all(before <= start <= time.monotonic_ns() // 1000 for start in starts)


@pytest.mark.parametrize(
    ("script", "code", "signal", "reason"),
    [
        ("exit 0", 0, 0, "Completed"),
        ("exit 3", 3, 0, "Error"),
        ("sh -c 'kill -SEGV $$'; exit $?", 139, 0, "Error"),
    ],
)
@asynchronous
async def test_exit_codes(
    shim: ShimWorld, script: str, code: int, signal: int, reason: str
) -> None:
    await shim.sandbox()
    ended = await shim.run(script)
    assert (ended.exit_code, ended.signal, ended.reason) == (code, signal, reason)
    assert ended.started_at <= ended.finished_at
    assert ended.pid == 0


@asynchronous
async def test_a_missing_program_is_an_exited_container(shim: ShimWorld) -> None:
    await shim.sandbox()
    with pytest.raises(RuntimeFailure, match="no-such-program") as failure:
        await shim.start("no-such-program", name="broken")
    assert failure.value.reason == "StartError"
    ended = await shim.status("broken")
    assert (ended.state, ended.exit_code, ended.reason) == ("exited", 128, "StartError")
    assert "no-such-program" in ended.message


@asynchronous
async def test_a_container_that_cannot_be_made_leaves_nothing(shim: ShimWorld) -> None:
    await shim.sandbox()
    before = shim.descriptors()
    shim.layer.rename(shim.directory / "moved")
    with pytest.raises(RuntimeFailure) as failure:
        await shim.start("true", name="broken")
    assert failure.value.reason == "CreateContainerError"
    assert (await shim.runtime.state()).containers == ()
    assert shim.descriptors() == before
    assert not Path(shim.cgroups.hierarchies[0], shim.pods, "sandbox/broken").exists()
    assert not (shim.layout.containers / "broken").exists()


@asynchronous
async def test_out_of_memory_is_told_apart(shim: ShimWorld) -> None:
    await shim.sandbox()
    limits = Resources(memory_bytes=16 << 20)
    ended = await shim.run("exec dd if=/dev/zero of=/dev/null bs=64M count=1", resources=limits)
    assert (ended.reason, ended.exit_code, ended.oom_killed) == ("OOMKilled", 137, True)


@asynchronous
async def test_stop_heeds_the_program_and_its_own_signal(shim: ShimWorld) -> None:
    await shim.sandbox()
    script = "trap 'exit 7' USR1; echo ready; while :; do usleep 5000; done"
    container = await shim.shell(script, stop_signal="SIGUSR1")
    await wait_until(lambda: shim.log(container) == ["ready"])
    ended = await shim.runtime.stop_container(container.id, 30)
    assert (ended.exit_code, ended.signal) == (7, 0)
    assert await shim.runtime.stop_container(container.id, 30) == ended


@asynchronous
async def test_a_shorter_grace_shortens_the_first(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.start("sleep", "1000")  # as PID 1 it does not hear SIGTERM
    patient = asyncio.ensure_future(shim.runtime.stop_container(container.id, 600))
    await asyncio.sleep(0)
    hasty = await shim.runtime.stop_container(container.id, 0.05)
    assert (hasty.exit_code, hasty.signal) == (137, 9)
    assert await patient == hasty


@asynchronous
async def test_signals_reach_the_first_process(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("trap 'exit 9' HUP; echo up; while :; do usleep 5000; done")
    await wait_until(lambda: shim.log(container) == ["up"])
    await shim.runtime.signal_container(container.id, "HUP")
    assert (await shim.exited(container.id)).exit_code == 9


@asynchronous
async def test_limits_change_in_place(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.start("sleep", "1000")
    await shim.runtime.update_resources(container.id, Resources(pids=33, memory_bytes=64 << 20))
    path = f"{shim.pods}/sandbox/{container.id}"
    assert Path(shim.cgroups.directory("pids", path), "pids.max").read_text() == "33\n"


@asynchronous
async def test_what_a_container_leaves_in_a_shared_pid_namespace_dies_with_it(
    shim: ShimWorld,
) -> None:
    sandbox = await shim.sandbox(pid="pod")
    ended = await shim.run("setsid sleep 1000 & ps; exit 0")
    assert any("/pause" in line for line in shim.log(ended))
    name = os.readlink(f"/proc/{sandbox.pid}/ns/pid_for_children")

    def inhabitants() -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                if os.readlink(f"/proc/{pid}/ns/pid") == name:
                    found.append(pid)
            except OSError:
                continue
        return found

    await wait_until(lambda: inhabitants() == [str(sandbox.pid)])


@asynchronous
async def test_removing_a_sandbox_ends_its_containers(shim: ShimWorld) -> None:
    sandbox = await shim.sandbox()
    container = await shim.shell("sleep 1000 & sleep 1000")
    events = shim.runtime.events()
    await shim.runtime.remove_sandbox("sandbox")
    event = await anext(events)
    assert event.container
    assert (event.container.id, event.container.exit_code) == (container.id, 137)
    await events.aclose()  # type: ignore[attr-defined]
    assert not Path(f"/proc/{sandbox.pid}").exists()
    state = await shim.runtime.state()
    assert state.sandboxes == ()
    assert [item.state for item in state.containers] == ["exited"]
    await shim.runtime.remove_container(container.id)
    assert (await shim.runtime.state()).containers == ()
    assert not (shim.layout.containers / container.id).exists()


@asynchronous
async def test_a_dead_pause_is_told_and_remade(shim: ShimWorld) -> None:
    sandbox = await shim.sandbox()
    events = shim.runtime.events()
    os.kill(sandbox.pid, 9)
    assert (await anext(events)).type == "sandbox-exited"
    await events.aclose()  # type: ignore[attr-defined]
    assert not (await shim.runtime.state()).sandboxes[0].ready
    with pytest.raises(RuntimeFailure, match="does not run"):
        await shim.start("true")
    again = await shim.sandbox()
    assert again.ready
    assert again.pid != sandbox.pid


@asynchronous
async def test_an_exit_nobody_watched_is_not_lost(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("exit 42")
    await shim.runtime.close()
    await shim.open()
    ended = await shim.exited(container.id)
    assert ended.exit_code == 42
    assert (shim.layout.containers / container.id).exists()


@asynchronous
async def test_a_restarted_daemon_knows_enough_to_go_on(shim: ShimWorld) -> None:
    before = await shim.sandbox()
    container = await shim.start("sleep", "1000")
    (shim.layout.containers / "orphan").mkdir()
    await shim.runtime.close()
    shim.runtime = ShimRuntime(shim.layout)
    await shim.runtime.open(spawn=False)
    state = await shim.runtime.state()
    assert [item.pid for item in state.sandboxes] == [before.pid]
    assert state.sandboxes[0].ready
    assert await shim.exec(container.id, "echo", "hello") == (0, b"hello\n", b"")
    assert (await shim.run("exit 5")).exit_code == 5
    assert not (shim.layout.containers / "orphan").exists()


@asynchronous
async def test_a_listing_never_takes_back_that_a_sandbox_is_ready(shim: ShimWorld) -> None:
    async def listing() -> list[bool]:
        return [item.ready for item in (await shim.runtime.state()).sandboxes]

    for number in range(10):
        made, *_ = await asyncio.gather(shim.sandbox(f"s{number}"), *(listing() for _ in range(5)))
        assert made.ready
        assert all(await listing())
        again = await shim.sandbox(f"s{number}")
        assert again.pid == made.pid


@asynchronous
async def test_no_process_to_be_had_is_said_and_loses_nothing(shim: ShimWorld) -> None:
    """The shim, or with v2 the Pod, where processes are born, is at its limit: clone3(2) fails with EAGAIN."""
    await shim.sandbox()
    container = await shim.start("sleep", "60")
    limited = shim.cgroups.directory("pids", f"{shim.pods}/sandbox")
    if not limited:
        pytest.skip("this host has no pids controller")
    moved = 0 if shim.cgroups.is_v2("pids") else parent_of(container.pid)
    home = ""
    if moved:
        lines = Path(f"/proc/{moved}/cgroup").read_text().splitlines()
        home = next(
            path for _, name, path in (each.split(":", 2) for each in lines) if name == "pids"
        )
        limited = shim.cgroups.directory("pids", f"{shim.pods}/tight")
        os.mkdir(limited)
        Path(limited, "cgroup.procs").write_text(str(moved))
    Path(limited, "pids.max").write_text("1")
    try:
        with pytest.raises(RuntimeFailure, match="clone3: Resource temporarily") as caught:
            await shim.start("sleep", "60")
        assert caught.value.reason == "StartError"
        with pytest.raises(RuntimeFailure, match="clone3: Resource temporarily"):
            await shim.exec(container.id, "true")
    finally:
        Path(limited, "pids.max").write_text("max")
        if moved:
            Path(shim.cgroups.directory("pids", home[1:]), "cgroup.procs").write_text(str(moved))
            os.rmdir(limited)

    assert (await shim.start("sleep", "60")).state == "running"
    assert (await shim.exec(container.id, "echo", "back"))[1] == b"back\n"


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
