"""The examples' own checks, run as their READMEs say, against a fresh daemon."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import REPOSITORY, Instance
from tests.e2e.pods import settle

IMAGES = ("debian", "nginx", "tomcat", "sample")


@pytest.fixture(scope="module")
def lab(
    make_instance: Callable[..., Instance], build_image: Callable[[Instance, str], None]
) -> Iterator[Instance]:
    """A daemon with every image of the labs, built by minipod."""
    instance = make_instance()
    for name in IMAGES:
        build_image(instance, name)
    instance.up()
    settle(instance)
    yield instance
    instance.down()


@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    "example", sorted(path.name for path in (REPOSITORY / "examples").iterdir() if path.is_dir())
)
def test_the_examples_check_passes(lab: Instance, example: str) -> None:
    check = Path(REPOSITORY, "examples", example, "check.sh")
    done = subprocess.run(
        ["sh", str(check)],
        env=lab.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}\n{lab.daemon_log()}"
