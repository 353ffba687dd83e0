"""What Pods and the node use, as kubectl top shows it: held against a Pod that burns and one that idles."""

import re
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import IDLE, container, pod

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
HOLD = "head -c 50000000 /dev/zero | tail -c 50000000 >/dev/shm/held; " + IDLE


def _rows(kubectl: Kubectl, *arguments: str) -> dict[str, tuple[int, int]]:
    """Return what `kubectl top ARGUMENTS` prints: millicores and MiB by the last name of a row."""
    printed = kubectl.out("top", *arguments, "--no-headers")
    found = re.findall(r"(\S+)\s+(\d+)m\s+(?:\d+%\s+)?(\d+)Mi", printed)
    return {name: (int(cpu), int(memory)) for name, cpu, memory in found}


def test_top_shows_who_uses_what(shared: Instance, tmp_path: Path) -> None:
    limited: dict[str, Any] = {"resources": {"limits": {"cpu": "300m", "memory": "200Mi"}}}
    burning = pod("burning", container("burn", "while :; do :; done", **limited))
    burning["metadata"]["labels"] = {"top": "yes"}
    shared.apply(burning, pod("holding", HOLD), options=("--until-ready",))
    kubectl = Kubectl(find_kubectls()[-1], kubeconfig(shared, tmp_path))
    wait_until(
        lambda: (
            "50000000" in shared.out("exec", "holding", "--", "stat", "-c", "%s", "/dev/shm/held")
        ),
        "the memory to be taken",
    )

    def busy() -> dict[str, tuple[int, int]]:
        found = _rows(kubectl, "pods")
        return found if found.get("burning", (0, 0))[0] > 100 else {}

    found = wait_until(busy, "the burning Pod to be seen")
    assert 100 < found["burning"][0] <= 450  # held to 300
    assert found["holding"][0] < 100
    assert 47 <= found["holding"][1] < 100
    assert set(_rows(kubectl, "pods", "-l", "top=yes")) == {"burning"}
    assert set(_rows(kubectl, "pods", "--containers", "-l", "top=yes")) == {"burn"}
    (node,) = _rows(kubectl, "nodes").values()
    assert node[0] >= found["burning"][0] / 2
    assert node[1] > 47
    raw = kubectl.out("get", "--raw", f"/api/v1/nodes/{_node(shared)}/proxy/metrics/resource")
    assert re.search(
        r'container_cpu_usage_seconds_total\{container="burn",.*pod="burning"\} [1-9]', raw
    )
    shared.run("delete", "pod", "burning", "holding", "--now")
    wait_until(lambda: "burning" not in _rows(kubectl, "pods"), "the Pod to be forgotten")


def _node(shared: Instance) -> str:
    return str(shared.get("nodes")["items"][0]["metadata"]["name"])


def test_who_may_view_may_look(shared: Instance, tmp_path: Path) -> None:
    kubectl = Kubectl(find_kubectls()[-1], kubeconfig(shared, tmp_path))
    kubectl.run("create", "rolebinding", "looker", "--clusterrole=view", "--user=looker")
    try:
        assert "cannot list resource" not in kubectl.out("--as=looker", "top", "pods")
        refused = kubectl.refused("--as=nobody", "top", "pods")
        assert 'cannot list resource "pods" in API group "metrics.k8s.io"' in refused
    finally:
        kubectl.run("delete", "rolebinding", "looker")
