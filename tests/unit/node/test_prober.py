"""Probes in a Pod's life, with a fake runtime: gating, readiness, restarts, termination, what a restart remembers."""

import asyncio
from collections.abc import Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.node.prober import Prober
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import CommandResult
from tests.unit.node.pods import World, container, make_pod, world

Scene = Callable[[World], Coroutine[Any, Any, None]]
FAILS = CommandResult(1, "no\n")
WORKS = CommandResult(0, "")


def probe(name: str, **numbers: Any) -> Object:
    return {"exec": {"command": [name]}, "periodSeconds": 10, "failureThreshold": 1, **numbers}


def told(world: World) -> list[str]:
    return [message for _, message in world.api.events()]


def status(world: World) -> Object:
    found: Object = world.status()["containerStatuses"][0]
    return found


def test_readiness_is_false_until_told_and_never_restarts(play) -> None:
    async def scene(world: World) -> None:
        world.runtime.results["ready",] = FAILS
        await world.create(make_pod("web", container(readinessProbe=probe("ready"))))
        assert (status(world)["started"], status(world)["ready"]) == (True, False)
        world.runtime.results["ready",] = WORKS
        await world.pass_time(10)
        assert status(world)["ready"] is True
        world.runtime.results["ready",] = FAILS
        await world.pass_time(10)
        assert status(world)["ready"] is False
        assert status(world)["restartCount"] == 0
        await world.events_written()
        assert "Readiness probe failed: no\n" in told(world)
        counted = world.kubelet.probe_metrics()
        labels = (
            'container="app",namespace="default",pod="web",pod_uid="uid-web",probe_type="Readiness"'
        )
        for result, number in (("failed", 2.0), ("successful", 1.0)):
            assert f'prober_probe_total{{{labels},result="{result}"}} {number}' in counted
        await world.delete()
        await world.pass_time(60)
        assert "uid-web" not in world.kubelet.probe_metrics()

    play(scene)


def test_startup_holds_back_the_others_and_calls_readiness_at_once(play) -> None:
    async def scene(world: World) -> None:
        world.runtime.results["up",] = FAILS
        probes = {
            "startupProbe": probe("up", failureThreshold=5),
            "readinessProbe": probe("ready"),
            "livenessProbe": probe("alive"),
        }
        await world.create(make_pod("web", container(**probes)))
        await world.pass_time(10)
        assert {spec.args for spec in world.runtime.commands} == {("up",)}
        assert status(world)["started"] is False
        world.runtime.results["up",] = WORKS
        await world.pass_time(10)
        assert (status(world)["started"], status(world)["ready"]) == (True, True)
        world.runtime.commands.clear()
        await world.pass_time(10)
        assert {spec.args for spec in world.runtime.commands} == {("ready",), ("alive",)}

    play(scene)


def test_a_failed_startup_probe_restarts_in_upstreams_words(play) -> None:
    async def scene(world: World) -> None:
        world.runtime.results["up",] = FAILS
        own = probe("up", terminationGracePeriodSeconds=3)
        await world.create(make_pod("web", container(startupProbe=own)))
        assert status(world)["restartCount"] == 2  # at once, and once more; then the back-off holds
        assert status(world)["state"]["waiting"]["reason"] == "CrashLoopBackOff"
        await world.events_written()
        assert "Container app failed startup probe, will be restarted" in told(world)

    play(scene)


def test_a_command_that_cannot_be_executed_is_told_and_kills_nothing(play) -> None:
    async def scene(world: World) -> None:
        problem = 'exec: "alive": executable file not found in $PATH'
        world.runtime.results["alive",] = RuntimeFailure("StartError", problem)
        await world.create(make_pod("web", container(livenessProbe=probe("alive"))))
        await world.pass_time(10)
        assert status(world)["restartCount"] == 0
        await world.events_written()
        message = f"Liveness probe errored and resulted in unknown state: {problem}"
        assert message in told(world)

    play(scene)


def test_variables_of_the_spec_are_put_into_the_command(play) -> None:
    async def scene(world: World) -> None:
        command = {"exec": {"command": ["check", "$(PORT)", "$(UNKNOWN)", "$$(PORT)"]}}
        env = [{"name": "PORT", "value": "80"}]
        await world.create(make_pod("web", container(env=env, livenessProbe=command)))
        assert world.runtime.commands[0].args == ("check", "80", "$(UNKNOWN)", "$(PORT)")

    play(scene)


def test_a_pod_that_goes_is_no_longer_restarted_but_its_readiness_is_told(play) -> None:
    async def scene(world: World) -> None:
        probes = {"livenessProbe": probe("alive"), "readinessProbe": probe("ready")}
        await world.create(make_pod("web", container(**probes)))
        world.runtime.results = {("alive",): FAILS, ("ready",): FAILS}
        reached, go_on = world.runtime.gate("stop_container")
        deleting = asyncio.create_task(world.delete())
        await reached.wait()
        world.runtime.commands.clear()
        await world.pass_time(10)
        assert {spec.args for spec in world.runtime.commands} == {("ready",)}
        assert status(world)["ready"] is False
        go_on.set()
        await deleting
        await world.settle()
        assert status_gone(world)

    play(scene)


def status_gone(world: World) -> bool:
    return ("pods", "default", "web") not in world.api.objects


def test_a_restarted_daemon_keeps_what_it_knew_and_spreads_its_first_probes(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    # one in a hundred draws would have the probe run at once
    monkeypatch.setattr("minipod.node.kubelet.Prober", partial(Prober, jitter=lambda: 0.5))
    root = Path(tmp_path_factory.mktemp("mp"))
    probes = {"startupProbe": probe("up"), "readinessProbe": probe("ready")}

    async def whole() -> None:
        async with world(root) as old:
            await old.create(make_pod("web", container(**probes)))
            await old.events_written()
            assert status(old)["ready"] is True
            old.clock.advance(100)
        old.runtime.results = {("up",): FAILS, ("ready",): FAILS}
        old.runtime.commands.clear()
        old.clock.timers.clear()
        async with world(root, old=old) as new:
            assert (status(new)["started"], status(new)["ready"]) == (True, True)
            await new.pass_time(10)  # the jitter is less than a period
            assert {spec.args for spec in new.runtime.commands} == {("ready",)}
            assert status(new)["ready"] is False

    asyncio.run(whole())
