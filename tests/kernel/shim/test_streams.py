"""Exec and attach: codes, streams, terminals, limits of time, and what must not be left behind."""

import asyncio
import contextlib
import os
from pathlib import Path

import pytest

from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim.output import EARLY_BYTES
from minipod.runtime.spec import CommandSpec, ContainerStatus, ExecSpec
from minipod.runtime.streams import DescriptorStreams
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel


async def sleeper(shim: ShimWorld) -> ContainerStatus:
    await shim.sandbox()
    return await shim.start("sleep", "1000")


def inhabitants(shim: ShimWorld, container: ContainerStatus) -> list[int]:
    found: list[int] = []
    for group in shim.groups("sandbox", container.id):
        with contextlib.suppress(OSError):  # an exec's cgroup may go meanwhile
            found += [int(line) for line in (group / "cgroup.procs").read_text().split()]
    return sorted(found)


def commands(shim: ShimWorld, container: ContainerStatus) -> list[bytes]:
    """Return the command lines of a container's processes."""
    found = []
    for pid in inhabitants(shim, container):
        with contextlib.suppress(OSError):
            found.append(Path(f"/proc/{pid}/cmdline").read_bytes())
    return found


def last_line(container: ContainerStatus) -> str:
    """Return the last whole text of a live log, however long that is."""
    with open(container.log_path, "rb") as log:
        log.seek(max(0, os.fstat(log.fileno()).st_size - 1000))
        whole = log.read().rpartition(b"\n")[0]
    return whole.rpartition(b"\n")[2].decode().split(" ", 3)[-1]


async def read_until(streams: DescriptorStreams, wanted: bytes) -> bytes:
    said = b""
    while wanted not in said:
        chunk = await streams.read()
        assert chunk is not None, said
        said += chunk[1]
    return said


@asynchronous
async def test_exec_passes_code_and_streams(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    script = "echo out; echo err >&2; echo $GREETING; exit 3"
    result = await shim.exec(container.id, "sh", "-c", script, env=("GREETING=hello",))
    assert result == (3, b"out\nhello\n", b"err\n")
    assert (await shim.exec(container.id, "sh", "-c", "kill -9 $$"))[0] == 137
    # the kernel may list a process for a moment after it was waited for
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])


