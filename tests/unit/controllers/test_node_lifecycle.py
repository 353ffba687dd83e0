"""Nodes that fall silent and come back: conditions, taints, and what is told of their Pods. With a fake clock."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minipod.api.errors import status_error
from minipod.client import Object, Request
from minipod.clock import format_time
from minipod.controllers.node_lifecycle import (
    CONDITIONS,
    GRACE,
    LATE,
    LEASES,
    LEASES_NAMESPACE,
    STARTUP_GRACE,
    NodeLifecycle,
    compute_taints,
)
from minipod.controllers.taint_eviction import TaintEviction
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

PREFIX = "node.kubernetes.io/"


def condition(kind: str, status: str, beat: float = 0) -> Object:
    return {"type": kind, "status": status, "lastHeartbeatTime": format_time(beat), "reason": "R"}


def node(*conditions: Object, **spec: Any) -> Object:
    return {"metadata": {"name": "n"}, "spec": spec, "status": {"conditions": list(conditions)}}


@pytest.mark.parametrize(
    ("found", "anybody", "taints"),
    [
        (node(condition("Ready", "True")), True, []),
        (node(condition("Ready", "False")), True, ["not-ready:NoSchedule", "not-ready:NoExecute"]),
        (node(condition("Ready", "False")), False, ["not-ready:NoSchedule"]),
        (
            node(condition("Ready", "Unknown")),
            True,
            ["unreachable:NoSchedule", "unreachable:NoExecute"],
        ),
        (
            node(condition("Ready", "True"), condition("DiskPressure", "True")),
            True,
            ["disk-pressure:NoSchedule"],
        ),
        (node(condition("Ready", "True"), unschedulable=True), True, ["unschedulable:NoSchedule"]),
    ],
)
def test_taints_follow_the_conditions(found: Object, anybody: bool, taints: list[str]) -> None:
    made = compute_taints(found, anybody_ready=anybody)
    assert [f"{each['key'].removeprefix(PREFIX)}:{each['effect']}" for each in made] == taints


def test_others_taints_stay_and_ours_that_hold_keep_their_time() -> None:
    own = {"key": "mine", "value": "x", "effect": "NoExecute"}
    held = {"key": f"{PREFIX}not-ready", "effect": "NoSchedule", "timeAdded": "then"}
    gone = {"key": f"{PREFIX}unreachable", "effect": "NoExecute"}
    found = node(condition("Ready", "False"), taints=[own, held, gone])
    assert compute_taints(found, anybody_ready=False) == [own, held]


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        client = self.api.client()
        self.controller = NodeLifecycle(client, client, self.clock)
        self.eviction = TaintEviction(client, self.clock)

    async def add(self, name: str, *, reports: bool = True) -> None:
        metadata = {"name": name, "creationTimestamp": format_time(self.clock.now())}
        await self.api.client().create("nodes", "", {"metadata": metadata, "spec": {}})
        if reports:
            await self.beat(name)

    async def beat(self, name: str, ready: str = "True") -> None:
        told = [condition(each, "False", self.clock.now()) for each in CONDITIONS[1:]]
        told.append(condition("Ready", ready, self.clock.now()))
        patch = {"status": {"conditions": told}}
        await self.api.client().patch("nodes", "", name, patch, subresource="status")
        await self.settle()

    async def renew(self, name: str) -> None:
        client, spec = self.api.client(), {"renewTime": str(self.clock.now())}
        if (LEASES, LEASES_NAMESPACE, name) in self.api.objects:
            await client.patch(LEASES, LEASES_NAMESPACE, name, {"spec": spec})
        else:
            lease = {"metadata": {"name": name}, "spec": spec}
            await client.create(LEASES, LEASES_NAMESPACE, lease)
        await self.settle()

    async def pod(self, name: str, on: str) -> None:
        seconds = {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}
        made = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "namespace": "default", "uid": name, "generation": 1},
            "spec": {"nodeName": on, "containers": [{"name": "c"}], "tolerations": [seconds]},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        }
        await self.api.client().create("pods", "default", made)

    def conditions(self, name: str) -> dict[str, tuple[str, str]]:
        status = self.api.objects["nodes", "", name]["status"]
        return {each["type"]: (each["status"], each["reason"]) for each in status["conditions"]}

    def taints(self, name: str) -> list[str]:
        found = self.api.objects["nodes", "", name]["spec"].get("taints") or []
        return [f"{each['key'].removeprefix(PREFIX)}:{each['effect']}" for each in found]

    async def settle(self) -> None:
        for _ in range(4):
            for _ in range(60):
                await asyncio.sleep(0)
            self.clock.advance(0)

    async def pass_time(self, seconds: float, *renewing: str) -> None:
        while seconds > 0:
            self.clock.advance(min(seconds, LATE))
            seconds -= LATE
            await self.settle()
            for name in renewing:
                await self.renew(name)


def play(steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        scene = Scene()
        await scene.controller.start()
        await scene.eviction.start()
        await steps(scene)
        await scene.controller.stop()
        await scene.eviction.stop()

    asyncio.run(whole())


def test_a_node_that_falls_silent_is_unknown_and_loses_its_pods_in_five_minutes() -> None:
    async def steps(scene: Scene) -> None:
        for name in ("here", "lost"):
            await scene.add(name)
            await scene.renew(name)
        await scene.pod("web", "lost")
        await scene.pass_time(GRACE - 10, "here")
        assert scene.conditions("lost")["Ready"] == ("True", "R")
        await scene.pass_time(20, "here")
        assert set(scene.conditions("lost").values()) == {("Unknown", "NodeStatusUnknown")}
        assert scene.taints("lost") == ["unreachable:NoSchedule", "unreachable:NoExecute"]
        assert scene.conditions("here")["Ready"] == ("True", "R")
        assert scene.taints("here") == []
        pod = scene.api.objects["pods", "default", "web"]
        assert [each["status"] for each in pod["status"]["conditions"]] == ["False"]
        await scene.controller.wait_idle()
        assert ("NodeNotReady", "Node is not ready") in scene.api.events()
        assert ("NodeNotReady", "Node lost status is now: NodeNotReady") in scene.api.events()
        await scene.pass_time(280, "here")
        assert "deletionTimestamp" not in scene.api.objects["pods", "default", "web"]["metadata"]
        await scene.pass_time(30, "here")
        assert "deletionTimestamp" in scene.api.objects["pods", "default", "web"]["metadata"]

    play(steps)


def test_when_the_whole_machine_has_slept_no_node_is_silent() -> None:
    async def steps(scene: Scene) -> None:
        await scene.add("here")
        await scene.renew("here")
        await scene.pass_time(20, "here")
        scene.clock.advance(3600)
        await scene.settle()
        assert scene.conditions("here")["Ready"] == ("True", "R")
        await scene.pass_time(GRACE)
        assert scene.conditions("here")["Ready"] == ("Unknown", "NodeStatusUnknown")

    play(steps)


def test_a_node_that_comes_back_is_clean_again() -> None:
    async def steps(scene: Scene) -> None:
        await scene.add("here")
        await scene.add("lost")
        await scene.pass_time(70, "here")
        assert len(scene.taints("lost")) == 2
        await scene.beat("lost")
        assert (scene.taints("lost"), scene.conditions("lost")["Ready"]) == ([], ("True", "R"))

    play(steps)


def test_a_node_that_never_reports_is_given_longer() -> None:
    async def steps(scene: Scene) -> None:
        await scene.add("here")
        await scene.add("shy", reports=False)
        await scene.pass_time(STARTUP_GRACE - 10, "here")
        assert "status" not in scene.api.objects["nodes", "", "shy"]
        await scene.pass_time(20, "here")
        assert set(scene.conditions("shy").values()) == {("Unknown", "NodeStatusNeverUpdated")}

    play(steps)


def test_where_no_node_is_ready_nobody_is_driven_away() -> None:
    async def steps(scene: Scene) -> None:
        await scene.add("only")
        await scene.beat("only", "False")
        assert scene.taints("only") == ["not-ready:NoSchedule"]
        await scene.add("other")
        assert scene.taints("only") == ["not-ready:NoSchedule", "not-ready:NoExecute"]
        await scene.beat("other", "False")
        assert scene.taints("only") == ["not-ready:NoSchedule"]
        await scene.beat("only")
        assert (scene.taints("only"), len(scene.taints("other"))) == ([], 2)

    play(steps)


def test_pods_of_a_fallen_node_are_told_of_even_after_a_failure() -> None:
    async def steps(scene: Scene) -> None:
        for name in ("here", "lost"):
            await scene.add(name)
        await scene.pod("web", "lost")
        answer, refused = scene.api._list, []

        def once(request: Request) -> Object:
            if request.resource == "pods" and not refused:
                refused.append(request)
                raise status_error(503, "ServiceUnavailable", "busy")
            return answer(request)

        scene.api._list = once  # type: ignore[method-assign]
        await scene.beat("lost", "False")
        await scene.pass_time(10, "here")
        pod = scene.api.objects["pods", "default", "web"]
        assert refused
        assert [each["status"] for each in pod["status"]["conditions"]] == ["False"]

    play(steps)
