"""postStart and preStop with a fake runtime: order, words, time, and what a failure leads to."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from minipod.client import Object
from tests.fakes.runtime import FakeStreams
from tests.unit.node.pods import World, container, make_pod

Scene = Callable[[World], Coroutine[Any, Any, None]]
EXEC = {"exec": {"command": ["/bin/check", "it"]}}


def hooked(name: str = "app", **hooks: Object) -> Object:
    return container(name, lifecycle=hooks)


def test_the_next_container_waits_for_post_start(play) -> None:
    async def scene(world: World) -> None:
        reached, go_on = world.runtime.gate("exec")
        creating = asyncio.create_task(
            world.create(make_pod("web", hooked(postStart=EXEC), container("second")))
        )
        await reached.wait()
        assert world.runtime.running() == ["app"]
        go_on.set()
        await creating
        await world.settle()
        assert world.runtime.running() == ["app", "second"]

    play(scene)


def test_none_of_the_next_containers_is_held_as_long_as_a_post_start_runs(play) -> None:
    async def scene(world: World) -> None:
        reached, go_on = world.runtime.gate("exec")
        others = [container(name) for name in ("second", "third", "fourth")]
        creating = asyncio.create_task(
            world.create(make_pod("web", container("zero"), hooked(postStart=EXEC), *others))
        )
        await reached.wait()
        await world.settle()
        assert world.runtime.prepared == ["zero", "app"]
        go_on.set()
        await creating
        await world.settle()
        names = ["zero", "app", "second", "third", "fourth"]
        assert sorted(world.runtime.prepared) == sorted(names)
        assert world.runtime.running() == names

    play(scene)


def test_a_pod_that_ends_during_a_post_start_prepares_nothing_more(play) -> None:
    async def scene(world: World) -> None:
        reached, _ = world.runtime.gate("exec")
        others = [container(name) for name in ("second", "third")]
        creating = asyncio.create_task(
            world.create(make_pod("web", hooked(postStart=EXEC), *others))
        )
        await reached.wait()
        await world.delete(grace=0)
        await creating
        await world.settle()
        assert world.runtime.prepared == ["app"]
        assert world.runtime.containers == {}

    play(scene)


def test_a_failed_post_start_is_told_without_what_it_said(play) -> None:
    async def scene(world: World) -> None:
        world.runtime.streams = FakeStreams([("stdout", b"secret"), ("stderr", b"why\n")], 3)
        pod = make_pod("web", hooked(postStart=EXEC), restartPolicy="Never")
        await world.create(pod)
        await world.settle()
        assert world.runtime.running() == []
        await world.events_written()
        told = world.api.events()
        assert ("FailedPostStartHook", "PostStartHook failed") in told
        assert ("Killing", "FailedPostStartHook") in told
        assert "secret" not in str(told)

    play(scene)


def test_the_status_says_what_went_wrong_in_the_kubelets_words(play) -> None:
    async def scene(world: World) -> None:
        world.runtime.streams = FakeStreams([("stdout", b"out"), ("stderr", b"err")], 3)
        parts = world.kubelet._parts
        hooks = world.kubelet._syncer._starter._hooks
        pod = await world.create(make_pod("web", container("app")))
        app = hooked(postStart=EXEC)
        pod["spec"]["containers"] = [app]
        work = world.kubelet._workers.get("uid-web")
        assert work is not None
        assert await hooks.post_start(work, pod, "app") is not None
        waiting = parts.memory("uid-web").waiting["app"]
        assert waiting.reason == "PostStartHookError"
        assert waiting.message == (
            'Exec lifecycle hook ([/bin/check it]) for Container "app" in Pod "web_default(uid-web)" failed - '
            "error: command '/bin/check it' exited with 3: err, message: \"outerr\""
        )

    play(scene)


def test_pre_stop_comes_first_and_its_failure_stops_nothing(play) -> None:
    async def scene(world: World) -> None:
        await world.create(make_pod("web", hooked(preStop=EXEC)))
        world.runtime.streams = FakeStreams([], 1)
        world.runtime.calls.clear()
        await world.delete()
        await world.settle()
        names = [name for name, _ in world.runtime.calls]
        assert names.index("exec") < names.index("stop_container")
        await world.events_written()
        assert ("FailedPreStopHook", "PreStopHook failed") in world.api.events()

    play(scene)


def test_a_tcp_hook_is_accepted_and_fails(play) -> None:
    async def scene(world: World) -> None:
        pod = make_pod("web", hooked(postStart={"tcpSocket": {"port": 1}}), restartPolicy="Never")
        await world.create(pod)
        await world.settle()
        await world.events_written()
        assert ("FailedPostStartHook", "PostStartHook failed") in world.api.events()

    play(scene)


def test_hooks_of_all_containers_begin_together_sidecars_too(play) -> None:
    async def scene(world: World) -> None:
        side = container("side", restartPolicy="Always", lifecycle={"preStop": EXEC})
        await world.create(make_pod("web", hooked(preStop=EXEC), initContainers=[side]))
        world.runtime.calls.clear()
        await world.delete()
        await world.settle()
        names = [name for name, _ in world.runtime.calls]
        stops = [number for number, name in enumerate(names) if name == "stop_container"]
        assert names[: stops[0]].count("exec") == 2

    play(scene)
