"""Client libraries against a running daemon, each in an environment of its own: clients/*.py, clients/*.mjs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from minipod.linux.process import CLONE_NEWNET, setns
from tests.e2e.instance import REPOSITORY, Instance
from tests.e2e.kubectl import kubeconfig
from tests.e2e.streaming import streams_pod

HERE = Path(__file__).parent / "clients"
CACHE = REPOSITORY / ".venv" / "clients"
PYTHON_CLIENTS = {
    "official.py": ("objects", "commands", "ports"),
    "kr8s_client.py": ("objects", "streams", "ports"),
    "lightkube_client.py": ("objects", "logs"),
    "asyncio_client.py": ("watched", "commands", "applied"),
    "pykube_client.py": ("objects", "scale", "logs"),
    "kopf_operator.py": ("operated",),
    "helm_client.py": ("releases",),
}
NODE_STEPS = ("objects", "exec", "ports", "logs")
Install = Callable[..., None]


@pytest.fixture(scope="module")
def install(outer_namespace: int) -> Install:
    """Run an installer on the host's network; where that fails, say why the test is skipped."""

    def run(*command: str, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        done = subprocess.run(
            command,
            cwd=directory,
            capture_output=True,
            text=True,
            timeout=600,
            check=False,
            preexec_fn=lambda: setns(outer_namespace, CLONE_NEWNET),
        )
        if done.returncode != 0:
            pytest.skip(f"{command[0]} cannot install the clients: {done.stderr.strip()[-300:]}")

    return run


def is_current(stamp: Path, wanted: str) -> bool:
    return stamp.exists() and stamp.read_text() == wanted


@pytest.fixture(scope="module")
def python(install: Install) -> Path:
    """The interpreter of an environment that has the Python clients."""
    requirements = HERE / "requirements.txt"
    place, stamp = CACHE / "python", CACHE / "python" / "installed"
    if not is_current(stamp, requirements.read_text()):
        install(sys.executable, "-m", "venv", str(place), directory=CACHE)
        pip = [str(place / "bin/pip"), "install", "--quiet", "--disable-pip-version-check"]
        install(*pip, "-r", str(requirements), directory=CACHE)
        stamp.write_text(requirements.read_text())
    return place / "bin/python"


@pytest.fixture(scope="module")
def node(install: Install) -> Path:
    """A directory whose node_modules has the JavaScript client."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("needs node and npm; on Debian: apt install nodejs npm")
    wanted = (HERE / "package.json").read_text()
    place, stamp = CACHE / "node", CACHE / "node" / "installed"
    place.mkdir(parents=True, exist_ok=True)
    if not is_current(stamp, wanted):
        (place / "package.json").write_text(wanted)
        install(npm, "install", "--silent", "--no-audit", "--no-fund", directory=place)
        stamp.write_text(wanted)
    shutil.copy(HERE / "node_client.mjs", place)
    return place


@pytest.fixture(scope="module")
def pod(shared: Instance):
    yield from streams_pod(shared)


@pytest.fixture(scope="module")
def config(shared: Instance, pod: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubeconfig(shared, tmp_path_factory.mktemp("clients"))


def steps_of(*command: str, directory: Path) -> list[str]:
    """Run a client; return the steps that it says went well."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(directory)}
    done = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    return [line.removeprefix("ok ") for line in done.stdout.splitlines()]


@pytest.mark.parametrize("script", PYTHON_CLIENTS)
def test_python_clients(script: str, python: Path, config: Path, pod: str, tmp_path: Path) -> None:
    steps = steps_of(str(python), str(HERE / script), str(config), pod, directory=tmp_path)
    assert steps == list(PYTHON_CLIENTS[script])


def test_the_javascript_client(node: Path, config: Path, pod: str) -> None:
    steps = steps_of("node", "node_client.mjs", str(config), pod, directory=node)
    assert steps == list(NODE_STEPS)
