"""Rights as clients meet them: accounts, tokens, roles, impersonation, with every kubectl of this host."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import pod, wait_phase

pytestmark = pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
KUBECTLS = find_kubectls()


@pytest.fixture(scope="module")
def admin(shared: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kubeconfig of an administrator."""
    return kubeconfig(shared, tmp_path_factory.mktemp("admin"))


def with_token(admin: Path, token: str, directory: Path) -> Path:
    """Return a kubeconfig that shows nothing but a token."""
    found = json.loads(Kubectl(KUBECTLS[0], admin).out("config", "view", "--raw", "-o", "json"))
    found["users"] = [{"name": each["name"], "user": {"token": token}} for each in found["users"]]
    path = directory / "token.config"
    path.write_text(json.dumps(found))
    return path


def apply(kubectl: Kubectl, *objects: dict[str, Any]) -> None:
    listed = {"apiVersion": "v1", "kind": "List", "items": list(objects)}
    kubectl.run("apply", "--validate=false", "-f", "-", text=json.dumps(listed))


def robot(name: str) -> list[dict[str, Any]]:
    """Return a ServiceAccount that may read Pods and their logs, and nothing else."""
    group = "rbac.authorization.k8s.io"
    rules = [{"apiGroups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}]
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}},
        {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": {"name": name}, "rules": rules},
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": group, "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": "default"}],
        },
    ]


@pytest.mark.parametrize("program", KUBECTLS, ids=lambda path: Path(path).name)
def test_an_account_may_do_exactly_what_its_binding_grants(
    shared: Instance, admin: Path, tmp_path: Path, program: str
) -> None:
    kubectl = Kubectl(program, admin)
    apply(kubectl, *robot("reader"))
    token = kubectl.out("create", "token", "reader").strip()
    reader = Kubectl(program, with_token(admin, token, tmp_path))
    user = "system:serviceaccount:default:reader"
    reader.run("get", "pods")
    assert reader.out("auth", "can-i", "list", "pods").strip() == "yes"
    assert reader.run("auth", "can-i", "delete", "pods", check=False).stdout.strip() == "no"
    assert "pods/log" in reader.out("auth", "can-i", "--list")
    assert kubectl.out("auth", "can-i", "get", "pods", "--as", user).strip() == "yes"
    refused = reader.refused("get", "secrets")
    assert refused.strip() == (
        f'Error from server (Forbidden): secrets is forbidden: User "{user}" cannot list resource "secrets" '
        'in API group "" in the namespace "default"'
    )
    assert "cannot list resource" in reader.refused("get", "pods", "-n", "kube-system")
    assert "Forbidden" in reader.refused("get", "pods", "--as", "jane")
    kubectl.run("delete", "serviceaccount", "reader")
    said = reader.refused("get", "pods")
    assert "Unauthorized" in said or "must be logged in" in said, said
    kubectl.run("delete", "role,rolebinding", "reader")


def test_a_token_ends_with_the_pod_that_it_is_bound_to(
    shared: Instance, admin: Path, tmp_path: Path
) -> None:
    kubectl = Kubectl(KUBECTLS[0], admin)
    shared.apply(pod("bound"))
    wait_phase(shared, "bound", "Running")
    bound = ("--bound-object-kind", "Pod", "--bound-object-name", "bound")
    token = kubectl.out("create", "token", "default", *bound).strip()
    holder = Kubectl(KUBECTLS[0], with_token(admin, token, tmp_path))
    assert "system:serviceaccount:default:default" in holder.refused("get", "pods")
    kubectl.run("delete", "pod", "bound", "--now")
    said = holder.refused("get", "pods")
    assert "Unauthorized" in said or "must be logged in" in said, said


def test_a_token_secret_is_filled_and_counts_while_it_is_there(
    shared: Instance, admin: Path, tmp_path: Path
) -> None:
    kubectl = Kubectl(KUBECTLS[0], admin)
    annotations = {"kubernetes.io/service-account.name": "default"}
    apply(
        kubectl,
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": "legacy", "annotations": annotations},
            "type": "kubernetes.io/service-account-token",
        },
    )
    token = wait_until(
        lambda: (
            kubectl.out("get", "secret", "legacy", "-o", "go-template={{.data.token|base64decode}}")
            if "token" in kubectl.out("get", "secret", "legacy", "-o", "jsonpath={.data}")
            else ""
        ),
        "the Secret is filled",
    )
    holder = Kubectl(KUBECTLS[0], with_token(admin, token, tmp_path))
    assert "system:serviceaccount:default:default" in holder.refused("get", "pods")
    kubectl.run("delete", "secret", "legacy")
    said = holder.refused("get", "pods")
    assert "Unauthorized" in said or "must be logged in" in said, said


