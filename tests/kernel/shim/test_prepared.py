"""Containers prepared ahead of their turn, beside a sandbox that is still being made."""

import asyncio
import os
import signal
import time
from pathlib import Path

import pytest

from minipod.runtime.child_operations import Clone
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import SandboxSpec
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel


def children(shim: ShimWorld) -> list[int]:
    pid = shim.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_waiting(pid: int) -> bool:
    """Whether the process waits for a word of its parent's (recvfrom(2))."""
    try:
        return "skb_wait" in Path(f"/proc/{pid}/wchan").read_text()
    except OSError:
        return False  # it made another, and has gone


async def prepared(shim: ShimWorld, *args: str) -> tuple[object, str, int]:
    """Prepare a container that is held at its turn; return it, its name and the pid of its process."""
    before = set(children(shim))
    spec = shim.spec(*args)
    made = await shim.runtime.prepare_container(spec)

    def waiting() -> list[int]:
        return [pid for pid in set(children(shim)) - before if is_waiting(pid)]

    await wait_until(lambda: len(waiting()) == 1)
    return made, spec.id, waiting()[0]


@asynchronous
async def test_a_container_prepares_itself_and_runs_when_its_turn_comes(shim: ShimWorld) -> None:
    await shim.sandbox()
    first, _, one = await prepared(shim, "sleep", "1000")
    second, _, two = await prepared(shim, "sleep", "2000")
    assert (await shim.runtime.state()).containers == ()  # not before they are started
    released = time.time()
    status, _ = await second.start()
    assert status.created_at >= released  # it may have been ready for a while
    assert Path(f"/proc/{two}/cmdline").read_bytes() == b"sleep\x002000\0"
    assert (status.pid, status.state) == (two, "running")
    assert is_waiting(one)
    assert (await first.start())[0].pid == one


@asynchronous
async def test_an_abandoned_container_leaves_nothing(shim: ShimWorld) -> None:
    await shim.sandbox()
    descriptors = shim.descriptors()
    made, identity, pid = await prepared(shim, "sleep", "1000")
    await made.abandon()
    assert pid not in children(shim)
    assert not Path(f"/proc/{pid}").exists()
    assert not (shim.layout.run / f"shim/containers/{identity}.json").exists()
    assert not (shim.layout.containers / identity).exists()
    await wait_until(lambda: identity not in map(os.path.basename, all_cgroups(shim)))
    assert shim.descriptors() == descriptors


@asynchronous
async def test_a_container_that_is_abandoned_before_it_is_made_leaves_nothing(
    shim: ShimWorld,
) -> None:
    sandbox = await shim.sandbox()
    await wait_until(lambda: children(shim) == [sandbox.pid])  # who made it has gone
    descriptors = shim.descriptors()
    spec = shim.spec("sleep", "1000")
    made = await shim.runtime.prepare_container(spec)
    await made.abandon()
    await wait_until(lambda: children(shim) == [sandbox.pid])
    assert not (shim.layout.run / f"shim/containers/{spec.id}.json").exists()
    assert not (shim.layout.containers / spec.id).exists()
    await wait_until(lambda: spec.id not in map(os.path.basename, all_cgroups(shim)))
    assert shim.descriptors() == descriptors


@asynchronous
async def test_a_release_does_not_wait_for_another_container_to_be_made(shim: ShimWorld) -> None:
    await shim.sandbox()
    first, _, _ = await prepared(shim, "sleep", "1000")
    pid = shim.pid
    os.kill(pid, signal.SIGSTOP)  # so that it finds both requests at once
    second = await shim.runtime.prepare_container(shim.spec("sleep", "2000"))
    starting = asyncio.create_task(first.start())
    await asyncio.sleep(0)
    os.kill(pid, signal.SIGCONT)
    status, _ = await starting
    _, steps = await second.start()
    (cloned,) = (each for each in steps if isinstance(each.step.operation, Clone))
    at = cloned.start_us / 1e6 + time.time() - time.monotonic()
    assert status.created_at < at  # which is when it was released


def all_cgroups(shim: ShimWorld) -> list[str]:
    return [name for path in shim.cgroup_paths() for name, _, _ in os.walk(path)]


@asynchronous
async def test_a_container_is_prepared_beside_its_sandbox(shim: ShimWorld) -> None:
    spec = SandboxSpec("sandbox", "pod-1", f"{shim.pods}/sandbox")
    making = asyncio.create_task(shim.runtime.run_sandbox(spec))
    await asyncio.sleep(0)
    made = await shim.runtime.prepare_container(shim.spec("sleep", "1000"))
    sandbox, _ = await making
    status, _ = await made.start()
    for name in ("ipc", "net"):
        own = os.readlink(f"/proc/{status.pid}/ns/{name}")
        assert own == os.readlink(f"/proc/{sandbox.pid}/ns/{name}")


@asynchronous
async def test_removing_the_sandbox_ends_what_is_prepared_in_it(shim: ShimWorld) -> None:
    await shim.sandbox()
    made, _, pid = await prepared(shim, "sleep", "1000")
    await shim.runtime.remove_sandbox("sandbox")
    assert not Path(f"/proc/{pid}").exists()
    with pytest.raises(RuntimeFailure):
        await made.start()


@asynchronous
async def test_what_a_daemon_has_not_released_ends_with_it(shim: ShimWorld) -> None:
    await shim.sandbox()
    _, identity, pid = await prepared(shim, "sleep", "1000")
    await shim.runtime.close()
    await wait_until(lambda: not Path(f"/proc/{pid}").exists())
    await wait_until(lambda: not (shim.layout.run / f"shim/containers/{identity}.json").exists())
    await shim.open()
    assert (await shim.start("sleep", "1000", name=identity)).state == "running"


@asynchronous
async def test_what_is_prepared_ends_with_a_killed_shim(shim: ShimWorld) -> None:
    await shim.sandbox()
    _, _, pid = await prepared(shim, "sleep", "1000")
    os.kill(shim.pid, signal.SIGKILL)
    await wait_until(lambda: not Path(f"/proc/{pid}").exists())
    await shim.runtime.close()
    await shim.open()  # the next one, or nobody ends the Pod
