"""Every kind, with kubectl: made, printed as upstream prints it, described, changed and removed again."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.kind_examples import CLUSTER_WIDE, NAMESPACE, NAMESPACED
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import IDLE, container, pod

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
KUBECTLS = find_kubectls()
OLD_AND_NEW = [*KUBECTLS[:1], *KUBECTLS[1:][-1:]]
EXAMPLES = (*NAMESPACED, *CLUSTER_WIDE)
# kubectl up to these versions asks for a v1beta1 to describe them, which 1.36 does not serve either.
_DESCRIBED_OTHERWISE = {"volumeattributesclasses": (1, 33), "ipaddresses": (1, 32)}


@pytest.fixture(scope="module")
def admin(shared: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of an administrator."""
    return kubeconfig(shared, tmp_path_factory.mktemp("admin"))


@pytest.fixture(scope="module")
def kubectl(admin: Path) -> Iterator[Kubectl]:
    """The newest kubectl, in a cluster that has an object of every kind."""
    newest = Kubectl(KUBECTLS[-1], admin)
    newest.run("create", "namespace", NAMESPACE)
    listed = {"apiVersion": "v1", "kind": "List", "items": [each[1] for each in EXAMPLES]}
    newest.run("apply", "-n", NAMESPACE, "-f", "-", text=json.dumps(listed))
    yield newest
    newest.run("delete", "-n", NAMESPACE, "-f", "-", "--wait=false", text=json.dumps(listed))
    newest.run("delete", "namespace", NAMESPACE)


@pytest.mark.parametrize(
    ("resource", "obj", "header", "row"), EXAMPLES, ids=[each[0] for each in EXAMPLES]
)
def test_every_kind_is_printed_as_upstream_prints_it(
    kubectl: Kubectl, resource: str, obj: dict[str, Any], header: str, row: str
) -> None:
    name, inside = obj["metadata"]["name"], ("-n", NAMESPACE)
    printed = kubectl.out("get", resource, name, *inside).splitlines()
    assert " ".join(printed[0].split()) == header
    pattern = re.escape(row).replace(r"\*", r"\S.*").replace(r"\ ", r"\s+")
    assert re.fullmatch(pattern, printed[1].strip()), printed[1]
    if kubectl.version > _DESCRIBED_OTHERWISE.get(resource, (0, 0)):
        kubectl.run("describe", resource, name, *inside)
    patch = json.dumps({"metadata": {"annotations": {"a": "b"}}})
    changed = ("patch", resource, name, *inside, "--type=merge", "-p", patch, "-o", "json")
    assert json.loads(kubectl.out(*changed))["metadata"]["annotations"]["a"] == "b"


@pytest.mark.parametrize("program", OLD_AND_NEW, ids=lambda path: Path(path).name)
def test_kubectl_creates_scales_and_exposes(
    shared: Instance, admin: Path, program: str, tmp_path: Path
) -> None:
    kubectl = Kubectl(program, admin)
    space = f"made-by-{Path(program).name.replace('.', '-')}"
    kubectl.run("create", "namespace", space)
    inside = ("-n", space)
    kubectl.run("create", "deployment", "web", "--image=busybox:1", *inside)
    kubectl.run("scale", "deployment/web", "--replicas=0", *inside)
    assert kubectl.out("get", "deploy", "web", *inside, "-o", "jsonpath={.spec.replicas}") == "0"
    kubectl.run("expose", "deployment", "web", "--port=80", *inside)
    address = kubectl.out("get", "svc", "web", *inside, "-o", "jsonpath={.spec.clusterIP}")
    wait_until(
        lambda: kubectl.run("get", "ipaddress", address, check=False).returncode == 0,
        "the address of the service has its object",
    )
    kubectl.run("create", "job", "once", "--image=busybox:1", *inside)
    kubectl.run(
        *("create", "cronjob", "nightly", "--image=busybox:1", "--schedule=0 0 1 1 *"), *inside
    )
    kubectl.run("create", "quota", "small", "--hard=configmaps=1", *inside)
    kubectl.run("create", "priorityclass", space, "--value=5")
    kubectl.run(
        *("create", "poddisruptionbudget", "web", "--selector=app=none", "--min-available=1"),
        *inside,
    )
    kubectl.run("create", "ingress", "web", "--rule=example.com/=web:80", *inside)
    kubectl.run("autoscale", "deployment", "web", "--max=3", *inside)
    refused = kubectl.refused("create", "configmap", "more", *inside)
    assert (
        "exceeded quota: small, requested: configmaps=1, used: configmaps=1, limited: configmaps=1"
        in (refused)
    )
    used = "jsonpath={.status.used.configmaps}"
    wait_until(
        lambda: kubectl.out("get", "quota", "small", *inside, "-o", used) == "1",
        "the quota tells what is used",
    )
    kubectl.run("delete", "priorityclass", space)
    kubectl.run("delete", "namespace", space)
    assert "NotFound" in kubectl.refused("get", "service", "web", *inside)
    wait_until(
        lambda: kubectl.run("get", "ipaddress", address, check=False).returncode != 0,
        "the address of the service is free again",
    )


