"""What comes after an init container is made ready while that one runs: used in its turn, or given up."""

import pytest

from minipod.client import Object
from minipod.node.actions import Start
from minipod.node.ahead import compute_ahead
from minipod.node.observed import ObservedPod
from minipod.runtime.service import RuntimeFailure
from tests.unit.node.pods import World, container, make_pod

ONE, TWO = container("one"), container("two")
SIDECAR = container("side", restartPolicy="Always")
OUTWARD = [{"name": "v", "mountPath": "/v", "mountPropagation": "Bidirectional"}]


@pytest.mark.parametrize(
    ("pod", "started", "expected"),
    [
        (make_pod("web", initContainers=[ONE]), "one", ["app"]),
        (make_pod("web", container("a"), container("b"), initContainers=[ONE]), "one", ["a", "b"]),
        (make_pod("web", initContainers=[ONE, TWO]), "one", ["two"]),
        (make_pod("web", initContainers=[ONE, TWO]), "two", ["app"]),
        (make_pod("web", initContainers=[ONE, SIDECAR]), "one", ["side"]),
        (make_pod("web", initContainers=[SIDECAR, ONE]), "one", ["app"]),
        (make_pod(), "app", []),
        (make_pod("web", initContainers=[ONE], shareProcessNamespace=True), "one", []),
        (make_pod("web", initContainers=[ONE], hostPID=True), "one", []),
        (make_pod("web", container(volumeMounts=OUTWARD), initContainers=[ONE]), "one", []),
        (make_pod("web", initContainers=[container("one", volumeMounts=OUTWARD)]), "one", []),
    ],
)
def test_what_comes_after(pod, started, expected):
    kind = "app" if started == "app" else "init"
    found = compute_ahead(pod, ObservedPod(), [Start(started, kind, 0, "")])
    assert [each.name for each in found] == expected


def test_nothing_comes_after_a_sidecar_or_a_second_attempt():
    pod = make_pod("web", initContainers=[SIDECAR, ONE])
    assert compute_ahead(pod, ObservedPod(), [Start("side", "sidecar", 0, "")]) == ()
    assert compute_ahead(pod, ObservedPod(), [Start("one", "init", 1, "")]) == ()
    assert compute_ahead(pod, ObservedPod(), []) == ()


def test_it_is_asked_for_while_the_sandbox_is_made_and_given_up_with_it(play):
    async def scene(world: World) -> None:
        reached, go = world.runtime.gate("run_sandbox")
        pod = make_pod("web", container(), initContainers=[container("one")])
        await world.api.client().create("pods", "default", pod)
        await world.settle()
        await reached.wait()
        await world.settle()
        assert world.runtime.prepared == ["one", "app"]
        world.runtime.fail_next["run_sandbox"] = RuntimeFailure("SandboxFailed", "no room")
        go.set()
        await world.settle()
        assert len(world.runtime.abandoned) == 2
        assert not [name for name, _ in world.runtime.calls if name == "start_container"]

    play(scene)


def test_it_is_ready_while_the_init_container_runs_and_starts_in_its_turn(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", initContainers=[ONE]))
        assert world.runtime.prepared == ["one", "app"]
        assert world.runtime.running() == ["one"]
        assert world.state("app")["waiting"]["reason"] == "PodInitializing"
        world.runtime.exit("one")
        await world.settle()
        assert world.runtime.prepared == ["one", "app"]
        assert world.runtime.running() == ["app"]
        assert world.runtime.abandoned == []

    play(scene)


def test_it_is_made_anew_when_what_it_was_made_from_has_changed(play):
    async def scene(world: World) -> None:
        client = world.api.client()
        await client.create("configmaps", "default", _config_map("old"))
        app = container(envFrom=[{"configMapRef": {"name": "c"}}])
        await world.create(make_pod("web", app, initContainers=[ONE]))
        assert world.runtime.prepared == ["one", "app"]
        await client.patch("configmaps", "default", "c", {"data": {"K": "new"}})
        world.runtime.exit("one")
        await world.settle()
        assert world.runtime.prepared == ["one", "app", "app"]
        assert len(world.runtime.abandoned) == 1
        (spec,) = [each for each in world.runtime.specs.values() if "K=new" in each.env]
        assert world.runtime.containers[spec.id].state == "running"

    play(scene)


def test_it_is_given_up_when_its_turn_does_not_come_soon(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", initContainers=[ONE]))
        await world.pass_time(3)
        assert len(world.runtime.abandoned) == 1
        world.runtime.exit("one")
        await world.settle()
        assert world.runtime.prepared == ["one", "app", "app"]
        assert world.runtime.running() == ["app"]

    play(scene)


def test_it_is_made_again_only_when_nothing_is_left_of_it(play):
    async def scene(world: World) -> None:
        giving_up, given_up = world.runtime.gate("abandon")
        await world.create(make_pod("web", initContainers=[ONE]))
        await world.pass_time(3)
        assert giving_up.is_set()
        world.runtime.exit("one")
        await world.settle()
        assert world.runtime.prepared == ["one", "app"]
        given_up.set()
        await world.settle()
        assert world.runtime.prepared == ["one", "app", "app"]
        assert world.runtime.running() == ["app"]

    play(scene)


def test_a_second_try_of_the_init_container_keeps_what_is_ready(play):
    async def scene(world: World) -> None:
        failure = RuntimeFailure("CreateContainerError", "no such device")
        world.runtime.fail_next["start_container"] = failure
        await world.create(make_pod("web", initContainers=[ONE]))
        assert world.runtime.prepared == ["one", "app"]
        await world.pass_time(1)
        assert world.runtime.running() == ["one"]
        assert world.runtime.prepared == ["one", "app", "one"]
        assert world.runtime.abandoned == []

    play(scene)


@pytest.mark.parametrize("end", ["deleted", "failed"])
def test_it_is_given_up_when_the_pod_ends(play, end):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", initContainers=[ONE], restartPolicy="Never"))
        if end == "deleted":
            await world.delete(grace=1)
        else:
            world.runtime.exit("one", 1)
        await world.settle()
        assert len(world.runtime.abandoned) == 1
        assert world.runtime.running() == []

    play(scene)


def test_it_is_given_up_with_its_sandbox(play):
    async def scene(world: World) -> None:
        await world.create(make_pod("web", initContainers=[ONE]))
        (sandbox,) = world.runtime.sandboxes
        world.runtime.kill_sandbox(sandbox)
        await world.settle()
        assert world.runtime.running() == ["one"]
        assert world.runtime.prepared == ["one", "app", "one"]
        assert len(world.runtime.abandoned) == 1

    play(scene)


def _config_map(value: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "c", "namespace": "default"},
        "data": {"K": value},
    }
