"""One fake API server for each test, and the command line run in this process against it."""

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from minipod.cli.main import run
from minipod.paths import layout
from tests.fakes.apiserver import FakeApiServer


@dataclass(frozen=True)
class Ended:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str


Minipod = Callable[..., Ended]


@pytest.fixture
def root() -> Iterator[Path]:
    """A root short enough for its sockets."""
    made = Path(tempfile.mkdtemp(prefix="mp", dir="/tmp"))
    yield made
    shutil.rmtree(made)


@pytest.fixture
def server(root: Path) -> Iterator[FakeApiServer]:
    with FakeApiServer(layout(root).api_socket) as running:
        yield running


@pytest.fixture
def minipod(
    root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Minipod:
    """Run a command line on `root` and return what came of it."""
    monkeypatch.delenv("MINIPOD_ROOT", raising=False)
    monkeypatch.setenv("TZ", "UTC")

    def command(*arguments: str) -> Ended:
        capfd.readouterr()
        code = run(["--root", str(root), *arguments])
        printed = capfd.readouterr()
        return Ended(code, printed.out, printed.err)

    return command


def pod(
    name: str = "nginx", namespace: str = "default", phase: str = "Running", **metadata: object
) -> dict[str, object]:
    """A Pod with one container."""
    ready = "True" if phase == "Running" else "False"
    return {
        "metadata": {"name": name, "namespace": namespace, **metadata},
        "spec": {"containers": [{"name": "app", "image": "nginx"}]},
        "status": {
            "phase": phase,
            "podIP": "10.85.0.2",
            "conditions": [{"type": "Ready", "status": ready}],
        },
    }
