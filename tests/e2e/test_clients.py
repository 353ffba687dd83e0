"""Client libraries against a running daemon, each in an environment of its own: clients/*.py, clients/*.mjs."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from minipod.linux.process import CLONE_NEWNET, setns
from tests.e2e.client_environments import Run, install_node, install_python
from tests.e2e.instance import Instance
from tests.e2e.kubectl import kubeconfig
from tests.e2e.streaming import streams_pod

HERE = Path(__file__).parent / "clients"
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


@pytest.fixture(scope="module")
def install(outer_namespace: int) -> Run:
    """Run an installer on the host's network; where that fails, say why the test is skipped."""

    def run(*command: str, directory: Path) -> None:
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


@pytest.fixture(scope="module")
def python(install: Run) -> Path:
    """The interpreter of an environment that has the Python clients."""
    return install_python(install)


@pytest.fixture(scope="module")
def node(install: Run) -> Path:
    """A directory whose node_modules has the JavaScript client."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        pytest.skip("needs node and npm; on Debian: apt install nodejs npm")
    place = install_node(install)
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
    own = str(directory)  # some keep certificates and caches there, and leave them
    environment = {"PATH": os.environ["PATH"], "HOME": own, "TMPDIR": own}
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
