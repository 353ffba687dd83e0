"""A node that is short of memory or disk, and has Pods end for it: one at a time, and only where that is asked for."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.node import pressure_eviction, registration
from minipod.node.pressure import Level, parse_thresholds
from minipod.node.pressure_eviction import PAUSE, reclaimable
from minipod.node.ranking import Use
from minipod.runtime.service import RuntimeState
from tests.unit.node.pods import World, container, make_config, make_pod, world

MIB = 1 << 20
PLENTY, LITTLE = Level(500 * MIB, 1 << 30), Level(50 * MIB, 1 << 30)
THRESHOLDS = "memory.available<100Mi,nodefs.available<10%"
USES = {"uid-large": 30 * MIB, "uid-small": 5 * MIB, "uid-vital": 900 * MIB}

Scene = Callable[[World, dict[str, Level]], Awaitable[None]]


def play(root: Path, monkeypatch: pytest.MonkeyPatch, scene: Scene, **settings: Any) -> None:
    levels = {"memory.available": PLENTY}
    monkeypatch.setattr(registration, "measure", lambda layout: dict(levels))

    def uses(state: RuntimeState, resource: str) -> Use | None:
        used = USES[state.sandboxes[-1].labels["io.kubernetes.pod.uid"]]
        return Use(used, {"app": used})

    monkeypatch.setattr(pressure_eviction, "measure_kernel_use", uses)

    async def whole() -> None:
        thresholds = {"eviction": parse_thresholds(THRESHOLDS), "evicts": True}
        async with world(root, **(thresholds | settings)) as made:
            for name in ("large", "small", "vital"):
                priority = {"priority": 2 * 10**9} if name == "vital" else {}
                await made.create(make_pod(name, container("app"), **priority))
            await scene(made, levels)

    asyncio.run(whole())


def phases(made: World) -> list[str]:
    return [made.status(name)["phase"] for name in ("large", "small", "vital")]


def disruption(status: Object) -> Object:
    found: Object = next(c for c in status["conditions"] if c["type"] == "DisruptionTarget")
    return found


def test_one_after_the_other_has_to_go_until_there_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(made: World, levels: dict[str, Level]) -> None:
        await made.pass_time(PAUSE)
        assert phases(made) == ["Running"] * 3
        levels["memory.available"] = LITTLE
        await made.pass_time(PAUSE)
        assert phases(made) == ["Failed", "Running", "Running"]
        status = made.status("large")
        assert (status["reason"], status["message"]) == (
            "Evicted",
            "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
            "Container app was using 30Mi, request is 0, has larger consumption of memory. ",
        )
        told = disruption(status)
        assert (told["status"], told["reason"]) == ("True", "TerminationByKubelet")
        assert told["message"] == status["message"]
        await made.events_written()
        assert ("Evicted", status["message"]) in made.api.events()
        assert ("EvictionThresholdMet", "Attempting to reclaim memory") in made.api.events()
        levels["memory.available"] = PLENTY
        await made.pass_time(PAUSE)
        assert phases(made) == ["Failed", "Running", "Running"]

    play(tmp_path, monkeypatch, scene)


def test_critical_pods_stay_whatever_they_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(made: World, levels: dict[str, Level]) -> None:
        levels["memory.available"] = LITTLE
        for _ in range(6):
            await made.pass_time(PAUSE)
        assert phases(made) == ["Failed", "Failed", "Running"]
        assert caplog.text.count("short of memory, and no Pod can be evicted") == 1

    play(tmp_path, monkeypatch, scene)


def test_a_daemon_that_starts_on_a_short_node_knows_its_pods_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = {"eviction": parse_thresholds(THRESHOLDS), "evicts": True}

    async def scene(made: World, levels: dict[str, Level]) -> None:
        await made.kubelet.stop()
        levels["memory.available"] = LITTLE
        async with world(tmp_path, old=made, **settings) as restarted:
            await restarted.pass_time(PAUSE)
            assert phases(restarted)[0] == "Failed"
        assert "no Pod can be evicted" not in caplog.text

    play(tmp_path, monkeypatch, scene)


def test_a_pod_that_is_being_made_is_no_pod_that_cannot_be_evicted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def scene(made: World, levels: dict[str, Level]) -> None:
        for name in ("large", "small"):
            await made.delete(name, grace=0)
        reached, go = made.runtime.gate("run_sandbox")
        creating = asyncio.create_task(made.create(make_pod("small", container("app"))))
        await reached.wait()
        levels["memory.available"] = LITTLE
        await made.pass_time(PAUSE)
        assert "no Pod can be evicted" not in caplog.text
        go.set()
        await creating
        await made.pass_time(PAUSE)
        assert made.status("small")["phase"] == "Failed"

    play(tmp_path, monkeypatch, scene)


def test_who_is_on_the_way_out_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(made: World, levels: dict[str, Level]) -> None:
        reached, go = made.runtime.gate("stop_container")
        levels["memory.available"] = LITTLE
        await made.pass_time(PAUSE)
        await reached.wait()
        await made.pass_time(PAUSE)
        assert sorted(made.runtime.running()) == ["app"] * 3
        assert phases(made)[1] == "Running"
        go.set()
        await made.settle()
        await made.pass_time(PAUSE)
        assert phases(made) == ["Failed", "Failed", "Running"]

    play(tmp_path, monkeypatch, scene)


def test_who_writes_the_most_goes_first_when_a_disk_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(made: World, levels: dict[str, Level]) -> None:
        for identifier, spec in made.runtime.specs.items():
            upper = made.config.layout.containers / identifier / "upper"
            upper.mkdir(parents=True)
            size = 65536 if spec.labels["io.kubernetes.pod.name"] == "small" else 4096
            (upper / "written").write_bytes(b"x" * size)
        levels["nodefs.available"] = Level(9 * MIB, 100 * MIB)
        await made.pass_time(PAUSE)
        assert phases(made) == ["Running", "Failed", "Running"]
        assert made.status("small")["message"].startswith(
            "The node was low on resource: ephemeral-storage. Threshold quantity: 10Mi, available: 9Mi. "
            "Container app was using 64Ki, request is 0, has larger consumption of ephemeral-storage. "
        )

    play(tmp_path, monkeypatch, scene)


def test_nobody_is_evicted_where_nobody_asked_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scene(made: World, levels: dict[str, Level]) -> None:
        levels["memory.available"] = LITTLE
        await made.pass_time(PAUSE)
        assert phases(made) == ["Running"] * 3

    play(tmp_path, monkeypatch, scene, evicts=False)


def test_a_disk_of_images_alone_is_not_won_back_by_pods(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, levels = make_config(tmp_path).layout, {"imagefs.available": LITTLE}
    assert reclaimable(levels, place) == levels
    monkeypatch.setattr(pressure_eviction, "_device", lambda path: path == place.images)
    assert reclaimable(levels, place) == {}
