"""Loading, removing and collecting, killed at every named point: images are whole or not there, and nothing is lost."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minipod.image.store import ImageStore
from minipod.paths import layout
from tests.kernel.image.test_archive import LAYERS, check_content, docker_archive

pytestmark = pytest.mark.kernel


def _run(root: Path, *arguments: str | Path, fault: str = "") -> int:
    command = [sys.executable, "-P", "-m", "minipod.image", "--root", root, "-q", *arguments]
    environment = os.environ | {"MINIPOD_FAULT": fault}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root with two images: `kept`, and an archive of `app` with the same layers and one more."""
    docker_archive(tmp_path / "app.tar", LAYERS, ["app:1"])
    docker_archive(tmp_path / "kept.tar", LAYERS[:1], ["kept:1"])
    assert _run(tmp_path / "root", "load", tmp_path / "kept.tar") == 0
    return tmp_path / "root"


def _check(store: ImageStore, names: list[str]) -> None:
    """Exactly these images are there, each whole, and nothing else once garbage is collected."""
    assert [image.reference.rpartition("/")[2] for image in store.list()] == names
    store.collect_garbage()
    blobs, layers = len(list(store.blobs.iterdir())), len(list(store.layers.iterdir()))
    assert (blobs, layers) == ((6, 2) if "app:1" in names else (3, 1))
    assert list(store.scratch.iterdir()) == []
    assert all(os.path.isdir(layer) for image in store.list() for layer in image.layers)


@pytest.mark.parametrize(
    "point", [*(f"image.blob@{n}" for n in (1, 2, 3)), "image.layer", "image.publish"]
)
def test_a_killed_load_leaves_what_was_there(root: Path, point: str) -> None:
    store = ImageStore(layout(root).images)
    assert _run(root, "load", root.parent / "app.tar", fault=point) == -signal.SIGKILL
    _check(store, ["kept:1"])
    assert _run(root, "load", root.parent / "app.tar") == 0
    check_content(store.require("app:1"))
    _check(store, ["app:1", "kept:1"])


@pytest.mark.parametrize(
    "point",
    ["image.unnamed", "image.layer-aside", *(f"image.blob-removed@{n}" for n in (1, 2, 3))],
)
def test_a_killed_removal_is_finished_by_the_next_collection(root: Path, point: str) -> None:
    store = ImageStore(layout(root).images)
    assert _run(root, "load", root.parent / "app.tar") == 0
    assert _run(root, "remove", "app:1", fault=point) == -signal.SIGKILL
    assert _run(root, "prune") == 0
    _check(store, ["kept:1"])
    assert _run(root, "load", root.parent / "app.tar") == 0
    check_content(store.require("app:1"))
