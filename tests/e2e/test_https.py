"""HTTPS as clients meet it: every kubectl of this host, two roots at once, credentials that stop being good."""

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.instance import Instance
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import pod, wait_phase

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
KUBECTLS = find_kubectls()


@pytest.fixture(scope="module")
def admin(shared: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of an administrator."""
    return kubeconfig(shared, tmp_path_factory.mktemp("admin"))


@pytest.fixture
def other(make_instance: Callable[..., Instance]) -> Iterator[Instance]:
    """A second root beside the shared one."""
    instance = make_instance()
    instance.up()
    yield instance
    instance.run("down", "--pods", check=False)
    instance.remove()


@pytest.mark.parametrize("program", KUBECTLS, ids=lambda path: Path(path).name)
def test_every_kubectl_works(shared: Instance, admin: Path, program: str) -> None:
    kubectl = Kubectl(program, admin)
    shared.apply(pod("https"))
    wait_phase(shared, "https", "Running")
    assert "Running" in kubectl.out("get", "pod", "https")
    assert "v1.36" in kubectl.out("version", "-o", "json")
    assert "pods" in kubectl.out("api-resources")
    kubectl.run("label", "pod", "https", "seen=yes", "--overwrite")
    assert kubectl.out("get", "pods", "-l", "seen=yes", "-o", "name") == "pod/https\n"
    kubectl.run("delete", "pod", "https", "--now")


def test_two_roots_serve_side_by_side(
    shared: Instance, other: Instance, admin: Path, tmp_path: Path
) -> None:
    mine, theirs = Kubectl(KUBECTLS[0], admin), Kubectl(KUBECTLS[0], kubeconfig(other, tmp_path))
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "only-here"}}
    mine.run("create", "--validate=false", "-f", "-", text=json.dumps(made))
    assert "only-here" not in theirs.out("get", "configmaps")
    assert "only-here" in mine.out("get", "configmaps")
    mine.run("delete", "configmap", "only-here")
    # the other root's certificate is nobody's here
    text = admin.read_text()
    server = next(line for line in text.splitlines() if "server:" in line).split()[1]
    refused = theirs.refused("get", "pods", "--server", server, "--insecure-skip-tls-verify")
    assert "certificate" in refused, refused


def test_nothing_listens_beyond_loopback_and_the_bridge(shared: Instance) -> None:
    listening = subprocess.run(["ss", "-Hltnp"], capture_output=True, text=True, check=True).stdout
    ours = [line for line in listening.splitlines() if f"pid={shared.daemon_pid()}," in line]
    addresses = {line.split()[3].rpartition(":")[0] for line in ours}
    bridge = subprocess.run(
        ["ip", "-4", "-o", "addr", "show", shared.layout.bridge],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    gateway = bridge.split()[3].partition("/")[0]
    assert addresses == {"127.0.0.1", gateway}


def test_a_pod_reaches_the_server_by_the_bridge_and_trusts_it(
    shared: Instance, admin: Path
) -> None:
    """The certificate names the gateway: a handshake that checks it succeeds at that address."""
    bridge = subprocess.run(
        ["ip", "-4", "-o", "addr", "show", shared.layout.bridge],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    gateway = bridge.split()[3].partition("/")[0]
    server = next(line for line in admin.read_text().splitlines() if "server:" in line).split()[1]
    port = int(server.rpartition(":")[2])
    context = ssl.create_default_context(cafile=str(shared.layout.pki / "ca.crt"))
    for name in (gateway, "127.0.0.1", "localhost", "kubernetes.default.svc"):
        with (
            socket.create_connection((gateway, port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=name) as secure,
        ):
            assert secure.version() == "TLSv1.3"


def test_a_new_authority_ends_every_old_kubeconfig(fresh: Instance, tmp_path: Path) -> None:
    old = Kubectl(KUBECTLS[0], kubeconfig(fresh, tmp_path))
    old.run("get", "pods")
    fresh.down(pods=False)
    shutil.rmtree(fresh.layout.pki)
    fresh.up()
    assert "certificate" in old.refused("get", "pods", "--insecure-skip-tls-verify")
    assert "certificate" in old.refused("get", "pods")
    Kubectl(KUBECTLS[0], kubeconfig(fresh, tmp_path)).run("get", "pods")


def test_a_kubeconfig_is_its_owners_alone(shared: Instance, tmp_path: Path) -> None:
    written = kubeconfig(shared, tmp_path)
    assert written.stat().st_mode & 0o777 == 0o600
    redirected = tmp_path / "redirected"
    with open(redirected, "w") as output:
        subprocess.run(["minipod", "kubeconfig"], env=shared.environment, stdout=output, check=True)
    assert redirected.stat().st_mode & 0o777 == 0o600
    referring = kubeconfig(shared, tmp_path, "--embed=false", "--user", "a/../b", "--group", "g")
    assert str(shared.layout.pki / "ca.crt") in referring.read_text()
    refused = Kubectl(KUBECTLS[0], referring).refused("get", "pods")
    assert 'User "a/../b" cannot list resource "pods"' in refused
