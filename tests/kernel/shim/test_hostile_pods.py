"""Containers that turn against their own Pod: it can still be added to, looked into, and taken down."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import ExecSpec, Resources
from tests.kernel.shim.world import ShimWorld, asynchronous, wait_until

pytestmark = pytest.mark.kernel

STOP_ALL = "while :; do kill -STOP -1; done"
SECONDS = 10.0  # far below a request's own bound (120); a machine at work needs some


A = TypeVar("A")


async def in_the_end(again: Callable[[], Awaitable[A]]) -> A:
    """Do as a node does: what the attacker held too long is reported in good time, and tried again."""
    for _ in range(8):
        try:
            async with asyncio.timeout(SECONDS):
                return await again()
        except RuntimeFailure as failure:
            if "holds the program before its first instruction" not in str(failure):
                raise
    raise AssertionError("held eight times in a row")


@asynchronous
async def test_a_container_that_stops_all_others_holds_up_nothing(shim: ShimWorld) -> None:
    await shim.sandbox(pid="pod")
    attacker = await shim.shell(STOP_ALL, name="attacker")
    look = partial(shim.runtime.exec, attacker.id, ExecSpec(("true",)))
    for _ in range(5):
        started = await in_the_end(lambda: shim.start("sleep", "60"))
        assert started.state == "running"
        streams = await in_the_end(look)
        await streams.close()

    began = time.monotonic()
    await shim.runtime.remove_sandbox("sandbox")
    assert time.monotonic() - began < SECONDS


@asynchronous
async def test_a_container_full_of_processes_holds_up_nothing(shim: ShimWorld) -> None:
    await shim.sandbox(pid="pod")
    path = shim.cgroups.directory("pids", f"{shim.layout.instance}/sandbox/full")
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
    starts = [
        asyncio.create_task(in_the_end(partial(shim.start, "sleep", "60", tty=True)))
        for _ in range(5)
    ]
    for _ in range(10):
        async with asyncio.timeout(SECONDS):
            await shim.start("true", sandbox_id="other")
    assert {status.state for status in await asyncio.gather(*starts)} == {"running"}
