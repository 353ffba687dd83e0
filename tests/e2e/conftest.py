"""Daemons for end-to-end tests: one shared, and fresh ones for tests that break things."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from minipod.linux.process import CLONE_NEWNET, setns
from tests.e2e.instance import REPOSITORY, Instance
from tests.e2e.pods import settle


@pytest.fixture(scope="session")
def build_image(
    outer_namespace: int, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Instance, str], None]:
    """Build an image of images/ into an instance: on the host's network, each package fetched once."""
    packages = tmp_path_factory.mktemp("packages")

    def build(instance: Instance, name: str) -> None:
        recipe = str(REPOSITORY / "images" / name)
        instance.run(
            *("image", "build", "--packages", str(packages), recipe),
            timeout=600,
            preexec_fn=lambda: setns(outer_namespace, CLONE_NEWNET),
        )

    return build


@pytest.fixture(scope="session")
def busybox_archive(
    build_image: Callable[[Instance, str], None], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The busybox image, built once by minipod itself and saved as an OCI archive."""
    directory = tmp_path_factory.mktemp("images")
    builder = Instance(directory / "root")
    build_image(builder, "busybox")
    archive = directory / "busybox.tar"
    builder.run("image", "save", "busybox", "-o", str(archive), timeout=60)
    return archive


@pytest.fixture(scope="session")
def loaded(busybox_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root that has loaded busybox and nothing more: what the instances begin with."""
    root = tmp_path_factory.mktemp("loaded")
    Instance(root).run("image", "load", str(busybox_archive))
    return root


@pytest.fixture(scope="session")
def make_instance(loaded: Path) -> Iterator[Callable[..., Instance]]:
    """Make further instances that know busybox; whatever still runs is taken down at the end."""
    made: list[Instance] = []

    def make(**options: object) -> Instance:
        root = Path(tempfile.mkdtemp(prefix="mp", dir="/tmp"))
        instance = Instance(root, **options)  # type: ignore[arg-type]
        subprocess.run(["cp", "-a", f"{loaded}/.", str(root)], check=True)
        made.append(instance)
        return instance

    yield make
    for instance in made:
        if instance.may_run():
            instance.run("down", "--pods", check=False)
        instance.remove()


@pytest.fixture(scope="session")
def shared(make_instance: Callable[..., Instance]) -> Iterator[Instance]:
    """One running daemon for all tests that only make and remove Pods."""
    instance = make_instance(options=("--backoff-base", "0.5"))
    instance.up()
    settle(instance)
    yield instance
    instance.down()


@pytest.fixture
def fresh(make_instance: Callable[..., Instance]) -> Iterator[Instance]:
    """A running daemon of a test's own, to be killed and broken."""
    instance = make_instance(options=("--backoff-base", "0.5"))
    instance.up()
    yield instance
    instance.run("down", "--pods", check=False)
    instance.remove()
