"""The Node and its Lease: made once, renewed in time, and put right when another has turned them."""

import asyncio
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.api.errors import status_error
from minipod.client import Object, Request
from minipod.eventing import Recorder
from minipod.node import registration
from minipod.node.pressure import HOLD, Level, parse_thresholds
from minipod.node.registration import (
    HEARTBEAT,
    LEASES,
    LEASES_NAMESPACE,
    RENEWAL,
    RETRY,
    Registration,
)
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

from .pods import NODE, make_config


class Scene:
    def __init__(self, root: Path, thresholds: str = "") -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        config = dataclasses.replace(make_config(root), eviction=parse_thresholds(thresholds))
        client = self.api.client()
        self.recorder = Recorder(client, self.clock, "kubelet", NODE)
        self.registration = Registration(client, config, self.clock, self.recorder)

    async def pass_time(self, seconds: float) -> None:
        self.clock.advance(seconds)
        for _ in range(60):
            await asyncio.sleep(0)

    def lease(self) -> Object:
        return self.api.objects[LEASES, LEASES_NAMESPACE, NODE]

    def ready(self) -> Object:
        return self.condition("Ready")

    def condition(self, name: str) -> Object:
        known = self.api.objects["nodes", "", NODE]["status"]["conditions"]
        found: Object = next(each for each in known if each["type"] == name)
        return found

    def writes(self) -> int:
        """How often the Node's status was written."""
        asked = self.api.requests
        return sum(each.resource == "nodes" and each.subresource == "status" for each in asked)


def play(
    root: Path, steps: Any, before: Callable[[Scene], None] = lambda _: None, **given: Any
) -> None:
    async def whole() -> None:
        scene = Scene(root, **given)
        before(scene)
        await scene.registration.start()
        await scene.pass_time(0)
        await steps(scene)
        await scene.registration.stop()

    asyncio.run(whole())


@pytest.mark.parametrize("former", [{}, {"metadata": {"labels": {"theirs": "x"}}}])
def test_what_cannot_be_written_keeps_no_daemon_down(tmp_path: Path, former: Object) -> None:
    full = status_error(500, "InternalError", "disk is full")

    def disk_is_full(scene: Scene) -> None:
        if former:
            scene.api._store("nodes", {"metadata": {"name": NODE, **former["metadata"]}}, "ADDED")
        scene.api.failures = [full] * 3

    async def steps(scene: Scene) -> None:
        for _ in range(4):
            await scene.pass_time(RETRY)
        assert scene.ready()["status"] == "True"
        assert scene.lease()["spec"]["holderIdentity"] == NODE
        labels = scene.api.objects["nodes", "", NODE]["metadata"]["labels"]
        assert (
            labels.items()
            >= {"kubernetes.io/os": "linux", **former.get("metadata", {}).get("labels", {})}.items()
        )

    play(tmp_path, steps, disk_is_full)


def test_the_lease_is_renewed_and_the_status_seldom_written(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        first = scene.lease()
        assert first["spec"]["holderIdentity"] == NODE
        assert first["metadata"]["ownerReferences"][0]["kind"] == "Node"
        await scene.pass_time(RENEWAL)
        assert scene.lease()["spec"]["renewTime"] > first["spec"]["renewTime"]
        before, beat = scene.writes(), scene.ready()["lastHeartbeatTime"]
        for _ in range(int(HEARTBEAT / RENEWAL)):
            await scene.pass_time(RENEWAL)
        assert scene.writes() == before + 1
        assert scene.ready()["lastHeartbeatTime"] > beat

    play(tmp_path, steps)


def test_a_node_that_was_given_up_says_that_it_is_there(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        scene.ready().update(status="Unknown", reason="NodeStatusUnknown")
        await scene.pass_time(RENEWAL)
        assert (scene.ready()["status"], scene.ready()["reason"]) == ("True", "KubeletReady")
        await scene.recorder.flush()
        assert scene.api.events() == [("NodeReady", f"Node {NODE} status is now: NodeReady")]

    play(tmp_path, steps)


def test_a_runtime_that_is_away_is_told_at_once(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        scene.registration.set_ready(False)
        await scene.pass_time(0)
        assert (scene.ready()["status"], scene.ready()["reason"]) == ("False", "KubeletNotReady")

    play(tmp_path, steps)


def test_a_cordon_is_told_of_once(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        for unschedulable in (True, True, None):
            patch = {"spec": {"unschedulable": unschedulable}}
            await scene.api.client().patch("nodes", "", NODE, patch)
            await scene.pass_time(RENEWAL)
        await scene.recorder.flush()
        assert scene.api.events() == [
            (reason, f"Node {NODE} status is now: {reason}")
            for reason in ("NodeNotSchedulable", "NodeSchedulable")
        ]

    play(tmp_path, steps)


def test_a_node_that_was_deleted_is_made_again(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        await scene.api.client().delete("nodes", "", NODE)
        await scene.pass_time(RENEWAL)
        assert scene.ready()["status"] == "True"
        before = scene.lease()["spec"]["renewTime"]
        await scene.pass_time(RENEWAL)
        assert scene.lease()["spec"]["renewTime"] > before

    play(tmp_path, steps)


def test_a_lease_that_has_no_namespace_is_no_node_that_has_gone(tmp_path: Path) -> None:
    async def steps(scene: Scene) -> None:
        create = scene.api._create

        def refuse(request: Request) -> Object:
            if request.resource == LEASES:
                raise status_error(404, "NotFound", 'namespaces "kube-node-lease" not found')
            return create(request)

        scene.api._create = refuse  # type: ignore[method-assign]
        await scene.api.client().delete(LEASES, LEASES_NAMESPACE, NODE)
        asked = len(scene.api.requests)
        await scene.pass_time(RENEWAL)
        made = [each.resource for each in scene.api.requests[asked:] if each.verb == "create"]
        assert made == [LEASES]
        scene.api._create = create  # type: ignore[method-assign]
        await scene.pass_time(RENEWAL)
        assert scene.lease()["spec"]["holderIdentity"] == NODE

    play(tmp_path, steps)


def test_a_pressure_is_told_with_an_event_and_stays_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = {"memory.available": Level(1000, 2000)}
    monkeypatch.setattr(registration, "measure", lambda layout: dict(left))

    async def steps(scene: Scene) -> None:
        assert scene.condition("MemoryPressure")["status"] == "False"
        left["memory.available"] = Level(99, 2000)
        await scene.pass_time(RENEWAL)
        told = scene.condition("MemoryPressure")
        assert (told["status"], told["reason"]) == ("True", "KubeletHasInsufficientMemory")
        assert scene.condition("DiskPressure")["status"] == "False"
        left["memory.available"] = Level(1000, 2000)
        await scene.pass_time(HOLD - 1)
        assert scene.condition("MemoryPressure")["status"] == "True"
        await scene.pass_time(RENEWAL)
        told = scene.condition("MemoryPressure")
        assert (told["status"], told["reason"]) == ("False", "KubeletHasSufficientMemory")
        await scene.recorder.flush()
        assert scene.api.events() == [
            (reason, f"Node {NODE} status is now: {reason}")
            for reason in ("NodeHasInsufficientMemory", "NodeHasSufficientMemory")
        ]

    play(tmp_path, steps, thresholds="memory.available<100,nodefs.available<10%")
