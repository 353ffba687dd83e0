"""Services from where they are used: by name from a Pod, by address from the host, and the API from inside."""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import container, inside, pod, wait_phase, wait_pod

SERVER = "echo $HOSTNAME > /index.html; touch /ready; exec httpd -f -p 8080 -h /"
CLIENT = """
from kubernetes import client, config
config.load_incluster_config()
api = client.CoreV1Api()
for attempt in (api.list_namespaced_pod, api.list_namespaced_secret):
    try:
        print(attempt.__name__, len(attempt("default").items) > 0)
    except client.ApiException as error:
        print(attempt.__name__, error.status)
"""


def _server(name: str, **spec: Any) -> dict[str, Any]:
    probe = {"exec": {"command": ["test", "-e", "/ready"]}, "periodSeconds": 1}
    made = pod(name, container("c0", SERVER, readinessProbe=probe), **spec)
    made["metadata"]["labels"] = {"app": "web"}
    return made


def _service(name: str = "web", **spec: Any) -> dict[str, Any]:
    ports = [{"name": "http", "port": 80, "targetPort": 8080}]
    spec = {"selector": {"app": "web"}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": spec}


def _fetch(address: str, port: int = 80) -> str:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{address}:{port}/index.html", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except urllib.error.URLError as error:
        return type(error.reason).__name__


def test_a_service_follows_readiness_and_is_found_by_name(shared: Instance) -> None:
    shared.apply(_service(type="NodePort"), _service("members", clusterIP="None"))
    first = _server("web-0", hostname="web-0", subdomain="members")
    shared.apply(first, _server("web-1"), pod("client"), options=("--until-ready",))
    spec = shared.get("service", "web")["spec"]
    wait_until(lambda: len(_answers(spec["clusterIP"])) == 2, "both to answer")
    assert _fetch("127.0.0.1", spec["ports"][0]["nodePort"]) in ("web-0", "web-1")

    assert inside(shared, "client", "wget -qO- http://web/index.html") in ("web-0", "web-1")
    assert inside(shared, "client", "wget -qO- http://web-0.members:8080/index.html") == "web-0"
    inside(shared, "web-0", "rm /ready")
    wait_until(lambda: _answers(spec["clusterIP"]) == {"web-1"}, "the unready one to be left out")
    shared.run("delete", "pod", "web-1", "--now")
    wait_until(lambda: _fetch(spec["clusterIP"]) == "ConnectionRefusedError", "to be refused")
    shared.run("delete", "service", "web", "members")
    shared.run("delete", "pod", "web-0", "client", "--now")


def _answers(address: str) -> set[str]:
    return {_fetch(address) for _ in range(12)}


@pytest.fixture
def python_pod() -> dict[str, Any]:
    """A Pod with the host's Python and the official client, which this test runs with."""
    places = {"/usr": "/usr", "/usr/lib": "/lib", "/usr/lib64": "/lib64", sys.prefix: sys.prefix}
    volumes, mounts = [], []
    for number, (source, target) in enumerate(places.items()):
        if Path(source).is_dir():
            volumes.append({"name": f"v{number}", "hostPath": {"path": source}})
            mounts.append({"name": f"v{number}", "mountPath": target, "readOnly": True})
    made = {"name": "c0", "image": "busybox", "volumeMounts": mounts}
    made["command"] = [f"{sys.prefix}/bin/python", "-c", CLIENT]
    return pod("inner", made, volumes=volumes, restartPolicy="Never")


def test_the_official_client_works_inside_with_just_its_accounts_rights(
    shared: Instance, python_pod: dict[str, Any]
) -> None:
    python_pod["metadata"]["name"] = "stranger"
    shared.apply(python_pod)
    wait_phase(shared, "stranger", "Succeeded", 60)
    expected = "list_namespaced_pod 403\nlist_namespaced_secret 403\n"
    assert shared.out("logs", "stranger") == expected

    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}}
    group = "rbac.authorization.k8s.io"
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "view"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": "default"}],
    }
    python_pod["metadata"]["name"] = "reader"
    python_pod["spec"]["serviceAccountName"] = "reader"
    shared.apply(account, binding, python_pod)
    wait_phase(shared, "reader", "Succeeded", 60)
    expected = "list_namespaced_pod True\nlist_namespaced_secret 403\n"
    assert shared.out("logs", "reader") == expected
    shared.run("delete", "pod", "stranger", "reader", "--now")
    shared.run("delete", "rolebinding/reader", "serviceaccount/reader")


def test_a_pod_may_refuse_the_token(shared: Instance) -> None:
    shared.apply(pod("plain", automountServiceAccountToken=False), options=("--until-ready",))
    place = "/var/run/secrets/kubernetes.io/serviceaccount"
    assert inside(shared, "plain", f"test -e {place} || echo none") == "none"
    found = wait_pod(shared, "plain", bool, "to be there")
    assert "volumes" not in found["spec"]
    assert json.dumps(found).count("kube-api-access") == 0
    shared.run("delete", "pod", "plain", "--now")
