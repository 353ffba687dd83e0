"""Pods of nodes that do not exist: removed in time, and spared when the node comes. With a fake clock."""

import asyncio
from collections.abc import Awaitable, Callable

from minipod.client import Object
from minipod.controllers.pod_garbage import MESSAGE, QUARANTINE, PodGarbage
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

Scene = Callable[[FakeApi, FakeClock], Awaitable[None]]


def pod(name: str, on: str = "", phase: str = "Pending") -> Object:
    spec: Object = {"containers": [{"name": "c"}]}
    if on:
        spec["nodeName"] = on
    metadata = {"name": name, "namespace": "default", "uid": name, "generation": 1}
    return {"metadata": metadata, "spec": spec, "status": {"phase": phase}}


async def settle() -> None:
    for _ in range(300):
        await asyncio.sleep(0)


def play(scene: Scene) -> None:
    async def whole() -> None:
        clock = FakeClock()
        api = FakeApi(clock)
        client = api.client()
        await client.create("nodes", "", {"metadata": {"name": "here"}})
        collector = PodGarbage(client, clock)
        await collector.start()
        await scene(api, clock)
        await collector.stop()

    asyncio.run(whole())


def names(api: FakeApi) -> list[str]:
    return sorted(each["metadata"]["name"] for each in api.all("pods"))


def test_a_pod_of_no_node_is_failed_and_removed_in_time() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        for made in (pod("lost", "nowhere"), pod("waits"), pod("runs", "here")):
            await api.client().create("pods", "default", made)
        await settle()
        clock.advance(QUARANTINE - 1)
        await settle()
        assert names(api) == ["lost", "runs", "waits"]
        clock.advance(1)
        await settle()
        assert names(api) == ["runs", "waits"]
        patch = next(each for each in api.requests if each.subresource == "status")
        assert patch.body["status"]["phase"] == "Failed"
        [told] = patch.body["status"]["conditions"]
        assert (told["reason"], told["message"]) == ("DeletionByPodGC", MESSAGE)

    play(scene)


def test_pods_go_with_their_node_and_stay_if_it_comes() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client = api.client()
        await client.create("pods", "default", pod("runs", "here", "Succeeded"))
        await client.create("pods", "default", pod("early", "late"))
        await settle()
        await client.create("nodes", "", {"metadata": {"name": "late"}})
        await client.delete("nodes", "", "here")
        await settle()
        clock.advance(QUARANTINE)
        await settle()
        assert names(api) == ["early"]

    play(scene)


def test_a_pod_is_judged_as_it_is_when_its_time_is_up() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client = api.client()
        await client.create("pods", "default", pod("done", "nowhere"))
        await settle()
        over = {"status": {"phase": "Succeeded"}}
        await client.patch("pods", "default", "done", over, subresource="status")
        await settle()
        clock.advance(QUARANTINE)
        await settle()
        assert names(api) == []
        patches = [each.body for each in api.requests if each.subresource == "status"]
        assert patches == [over]

    play(scene)


def test_one_that_was_made_anew_while_nodes_changed_goes_too() -> None:
    async def scene(api: FakeApi, clock: FakeClock) -> None:
        client = api.client()
        await client.create("pods", "default", pod("web", "nowhere"))
        await settle()
        # between the end of one watch and the next
        await client.create("nodes", "", {"metadata": {"name": "other"}})
        await client.delete("pods", "default", "web", grace_period_seconds=0)
        anew = pod("web", "nowhere")
        anew["metadata"]["uid"] = "again"
        await client.create("pods", "default", anew)
        await settle()
        for _ in range(2):
            clock.advance(QUARANTINE)
            await settle()
        assert names(api) == []

    play(scene)
