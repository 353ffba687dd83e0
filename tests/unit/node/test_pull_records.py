"""Who may use an image that somebody's credentials brought here, also after a restart and a kill."""

import asyncio
import base64
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.image.credentials import Credential, fingerprint
from minipod.node.pull_records import PullRecords, PullSecret
from tests.unit.node.pods import World, container, make_image, make_pod, world

NAME, DIGEST = "registry.example.com/team/app:v1", "sha256:abc"
JANE = fingerprint(Credential("jane", "secret"))
MINE = PullSecret("default", "mine", "uid-1", JANE)


def _other(**fields: str) -> PullSecret:
    return PullSecret(**{"namespace": "b", "name": "x", "uid": "2", "credential": "no", **fields})


def test_what_was_never_pulled_is_everybodys(tmp_path: Path) -> None:
    assert PullRecords(tmp_path).is_open(NAME, DIGEST)
    assert PullRecords(tmp_path).admits(NAME, DIGEST, [])


def test_what_a_secret_brought_is_for_those_who_have_it(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    records.intend(NAME)
    assert not records.is_open(NAME, DIGEST)  # as a predecessor that was killed here left it
    records.pulled(NAME, DIGEST, [MINE])
    for each in (records, PullRecords(tmp_path)):
        assert not each.is_open(NAME, DIGEST)
        assert not each.admits(NAME, DIGEST, [])
        assert not each.admits(NAME, DIGEST, [_other()])
        assert not each.admits("registry.example.com/other:v1", DIGEST, [MINE])
        assert each.admits(NAME, DIGEST, [_other(), MINE])
    assert records.admits(NAME, DIGEST, [_other(credential=JANE)])  # the same by another name
    changed = PullSecret("default", "mine", "uid-1", "another")
    assert PullRecords(tmp_path).admits(NAME, DIGEST, [changed])  # the same Secret, changed
    assert PullRecords(tmp_path).admits(NAME, DIGEST, [_other(credential="another")])


def test_what_came_without_a_secret_is_everybodys_from_then_on(tmp_path: Path) -> None:
    records = PullRecords(tmp_path)
    records.pulled(NAME, DIGEST, [MINE])
    records.pulled(NAME, DIGEST, [])
    assert PullRecords(tmp_path).is_open(NAME, DIGEST)


def test_an_interrupted_pull_leaves_nothing_that_is_everybodys(tmp_path: Path) -> None:
    PullRecords(tmp_path).intend(NAME)
    again = PullRecords(tmp_path)
    assert not again.is_open(NAME, DIGEST)
    assert again.is_open("registry.example.com/other:v1", "sha256:other")
    again.failed(NAME)
    assert PullRecords(tmp_path).is_open(NAME, DIGEST)


def test_a_damaged_record_opens_nothing_and_one_of_a_lost_image_goes(tmp_path: Path) -> None:
    PullRecords(tmp_path).pulled(NAME, DIGEST, [])
    (path,) = (tmp_path / "pulled").iterdir()
    path.write_text("{")
    assert not PullRecords(tmp_path).is_open(NAME, DIGEST)
    PullRecords(tmp_path, exists=lambda digest: False)
    assert not path.exists()


def test_no_record_holds_a_credential(tmp_path: Path) -> None:
    PullRecords(tmp_path).pulled(NAME, DIGEST, [MINE])
    (path,) = (tmp_path / "pulled").iterdir()
    assert "secret" not in path.read_text().replace("kubernetesSecrets", "")
    assert path.stat().st_mode & 0o077 == 0


# -- as Pods meet it -------------------------------------------------------------------------------

REMOTE = "registry.example.com/team/app:v1"
Scene = Callable[[World], Awaitable[None]]


@pytest.fixture
def play(tmp_path: Path) -> Callable[[Scene], None]:
    def run(scene: Scene) -> None:
        async def body() -> None:
            async with world(tmp_path) as made:
                made.puller.remote[REMOTE] = make_image(REMOTE)
                made.puller.wants = Credential("jane", "secret")
                await scene(made)

        asyncio.run(body())

    return run


def _secret(name: str, password: str) -> Object:
    auth = base64.b64encode(f"jane:{password}".encode()).decode()
    config = json.dumps({"auths": {"registry.example.com": {"auth": auth}}})
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "kubernetes.io/dockerconfigjson",
        "metadata": {"name": name, "namespace": "default"},
        "data": {".dockerconfigjson": base64.b64encode(config.encode()).decode()},
    }


def _pod(name: str, *secrets: str, policy: str = "IfNotPresent", **spec: Any) -> Object:
    spec["imagePullSecrets"] = [{"name": each} for each in secrets]
    return make_pod(name, container(image=REMOTE, imagePullPolicy=policy), **spec)


async def _reason(world: World, name: str) -> str:
    found = await world.api.client().get("pods", "default", name)
    (status,) = found["status"]["containerStatuses"]
    return str((status["state"].get("waiting") or {}).get("reason", "Running"))


async def _message(world: World) -> str:
    found = await world.api.client().get("pods", "default", "second")
    (status,) = found["status"]["containerStatuses"]
    return str(status["state"]["waiting"]["message"])


@pytest.mark.parametrize(
    ("secrets", "policy", "reason", "pulls"),
    [
        (("mine",), "IfNotPresent", "Running", 1),
        (("mine",), "Never", "Running", 1),
        (("copy",), "IfNotPresent", "Running", 1),  # the same credential in another Secret
        ((), "IfNotPresent", "ErrImagePull", 2),
        (("wrong",), "IfNotPresent", "ErrImagePull", 2),
        ((), "Never", "ErrImageNeverPull", 1),
    ],
)
def test_a_pod_without_the_credentials_does_not_use_it(
    play: Callable[[Scene], None], secrets: tuple[str, ...], policy: str, reason: str, pulls: int
) -> None:
    async def scene(world: World) -> None:
        for name, password in (("mine", "secret"), ("copy", "secret"), ("wrong", "guess")):
            await world.api.client().create("secrets", "default", _secret(name, password))
        await world.create(_pod("first", "mine"))
        assert await _reason(world, "first") == "Running"
        await world.create(_pod("second", *secrets, policy=policy))
        assert await _reason(world, "second") == reason
        assert len(world.puller.asked) == pulls
        if reason == "ErrImageNeverPull":  # in the words for an image that is not here at all
            assert f'"{REMOTE}" is not present with pull policy of Never' in await _message(world)

    play(scene)


def test_what_is_loaded_here_is_everybodys_whatever_its_name(play: Callable[[Scene], None]) -> None:
    async def scene(world: World) -> None:
        world.images.images[REMOTE] = make_image(REMOTE)
        await world.create(_pod("first", policy="Never"))
        assert await _reason(world, "first") == "Running"
        assert world.puller.asked == []

    play(scene)
