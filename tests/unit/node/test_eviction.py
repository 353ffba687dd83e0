import asyncio
import os
from pathlib import Path

import pytest

from minipod.node.eviction import compute_excess, count, find_limits
from tests.unit.node.pods import container, make_pod, world


def limited(size: str):
    volume = {"name": "scratch", "emptyDir": {"sizeLimit": size}}
    mount = {"name": "scratch", "mountPath": "/scratch"}
    return make_pod("web", container(volumeMounts=[mount]), volumes=[volume])


def test_memory_volumes_have_their_limit_from_the_kernel():
    pod = make_pod(volumes=[{"name": "m", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}}])
    assert find_limits(pod) == {}
    assert find_limits(limited("1Mi")) == {"scratch": "1Mi"}


def test_hard_links_are_measured_once(tmp_path: Path):
    (tmp_path / "one").write_bytes(b"x" * 100_000)
    alone = count(tmp_path)
    os.link(tmp_path / "one", tmp_path / "two")
    assert count(tmp_path) == alone
    assert (alone.bytes >= 100_000, alone.inodes) == (True, 1)


def test_a_pod_that_outgrows_its_volume_is_evicted(tmp_path: Path):
    async def scene() -> None:
        async with world(tmp_path) as made:
            await made.create(limited("64Ki"))
            place = made.config.pod_directory("uid-web") / "volumes/kubernetes.io~empty-dir/scratch"
            place.mkdir(parents=True)
            (place / "small").write_bytes(b"x" * 1000)
            await made.pass_time(10)
            assert made.runtime.running() == ["app"]
            (place / "big").write_bytes(b"x" * 200_000)
            await made.pass_time(10)
            assert made.runtime.running() == []
            status = made.status()
            assert (status["phase"], status["reason"]) == ("Failed", "Evicted")
            assert status["message"] == (
                'Usage of EmptyDir volume "scratch" exceeds the limit "64Ki". '
            )

    asyncio.run(scene())


def stored(**limits: str):
    made = [
        container(name, resources={"limits": {"ephemeral-storage": limit}} if limit else {})
        for name, limit in limits.items()
    ]
    return make_pod("web", *made)


@pytest.mark.parametrize(
    ("pod", "containers", "volumes", "message"),
    [
        (stored(a="1Ki"), {"a": 1024}, {}, ""),
        (
            stored(a="1Ki"),
            {"a": 1025},
            {},
            "Pod ephemeral local storage usage exceeds the total limit of containers 1Ki. ",
        ),
        (
            stored(a="1Ki", b="1Ki"),
            {"a": 1500, "b": 0},
            {},
            'Container a exceeded its local ephemeral storage limit "1Ki". ',
        ),
        (
            stored(a="1Ki", b="1Ki"),
            {"a": 1000, "b": 1000},
            {"v": 100},
            "Pod ephemeral local storage usage exceeds the total limit of containers 2Ki. ",
        ),
        (stored(a=""), {"a": 10**9}, {}, ""),
    ],
)
def test_ephemeral_storage_is_limited_by_container_and_by_pod(pod, containers, volumes, message):
    assert compute_excess(pod, volumes, containers) == message


def test_what_a_container_writes_beside_its_image_counts(tmp_path: Path):
    async def scene() -> None:
        async with world(tmp_path) as made:
            await made.create(stored(app="64Ki"))
            [identifier] = made.runtime.specs
            upper = made.config.layout.containers / identifier / "upper"
            upper.mkdir(parents=True)
            (upper / "big").write_bytes(b"x" * 200_000)
            await made.pass_time(10)
            assert made.status()["reason"] == "Evicted"

    asyncio.run(scene())