@pytest.mark.parametrize("program", OLD_AND_NEW, ids=lambda path: Path(path).name)
def test_a_disruption_budget_lets_go_what_it_can_spare(
    shared: Instance, admin: Path, program: str
) -> None:
    kubectl, budget = Kubectl(program, admin), ("pdb", "careful")
    for name in ("spared", "kept"):
        made = pod(name, container("main", IDLE))
        made["metadata"]["labels"] = {"app": "careful"}
        shared.apply(made, options=("--until-ready",))
    done = kubectl.run("create", *budget, "--selector=app=careful", "--min-available=1")
    assert "accepted and stored" not in done.stderr
    counted = (
        "jsonpath={.status.expectedPods} {.status.currentHealthy} {.status.disruptionsAllowed}"
    )
    wait_until(lambda: kubectl.out("get", *budget, "-o", counted) == "2 2 1", "it is counted")
    assert "Allowed disruptions:  1" in kubectl.out("describe", *budget)
    evicted = "/api/v1/namespaces/default/pods/{}/eviction"
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "spared"}}
    create = ("create", "--raw", evicted.format("spared"), "-f", "-")
    kubectl.run(*create, text=json.dumps({**body, "deleteOptions": {"gracePeriodSeconds": 0}}))
    wait_until(lambda: kubectl.out("get", *budget, "-o", counted) == "1 1 0", "one has gone")
    node = kubectl.out("get", "pod", "kept", "-o", "jsonpath={.spec.nodeName}")
    drain = ("drain", node, "--pod-selector=app=careful", "--force", "--grace-period=1")
    try:
        refused = kubectl.refused(*drain, "--timeout=2s")
        assert "Cannot evict pod as it would violate the pod's disruption budget." in refused
        kubectl.run("patch", *budget, "--type=merge", "-p", '{"spec":{"minAvailable":0}}')
        kubectl.run(*drain, "--timeout=20s")
    finally:
        kubectl.run("uncordon", node)
        kubectl.run("delete", *budget)
    assert "NotFound" in kubectl.refused("get", "pod", "kept")


def test_the_api_server_is_a_service(shared: Instance, kubectl: Kubectl) -> None:
    service = shared.get("service", "kubernetes")
    ranges = json.loads(kubectl.out("get", "servicecidr", "kubernetes", "-o", "json"))
    first = ranges["spec"]["cidrs"][0].partition("/")[0].rpartition(".")[0]
    assert service["spec"]["clusterIP"] == f"{first}.1"
    server = json.loads(kubectl.out("config", "view", "-o", "json"))["clusters"][0]["cluster"]
    piece = json.loads(kubectl.out("get", "endpointslice", "kubernetes", "-o", "json"))
    assert str(piece["ports"][0]["port"]) == server["server"].rpartition(":")[2]


def test_a_claim_in_use_waits_for_its_pod(shared: Instance, kubectl: Kubectl) -> None:
    claim = next(each[1] for each in NAMESPACED if each[0] == "persistentvolumeclaims")
    mine = {**claim, "metadata": {"name": "held"}}
    user = pod("user", nodeSelector={"never": "there"})
    user["spec"]["volumes"] = [{"name": "v", "persistentVolumeClaim": {"claimName": "held"}}]
    shared.apply(mine, user)
    kubectl.run("delete", "pvc", "held", "--wait=false")
    found = json.loads(kubectl.out("get", "pvc", "held", "-o", "json"))
    assert found["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
    kubectl.run("delete", "pod", "user", "--now")
    wait_until(
        lambda: kubectl.run("get", "pvc", "held", check=False).returncode != 0,
        "the claim goes once its Pod has gone",
    )


def test_addresses_outlive_the_daemon(fresh: Instance) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web"},
        "spec": {"ports": [{"port": 80}], "type": "NodePort"},
    }
    fresh.apply(service)
    before = fresh.get("service", "web")["spec"]
    _forget_addresses(fresh)
    fresh.kill_daemon()
    fresh.up()
    assert fresh.get("service", "web")["spec"] == before
    wait_until(
        lambda: fresh.run("get", "ipaddress", before["clusterIP"], check=False).returncode == 0,
        "the address's object is made again at the start",
    )
    taken = {**service, "metadata": {"name": "other"}, "spec": {**service["spec"]}}
    taken["spec"]["clusterIP"] = before["clusterIP"]
    done = fresh.run("apply", "-f", "-", input=json.dumps(taken), check=False)
    assert "provided IP is already allocated" in done.stderr


def _forget_addresses(instance: Instance) -> None:
    """Remove the IPAddress objects, as a crash between two writes would have left it."""
    instance.run("delete", "ipaddresses", "--all", "--wait=false")
