"""What stands behind a Service, and keeping it so."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from minipod.client import Object
from minipod.controllers.endpoint_slices import EndpointSliceController
from minipod.controllers.endpoints import (
    compute_changes,
    compute_endpoints,
    compute_groups,
    compute_slices,
)
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

SLICES = "endpointslices.discovery.k8s.io"


def _service(**spec: Any) -> Object:
    metadata = {"name": "web", "namespace": "default", "uid": "s", "labels": {"team": "x"}}
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    return {"metadata": metadata, "spec": {"selector": {"app": "web"}, "ports": ports, **spec}}


def _pod(name: str, ip: str, ready: bool = True, **more: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "uid": name, "labels": {"app": "web"}}
    metadata |= more.pop("metadata", {})
    condition = {"type": "Ready", "status": str(ready)}
    status = {"podIP": ip, "phase": "Running", "conditions": [condition], **more.pop("status", {})}
    spec = {"nodeName": "n", "containers": [{"name": "c"}], **more}
    return {"metadata": metadata, "spec": spec, "status": status}


def _conditions(service: Object, pod: Object) -> list[bool]:
    [group] = compute_groups(service, [pod])
    found = group.endpoints[0]["conditions"]
    return [found[name] for name in ("ready", "serving", "terminating")]


def test_conditions_follow_the_pod() -> None:
    ending = {"deletionTimestamp": "t"}
    assert _conditions(_service(), _pod("a", "1")) == [True, True, False]
    assert _conditions(_service(), _pod("a", "1", False)) == [False, False, False]
    assert _conditions(_service(), _pod("a", "1", metadata=ending)) == [False, True, True]
    early = _service(publishNotReadyAddresses=True)
    assert _conditions(early, _pod("a", "1", False)) == [True, True, False]


def test_who_is_no_endpoint() -> None:
    others = [
        _pod("none", ""),
        _pod("done", "1", status={"phase": "Succeeded"}),
        _pod("other", "2", metadata={"labels": {"app": "db"}}),
    ]
    assert compute_groups(_service(), others) == []


def test_named_ports_are_each_pods_own() -> None:
    service = _service(ports=[{"port": 80, "targetPort": "web"}])
    pods = []
    for number, name in enumerate(("a", "b", "c")):
        port = {"name": "web", "containerPort": 8080 + number % 2}
        pods.append(_pod(name, f"10.0.0.{number}", containers=[{"name": "c", "ports": [port]}]))
    groups = compute_groups(service, pods)
    assert [(g.ports[0][2], len(g.endpoints)) for g in groups] == [(8080, 2), (8081, 1)]


def test_a_hostname_counts_for_its_own_service_alone() -> None:
    pod = _pod("a", "1", hostname="db-0", subdomain="web")
    assert compute_groups(_service(), [pod])[0].endpoints[0]["hostname"] == "db-0"
    pod["spec"]["subdomain"] = "other"
    assert "hostname" not in compute_groups(_service(), [pod])[0].endpoints[0]


def test_a_hundred_to_a_slice() -> None:
    pods = [_pod(f"p{n}", f"10.0.{n // 200}.{n % 200}") for n in range(250)]
    slices = compute_slices(_service(), compute_groups(_service(), pods), "m")
    assert [len(each["endpoints"]) for each in slices] == [100, 100, 50]


def test_slices_that_are_right_are_left_alone() -> None:
    groups = compute_groups(_service(), [_pod("a", "1"), _pod("b", "2")])
    [wanted] = compute_slices(_service(), groups, "m")
    named = {**wanted, "metadata": {**wanted["metadata"], "name": "web-1"}}
    nothing = compute_changes([wanted], [named])
    assert (nothing.create, nothing.update, nothing.delete) == ((), (), ())
    stray = {**named, "metadata": {**named["metadata"], "name": "web-0"}, "endpoints": []}
    changes = compute_changes([wanted], [stray, named])
    assert (changes.create, changes.update, changes.delete) == ((), (), ("web-0",))


def test_endpoints_leave_out_what_is_ending() -> None:
    ending = _pod("c", "3", metadata={"deletionTimestamp": "t"})
    pods = [_pod("a", "1"), _pod("b", "2", False), ending]
    [subset] = compute_endpoints(_service(), compute_groups(_service(), pods))["subsets"]
    assert [each["ip"] for each in subset["addresses"]] == ["1"]
    assert [each["ip"] for each in subset["notReadyAddresses"]] == ["2"]
    assert subset["ports"] == [{"name": "http", "protocol": "TCP", "port": 8080}]


Scene = Callable[[FakeApi, EndpointSliceController], Awaitable[None]]


def play(scene: Scene) -> None:
    """Run a scene beside a controller over a fake API."""

    async def body() -> None:
        clock = FakeClock()
        api = FakeApi(clock)
        client = api.client()
        controller = EndpointSliceController(client, client, client, clock)
        await controller.start()
        await scene(api, controller)
        await controller.stop()

    asyncio.run(body())


def test_the_controller_keeps_slices_in_step_and_mends_them() -> None:
    async def scene(api: FakeApi, controller: EndpointSliceController) -> None:
        client = api.client()
        await client.create("services", "default", _service())
        await client.create("pods", "default", _pod("a", "10.0.0.1"))
        assert await _addresses(api, controller) == [["10.0.0.1"]]
        await client.create("pods", "default", _pod("b", "10.0.0.2"))
        assert await _addresses(api, controller) == [["10.0.0.1", "10.0.0.2"]]
        assert len(api.all("endpoints")) == 1
        [found] = api.all(SLICES)
        await client.delete(SLICES, "default", found["metadata"]["name"])
        assert await _addresses(api, controller) == [["10.0.0.1", "10.0.0.2"]]
        await client.delete("services", "default", "web")
        assert await _addresses(api, controller) == []

    play(scene)


def test_a_slice_that_is_not_there_is_made_again() -> None:
    async def scene(api: FakeApi, controller: EndpointSliceController) -> None:
        client = api.client()
        await client.create("services", "default", _service())
        await client.create("pods", "default", _pod("a", "10.0.0.1"))
        assert await _addresses(api, controller) == [["10.0.0.1"]]
        [key] = [key for key in api.objects if key[0] == SLICES]
        del api.objects[key]  # and the controller has not heard of it
        await client.create("pods", "default", _pod("b", "10.0.0.2"))
        assert await _addresses(api, controller) == [["10.0.0.1", "10.0.0.2"]]
        [key] = [key for key in api.objects if key[0] == SLICES]
        del api.objects[key]
        await client.delete("pods", "default", "b", grace_period_seconds=0)
        await client.delete("pods", "default", "a", grace_period_seconds=0)
        assert await _addresses(api, controller) == []
        assert [each.get("subsets") for each in api.all("endpoints")] == [[]]

    play(scene)


def test_endpoints_made_by_hand_are_mirrored() -> None:
    async def scene(api: FakeApi, controller: EndpointSliceController) -> None:
        client = api.client()
        await client.create("services", "default", _service(selector=None))
        subset = {"addresses": [{"ip": "192.0.2.9"}], "ports": [{"port": 1}]}
        endpoints = {"metadata": {"name": "web"}, "subsets": [subset]}
        await client.create("endpoints", "default", endpoints)
        assert await _addresses(api, controller) == [["192.0.2.9"]]
        await client.delete("endpoints", "default", "web")
        assert await _addresses(api, controller) == []

    play(scene)


async def _addresses(api: FakeApi, controller: EndpointSliceController) -> list[list[str]]:
    for _ in range(5):
        for _ in range(30):
            await asyncio.sleep(0)
        await controller.wait_idle()
    found = sorted(api.all(SLICES), key=lambda each: str(each["metadata"]["name"]))
    return [[each["addresses"][0] for each in one["endpoints"]] for one in found]


def test_a_service_that_cannot_be_understood_is_told_of_once_and_keeps_up_no_other(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def whole() -> None:
        clock = FakeClock()
        api = FakeApi(clock)
        client = api.client()
        broken = _service(ports=[{"name": "http"}])
        broken["metadata"] = {**broken["metadata"], "name": "broken", "uid": "b"}
        for service in (broken, _service()):
            await client.create("services", "default", service)
        await client.create("pods", "default", _pod("a", "10.0.0.1"))
        controller = EndpointSliceController(client, client, client, clock)
        await controller.start()
        for _ in range(3):
            for _ in range(100):
                await asyncio.sleep(0)
            clock.advance(60)
        await controller.wait_idle()
        assert len(api.all(SLICES)) == 1
        await controller.stop()

    asyncio.run(whole())
    assert caplog.messages == [
        "endpoints of service \"default/broken\": KeyError('port'); trying again"
    ]
