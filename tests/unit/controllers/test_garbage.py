"""The garbage collector and the end of namespaces, over the real API server."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.api.errors import StatusError
from minipod.client import Client
from minipod.clock import SystemClock
from minipod.controllers import garbage
from minipod.controllers.garbage import GarbageCollector
from minipod.controllers.namespaces import NamespaceController
from tests.unit.server.harness import Api, serve

Object = dict[str, Any]


class World:
    """A client, and words for owning things."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def make(
        self, name: str, *owners: Object, namespace: str = "default", **metadata: Any
    ) -> Object:
        """Make a ConfigMap that is owned, and blocks its owners' deletion."""
        references = [
            {
                "apiVersion": owner["apiVersion"],
                "kind": owner["kind"],
                "name": owner["metadata"]["name"],
                "uid": owner["metadata"]["uid"],
                "blockOwnerDeletion": True,
            }
            for owner in owners
        ]
        found: Object = {"name": name, **metadata}
        if references:
            found["ownerReferences"] = references
        return await self.client.create("configmaps", namespace, {"metadata": found})

    async def get(self, name: str, namespace: str = "default") -> Object:
        return await self.client.get("configmaps", namespace, name)

    async def names(self, namespace: str = "default") -> set[str]:
        found = await self.client.list("configmaps", namespace)
        return {item["metadata"]["name"] for item in found.items}

    async def until(self, condition: Callable[[], Awaitable[bool]]) -> None:
        """Wait for a change after which the condition holds."""
        listed = await self.client.list("configmaps")
        if await condition():
            return
        async for _ in self.client.watch("configmaps", resource_version=listed.resource_version):
            if await condition():
                return

    async def until_names(self, *names: str, namespace: str = "default") -> None:
        async def there() -> bool:
            return await self.names(namespace) == set(names)

        await self.until(there)


def play(root: Path, scene: Callable[[World], Awaitable[None]]) -> None:
    async def body(api: Api) -> None:
        collector = GarbageCollector(api.client, SystemClock())
        await collector.start()
        try:
            await asyncio.wait_for(scene(World(api.client)), 15)
        finally:
            await collector.stop()

    serve(root, body)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
def test_dependents_go_with_their_owner_down_the_generations(tmp_path: Path, policy: str) -> None:
    async def scene(world: World) -> None:
        owner = await world.make("owner")
        child = await world.make("child", owner)
        await world.make("grandchild", child)
        await world.make("stranger")
        await world.client.delete("configmaps", "default", "owner", propagation_policy=policy)
        if policy == "Foreground":
            marked = await world.get("owner")
            assert marked["metadata"]["finalizers"] == ["foregroundDeletion"]
        await world.until_names("stranger")

    play(tmp_path, scene)


def test_what_cannot_be_judged_ends_no_collection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    compute_action = garbage.compute_action

    def stumbling(node: garbage.Node, *more: Any) -> garbage.Action | None:
        if node.name == "cursed":
            raise KeyError("spec")
        return compute_action(node, *more)

    monkeypatch.setattr(garbage, "compute_action", stumbling)

    async def scene(world: World) -> None:
        owner = await world.make("owner")
        await world.make("cursed")
        await world.make("child", owner)
        for turn in ("one", "two"):
            changed = await world.get("cursed")
            changed["metadata"]["labels"] = {"turn": turn}
            await world.client.update("configmaps", "default", changed)
        await world.client.delete("configmaps", "default", "owner")
        await world.until_names("cursed")

    play(tmp_path, scene)
    told = [each.getMessage() for each in caplog.records if "cursed" in each.getMessage()]
    assert told == ["collecting configmaps \"default/cursed\": KeyError('spec'); trying again"]


