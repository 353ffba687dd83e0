"""The shim itself: one per root, upgraded in place, killed, rebooted under, and fed nonsense."""

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from minipod.runtime import program, protocol, shim_link
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim.processes import kill_tree
from minipod.runtime.shim_client import ShimRuntime
from minipod.runtime.spec import ContainerStatus, ExecSpec
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel

COUNT = "i=0; while :; do i=$((i+1)); echo line $i; usleep 500; done"


async def upgrade(shim: ShimWorld) -> None:
    await asyncio.get_running_loop().run_in_executor(None, shim.ask, "upgrade")


@asynchronous
async def test_an_upgrade_keeps_pid_children_and_every_line(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell(COUNT)
    shim_pid, program = shim.pid, Path(f"/proc/{shim.pid}/stat").read_text().split()[21]
    for _ in range(3):
        wanted = len(shim.log(container)) + 20
        await upgrade(shim)
        await wait_until(partial(lambda count: len(shim.log(container)) > count, wanted))
    assert shim.pid == shim_pid
    assert Path(f"/proc/{shim_pid}/stat").read_text().split()[21] == program  # never restarted
    state = await shim.runtime.state()
    assert [item.pid for item in state.containers] == [container.pid]
    ended = await shim.runtime.stop_container(container.id, 0)
    lines = shim.log(ended)
    assert lines == [f"line {number}" for number in range(1, len(lines) + 1)]


@asynchronous
async def test_a_shim_becomes_the_program_that_was_put_in_its_place(
    shim: ShimWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shim.runtime.shutdown()
    await shim.runtime.close()
    await wait_until(lambda: not shim.layout.shim_socket.exists())
    package = shim.directory / "installed" / "minipod"
    ours = Path(program.__file__).parent.parent
    for part in ("linux", "runtime"):
        shutil.copytree(ours / part, package / part)
    for module in ("__init__.py", "paths.py", "fault.py"):
        shutil.copy(ours / module, package)
    monkeypatch.setenv("PYTHONPATH", str(package.parent))
    monkeypatch.setattr(shim_link, "fingerprint", lambda: program.fingerprint(package))
    await shim.open()
    await shim.sandbox()
    container, before = await shim.start("sleep", "1000"), shim.ask("version")
    with (package / "runtime/operations.py").open("a") as operations:
        operations.write("# another release, which calls its language the same\n")
    await shim.runtime.close()
    await shim.open()  # a daemon of that release
    after = shim.ask("version")
    assert after["program"] == program.fingerprint(package) != before["program"]
    assert after["pid"] == before["pid"]
    assert [item.pid for item in (await shim.runtime.state()).containers] == [container.pid]


@asynchronous
async def test_a_shim_that_is_stopped_does_not_answer(shim: ShimWorld) -> None:
    await shim.runtime.ping()
    pid = shim.pid
    os.kill(pid, signal.SIGSTOP)
    try:
        answer = asyncio.ensure_future(shim.runtime.ping())
        assert not (await asyncio.wait({answer}, timeout=0.3))[0]
    finally:
        os.kill(pid, signal.SIGCONT)
    await answer


@asynchronous
async def test_an_upgrade_keeps_sessions_waiters_and_timers(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("while read x; do echo got $x; done; sleep 1000", stdin=True)
    attached = await shim.runtime.attach(container.id)
    spec = ExecSpec(("cat",), stdin=True)
    executed = await shim.runtime.exec(container.id, spec)
    hasty = await shim.runtime.exec(container.id, ExecSpec(("sleep", "99"), timeout_seconds=1.0))
    stopping = asyncio.ensure_future(shim.runtime.stop_container(container.id, 3.0))
    await asyncio.ensure_future(shim.runtime.ping())  # asked after it, and so answered after it
    os.kill(pid := shim.pid, signal.SIGHUP)
    await attached.write(b"hello\n")
    assert await attached.read() == ("stdout", b"got hello\n")
    await wait_until(lambda: b"--resume" in Path(f"/proc/{pid}/cmdline").read_bytes())
    await executed.write(b"through\n")
    assert await executed.read() == ("stdout", b"through\n")
    assert await hasty.wait() == 137
    assert hasty.timed_out
    ended = await stopping
    assert ended.exit_code == 137
    assert await attached.wait() == 137
    assert await executed.wait() == 137
    for streams in (attached, executed, hasty):
        await streams.close()


@asynchronous
async def test_upgrades_leak_no_descriptor(shim: ShimWorld) -> None:
    await shim.sandbox()
    await shim.start("sleep", "1000")
    await upgrade(shim)
    before = shim.descriptors()
    for _ in range(3):
        await upgrade(shim)
    assert shim.descriptors() == before


@asynchronous
async def test_a_killed_shim_is_replaced_and_nothing_of_it_is_left(shim: ShimWorld) -> None:
    sandbox = await shim.sandbox()
    done = await shim.run("exit 4")
    container = await shim.shell("setsid sleep 1000 & sleep 1000")
    events = shim.runtime.events()
    former = shim.pid
    os.kill(former, signal.SIGKILL)
    assert (await anext(events)).type == "shim-lost"
    assert (await anext(events)).type == "shim-connected"
    await events.aclose()  # type: ignore[attr-defined]
    assert shim.pid != former
    await wait_until(lambda: not Path(f"/proc/{sandbox.pid}/exe").exists())  # init reaps it
    await wait_until(lambda: not Path(f"/proc/{container.pid}/exe").exists())
    for path in shim.cgroup_paths():
        assert not any(item.is_dir() for item in Path(path).iterdir())
    state = await shim.runtime.state()
    assert [item.ready for item in state.sandboxes] == [False]
    by_id = {item.id: item for item in state.containers}
    lost = by_id[container.id]
    assert (lost.state, lost.exit_code, lost.reason) == ("exited", 137, "ContainerStatusUnknown")
    assert "the shim ended" in lost.message
    assert by_id[done.id].exit_code == 4  # what was known is kept
    again = await shim.sandbox()  # the same name, made anew
    assert again.ready
    assert (await shim.run("exit 6")).exit_code == 6


@asynchronous
async def test_after_a_reboot_the_containers_are_known_as_ended(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.start("sleep", "1000")
    await shim.runtime.close()
    os.kill(shim.pid, signal.SIGKILL)
    (shim.layout.run / "shim/boot_id").write_text("another boot\n")
    await shim.open()
    assert "host was restarted" in (await shim.status(container.id)).message


@asynchronous
async def test_one_shim_per_root(shim: ShimWorld) -> None:
    command = [sys.executable, "-m", "minipod.runtime.shim", "--root", str(shim.directory)]
    second = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    _, said = await second.communicate()
    assert second.returncode == 1
    assert b"another shim serves" in said
    third = await asyncio.create_subprocess_exec(
        *command, "--replace", stderr=asyncio.subprocess.PIPE
    )
    _, said = await third.communicate()
    assert (third.returncode, said) == (
        0,
        f"minipod shim: {shim.pid} has upgraded itself\n".encode(),
    )


@asynchronous
async def test_sigterm_ends_it_only_when_no_pod_runs(shim: ShimWorld) -> None:
    await shim.sandbox()
    former = shim.pid
    os.kill(former, signal.SIGTERM)
    assert (await shim.sandbox()).ready
    assert shim.pid == former
    await shim.runtime.remove_sandbox("sandbox")
    events = shim.runtime.events()
    os.kill(former, signal.SIGTERM)
    assert (await anext(events)).type == "shim-lost"
    assert (await anext(events)).type == "shim-connected"
    await events.aclose()  # type: ignore[attr-defined]


@asynchronous
async def test_only_root_may_speak_to_it(shim: ShimWorld) -> None:
    address = str(shim.layout.shim_socket)
    code = f"import os, socket; os.setuid(65534); socket.socket(1).connect({address!r})"
    os.chmod(shim.directory, 0o755)
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code, stderr=pipe)
    assert b"PermissionError" in (await process.communicate())[1]


NONSENSE = [
    b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
    b"\0\0\0\4\0\0\0\0true",
    b"\0\0\0\2\0\0\0\7{}",
    *(
        protocol.encode({"id": 1, "verb": verb, "arguments": arguments})
        for verb, arguments in [
            ("no-such-verb", {}),
            (None, None),
            ("run-sandbox", {"spec": {"id": "../../etc", "cgroup": "x"}, "steps": []}),
            ("run-sandbox", {"spec": {"id": "a", "cgroup": "../a"}, "steps": []}),
            ("run-sandbox", {"spec": {"id": "a", "cgroup": "a"}, "steps": [{"operation": 7}]}),
            ("run-sandbox", {"spec": {"id": "b", "cgroup": "b"}, "steps": []}),
            ("start-container", {"spec": [], "sandbox_id": "sandbox"}),
            ("start-container", {"spec": {"id": "x"}, "sandbox_id": "sandbox", "cgroup": "y"}),
            ("stop-container", {"id": "x", "grace_seconds": "soon"}),
            ("exec", {"id": "c", "cgroup": "a", "steps": 1}),
            ("resize", {"session": 1e300, "columns": None}),
        ]
    ),
]


@asynchronous
async def test_nonsense_does_not_hurt_it(shim: ShimWorld) -> None:
    await shim.sandbox()
    before, former = shim.descriptors(), shim.pid
    for frame in NONSENSE:
        with socket.socket(socket.AF_UNIX) as peer:
            peer.settimeout(10)
            peer.connect(str(shim.layout.shim_socket))
            peer.sendall(frame)
            assert peer.recv(65536), frame
    assert shim.pid == former
    assert shim.descriptors() == before
    assert len((await shim.runtime.state()).sandboxes) == 1
    assert shim.ask("upgrade")["pid"] == former  # no half-made work is left that it would wait for


@asynchronous
async def test_a_hundred_containers_leave_no_descriptor(shim: ShimWorld) -> None:
    await shim.sandbox()
    await shim.runtime.remove_container((await shim.run("true")).id)
    before = shim.descriptors()

    async def one() -> ContainerStatus:
        ended = await shim.run("echo $$")
        await shim.runtime.remove_container(ended.id)
        return ended

    for _ in range(10):
        ended = await asyncio.gather(*(one() for _ in range(10)))
        assert {item.exit_code for item in ended} == {0}
    assert shim.descriptors() == before
    assert list((shim.layout.run / "shim/containers").iterdir()) == []


def test_a_tree_of_processes_is_killed_without_cgroups() -> None:
    script = "sh -c 'sleep 1000 & echo $! ; sleep 1000' & echo $!; sleep 1000"
    command = ["sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        children = [int(process.stdout.readline()) for _ in range(2)]
        kill_tree(process.pid)
        assert process.stdout.read() == ""  # every holder of the pipe is gone
        assert process.wait() == -signal.SIGKILL
    assert len(children) == 2


def shims_of(shim: ShimWorld) -> list[Path]:
    """Return the processes that were started as a shim of this root."""
    root = f"\0--root\0{shim.directory}\0".encode()
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if root in path.read_bytes():
                found.append(path)
    return found


@asynchronous
async def test_a_shim_that_is_not_ready_in_time_is_ended(
    shim: ShimWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    await shim.runtime.shutdown()
    await shim.runtime.close()
    monkeypatch.setattr(shim_link, "START_SECONDS", 0.0)
    monkeypatch.setattr(shim_link, "ATTEMPTS", 0)
    hasty = ShimRuntime(shim.layout)
    with pytest.raises(RuntimeFailure, match="not ready"):
        await hasty.open()
    await hasty.close()
    await wait_until(lambda: not shims_of(shim))
    monkeypatch.undo()
    await shim.open()
