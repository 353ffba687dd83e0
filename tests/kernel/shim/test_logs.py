"""Logs under load: complete, bounded, fair, and never in the container's way."""

import array
import contextlib
import fcntl
import os
import signal
import termios
import time
from pathlib import Path

import pytest

from minipod.linux.mount import MS_NODEV, mount, umount2
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import ContainerStatus
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel


def files(status: ContainerStatus) -> list[Path]:
    """All files of a container's log, oldest first."""
    live = Path(status.log_path)
    return [*sorted(live.parent.glob("0.log.*")), live]


@asynchronous
async def test_streams_tags_and_the_last_words(shim: ShimWorld) -> None:
    await shim.sandbox()
    ended = await shim.run("echo out; echo err >&2; printf unfinished")
    lines = Path(ended.log_path).read_text().splitlines()
    parsed = sorted(line.split(" ", 1)[1] for line in lines)
    assert parsed == ["stderr F err", "stdout F out", "stdout P unfinished"]
    assert all(len(line.split(" ")[0]) == len("2026-01-01T00:00:00.000000000Z") for line in lines)
    assert os.stat(ended.log_path).st_mode & 0o777 == 0o640


@asynchronous
async def test_a_million_lines_arrive_in_order_through_rotation(shim: ShimWorld) -> None:
    await shim.sandbox()
    limits = {"log_max_bytes": 8 << 20, "log_max_files": 99}
    ended = await shim.run("exec seq 1 1000000", **limits)
    texts: list[bytes] = []
    for file in files(ended):
        assert file.stat().st_size <= 8 << 20
        texts += [line.split(b" ", 3)[3] for line in file.read_bytes().splitlines()]
    assert len(files(ended)) > 3
    assert texts == [b"%d" % number for number in range(1, 1000001)]


@asynchronous
async def test_a_flood_is_bounded_on_disk_and_starves_nobody(shim: ShimWorld) -> None:
    await shim.sandbox()
    limits = {"log_max_bytes": 4 << 20, "log_max_files": 3}
    flood = await shim.start("yes", "a line of some length, again and again", **limits)
    await wait_until(lambda: len(files(flood)) == 3)
    quiet = await shim.shell("echo quiet; sleep 1000")
    began = time.monotonic()
    assert (await shim.exec(quiet.id, "true"))[0] == 0
    took = time.monotonic() - began
    await wait_until(lambda: shim.log(quiet) == ["quiet"])
    assert took < 1.0  # a tenth of it, ordinarily
    os.kill(flood.pid, signal.SIGSTOP)  # else files go while they are counted
    await wait_until(lambda: unread(flood.pid) == 0)
    assert total(flood) <= 12 << 20
    await shim.runtime.stop_container(flood.id, 0)


def total(container: ContainerStatus) -> int:
    """Return the bytes of a container's log files. What the shim has read it may still rotate: count again then."""
    while True:
        with contextlib.suppress(FileNotFoundError):
            return sum(file.stat().st_size for file in files(container))


def unread(pid: int) -> int:
    """Return how much of a process's output nobody has read yet."""
    pipe = os.open(f"/proc/{pid}/fd/1", os.O_RDONLY | os.O_NONBLOCK)
    left = array.array("i", [0])
    fcntl.ioctl(pipe, termios.FIONREAD, left)
    os.close(pipe)
    return left[0]


@asynchronous
async def test_a_full_disk_loses_lines_but_never_the_container(shim: ShimWorld) -> None:
    await shim.sandbox()
    small = shim.directory / "small"
    small.mkdir()
    mount("tmpfs", str(small), "tmpfs", MS_NODEV, "size=256k")
    try:
        log = str(small / "0.log")
        script = (
            "seq 1 100000; echo written; : > /over; "
            "while ! test -e /go; do usleep 5000; done; echo back"
        )
        container = await shim.shell(script, log_path=log, log_max_files=2)
        status, output, _ = await shim.exec(container.id, "sh", "-c", "ls /; echo alive")
        assert (status, output.splitlines()[-1]) == (0, b"alive")
        over = shim.layout.containers / container.id / "upper/over"
        await wait_until(lambda: over.exists() and unread(container.pid) == 0)
        mount("tmpfs", str(small), "tmpfs", MS_NODEV | 32, "size=64m")  # MS_REMOUNT
        with contextlib.suppress(RuntimeFailure):  # it ends its container, and is ended with it
            await shim.exec(container.id, "sh", "-c", "echo > /go")
        ended = await shim.exited(container.id)
        lines = shim.log(ended)
        note = next(line for line in lines if line.startswith("minipod: "))
        kept = [line for line in lines if line.isdigit()]
        lost = int(note.split()[1])
        assert "no space left on device" in note
        assert kept == [str(number) for number in range(1, len(kept) + 1)]
        assert len(kept) + lost in (100_000, 100_001)  # "written" may have been lost as well
        assert lines[-1] == "back"
    finally:
        umount2(str(small), 0)


@asynchronous
async def test_an_outside_rotation_is_followed(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.shell("echo one; while ! test -e /go; do usleep 5000; done; echo two")
    await wait_until(lambda: shim.log(container) == ["one"])
    os.rename(container.log_path, container.log_path + ".old")
    await shim.runtime.reopen_log(container.id)
    await shim.exec(container.id, "sh", "-c", "echo > /go")
    ended = await shim.exited(container.id)
    assert shim.log(ended) == ["two"]


@asynchronous
async def test_a_terminal_is_logged_as_one_stream(shim: ShimWorld) -> None:
    await shim.sandbox()
    ended = await shim.run("tty; echo err >&2", tty=True)
    lines = Path(ended.log_path).read_bytes().split(b"\n")[:-1]
    assert [line.split(b" ", 1)[1] for line in lines] == [
        b"stdout F /dev/pts/0\r",
        b"stdout F err\r",
    ]
