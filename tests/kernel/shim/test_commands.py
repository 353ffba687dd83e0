"""Commands run to their end in a container: one answer each, whatever they print, leave behind or outlast."""

import asyncio
import resource
import time
from pathlib import Path

import pytest

from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import CommandResult, CommandSpec, ContainerStatus
from tests.kernel.shim.test_streams import inhabitants
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until
from tests.patience import patience

pytestmark = pytest.mark.kernel


async def sleeper(shim: ShimWorld) -> ContainerStatus:
    await shim.sandbox()
    return await shim.start("sleep", "1000")


async def command(shim: ShimWorld, container: ContainerStatus, script: str, seconds: float = 10):
    spec = CommandSpec(("sh", "-c", script), patience(seconds), 100)
    return await shim.runtime.exec_sync(container.id, spec)


@asynchronous
async def test_code_and_both_streams_in_their_order(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    before = shim.descriptors()
    result = await command(shim, container, "echo one; echo two >&2; echo three; exit 3")
    assert result == CommandResult(3, "one\ntwo\nthree\n")
    assert (await command(shim, container, "kill -9 $$")).exit_code == 137
    await wait_until(lambda: shim.descriptors() == before)
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])


@asynchronous
async def test_an_exec_without_a_descriptor_left_says_so_and_leaves_nothing(
    shim: ShimWorld,
) -> None:
    container = await sleeper(shim)
    assert (await shim.exec(container.id, "true"))[0] == 0
    own = Path(f"{shim.cgroups.unified}/{shim.pods}/sandbox/{container.id}")
    await wait_until(lambda: not list(own.glob("*/")))  # the first one's cgroup goes behind it
    taken = max(int(each.name) for each in Path(f"/proc/{shim.pid}/fd").iterdir())
    ours = resource.prlimit(shim.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(shim.pid, resource.RLIMIT_NOFILE, (taken + 1, ours[1]))
    try:
        with pytest.raises(RuntimeFailure, match=r"^no pipe: .*oo many open files"):
            await shim.exec(container.id, "true")
    finally:
        resource.prlimit(shim.pid, resource.RLIMIT_NOFILE, ours)
    assert not list(own.glob("*/"))
    assert (await shim.exec(container.id, "true"))[0] == 0


@asynchronous
async def test_a_flood_is_read_to_its_end_and_kept_within_its_limit(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    result = await command(shim, container, "yes | head -c 5000000; exit 4")
    assert result.exit_code == 4
    assert result.output == "y\n" * 50


@asynchronous
async def test_what_lasts_too_long_is_killed_with_all_it_started(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    script = "echo begun; sleep 1000 & setsid sleep 1000 & sleep 1000"
    began = time.monotonic()
    result = await command(shim, container, script, 0.3)
    assert (result.exit_code, result.output, result.timed_out) == (137, "begun\n", True)
    assert patience(0.3) <= time.monotonic() - began < patience(5)
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])


@asynchronous
async def test_what_is_left_in_the_background_keeps_nobody_waiting(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    result = await command(shim, container, "sleep 1000 & echo done")
    assert result == CommandResult(0, "done\n")


@asynchronous
async def test_what_is_left_in_the_background_goes_with_its_container(shim: ShimWorld) -> None:
    await shim.sandbox()
    before = shim.descriptors()
    for _ in range(3):  # sooner than the kernel tells of it twice
        container = await shim.start("sleep", "1000")
        scripts = (command(shim, container, "sleep 1000 & :") for _ in range(4))
        await asyncio.gather(*scripts)
        await shim.runtime.stop_container(container.id, 0)
        await shim.runtime.remove_container(container.id)
    await wait_until(lambda: shim.descriptors() <= before, 3)


@asynchronous
async def test_a_missing_program_says_so(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    with pytest.raises(RuntimeFailure, match="nothing-here") as failure:
        await shim.runtime.exec_sync(container.id, CommandSpec(("nothing-here",), 1))
    assert failure.value.reason == "StartError"
    with pytest.raises(RuntimeFailure, match="does not exist"):
        await shim.runtime.exec_sync("unknown", CommandSpec(("true",), 1))


def left_of_execs(shim: ShimWorld) -> list[Path]:
    """Return the cgroups that exec'd processes were born into."""
    return [group for group in shim.groups() if group.name.startswith("exec-")]


@asynchronous
async def test_many_at_once_answer_each_their_own(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    scripts = [f"sleep 0.{n % 3}; echo {n}; exit {n}" for n in range(30)]
    results = await asyncio.gather(*(command(shim, container, each) for each in scripts))
    assert [(each.exit_code, each.output) for each in results] == [(n, f"{n}\n") for n in range(30)]
    await wait_until(lambda: not left_of_execs(shim))


@asynchronous
async def test_what_is_left_in_the_background_leaves_nothing_at_its_end(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    before = shim.descriptors()
    await command(shim, container, "sleep 1.5 & sleep 1.5 &")
    assert len(left_of_execs(shim)) == 1
    await wait_until(lambda: not left_of_execs(shim))
    await wait_until(lambda: shim.descriptors() == before)
    await command(shim, container, "sleep 1000 &")
    await shim.runtime.stop_container(container.id, 0)
    await shim.runtime.remove_container(container.id)
    await wait_until(lambda: shim.descriptors() < before)


@asynchronous
async def test_the_daemons_death_ends_what_it_asked_for(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    waiting = asyncio.create_task(command(shim, container, "sleep 1000", 1000))
    await wait_until(lambda: len(inhabitants(shim, container)) == 2)
    await shim.runtime.close()
    with pytest.raises(RuntimeFailure):
        await waiting
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])
    await shim.open()


@asynchronous
async def test_an_upgrade_ends_it_and_says_so(shim: ShimWorld) -> None:
    container = await sleeper(shim)
    waiting = asyncio.create_task(command(shim, container, "sleep 1000", 1000))
    await wait_until(lambda: len(inhabitants(shim, container)) == 2)
    await asyncio.to_thread(shim.ask, "upgrade")
    with pytest.raises(RuntimeFailure, match="upgraded"):
        await waiting
    await wait_until(lambda: inhabitants(shim, container) == [container.pid])
    assert (await command(shim, container, "echo again")).output == "again\n"


@asynchronous
async def test_no_execs_cgroup_outlives_it(shim: ShimWorld) -> None:
    await shim.sandbox()
    container = await shim.start("sleep", "1000")
    for _ in range(300):
        assert (await shim.exec(container.id, "true"))[0] == 0
    await wait_until(lambda: not left_of_execs(shim))
