"""The verbs as every kubectl of this host uses them: apply by the server, explain, validation, cascades, pages."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
KUBECTLS = find_kubectls()
NEWEST = KUBECTLS[-1:]


@pytest.fixture(scope="module")
def admin(shared: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of an administrator."""
    return kubeconfig(shared, tmp_path_factory.mktemp("verbs"))


@pytest.fixture
def kubectl(admin: Path, request: pytest.FixtureRequest) -> Kubectl:
    """The kubectl of this test's parameter."""
    return Kubectl(request.param, admin)


each_kubectl = pytest.mark.parametrize(
    "kubectl", KUBECTLS, ids=lambda path: Path(path).name, indirect=True
)
newest_kubectl = pytest.mark.parametrize(
    "kubectl", NEWEST, ids=lambda path: Path(path).name, indirect=True
)


def config_map(name: str, owners: list[Any] | None = None, **data: str) -> str:
    metadata: dict[str, Any] = {"name": name}
    if owners:
        metadata["ownerReferences"] = owners
    made = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data}
    return json.dumps(made)


@each_kubectl
def test_server_side_apply_conflicts_force_and_diff(kubectl: Kubectl) -> None:
    server_side = ("apply", "--server-side", "-f", "-")
    assert "serverside-applied" in kubectl.out(*server_side, text=config_map("ssa", a="1", b="1"))
    other = ("--field-manager=other",)
    refused = kubectl.refused(*server_side, *other, text=config_map("ssa", a="2"))
    assert 'Apply failed with 1 conflict: conflict with "kubectl": .data.a' in refused
    kubectl.run(*server_side, *other, "--force-conflicts", text=config_map("ssa", a="2"))
    found = json.loads(kubectl.out("get", "cm", "ssa", "-o", "json", "--show-managed-fields"))
    assert {each["manager"] for each in found["metadata"]["managedFields"]} == {"kubectl", "other"}
    differing = kubectl.run(
        *("diff", "--server-side", "--force-conflicts", "-f", "-"),
        text=config_map("ssa", a="3", b="1"),
        check=False,
    )
    assert differing.returncode == 1, differing.stderr
    changed = [line for line in differing.stdout.splitlines() if line[:1] in "+-"][2:]
    assert changed == ['-  a: "2"', '+  a: "3"']
    kubectl.run(*server_side, *other, text=config_map("ssa", b="1"))
    assert json.loads(kubectl.out("get", "cm", "ssa", "-o", "json"))["data"] == {"b": "1"}
    kubectl.run("delete", "cm", "ssa")


@each_kubectl
def test_explain_and_validation_know_every_field(kubectl: Kubectl) -> None:
    told = kubectl.out("explain", "pod.spec.containers.livenessProbe", "--recursive")
    lines = [line.split() for line in told.splitlines()]
    assert ["httpGet", "<HTTPGetAction>"] in lines
    assert ["periodSeconds", "<integer>"] in lines
    assert any(line[:2] == ["port", "<IntOrString>"] for line in lines)
    misspelt = json.dumps({**json.loads(config_map("strict")), "datta": {}})
    refused = kubectl.refused("create", "-f", "-", text=misspelt)
    assert 'unknown field "datta"' in refused
    assert "created (server dry run)" in kubectl.out(
        "create", "-f", "-", "--dry-run=server", text=config_map("strict")
    )
    assert "NotFound" in kubectl.refused("get", "cm", "strict")


@newest_kubectl
def test_client_side_apply_moves_to_the_server(kubectl: Kubectl) -> None:
    kubectl.run("apply", "-f", "-", text=config_map("moving", a="1", b="1"))
    kubectl.run("apply", "--server-side", "-f", "-", text=config_map("moving", a="2"))
    found = json.loads(kubectl.out("get", "cm", "moving", "-o", "json", "--show-managed-fields"))
    assert found["data"] == {"a": "2"}
    operations = {each["operation"] for each in found["metadata"]["managedFields"]}
    assert operations == {"Apply"}
    kubectl.run("delete", "cm", "moving")


def owner_of(kubectl: Kubectl, name: str) -> dict[str, Any]:
    uid = kubectl.out("get", "cm", name, "-o", "jsonpath={.metadata.uid}")
    known = {"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid}
    return {**known, "blockOwnerDeletion": True}


@newest_kubectl
@pytest.mark.parametrize("policy", ["background", "foreground", "orphan"])
def test_dependents_follow_their_owner_as_asked(kubectl: Kubectl, policy: str) -> None:
    kubectl.run("create", "-f", "-", text=config_map("owner"))
    dependent = config_map("dependent", [owner_of(kubectl, "owner")])
    kubectl.run("create", "-f", "-", text=dependent)
    kubectl.run("delete", "cm", "owner", f"--cascade={policy}", "--wait=true", "--timeout=20s")
    if policy != "orphan":
        kubectl.run("wait", "--for=delete", "cm/dependent", "--timeout=20s")
        return
    left = json.loads(kubectl.out("get", "cm", "dependent", "-o", "json"))
    assert "ownerReferences" not in left["metadata"]
    kubectl.run("delete", "cm", "dependent")


@newest_kubectl
def test_a_namespace_takes_everything_with_it(kubectl: Kubectl) -> None:
    kubectl.run("create", "namespace", "doomed")
    for kind in ("configmap", "secret generic", "serviceaccount"):
        kubectl.run("-n", "doomed", "create", *kind.split(), "thing")
    kubectl.run("delete", "namespace", "doomed", "--timeout=30s")
    assert "NotFound" in kubectl.refused("get", "namespace", "doomed")
    assert "not found" in kubectl.refused("-n", "doomed", "create", "configmap", "late")


@newest_kubectl
def test_long_lists_come_in_pages(kubectl: Kubectl) -> None:
    many = [json.loads(config_map(f"page-{number}")) for number in range(7)]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": many})
    kubectl.run("create", "-f", "-", text=text)
    paged = kubectl.run("get", "cm", "-o", "name", "--chunk-size=3", "-v=6")
    assert paged.stdout.count("page-") == 7
    assert "continue=" in paged.stderr
    kubectl.run("delete", "cm", *(f"page-{number}" for number in range(7)))
