"""Control groups on this host's own hierarchies, v2 and v1 alike."""

import itertools
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from minipod.linux import cgroup
from tests import lanes

pytestmark = pytest.mark.kernel

_numbers = itertools.count()
LAYOUT = cgroup.this_host()


@pytest.fixture
def path() -> Iterator[str]:
    """A cgroup of the test's own, ended and removed afterwards."""
    name = lanes.note(f"mp-cgroup-{os.getpid()}-{next(_numbers)}")
    cgroup.ensure(LAYOUT, f"{name}/a")
    yield f"{name}/a"
    cgroup.kill(LAYOUT, name)
    cgroup.remove(LAYOUT, name)


def start(path: str, script: str) -> subprocess.Popen[bytes]:
    """Start a shell that enters the cgroup before it does anything, and wait until it is inside."""
    process = subprocess.Popen(
        ["sh", "-c", f"read _; {script}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    cgroup.enter(LAYOUT, path, process.pid)
    assert process.stdin is not None
    process.stdin.write(b"go\n")
    process.stdin.flush()
    return process


def finish(process: subprocess.Popen[bytes]) -> int:
    with process:
        process.communicate()
    return process.returncode


LAYOUTS = [
    pytest.param(LAYOUT, id="host"),
    pytest.param(
        replace(LAYOUT, unified="", unified_controllers=()),
        id="v1 alone",
        marks=pytest.mark.skipif(not LAYOUT.v1, reason="this host has no v1 hierarchy"),
    ),
]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_kill_ends_everything_below(path: str, layout: cgroup.CgroupLayout) -> None:
    process = start(path, "sleep 100 & sleep 100 & echo ready; wait")
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    assert len(cgroup.processes(LAYOUT, path)) == 3

    with process:  # reaped meanwhile, as the shim does: v1 counts zombies
        cgroup.signal_all(layout, path)
        process.wait()
        cgroup.kill(layout, path)
    assert process.returncode == -9
    assert cgroup.processes(LAYOUT, path) == []


def test_everything_is_repeatable(path: str) -> None:
    cgroup.ensure(LAYOUT, path)
    cgroup.kill(LAYOUT, path)
    cgroup.remove(LAYOUT, path)
    cgroup.remove(LAYOUT, path)
    cgroup.kill(LAYOUT, path)

    assert not any(Path(point, path).exists() for point in LAYOUT.hierarchies)


def test_a_process_enters_and_enters_v1_by_itself(path: str) -> None:
    child = os.fork()
    if child == 0:
        try:
            cgroup.enter_v1(LAYOUT, path, 0)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.skipif(not LAYOUT.directory("memory", "x"), reason="no memory controller here")
def test_out_of_memory_is_counted(path: str) -> None:
    limits = cgroup.settings(LAYOUT, memory_bytes=16 * 1024 * 1024)
    cgroup.limit(LAYOUT, path, limits)
    assert cgroup.oom_kills(LAYOUT, path) == 0

    code = finish(start(path, "exec head -c 100m /dev/zero | tail -c 100m | wc -c"))

    # memory.oom.group (v2) takes the shell along; elsewhere the kernel chooses its victim, and the shell survives it.
    assert (code == -9) == LAYOUT.is_v2("memory")
    assert cgroup.oom_kills(LAYOUT, path) >= 1


@pytest.mark.skipif(not LAYOUT.directory("pids", "x"), reason="no pids controller here")
def test_processes_are_limited_and_counted(path: str) -> None:
    cgroup.limit(LAYOUT, path, cgroup.settings(LAYOUT, pids=1))
    process = start(path, "sleep 100 & wait")

    assert finish(process) != 0  # it cannot fork
    assert cgroup.stats(LAYOUT, path).pids == 0


def test_stats_of_a_working_cgroup(path: str) -> None:
    process = start(path, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done; echo done; read _")
    assert process.stdout is not None
    assert process.stdout.readline() == b"done\n"
    found = cgroup.stats(LAYOUT, path)
    with process:
        process.kill()

    for value in (found.cpu_usage_ns, found.memory_usage_bytes, found.pids):
        assert value is None or value > 0
