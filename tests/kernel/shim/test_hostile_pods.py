"""Containers that turn against their own Pod: it can still be added to, looked into, and taken down."""

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipod.linux import cgroup
from minipod.linux.mount import MNT_DETACH, mount, umount2
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim.holding import Hold
from minipod.runtime.spec import ExecSpec, Mount, Resources
from tests.kernel.runtime.programs import stop_all_for_ever
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until
from tests.patience import patience

pytestmark = pytest.mark.kernel

STOP_ALL = "while :; do kill -STOP -1; done"
SECONDS = min(patience(10.0), 60.0)  # far below a request's own bound (120)


@asynchronous
async def test_a_container_that_stops_all_others_holds_up_nothing(shim: ShimWorld) -> None:
    await shim.sandbox(pid="pod")
    attacker = await shim.shell(STOP_ALL, name="attacker")
    for _ in range(5):
        async with asyncio.timeout(SECONDS):
            assert (await shim.start("sleep", "60")).state == "running"
        async with asyncio.timeout(SECONDS):
            await (await shim.runtime.exec(attacker.id, ExecSpec(("true",)))).close()

    await wait_until(lambda: state(attacker.pid) == "R")  # what was held meanwhile goes on
    began = time.monotonic()
    await shim.runtime.remove_sandbox("sandbox")
    assert time.monotonic() - began < SECONDS


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]


@asynchronous
async def test_no_attacker_is_too_quick(shim: ShimWorld) -> None:
    """It stops everybody as fast as a processor can: whatever is continued beside it is stopped again."""
    program = shim.layer / "bin/attack"
    program.write_bytes(stop_all_for_ever())
    program.chmod(0o755)
    await shim.sandbox(pid="pod")
    attacker = await shim.start("attack", name="attacker")
    for _ in range(3):
        async with asyncio.timeout(SECONDS):
            assert (await shim.start("sleep", "60")).state == "running"
        async with asyncio.timeout(SECONDS):
            await (await shim.runtime.exec(attacker.id, ExecSpec(("true",)))).close()


@asynchronous
async def test_what_is_held_stands_still_and_goes_on(shim: ShimWorld) -> None:
    """However fast it forks; what was stopped before stays so, and other PID namespaces are left alone."""
    await shim.sandbox(pid="pod")
    await shim.sandbox("other", pid="pod")
    forking = await shim.shell("while :; do (:) & (:) & wait; done", name="forking")
    stopped = await shim.start("sleep", "60", name="stopped")
    other = await shim.shell("while :; do :; done", sandbox_id="other", name="other")
    os.kill(stopped.pid, signal.SIGSTOP)
    await wait_until(lambda: state(stopped.pid) == "T")
    path = f"{shim.pods}/sandbox"
    hold = Hold(shim.cgroups, path)

    await wait_until(lambda: hold.take(forking.pid, lambda _: False))
    found = cgroup.processes(shim.cgroups, path)
    assert {stopped.pid, forking.pid} < set(found)
    assert {state(pid) for pid in found} <= {"T", "Z"}
    assert state(other.pid) == "R"
    hold.release()
    assert state(stopped.pid) == "T"
    begun = last_pid()
    most = int(Path("/proc/sys/kernel/pid_max").read_text())  # from where they begin anew
    await wait_until(lambda: (last_pid() - begun) % most > 100)  # it forks again


def last_pid() -> int:
    return int(Path("/proc/loadavg").read_text().split()[-1])


@asynchronous
async def test_a_container_full_of_processes_holds_up_nothing(shim: ShimWorld) -> None:
    await shim.sandbox(pid="pod")
    path = shim.cgroups.directory("pids", f"{shim.pods}/sandbox/full")
    if not path:
        pytest.skip("this host has no pids controller")
    script = "sh -c 'while :; do sleep 60 & done' 2>/dev/null; exec sleep 60"
    full = await shim.shell(script, name="full", resources=Resources(pids=20))
    await wait_until(lambda: Path(path, "pids.events").read_text() != "max 0\n")

    async with asyncio.timeout(SECONDS):
        assert (await shim.start("sleep", "60")).state == "running"

    async def fill_up() -> None:  # what could not fork has left, and left room for a few
        for _ in range(4):
            await shim.runtime.exec(full.id, ExecSpec(("sleep", "60")))

    async with asyncio.timeout(SECONDS):
        with pytest.raises(RuntimeFailure, match='exec: "sleep": clone: resource temporarily'):
            await fill_up()
    async with asyncio.timeout(2 * SECONDS):
        await shim.runtime.remove_sandbox("sandbox")


@asynchronous
async def test_one_pods_stalled_start_is_nobody_elses(shim: ShimWorld) -> None:
    """The shim never waits for one child: whatever it has sent so far is taken, the loop goes on."""
    await shim.sandbox(pid="pod")
    await shim.sandbox("other")
    await shim.shell(STOP_ALL, name="attacker")
    starts = [asyncio.create_task(shim.start("sleep", "60", tty=True)) for _ in range(5)]
    for _ in range(10):
        async with asyncio.timeout(SECONDS):
            await shim.start("true", sandbox_id="other")
    assert {status.state for status in await asyncio.gather(*starts)} == {"running"}


@asynchronous
async def test_a_frozen_container_holds_up_its_own_exec_only(shim: ShimWorld) -> None:
    """What is exec'd is born where nothing runs: the shim must not wait for it."""
    await shim.sandbox()
    frozen = await shim.start("sleep", "60", name="frozen")
    other = await shim.start("sleep", "60", name="other")
    if not shim.cgroups.unified:
        pytest.skip("this host has no cgroup v2")
    freezer = Path(shim.cgroups.unified, shim.pods, "sandbox/frozen/cgroup.freeze")
    freezer.write_text("1")
    try:
        pending = asyncio.create_task(shim.exec(frozen.id, "echo", "thawed"))
        async with asyncio.timeout(SECONDS):
            for _ in range(3):
                assert (await shim.exec(other.id, "echo", "alive"))[1] == b"alive\n"
        assert not pending.done()
    finally:
        freezer.write_text("0")
    async with asyncio.timeout(SECONDS):
        assert (await pending)[1] == b"thawed\n"


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[Path]:
    """A filesystem whose server answers nothing (fuse(4)): whoever looks into it waits."""
    if not os.path.exists("/dev/fuse"):
        pytest.skip("this host has no /dev/fuse")
    server = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    options = f"fd={server},rootmode=40000,user_id=0,group_id=0,allow_other"
    mount("hanging", str(tmp_path), "fuse", 0, options)
    yield tmp_path
    os.close(server)
    umount2(tmp_path, MNT_DETACH)


@asynchronous
async def test_a_volume_that_hangs_holds_up_one_container_only(
    shim: ShimWorld, hanging: Path
) -> None:
    await shim.sandbox()
    mounted = (Mount("/data", str(hanging), source_subpath="part"),)
    stuck = asyncio.create_task(shim.start("sleep", "60", name="stuck", mounts=mounted))
    running = await shim.start("sleep", "60", name="other")
    async with asyncio.timeout(SECONDS):
        assert await shim.exec(running.id, "echo", "alive") == (0, b"alive\n", b"")
    assert not stuck.done()

    with contextlib.suppress(RuntimeFailure):
        await shim.runtime.stop_container("stuck", 0)
    async with asyncio.timeout(SECONDS):
        with pytest.raises(RuntimeFailure):
            await stuck
