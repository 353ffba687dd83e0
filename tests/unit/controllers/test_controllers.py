"""The control loops over a fake API: what they make, bind, report and remove."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from minipod.api.errors import status_error
from minipod.client import Object
from minipod.clock import format_time
from minipod.controllers.bootstrap import Bootstrap
from minipod.controllers.events import EventExpiry
from minipod.controllers.namespaces import NamespaceController
from minipod.controllers.scheduler import Scheduler
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock
from tests.unit.controllers.test_placement import node

TAINT = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
Scene = Callable[[FakeApi, FakeClock], Coroutine[Any, Any, None]]


def play(scene: Scene) -> None:
    async def whole() -> None:
        clock = FakeClock()
        await asyncio.wait_for(scene(FakeApi(clock), clock), 20)

    asyncio.run(whole())


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def pod(name: str, **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "default"}
    return {"kind": "Pod", "metadata": metadata, "spec": {"containers": [{"name": "c"}], **spec}}


async def create(api: FakeApi, resource: str, obj: Object) -> None:
    await api.client().create(resource, obj["metadata"].get("namespace", ""), obj)
    await settle()


def bound(api: FakeApi, name: str) -> str:
    return str(api.objects["pods", "default", name]["spec"].get("nodeName", ""))


# -- scheduler -------------------------------------------------------------------------------------


def test_a_pod_is_bound_and_the_event_says_where():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        await create(api, "nodes", node("n1"))
        scheduler = Scheduler(api.client(), clock)
        await scheduler.start()
        await create(api, "pods", pod("a"))
        await scheduler.wait_idle()
        assert bound(api, "a") == "n1"
        await scheduler.stop()
        assert api.events() == [("Scheduled", "Successfully assigned default/a to n1")]

    play(scene)


def test_an_unschedulable_pod_is_told_once_and_bound_when_there_is_room():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        scheduler = Scheduler(api.client(), clock)
        await scheduler.start()
        await create(api, "pods", pod("a", nodeSelector={"disk": "ssd"}))
        conditions = api.objects["pods", "default", "a"]["status"]["conditions"]
        assert conditions[0]["reason"] == "Unschedulable"
        assert conditions[0]["message"] == "no nodes available to schedule pods"
        await create(api, "nodes", node("n1", labels={"disk": "hdd"}))
        assert bound(api, "a") == ""
        await create(api, "nodes", node("n2", labels={"disk": "ssd"}))
        assert bound(api, "a") == "n2"
        await scheduler.stop()
        assert [reason for reason, _ in api.events()] == [
            "FailedScheduling",
            "FailedScheduling",
            "Scheduled",
        ]

    play(scene)


def test_a_node_that_changes_while_a_pod_is_told_no_is_looked_at_again():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        scheduler = Scheduler(api.client(), clock)
        await scheduler.start()
        await create(api, "nodes", node("n1"))
        client = api.client()
        for pause in range(12):  # at each moment of its being told
            spec: Object = {"taints": [TAINT], "unschedulable": True}
            await client.patch("nodes", "", "n1", {"spec": spec})
            await create(api, "pods", pod("a"))
            await client.patch("nodes", "", "n1", {"spec": {"unschedulable": None}})
            for _ in range(pause):
                await asyncio.sleep(0)
            await client.patch("nodes", "", "n1", {"spec": {"taints": None}})
            await settle()
            assert bound(api, "a") == "n1", pause
            await client.delete("pods", "default", "a", grace_period_seconds=0)
            await settle()
        await scheduler.stop()

    play(scene)


def test_of_two_pods_racing_for_a_host_port_one_waits_for_the_other():
    ports = [{"name": "c", "ports": [{"containerPort": 80, "hostPort": 8080}]}]

    async def scene(api: FakeApi, clock: FakeClock) -> None:
        await create(api, "nodes", node("n1"))
        scheduler = Scheduler(api.client(), clock)
        await scheduler.start()
        client = api.client()
        both = [pod("a", containers=ports), pod("b", containers=ports)]
        await asyncio.gather(*(client.create("pods", "default", each) for each in both))
        await settle()
        winner, loser = ("a", "b") if bound(api, "a") else ("b", "a")
        assert bound(api, loser) == ""
        await client.delete("pods", "default", winner, grace_period_seconds=0)
        await settle()
        assert bound(api, loser) == "n1"
        await scheduler.stop()

    play(scene)


def test_what_is_not_for_us_is_left_alone():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        await create(api, "nodes", node("n1"))
        scheduler = Scheduler(api.client(), clock)
        await scheduler.start()
        await create(api, "pods", pod("other", schedulerName="mine"))
        await create(api, "pods", pod("gated", schedulingGates=[{"name": "g"}]))
        assert bound(api, "other") == bound(api, "gated") == ""
        await scheduler.stop()

    play(scene)


def test_a_binding_that_fails_is_tried_again():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        await create(api, "nodes", node("n1"))
        scheduler = Scheduler(api.client(), clock)
        await scheduler.start()
        await api.client().create("pods", "default", pod("a"))
        api.failures.append(status_error(500, "InternalError", "the disk is full"))
        await settle()
        assert bound(api, "a") == ""
        clock.advance(1)
        await settle()
        assert bound(api, "a") == "n1"
        await scheduler.stop()

    play(scene)


# -- bootstrap -------------------------------------------------------------------------------------


def test_every_namespace_has_its_account_and_keeps_it():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        await create(api, "namespaces", {"kind": "Namespace", "metadata": {"name": "first"}})
        bootstrap = Bootstrap(api.client())
        await bootstrap.start()
        await settle()
        assert ("serviceaccounts", "first", "default") in api.objects
        await create(api, "namespaces", {"kind": "Namespace", "metadata": {"name": "mine"}})
        assert ("serviceaccounts", "mine", "default") in api.objects
        await api.client().delete("serviceaccounts", "mine", "default")
        await settle()
        assert ("serviceaccounts", "mine", "default") in api.objects
        await bootstrap.stop()
        await Bootstrap(api.client()).start()

    play(scene)


# -- namespaces ------------------------------------------------------------------------------------


def ending(name: str) -> Object:
    metadata = {"name": name, "deletionTimestamp": "2026-01-01T00:00:00Z"}
    return {"kind": "Namespace", "metadata": metadata, "spec": {"finalizers": ["kubernetes"]}}


def test_a_namespace_goes_when_its_last_pod_has_ended():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        controller = NamespaceController(api.client(), clock)
        await controller.start()
        await create(api, "configmaps", {"metadata": {"name": "c", "namespace": "default"}})
        await create(api, "pods", pod("a", nodeName="n1"))
        await create(api, "namespaces", ending("default"))
        await controller.wait_idle()
        assert not api.all("configmaps")
        assert "deletionTimestamp" in api.all("pods")[0]["metadata"]
        assert api.all("namespaces")
        await api.client().delete("pods", "default", "a", grace_period_seconds=0)
        await settle()
        assert not api.all("namespaces")
        await controller.stop()

    play(scene)


# -- events ----------------------------------------------------------------------------------------


def test_events_are_removed_after_an_hour():
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        for name, age in (("old", 3700), ("young", 600)):
            seen = format_time(clock.now() - age)
            metadata = {"name": name, "namespace": "default"}
            await create(api, "events", {"metadata": metadata, "lastTimestamp": seen})
        expiry = EventExpiry(api.client(), clock)
        await expiry.start()
        clock.advance(60)
        await settle()
        assert [each["metadata"]["name"] for each in api.all("events")] == ["young"]
        assert clock.pending()[0] - clock.now() == pytest.approx(3000 - 60, abs=1)
        await expiry.stop()

    play(scene)
