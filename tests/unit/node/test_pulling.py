"""What imagePullPolicy asks for, with registries and a store that are fake."""

import asyncio
import base64
import gc
import json
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.image.credentials import Credential
from minipod.node.pulling import ProcessPuller
from tests.unit.node.pods import World, container, make_image, make_pod, world

Scene = Callable[[World], Awaitable[None]]
REMOTE = "docker.io/team/app:v1"


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        async def body() -> None:
            async with world(tmp_path) as made:
                made.puller.remote[REMOTE] = make_image(REMOTE)
                await scene(made)

        asyncio.run(body())

    return run


def _pod(policy: str = "IfNotPresent", image: str = REMOTE, **spec: Any) -> Object:
    return make_pod("web", container(image=image, imagePullPolicy=policy), **spec)


def test_an_image_that_is_not_here_is_pulled_and_told_of(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        await world.create(_pod())
        assert world.runtime.running() == ["app"]
        assert world.images.held == {"uid-web.app": f"sha256:manifest-{REMOTE}"}
        await world.events_written()
        told = dict(world.api.events())
        assert told["Pulling"] == f'Pulling image "{REMOTE}"'
        assert told["Pulled"].startswith(f'Successfully pulled image "{REMOTE}" in ')
        assert told["Pulled"].endswith("including waiting). Image size: 1234 bytes.")

    play(scene)


@pytest.mark.parametrize(
    ("policy", "pulled", "asked"),
    [
        ("IfNotPresent", "sha256:there", 0),
        ("Never", "sha256:there", 0),
        ("Always", "sha256:there", 1),
        ("Always", "", 0),  # made here: no registry has another
    ],
)
def test_what_is_here_is_asked_for_again_only_by_always(
    play: Callable[[Scene], None], policy: str, pulled: str, asked: int
) -> None:
    async def scene(world: World) -> None:
        world.images.images[REMOTE] = make_image(REMOTE)
        world.images.pulled[REMOTE] = pulled
        await world.create(_pod(policy))
        assert world.runtime.running() == ["app"]
        assert len(world.puller.asked) == asked

    play(scene)


def test_an_alias_is_never_asked_for(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.images.images["team/app"] = make_image("docker.io/library/busybox:latest")
        world.images.pulled["docker.io/team/app:latest"] = "sha256:old"
        await world.create(_pod("Always", "team/app"))
        assert world.runtime.running() == ["app"]
        assert world.puller.asked == []

    play(scene)


def test_always_with_a_registry_that_is_away_waits(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.puller.remote.clear()
        world.images.images[REMOTE] = make_image(REMOTE)
        world.images.pulled[REMOTE] = "sha256:there"
        await world.create(_pod("Always"))
        assert world.state()["waiting"]["reason"] == "ErrImagePull"
        assert world.runtime.running() == []

    play(scene)


def test_failures_back_off_doubling_with_the_kubelets_words(
    play: Callable[[Scene], None],
) -> None:
    async def scene(world: World) -> None:
        world.puller.remote.clear()
        await world.create(_pod())
        tried = [world.clock.time]
        for _ in range(700):
            await world.pass_time(1)
            if len(world.puller.asked) > len(tried):
                tried.append(world.clock.time)
        gaps = [round(b - a) for a, b in pairwise(tried)]
        assert gaps[:5] == [10, 20, 40, 80, 160]
        waiting = world.state()["waiting"]
        assert waiting["reason"] == "ImagePullBackOff"
        assert waiting["message"] == (
            f'Back-off pulling image "{REMOTE}": ErrImagePull: {REMOTE}: not found'
        )
        await world.events_written()
        told = f'Failed to pull image "{REMOTE}": {REMOTE}: not found'
        assert ("Failed", told) in world.api.events()
        assert ("BackOff", f'Back-off pulling image "{REMOTE}"') in world.api.events()
        assert ("Failed", "Error: ImagePullBackOff") in world.api.events()

    play(scene)


def test_a_pull_that_nobody_waits_for_any_more_fails_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    complaints: list[dict[str, Any]] = []

    async def main() -> None:
        fail = asyncio.Event()

        async def run(*_: object) -> tuple[int, str, str]:
            await fail.wait()
            return 1, "", "error: away"

        puller = ProcessPuller(None)
        monkeypatch.setattr(puller, "_run", run)
        asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
        waiting = asyncio.ensure_future(puller.pull(REMOTE, ()))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait({waiting})
        (pulling,) = puller._pulls.values()
        fail.set()
        await asyncio.wait({pulling})
        del pulling
        await asyncio.sleep(0)
        gc.collect()

    asyncio.run(main())
    assert complaints == []


def test_a_pod_that_is_deleted_does_not_wait_for_its_image(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.puller.go_on = asyncio.Event()
        await world.create(_pod())
        assert world.state() == {"waiting": {"reason": "ContainerCreating"}}
        await world.delete()
        assert world.api.all("pods") == []
        assert not world.runtime.sandboxes

    play(scene)


def _secret(name: str, kind: str, key: str, document: object) -> Object:
    data = base64.b64encode(json.dumps(document).encode()).decode()
    return {"metadata": {"name": name}, "type": kind, "data": {key: data}}


def test_pull_secrets_give_the_fitting_credentials(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        auth = base64.b64encode(b"me:pw").decode()
        hub = {"auths": {"https://index.docker.io/v1/": {"auth": auth}}}
        team = {"docker.io/team": {"username": "team", "password": "p"}, "other.example": {}}
        create = world.api.client().create
        kinds = "kubernetes.io/dockerconfigjson", "kubernetes.io/dockercfg"
        await create("secrets", "default", _secret("a", kinds[0], ".dockerconfigjson", hub))
        await create("secrets", "default", _secret("b", kinds[1], ".dockercfg", team))
        names = [{"name": name} for name in ("a", "b", "none")]
        await world.create(_pod(imagePullSecrets=names))
        [(_, keyring)] = world.puller.asked
        assert [each for _, each in keyring] == [Credential("team", "p"), Credential("me", "pw")]
        await world.events_written()
        assert dict(world.api.events())["FailedToRetrieveImagePullSecret"] == (
            "Unable to retrieve some image pull secrets (none); attempting to pull the image may "
            "not succeed."
        )

    play(scene)
