"""NoExecute taints: who goes at once, who later, who stays, and what is told of it. With a fake clock."""

import asyncio
from typing import Any

import pytest

from minipod.client import Object
from minipod.controllers.taint_eviction import TaintEviction, compute_stay
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

TAINT = {"key": "gone", "value": "away", "effect": "NoExecute"}


def tolerates(seconds: int | None = None, **fields: Any) -> Object:
    made: Object = {"key": "gone", "operator": "Exists", **fields}
    return made if seconds is None else {**made, "tolerationSeconds": seconds}


@pytest.mark.parametrize(
    ("tolerations", "taints", "stay"),
    [
        ([], [], None),
        ([], [TAINT], 0),
        ([tolerates()], [TAINT], None),
        ([tolerates(30)], [TAINT], 30),
        ([tolerates(30), tolerates(10)], [TAINT], 10),
        ([tolerates(30), tolerates()], [TAINT], 30),
        ([tolerates(-5)], [TAINT], 0),
        ([tolerates(effect="NoSchedule")], [TAINT], 0),
        ([tolerates(30)], [TAINT, {"key": "other", "effect": "NoExecute"}], 0),
        ([{"operator": "Exists"}], [TAINT], None),
    ],
)
def test_how_long_a_pod_may_stay(tolerations: Any, taints: Any, stay: float | None) -> None:
    assert compute_stay({"spec": {"tolerations": tolerations}}, taints) == stay


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        self.controller = TaintEviction(self.api.client(), self.clock)

    async def pod(self, name: str, *tolerations: Object) -> None:
        metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}"}
        spec = {"nodeName": "n1", "containers": [{"name": "c"}], "tolerations": list(tolerations)}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self.api.client().create("pods", "default", pod)
        await self.settle()

    async def taint(self, *taints: Object) -> None:
        patch = {"spec": {"taints": list(taints)}}
        await self.api.client().patch("nodes", "", "n1", patch)
        await self.settle()

    async def settle(self) -> None:
        for _ in range(3):
            for _ in range(30):
                await asyncio.sleep(0)
            self.clock.advance(0)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.settle()

    def alive(self) -> list[str]:
        return sorted(
            name
            for (resource, _, name), obj in self.api.objects.items()
            if resource == "pods" and "deletionTimestamp" not in obj["metadata"]
        )


def play(steps: Any) -> None:
    async def whole() -> None:
        scene = Scene()
        node = {"metadata": {"name": "n1"}, "spec": {}}
        await scene.api.client().create("nodes", "", node)
        await scene.controller.start()
        await steps(scene)
        await scene.controller.stop()

    asyncio.run(whole())


def test_a_taint_drives_away_by_tolerations_and_in_time() -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("none")
        await scene.pod("some", tolerates(30))
        await scene.pod("ever", tolerates())
        await scene.taint(TAINT)
        assert scene.alive() == ["ever", "some"]
        gone = scene.api.objects.get(("pods", "default", "none"))
        if gone is not None:  # its node has still to end it
            [told] = [c for c in gone["status"]["conditions"] if c["type"] == "DisruptionTarget"]
            assert told["reason"] == "DeletionByTaintManager"
        await scene.pass_time(29)
        assert scene.alive() == ["ever", "some"]
        await scene.pass_time(1)
        assert scene.alive() == ["ever"]

    play(steps)


def test_a_taint_that_is_taken_back_spares_who_still_waits() -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("some", tolerates(30))
        await scene.taint(TAINT)
        await scene.pass_time(20)
        await scene.taint()
        await scene.pass_time(100)
        assert scene.alive() == ["some"]

    play(steps)


def test_other_effects_drive_nobody_away() -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("some")
        await scene.taint({**TAINT, "effect": "NoSchedule"})
        assert scene.alive() == ["some"]

    play(steps)
