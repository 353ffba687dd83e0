"""The disruption controller against a fake API: what it counts, when it counts again, and what it tells of."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minipod.api.errors import status_error
from minipod.client import Object, Request
from minipod.clock import format_time
from minipod.controllers.disruption import DELETION_TIMEOUT, STALE, DisruptionController
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

BUDGETS = "poddisruptionbudgets.policy"


class Scene:
    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        self.client = self.api.client()
        self.controller = DisruptionController(self.client, self.client, self.clock)

    async def settle(self) -> None:
        for _ in range(3):
            for _ in range(40):
                await asyncio.sleep(0)
            await self.controller.wait_idle()
            self.clock.advance(0)

    async def budget(self, name: str = "b", **spec: Any) -> None:
        metadata = {"name": name, "generation": 1}
        spec = {"selector": {"matchLabels": {"app": "web"}}, **spec}
        kind = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
        await self.client.create(BUDGETS, "default", {**kind, "metadata": metadata, "spec": spec})
        await self.settle()

    async def pod(self, name: str, ready: bool = True, owner: Object | None = None) -> None:
        metadata: Object = {"name": name, "labels": {"app": "web"}, "uid": f"uid-{name}"}
        if owner:
            metadata["ownerReferences"] = [{**owner, "controller": True}]
        conditions = [{"type": "Ready", "status": str(ready)}]
        status = {"phase": "Running", "conditions": conditions}
        spec = {"nodeName": "n", "containers": [{"name": "c"}]}
        pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
        await self.client.create("pods", "default", {**pod, "status": status})
        await self.settle()

    async def owner(
        self, resource: str, kind: str, name: str, replicas: int, **more: Any
    ) -> Object:
        made = await self.client.create(
            resource,
            "default",
            {"metadata": {"name": name, **more}, "spec": {"replicas": replicas}},
        )
        return {
            "apiVersion": "apps/v1",
            "kind": kind,
            "name": name,
            "uid": made["metadata"]["uid"],
        }

    def status(self, name: str = "b") -> Object:
        status: Object = self.api.objects[BUDGETS, "default", name]["status"]
        return status

    def numbers(self) -> tuple[int, int, int, int]:
        status = self.status()
        names = ("expectedPods", "currentHealthy", "desiredHealthy", "disruptionsAllowed")
        expected, healthy, desired, allowed = (status[name] for name in names)
        return expected, healthy, desired, allowed

    async def events(self) -> list[tuple[str, str]]:
        await self.controller._recorder.flush()
        return self.api.events()


def play(steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        scene = Scene()
        await scene.controller.start()
        await steps(scene)
        await scene.controller.stop()

    asyncio.run(whole())


def test_a_budget_follows_its_pods() -> None:
    async def steps(scene: Scene) -> None:
        await scene.budget(minAvailable=1)
        assert scene.numbers() == (0, 0, 1, 0)
        assert await scene.events() == [("NoPods", "No matching pods found")]
        await scene.pod("one")
        await scene.pod("two", ready=False)
        assert scene.numbers() == (2, 1, 1, 0)
        await scene.pod("three")
        assert scene.numbers() == (3, 2, 1, 1)
        assert scene.status()["conditions"][0]["reason"] == "SufficientPods"
        await scene.client.delete("pods", "default", "one")
        await scene.settle()
        assert scene.numbers() == (3, 1, 1, 0)  # it is going: no longer healthy, still there
        patch = {"metadata": {"labels": {"app": "other"}}}
        await scene.client.patch("pods", "default", "three", patch)
        await scene.settle()
        assert scene.numbers() == (2, 0, 1, 0)
        assert len(await scene.events()) == 1

    play(steps)


def test_a_share_is_one_of_what_the_controllers_keep() -> None:
    async def steps(scene: Scene) -> None:
        await scene.budget(maxUnavailable=1)
        deployment = await scene.owner("deployments.apps", "Deployment", "d", 4)
        above = [{**deployment, "controller": True}]
        managed = await scene.owner("replicasets.apps", "ReplicaSet", "r", 3, ownerReferences=above)
        alone = await scene.owner("statefulsets.apps", "StatefulSet", "s", 2)
        await scene.pod("one", owner=managed)
        await scene.pod("two", owner=managed)
        await scene.pod("three", owner=alone)
        assert scene.numbers() == (6, 3, 5, 0)

    play(steps)


def test_pods_without_a_controller_are_told_of() -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("one")
        await scene.budget(maxUnavailable=1)
        assert scene.numbers() == (0, 1, 0, 0)
        ((reason, message),) = await scene.events()
        assert reason == "UnmanagedPods"
        assert "(selector: &LabelSelector{MatchLabels:map[string]string{app: web,}" in message

    play(steps)


@pytest.mark.parametrize(
    ("owner", "why"),
    [
        (("apps/v1", "ReplicaSet"), 'found no controllers for pod "one"'),
        (("batch/v1", "Job"), "jobs.batch does not implement the scale subresource"),
        (("example.com/v1", "Thing"), 'no matches for kind "Thing" in version "example.com/v1"'),
    ],
)
def test_what_cannot_be_counted_is_told_and_lets_nobody_go(
    owner: tuple[str, str], why: str
) -> None:
    async def steps(scene: Scene) -> None:
        version, kind = owner
        await scene.pod("one", owner={"apiVersion": version, "kind": kind, "name": "x", "uid": "u"})
        await scene.budget(minAvailable="50%")
        condition = scene.status()["conditions"][0]
        assert scene.status()["disruptionsAllowed"] == 0
        assert (condition["reason"], condition["message"]) == ("SyncFailed", why)
        told = f"Failed to calculate the number of expected pods: {why}"
        assert await scene.events() == [("CalculateExpectedPodCountFailed", told)]

    play(steps)


def test_a_pod_that_was_let_go_nobody_says_when_counts() -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("one")
        await scene.budget(minAvailable=0)
        status = {**scene.status(), "disruptedPods": {"one": None}}
        budget = await scene.client.get(BUDGETS, "default", "b")
        await scene.client.update(
            BUDGETS, "default", {**budget, "status": status}, subresource="status"
        )
        await scene.settle()
        assert scene.numbers() == (1, 1, 0, 1)
        assert "disruptedPods" not in scene.status()

    play(steps)


def test_a_pod_that_was_let_go_and_stays_counts_again() -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("one")
        await scene.budget(minAvailable=0)
        assert scene.numbers() == (1, 1, 0, 1)
        status = {**scene.status(), "disruptedPods": {"one": format_time(scene.clock.now())}}
        await scene.client.patch(BUDGETS, "default", "b", {"status": status})
        await scene.settle()
        assert scene.numbers() == (1, 0, 0, 0)
        scene.clock.advance(DELETION_TIMEOUT + 1)
        await scene.settle()
        assert scene.numbers() == (1, 1, 0, 1)
        assert "disruptedPods" not in scene.status()
        assert await scene.events() == [
            ("NotDeleted", "Pod was expected by PDB default/b to be deleted but it wasn't")
        ]

    play(steps)


def test_a_pod_of_two_budgets_is_told_of_once() -> None:
    async def steps(scene: Scene) -> None:
        await scene.budget("a", minAvailable=0)
        await scene.budget("b", minAvailable=0)
        await scene.pod("one")
        patch = {"status": {"phase": "Failed"}}
        await scene.client.patch("pods", "default", "one", patch)
        await scene.settle()
        found = [each for each in await scene.events() if each[0] == "MultiplePodDisruptionBudgets"]
        assert [message for _, message in found] == [
            'Pod "default"/"one" matches multiple PodDisruptionBudgets: a, b'
        ]

    play(steps)


def test_a_pod_that_stays_is_written_anew_when_it_has_changed_meanwhile_and_nothing_is_told(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("one")
        since = format_time(scene.clock.now())
        condition = {"type": "DisruptionTarget", "status": "True", "lastTransitionTime": since}
        for number in range(3):
            labels = {"metadata": {"labels": {"seen": str(number)}}}
            await scene.client.patch(
                "pods", "default", "one", {"status": {"conditions": [condition]}} | labels
            )
            await scene.settle()
        assert len(scene.clock.pending()) == 1
        update = scene.api._update

        def conflicting(request: Request) -> Object:
            """Somebody is faster, and the Pod that the controller knows is not the newest."""
            scene.api._update = update  # type: ignore[method-assign]
            changed = scene.api.objects["pods", "default", "one"]
            changed["metadata"]["labels"] = {"seen": "last"}
            scene.api._store("pods", changed, "MODIFIED")
            raise status_error(409, "Conflict", "the object has been modified")

        scene.api._update = conflicting  # type: ignore[method-assign]
        scene.clock.advance(STALE + 1)
        await scene.settle()
        pod = scene.api.objects["pods", "default", "one"]
        assert pod["status"]["conditions"][0]["status"] == "False"
        assert pod["metadata"]["labels"] == {"seen": "last"}
        assert scene.clock.pending() == []

    play(steps)
    assert caplog.messages == []


@pytest.mark.parametrize(
    ("reason", "after"), [("EvictionByEvictionAPI", "False"), ("TerminationByKubelet", "True")]
)
def test_a_pod_that_was_to_be_disrupted_and_stays_says_so_no_more(reason: str, after: str) -> None:
    async def steps(scene: Scene) -> None:
        await scene.pod("one")
        condition = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": reason,
            "lastTransitionTime": format_time(scene.clock.now()),
        }
        patch = {"status": {"conditions": [condition]}}
        await scene.client.patch("pods", "default", "one", patch)
        await scene.settle()

        def found() -> Object:
            (first,) = scene.api.objects["pods", "default", "one"]["status"]["conditions"]
            return dict(first)

        scene.clock.advance(STALE - 1)
        await scene.settle()
        assert found()["status"] == "True"
        scene.clock.advance(2)
        await scene.settle()
        assert found()["status"] == after
        assert ("reason" in found()) is (after == "True")

    play(steps)