@pytest.mark.parametrize("program", KUBECTLS, ids=lambda path: Path(path).name)
def test_a_review_is_asked_for_by_a_manifest(
    shared: Instance, admin: Path, tmp_path: Path, program: str
) -> None:
    spec = {"user": "nobody", "resourceAttributes": {"verb": "get", "resource": "pods"}}
    review = {
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SubjectAccessReview",
        "spec": spec,
    }
    answer = ("create", "-o", "jsonpath={.status.allowed}", "-f", "-")
    kubectl = Kubectl(program, admin)
    assert kubectl.run(*answer, text=json.dumps(review)).stdout == "false"
    spec["groups"] = ["system:masters"]  # type: ignore[assignment]
    assert kubectl.run(*answer, text=json.dumps(review)).stdout == "true"


def test_users_of_certificates_get_their_rights_by_bindings_and_lose_them_with_these(
    shared: Instance, admin: Path, tmp_path: Path
) -> None:
    kubectl = Kubectl(KUBECTLS[0], admin)
    config = kubeconfig(shared, tmp_path, "--user", "jane", "--group", "developers")
    jane = Kubectl(KUBECTLS[0], config)
    assert "Forbidden" in jane.refused("get", "pods")
    group = "rbac.authorization.k8s.io"
    apply(
        kubectl,
        {
            "apiVersion": f"{group}/v1",
            "kind": "RoleBinding",
            "metadata": {"name": "developers"},
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
            "subjects": [{"apiGroup": group, "kind": "Group", "name": "developers"}],
        },
    )
    jane.run("get", "pods")
    assert "Forbidden" in jane.refused("get", "secrets")
    assert "Forbidden" in jane.refused("delete", "configmap", "kube-root-ca.crt")
    kubectl.run("delete", "rolebinding", "developers")
    assert "Forbidden" in jane.refused("get", "pods")


def test_the_daemons_own_parts_have_no_more_than_upstreams_rights(
    shared: Instance, admin: Path
) -> None:
    """Nothing of minipod's own was refused anything, and nothing of it but expiry needs to be an administrator."""
    shared.apply(pod("own"))
    wait_phase(shared, "own", "Running")
    shared.run("delete", "pod", "own", "--now")
    assert "is forbidden" not in shared.daemon_log()
    kubectl = Kubectl(KUBECTLS[0], admin)
    node = ("--as", "system:node:x", "--as-group", "system:nodes")
    assert "Forbidden" in kubectl.refused("delete", "node", "x", *node)
    assert "Forbidden" in kubectl.refused("get", "secrets", "--as", "system:kube-scheduler")


def test_the_audit_log_has_who_did_it_and_no_secret(shared: Instance, admin: Path) -> None:
    kubectl = Kubectl(KUBECTLS[0], admin)
    kubectl.run("create", "secret", "generic", "audited", "--from-literal=word=hunter2-hunter2")
    kubectl.run(
        "delete", "secret", "audited", "--as", "kubernetes-admin", "--as-group", "system:masters"
    )
    log = shared.layout.log / "audit.log"
    assert log.stat().st_mode & 0o777 == 0o600
    text = log.read_text()
    events = [
        json.loads(line) for line in text.splitlines() if "audited" in line or "secrets" in line
    ]
    assert any(
        each["verb"] == "create" and each["user"]["username"] == "kubernetes-admin"
        for each in events
    )
    assert any(each["verb"] == "delete" and "impersonatedUser" in each for each in events)
    assert "hunter2" not in text
    assert "aHVudGVyMi" not in text


def test_figures_and_health_are_there_for_whoever_may_see_them(
    shared: Instance, admin: Path, tmp_path: Path
) -> None:
    kubectl = Kubectl(KUBECTLS[0], admin)
    assert "apiserver_request_total{" in kubectl.out("get", "--raw", "/metrics")
    assert "[+]node-agent ok" in kubectl.out("get", "--raw", "/readyz?verbose")
    nobody = kubeconfig(shared, tmp_path, "--user", "nobody")
    assert "Forbidden" in Kubectl(KUBECTLS[0], nobody).refused("get", "--raw", "/metrics")
    assert Kubectl(KUBECTLS[0], nobody).out("get", "--raw", "/readyz") == "ok"