def test_a_foreground_deletion_waits_for_what_blocks_it(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        owner = await world.make("owner")
        await world.make("child", owner, finalizers=["example.com/hold"])
        await world.client.delete("configmaps", "default", "owner", propagation_policy="Foreground")

        async def marked() -> bool:
            return "deletionTimestamp" in (await world.get("child"))["metadata"]

        await world.until(marked)
        assert await world.names() == {"owner", "child"}
        await world.client.patch(
            "configmaps", "default", "child", {"metadata": {"finalizers": None}}
        )
        await world.until_names()

    play(tmp_path, scene)


def test_orphans_stay_without_the_reference(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        owner = await world.make("owner")
        other = await world.make("other")
        await world.make("child", owner, other)
        await world.client.delete("configmaps", "default", "owner", propagation_policy="Orphan")
        await world.until_names("other", "child")
        found = (await world.get("child"))["metadata"]["ownerReferences"]
        assert [each["name"] for each in found] == ["other"]

    play(tmp_path, scene)


def test_one_of_two_owners_gone_leaves_the_dependent_to_the_other(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        first, second = await world.make("first"), await world.make("second")
        await world.make("child", first, second)
        await world.client.delete("configmaps", "default", "first")

        async def dropped() -> bool:
            found = (await world.get("child"))["metadata"]["ownerReferences"]
            return [each["name"] for each in found] == ["second"]

        await world.until(dropped)
        await world.client.delete("configmaps", "default", "second")
        await world.until_names()

    play(tmp_path, scene)


def test_an_owner_that_never_was_is_absent_and_one_of_an_unknown_kind_is_left_alone(
    tmp_path: Path,
) -> None:
    async def scene(world: World) -> None:
        owner = await world.make("owner")
        stale = {**owner, "metadata": {**owner["metadata"], "uid": "somebody-else"}}
        unknown = {**owner, "apiVersion": "example.com/v1", "kind": "Thing"}
        await world.make("kept", unknown)
        await world.make("gone", stale)
        await world.until_names("owner", "kept")

    play(tmp_path, scene)


def test_an_owner_in_another_namespace_is_none_and_an_event_says_so(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        await world.client.create("namespaces", "", {"metadata": {"name": "other"}})
        owner = await world.make("owner")
        await world.make("child", owner, namespace="other")
        await world.until_names(namespace="other")
        uid = owner["metadata"]["uid"]
        async for event in world.client.watch("events", "other"):
            assert event.object["reason"] == "OwnerRefInvalidNamespace"
            assert event.object["type"] == "Warning"
            assert event.object["message"] == (
                f"ownerRef [v1/ConfigMap, namespace: other, name: owner, uid: {uid}] "
                'does not exist in namespace "other"'
            )
            break

    play(tmp_path, scene)


def test_a_circle_of_owners_can_be_deleted_in_the_foreground(tmp_path: Path) -> None:
    async def scene(world: World) -> None:
        first = await world.make("first")
        second = await world.make("second", first)
        reference = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "name": "second",
            "uid": second["metadata"]["uid"],
            "blockOwnerDeletion": True,
        }
        change = {"metadata": {"ownerReferences": [reference]}}
        await world.client.patch("configmaps", "default", "first", change)
        await world.client.delete("configmaps", "default", "first", propagation_policy="Foreground")
        await world.until_names()

    play(tmp_path, scene)


def test_what_lost_its_owner_while_nobody_looked_is_found_at_the_start(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        world = World(api.client)
        owner = await world.make("owner")
        await world.make("child", owner)
        await world.client.delete("configmaps", "default", "owner")
        collector = GarbageCollector(api.client, SystemClock())
        await collector.start()
        await asyncio.wait_for(world.until_names(), 10)
        await collector.stop()

    serve(tmp_path, body)


def test_a_namespace_tells_what_it_waits_for_and_goes_when_that_has_gone(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        world = World(api.client)
        controller = NamespaceController(api.client, SystemClock())
        await controller.start()
        await api.client.create("namespaces", "", {"metadata": {"name": "n"}})
        await world.make("plain", namespace="n")
        await world.make("held", namespace="n", finalizers=["example.com/hold"])
        await api.client.delete("namespaces", "", "n")
        await controller.wait_idle()
        found = (await api.client.get("namespaces", "", "n"))["status"]
        assert found["phase"] == "Terminating"
        assert {
            each["type"]: (each["status"], each["message"]) for each in found["conditions"]
        } == {
            "NamespaceDeletionDiscoveryFailure": (
                "False",
                "All resources successfully discovered",
            ),
            "NamespaceDeletionGroupVersionParsingFailure": (
                "False",
                "All legacy kube types successfully parsed",
            ),
            "NamespaceDeletionContentFailure": (
                "False",
                "All content successfully deleted, may be waiting on finalization",
            ),
            "NamespaceContentRemaining": (
                "True",
                "Some resources are remaining: configmaps. has 1 resource instances",
            ),
            "NamespaceFinalizersRemaining": (
                "True",
                "Some content in the namespace has finalizers remaining: "
                "example.com/hold in 1 resource instances",
            ),
        }
        gone = asyncio.create_task(_until_gone(api.client, "n"))
        await api.client.patch("configmaps", "n", "held", {"metadata": {"finalizers": None}})
        await asyncio.wait_for(gone, 10)
        with pytest.raises(StatusError, match='namespaces "n" not found'):
            await api.client.get("namespaces", "", "n")
        await controller.stop()

    serve(tmp_path, body)


async def _until_gone(client: Client, name: str) -> None:
    async for event in client.watch("namespaces", field_selector=f"metadata.name={name}"):
        if event.type == "DELETED":
            return