@asynchronous
async def test_exec_of_a_missing_program_says_so(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    before = shim.descriptors()
    with pytest.raises(RuntimeFailure, match="nothing-here") as failure:
        await shim.exec(container.id, "nothing-here")
    assert failure.value.reason == "StartError"
    await wait_until(lambda: shim.descriptors() == before)
    with pytest.raises(RuntimeFailure, match="does not exist"):
        await shim.exec("unknown", "true")


@asynchronous
async def test_megabytes_go_through_standard_input_and_back(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    streams = await shim.runtime.exec(container.id, ExecSpec(("cat",), stdin=True))
    data = bytes(range(256)) * 4 * 5000

    async def feed() -> None:
        await streams.write(data)
        await streams.close_stdin()

    feeding = asyncio.ensure_future(feed())
    got = bytearray()
    while chunk := await streams.read():
        got += chunk[1]
    await feeding
    assert bytes(got) == data
    assert await streams.wait() == 0
    await streams.close()


@asynchronous
async def test_a_terminal_has_the_size_it_is_given(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    spec = ExecSpec(("sh", "-c", "tty; read line; stty size"), tty=True, stdin=True)
    streams = await shim.runtime.exec(container.id, spec)
    assert b"/dev/pts/" in await read_until(streams, b"\n")
    await streams.resize(132, 43)
    await streams.write(b"go\n")
    await read_until(streams, b"43 132")
    assert await streams.wait() == 0
    await streams.close()


@asynchronous
async def test_a_timeout_kills_everything_it_started(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    script = "setsid sh -c 'setsid sleep 1000 & sleep 1000' & sleep 1000"
    spec = ExecSpec(("sh", "-c", script), timeout_seconds=0.3)
    streams = await shim.runtime.exec(container.id, spec)
    assert await streams.wait() == 137
    assert streams.timed_out
    await streams.close()
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])


@asynchronous
async def test_closing_a_session_kills_its_process(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    spec = ExecSpec(("sh", "-c", "sleep 1000 & sleep 1000"))
    streams = await shim.runtime.exec(container.id, spec)
    await wait_until(lambda: len(inhabitants(shim, container)) == 3)
    await streams.close()
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])


@asynchronous
async def test_a_client_that_hangs_up_leaves_a_program_that_does_not_mind(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    streams = await shim.runtime.exec(container.id, ExecSpec(("sleep", "1000"), stdin=True))
    reader = await shim.runtime.exec(container.id, ExecSpec(("cat",), stdin=True))
    writer = await shim.runtime.exec(container.id, ExecSpec(("yes",)))
    script = "trap 'echo hung up >/said; exit' HUP; echo ready; sleep 1000 & wait"
    shell = await shim.runtime.exec(container.id, ExecSpec(("sh", "-c", script), tty=True))
    # a shell's child that has not executed its program yet loses the signal that comes then
    await wait_until(lambda: commands(shim, container).count(b"sleep\0001000\0") == 3)
    await writer.read()
    await read_until(shell, b"ready")
    for each in (streams, reader, writer, shell):
        await each.hang_up()
    # the end of input, a broken pipe and a hang-up end the others; sleep asks for nothing
    assert await asyncio.wait_for(reader.wait(), 10) == 0
    assert await asyncio.wait_for(writer.wait(), 10) == 141
    await asyncio.wait_for(shell.wait(), 10)
    await wait_until(lambda: len(inhabitants(shim, container)) == 2)
    assert not streams.ended.done()
    result = await shim.exec(container.id, "cat", "/said")
    assert result == (0, b"hung up\n", b"")


@asynchronous
async def test_a_dying_daemon_takes_its_sessions_along(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    streams = await shim.runtime.exec(container.id, ExecSpec(("sleep", "1000")))
    await shim.runtime.close()
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])
    with pytest.raises(RuntimeFailure):
        await streams.wait()
    await streams.close()
    await shim.open()


@asynchronous
async def test_what_an_exec_leaves_in_the_background_holds_nobody_up(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    result = await asyncio.wait_for(
        shim.exec(container.id, "sh", "-c", "sleep 1000 & echo done"), 10
    )
    assert result == (0, b"done\n", b"")
    lives_on = [b"sleep\0001000\0"] * 2  # as upstream; who spawned it has gone soon after
    await wait_until(lambda: commands(shim, container) == lives_on)


@asynchronous
async def test_attach_brings_input_and_output(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("while read x; do echo got $x; done; echo over", stdin=True)
    first = await shim.runtime.attach(container.id)
    second = await shim.runtime.attach(container.id)
    await first.write(b"one\n")
    assert await read_until(first, b"got one\n") == b"got one\n"
    assert await read_until(second, b"got one\n") == b"got one\n"
    await first.close_stdin()  # without stdinOnce the container's own stays open
    await first.close()
    await second.write(b"two\n")
    await read_until(second, b"got two\n")
    await second.close()
    assert (await shim.status(container.id)).state == "running"
    assert shim.log(container) == ["got one", "got two"]


@asynchronous
async def test_stdin_once_ends_with_the_first_client(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("cat; echo over", stdin=True, stdin_once=True)
    streams = await shim.runtime.attach(container.id)
    await streams.write(b"data\n")
    await streams.close_stdin()
    assert await read_until(streams, b"over\n") == b"data\nover\n"
    assert await streams.read() is None
    assert await streams.wait() == 0
    await streams.close()


@pytest.mark.parametrize("tty", [False, True], ids=["pipes", "terminal"])
@asynchronous
async def test_the_one_client_of_stdin_once_reads_what_came_before_it(
    shim: ShimWorld, tty: bool
) -> None:
    await shim.sandbox()
    script = "echo early; read x; echo got $x; read x"
    container = await shim.shell(script, stdin=True, stdin_once=True, tty=tty)
    await wait_until(lambda: shim.log(container) == ["early"])
    await asyncio.to_thread(shim.ask, "upgrade")
    first = await shim.runtime.attach(container.id)
    assert (await read_until(first, b"\n")).split() == [b"early"]
    second = await shim.runtime.attach(container.id)
    await first.write(b"it\n")
    assert b"early" not in await read_until(second, b"got it")
    for streams in (first, second):
        await streams.close()


@asynchronous
async def test_what_came_before_the_client_is_bounded(shim: ShimWorld) -> None:
    await shim.sandbox()
    script = "seq 1 100000; read x; echo finished; read x"
    container = await shim.shell(script, stdin=True, stdin_once=True)
    await wait_until(lambda: shim.log(container)[-1:] == ["100000"])
    streams = await shim.runtime.attach(container.id)
    said = await read_until(streams, b" bytes missed]")
    assert said.startswith(b"1\n2\n3\n")
    assert len(said) < EARLY_BYTES + 100
    await streams.write(b"\n")
    await read_until(streams, b"finished")
    await streams.close()


@asynchronous
async def test_a_client_is_refused_where_the_streams_have_been_closed(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("exec sleep 1000 <&- >&- 2>&-", stdin=True)

    async def attach() -> str:
        try:
            streams = await shim.runtime.attach(container.id)
        except RuntimeFailure as failed:
            return str(failed)
        await streams.close()
        return ""

    deadline = asyncio.get_running_loop().time() + 10
    while not (problem := await attach()):  # the shell has not come to it yet
        assert asyncio.get_running_loop().time() < deadline
    assert problem.endswith("has closed its streams")


@asynchronous
async def test_a_client_that_lags_reads_all_that_an_ended_container_said(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("read x; seq 1 100000", stdin=True)
    streams = await shim.runtime.attach(container.id)
    await streams.write(b"\n")
    assert await streams.wait() == 0  # most of it is in the shim yet
    said = b""
    while (chunk := await streams.read()) is not None:
        said += chunk[1]
    assert said.endswith(b"\n100000\n")
    await streams.close()


@asynchronous
async def test_attach_to_a_terminal(shim: ShimWorld) -> None:
    await shim.sandbox()
    script = "while read x; do stty size; done"
    container = await shim.shell(script, stdin=True, tty=True)
    streams = await shim.runtime.attach(container.id)
    await streams.resize(101, 23)
    await streams.write(b"\n")
    await read_until(streams, b"23 101")
    await streams.close()


@asynchronous
async def test_a_slow_client_is_told_what_it_missed(shim: ShimWorld) -> None:
    await shim.sandbox()
    script = "read x; seq 1 1000000; read x; echo finished; sleep 1000"
    container = await shim.shell(script, stdin=True, log_max_bytes=64 << 20)
    slow = await shim.runtime.attach(container.id)
    await slow.write(b"\n")
    # The flood passes although the client reads nothing:
    await wait_until(lambda: last_line(container) == "1000000", 50)
    said = await read_until(slow, b" bytes missed]")
    missed = int(said.split(b"[minipod: ")[1].split()[0])
    assert missed > 1_000_000
    await slow.write(b"\n")
    await read_until(slow, b"finished")
    await slow.close()


@pytest.mark.parametrize("way", ["streams", "terminal", "answer"])
@asynchronous
async def test_what_ends_its_own_container_has_not_failed_to_start(
    shim: ShimWorld, way: str
) -> None:
    await shim.sandbox(pid="pod")
    for _ in range(30):
        container = await shim.start("sleep", "1000")
        if way == "answer":
            command = CommandSpec(("kill", "-9", "-1"), 10)
            code = (await shim.runtime.exec_sync(container.id, command)).exit_code
        else:
            tty = way == "terminal"
            code, _, _ = await shim.exec(container.id, "kill", "-9", "-1", tty=tty)
        assert code in (0, 137)  # killed with its container unless it was quicker
        ended = await shim.exited(container.id)
        assert ended.exit_code == 137
        await shim.runtime.remove_container(ended.id)
