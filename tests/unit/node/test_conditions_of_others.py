"""What others write into a status: conditions and the end are heard, never overwritten; what is ours is put right."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.node.status_writer import make_patch

from .pods import World, container, make_pod, world

GATE = "example.com/open"


def play(root: Path, scene: Callable[[World], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with world(root) as made:
            await scene(made)

    asyncio.run(whole())


async def say(made: World, name: str, status: str) -> None:
    patch: Any = {"status": {"conditions": [{"type": name, "status": status}]}}
    client = made.api.client()
    await client.patch(
        "pods", "default", "web", patch, patch_type="strategic", subresource="status"
    )
    await made.settle()


def told(made: World) -> dict[str, str]:
    """What the API has of the Pod's conditions."""
    return {each["type"]: each["status"] for each in made.pod()["status"]["conditions"]}


def test_a_readiness_gate_opens_and_closes_a_running_pod(tmp_path: Path) -> None:
    async def scene(made: World) -> None:
        await made.create(make_pod("web", container(), readinessGates=[{"conditionType": GATE}]))
        assert (told(made)["ContainersReady"], told(made)["Ready"]) == ("True", "False")
        await say(made, GATE, "True")
        assert (told(made)[GATE], told(made)["Ready"]) == ("True", "True")
        await say(made, GATE, "False")
        assert (told(made)[GATE], told(made)["Ready"]) == ("False", "False")

    play(tmp_path, scene)


def test_a_write_of_ours_leaves_a_condition_that_came_meanwhile(tmp_path: Path) -> None:
    async def scene(made: World) -> None:
        await made.create(make_pod("web", container()))
        made.pod()["status"]["conditions"].append({"type": "x/new", "status": "True"})
        made.runtime.exit("app", 1)
        await made.settle()
        assert told(made)["x/new"] == "True"
        assert made.pod()["status"]["containerStatuses"][0]["restartCount"] == 1

    play(tmp_path, scene)


def test_what_another_says_in_our_name_is_put_right(tmp_path: Path) -> None:
    async def scene(made: World) -> None:
        await made.create(make_pod("web", container()))
        await say(made, "Ready", "False")
        assert told(made)["Ready"] == "True"
        await say(made, "DisruptionTarget", "True")
        made.runtime.exit("app", 1)
        await made.settle()
        assert told(made)["DisruptionTarget"] == "True"

    play(tmp_path, scene)


@pytest.mark.parametrize("phase", ["Failed", "Succeeded"])
def test_a_pod_that_another_calls_finished_is_ended(tmp_path: Path, phase: str) -> None:
    async def scene(made: World) -> None:
        await made.create(make_pod("web", container()))
        status = {"phase": phase, "reason": "Because", "message": "somebody says so"}
        await made.api.client().patch(
            "pods",
            "default",
            "web",
            {"status": status},
            patch_type="strategic",
            subresource="status",
        )
        await made.settle()
        assert not made.runtime.containers
        found = made.pod()["status"]
        assert {key: found[key] for key in status} == status
        assert "terminated" in found["containerStatuses"][0]["state"]
        assert told(made)["Ready"] == "False"

    play(tmp_path, scene)


def test_a_patch_has_our_changes_alone() -> None:
    ready: Object = {"type": "Ready", "status": "False", "reason": "R"}
    old: Object = {"phase": "Pending", "conditions": [{"type": "x", "status": "a"}, ready]}
    new: Object = {
        "phase": "Pending",
        "conditions": [{"type": "x", "status": "b"}, {"type": "Ready", "status": "True"}],
        "podIPs": [{"ip": "10.0.0.1"}],
    }
    assert make_patch(old, new) == {
        "conditions": [{"type": "Ready", "status": "True", "reason": None}],
        "$setElementOrder/conditions": [{"type": "x"}, {"type": "Ready"}],
        "podIPs": [{"$patch": "replace"}, {"ip": "10.0.0.1"}],
    }
    assert make_patch(new, {**new, "conditions": [{"type": "x"}, new["conditions"][1]]}) == {}
