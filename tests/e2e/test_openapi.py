"""The OpenAPI documents of a running server: they are valid, and nothing that they describe makes the server fail."""

import base64
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest
import yaml

from tests.e2e import kind_examples
from tests.e2e.instance import Instance
from tests.e2e.kubectl import kubeconfig
from tests.e2e.pods import pod

SCRIPT = Path(__file__).parent / "clients" / "fuzz.py"
FUZZED = (
    "api/v1",
    "apis/apps/v1",
    "apis/authentication.k8s.io/v1",
    "apis/batch/v1",
    "apis/rbac.authorization.k8s.io/v1",
)
EXAMPLES = 1  # of good requests and of bad ones, for every operation


@pytest.fixture(scope="module")
def server(make_instance: Callable[..., Instance]) -> Iterator[Instance]:
    """A server of its own, with an object of every kind in it: requests delete whatever there is."""
    instance = make_instance()
    instance.up()
    namespace = {"metadata": {"name": kind_examples.NAMESPACE}}
    instance.apply({"apiVersion": "v1", "kind": "Namespace", **namespace})
    made = [each[1] for each in kind_examples.NAMESPACED]
    instance.apply(*made, pod("web"), options=("-n", kind_examples.NAMESPACE, "--until-ready"))
    yield instance
    instance.down()


@pytest.fixture(scope="module")
def access(server: Instance, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str, str]:
    """The server's URL, and files with a client certificate and with the authority."""
    directory = tmp_path_factory.mktemp("openapi")
    config = yaml.safe_load(kubeconfig(server, directory).read_text())
    cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
    kept = {"client.pem": ("certificate", "key"), "ca.pem": ()}
    for name, parts in kept.items():
        texts = [user[f"client-{part}-data"] for part in parts]
        texts = texts or [cluster["certificate-authority-data"]]
        (directory / name).write_bytes(b"".join(map(base64.b64decode, texts)))
    return cluster["server"], str(directory / "client.pem"), str(directory / "ca.pem")


def _document(server: Instance, path: str) -> Any:
    return json.loads(server.out("get", "--raw", path))


def test_every_document_is_valid(server: Instance) -> None:
    paths = _document(server, "/openapi/v3")["paths"]
    assert set(FUZZED) <= set(paths)
    for path in paths:
        openapi_spec_validator.validate(_document(server, f"/openapi/v3/{path}"))
    second = _document(server, "/openapi/v2")
    assert second["swagger"] == "2.0"
    openapi_spec_validator.validate(second)


@pytest.mark.timeout(400)
def test_nothing_that_is_described_makes_the_server_fail(
    server: Instance, access: tuple[str, str, str]
) -> None:
    arguments = (*access, kind_examples.NAMESPACE, str(EXAMPLES), *FUZZED)
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        capture_output=True,
        text=True,
        timeout=360,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    *failures, counted = [json.loads(line) for line in done.stdout.splitlines()]
    assert failures == [], "\n".join(map(json.dumps, failures))
    assert counted["operations"] > 200
    assert sum(counted["statuses"].values()) > 500
    assert {"200", "404", "422"} <= set(counted["statuses"])
