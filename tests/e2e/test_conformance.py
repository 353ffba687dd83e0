"""Behaviours of upstream's conformance suite that no other test plays through: see docs/conformance.md."""

import base64
import contextlib
import http.client
import json
import re
import ssl
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.authorities import make_request
from tests.e2e.instance import Instance, wait_until
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig

Object = dict[str, Any]
MERGE, STRATEGIC = "application/merge-patch+json", "application/strategic-merge-patch+json"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
NAMESPACE = "conformance"
CORE = f"/api/v1/namespaces/{NAMESPACE}"
_POD = {"containers": [{"name": "main", "image": "busybox"}]}


class Rest:
    """Speaks to the API over HTTPS with a client certificate, and nothing between."""

    def __init__(self, config: Path) -> None:
        parsed = yaml.safe_load(config.read_text())
        cluster, user = parsed["clusters"][0]["cluster"], parsed["users"][0]["user"]
        self._address = urllib.parse.urlsplit(cluster["server"]).netloc
        authority = base64.b64decode(cluster["certificate-authority-data"]).decode()
        self._tls = ssl.create_default_context(cadata=authority)
        pair = config.parent / "pair.pem"
        parts = (user["client-certificate-data"], user["client-key-data"])
        pair.write_bytes(b"".join(map(base64.b64decode, parts)))
        self._tls.load_cert_chain(pair)

    def ask(
        self, method: str, path: str, body: Any = None, kind: str = "application/json", **more: str
    ) -> tuple[int, Any]:
        """Return the status and the answer; `accept` and `query` may be given."""
        query = f"?{more['query']}" if "query" in more else ""
        headers = {"Content-Type": kind, "Accept": more.get("accept", "application/json")}
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=20)
        with contextlib.closing(connection):
            data = None if body is None else json.dumps(body)
            connection.request(method, path + query, data, headers)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read() or b"null")

    def watch(self, path: str, query: str) -> Iterator[tuple[str, Object]]:
        """Yield the types and objects of a watch."""
        connection = http.client.HTTPSConnection(self._address, context=self._tls, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"{path}?watch=1&{query}")
            for line in connection.getresponse():
                event = json.loads(line)
                yield event["type"], event["object"]

    def must(self, *arguments: Any, **more: str) -> Any:
        """Return the answer of a request that must succeed."""
        status, answer = self.ask(*arguments, **more)
        assert 200 <= status < 300, answer
        return answer


@pytest.fixture(scope="module")
def config(shared: Instance, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return kubeconfig(shared, tmp_path_factory.mktemp("conformance"))


@pytest.fixture(scope="module")
def rest(shared: Instance, config: Path) -> Iterator[Rest]:
    """A client, and a namespace for it to work in."""
    made = Rest(config)
    made.must("POST", "/api/v1/namespaces", {"metadata": {"name": NAMESPACE}})
    yield made
    shared.run("delete", "namespace", NAMESPACE)


def _items(rest: Rest, path: str, query: str = "") -> list[Object]:
    more = {"query": query} if query else {}
    return list(rest.must("GET", path, **more)["items"])


def test_every_group_is_served_in_its_preferred_version(rest: Rest) -> None:
    for group in rest.must("GET", "/apis")["groups"]:
        versions = [each["groupVersion"] for each in group["versions"]]
        assert group["preferredVersion"]["groupVersion"] in versions
        for version in versions:
            served = rest.must("GET", f"/apis/{version}")
            assert served["groupVersion"] == version
            assert served["resources"]


def test_the_version_is_of_numbers(rest: Rest) -> None:
    version = rest.must("GET", "/version")
    assert version["major"].isdecimal()
    assert version["minor"].isdecimal()


def test_what_has_no_table_says_so(rest: Rest) -> None:
    path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
    asked = {"spec": {"resourceAttributes": {"verb": "get", "resource": "pods"}}}
    assert rest.ask("POST", path, asked, accept=TABLE)[0] == 406
    assert rest.must("POST", path, asked, accept=f"{TABLE},application/json")["status"]["allowed"]


def test_a_namespace_is_patched_and_updated(rest: Rest) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}"
    labelled = {"metadata": {"labels": {"patched": "yes"}}}
    patched = rest.must("PATCH", path, labelled, STRATEGIC)
    assert patched["metadata"]["labels"]["patched"] == "yes"
    patched["metadata"]["labels"]["updated"] = "yes"
    rest.must("PUT", path, patched)
    found = _items(rest, "/api/v1/namespaces", "labelSelector=patched%3Dyes,updated%3Dyes")
    assert [each["metadata"]["name"] for each in found] == [NAMESPACE]


def test_a_namespaces_status_and_finalizers_are_written_apart(rest: Rest) -> None:
    path = f"/api/v1/namespaces/{NAMESPACE}"
    told = {"type": "StatusPatch", "status": "True", "reason": "E2E", "message": "patched"}
    patched = rest.must("PATCH", f"{path}/status", {"status": {"conditions": [told]}}, MERGE)
    assert patched["status"]["phase"] == "Active"
    patched["status"]["conditions"].append({**told, "type": "StatusUpdate"})
    updated = rest.must("PUT", f"{path}/status", patched)
    assert [each["type"] for each in updated["status"]["conditions"]] == [
        "StatusPatch",
        "StatusUpdate",
    ]
    updated["spec"]["finalizers"].append("example.com/held")
    held = rest.must("PUT", f"{path}/finalize", updated)
    assert held["spec"]["finalizers"] == ["kubernetes", "example.com/held"]
    held["spec"]["finalizers"] = ["kubernetes"]
    assert rest.must("PUT", f"{path}/finalize", held)["spec"]["finalizers"] == ["kubernetes"]


_APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"
_TEMPLATE = {"metadata": {"labels": {"a": "b"}}, "spec": _POD}
# What is counted, under which name, and an object of it.
_COUNTED = (
    ("count/configmaps", f"{CORE}/configmaps", {}),
    ("secrets", f"{CORE}/secrets", {}),
    ("services", f"{CORE}/services", {"spec": {"ports": [{"port": 80}]}}),
    (
        "replicationcontrollers",
        f"{CORE}/replicationcontrollers",
        {"spec": {"replicas": 0, "selector": {"a": "b"}, "template": _TEMPLATE}},
    ),
    (
        "count/replicasets.apps",
        f"{_APPS}/replicasets",
        {
            "spec": {
                "replicas": 0,
                "selector": {"matchLabels": {"a": "b"}},
                "template": _TEMPLATE,
            }
        },
    ),
)


def test_a_quotas_life(rest: Rest) -> None:
    path = f"{CORE}/resourcequotas"
    hard = {"cpu": "500m", "memory": "500Mi", **{name: "9" for name, _, _ in _COUNTED}}
    quota = {"metadata": {"name": "q", "labels": {"of": "test"}}, "spec": {"hard": hard}}
    rest.must("POST", path, quota)

    def status() -> Object:
        return dict(rest.must("GET", f"{path}/q").get("status") or {})

    wait_until(lambda: status().get("hard") == hard, "the status to be calculated")
    before = status()["used"]
    for _, where, body in _COUNTED:
        rest.must("POST", where, {"metadata": {"name": "counted"}, **body})
    more = {name: str(int(before[name]) + 1) for name, _, _ in _COUNTED}
    wait_until(lambda: status()["used"] == before | more, "the objects to be counted")
    for _, where, _ in _COUNTED:
        rest.must("DELETE", f"{where}/counted")
    wait_until(lambda: status()["used"] == before, "the objects to be given back")
    shrunk = {"status": {"hard": {"cpu": "1", "memory": "1Gi"}}}
    assert rest.must("PATCH", f"{path}/q/status", shrunk, MERGE)["spec"]["hard"] == hard
    rest.must("PATCH", f"{path}/q", {"spec": {"hard": {"cpu": "1"}}}, MERGE)
    wait_until(lambda: status()["hard"]["cpu"] == "1", "the status to follow the spec")
    found = _items(rest, "/api/v1/resourcequotas", "labelSelector=of%3Dtest")
    assert [each["metadata"]["name"] for each in found] == ["q"]
    rest.must("DELETE", path, query="labelSelector=of%3Dtest")
    assert _items(rest, path, "labelSelector=of%3Dtest") == []


def test_a_list_comes_in_chunks_of_one_version(rest: Rest) -> None:
    path = f"{CORE}/podtemplates"
    spec = {"containers": [{"name": "c", "image": "x"}]}
    for number in range(7):
        named = {"metadata": {"name": f"t{number}"}, "template": {"spec": spec}}
        rest.must("POST", path, named)
    first = rest.must("GET", path, query="limit=3")
    assert (len(first["items"]), first["metadata"]["remainingItemCount"]) == (3, 4)
    token = urllib.parse.quote(first["metadata"]["continue"], safe="")
    rest.must("DELETE", f"{path}/t6")
    second = rest.must("GET", path, query=f"limit=3&continue={token}")
    assert second["metadata"]["resourceVersion"] == first["metadata"]["resourceVersion"]
    token = urllib.parse.quote(second["metadata"]["continue"], safe="")
    third = rest.must("GET", path, query=f"limit=3&continue={token}")
    assert [each["metadata"]["name"] for each in third["items"]] == ["t6"]  # as it was then
    assert len(_items(rest, path)) == 6
    rest.must("DELETE", path)


def test_a_circle_of_pods_can_be_deleted(rest: Rest) -> None:
    path = f"{CORE}/pods"
    spec = {"containers": [{"name": "c", "image": "x"}], "schedulerName": "nobody"}
    made = {
        name: rest.must("POST", path, {"metadata": {"name": name}, "spec": spec}) for name in "abc"
    }
    for name, owner in (("a", "c"), ("b", "a"), ("c", "b")):
        reference = {
            "apiVersion": "v1",
            "kind": "Pod",
            "name": owner,
            "uid": made[owner]["metadata"]["uid"],
            "controller": True,
            "blockOwnerDeletion": True,
        }
        owned = {"metadata": {"ownerReferences": [reference]}}
        rest.must("PATCH", f"{path}/{name}", owned, STRATEGIC)
    rest.must("DELETE", f"{path}/a", {"propagationPolicy": "Foreground"})
    wait_until(lambda: not _items(rest, path), "all three to go")


@pytest.mark.parametrize("version", ["/api/v1", "/apis/events.k8s.io/v1"])
def test_an_events_life(rest: Rest, version: str) -> None:
    path = f"{version}/namespaces/{NAMESPACE}/events"
    new = "events.k8s.io" in version
    about = {"kind": "Pod", "name": "x", "namespace": NAMESPACE}
    event = {
        "metadata": {"name": "told", "labels": {"of": "test"}},
        ("regarding" if new else "involvedObject"): about,
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "type": "Normal",
        "reason": "Test",
        "action": "Do",
        ("reportingController" if new else "reportingComponent"): "test.example.com",
        "reportingInstance": "i",
        ("note" if new else "message"): "told",
    }
    rest.must("POST", path, event)
    assert len(_items(rest, f"{version}/events", "labelSelector=of%3Dtest")) == 1
    series = {"series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:01.000000Z"}}
    patched = rest.must("PATCH", f"{path}/told", series, STRATEGIC)
    assert patched["series"]["count"] == 2
    patched["series"]["count"] = 100
    assert rest.must("PUT", f"{path}/told", patched)["series"]["count"] == 100
    rest.must("DELETE", path, query="labelSelector=of%3Dtest")
    assert _items(rest, path, "labelSelector=of%3Dtest") == []


def test_a_services_status_and_collection(rest: Rest) -> None:
    path = f"{CORE}/services"
    for name, of in (("one", "test"), ("two", "test"), ("three", "other")):
        spec = {"type": "LoadBalancer", "ports": [{"port": 80}]}
        rest.must("POST", path, {"metadata": {"name": name, "labels": {"of": of}}, "spec": spec})
    balanced = {"status": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}}}
    patched = rest.must("PATCH", f"{path}/one/status", balanced, MERGE)
    condition = {"type": "StatusUpdate", "status": "True", "reason": "E", "message": "m"}
    told = {**condition, "lastTransitionTime": "2026-01-01T00:00:00Z"}
    patched["status"]["conditions"] = [told]
    updated = rest.must("PUT", f"{path}/one/status", patched)
    assert updated["status"]["conditions"][0]["type"] == "StatusUpdate"
    assert rest.must("GET", f"{path}/one/status")["status"]["loadBalancer"]["ingress"]
    rest.must("DELETE", path, query="labelSelector=of%3Dtest")
    assert [each["metadata"]["name"] for each in _items(rest, path)] == ["three"]
    everywhere = _items(rest, "/api/v1/services")
    names = {(each["metadata"]["namespace"], each["metadata"]["name"]) for each in everywhere}
    assert ("default", "kubernetes") in names
    rest.must("DELETE", f"{path}/three")


def test_endpoints_made_by_hand_have_slices_as_long_as_they_are_there(rest: Rest) -> None:
    slices = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"
    query = "labelSelector=kubernetes.io%2Fservice-name%3Dby-hand"
    named = {"metadata": {"name": "by-hand"}}
    port = {"port": 80, "name": "http"}
    rest.must("POST", f"{CORE}/services", {**named, "spec": {"ports": [port]}})

    def subsets(address: str) -> list[Object]:
        return [{"ports": [port], "addresses": [{"ip": address}]}]

    def mirrored() -> list[str]:
        found = _items(rest, slices, query)
        return [a for each in found for e in each["endpoints"] for a in e["addresses"]]

    rest.must("POST", f"{CORE}/endpoints", {**named, "subsets": subsets("10.1.2.3")})
    wait_until(lambda: mirrored() == ["10.1.2.3"], "the slice to be made")
    rest.must("PATCH", f"{CORE}/endpoints/by-hand", {"subsets": subsets("10.1.2.4")}, MERGE)
    wait_until(lambda: mirrored() == ["10.1.2.4"], "the slice to follow")
    rest.must("DELETE", f"{CORE}/endpoints/by-hand")
    wait_until(lambda: not _items(rest, slices, query), "the slice to go")
    rest.must("DELETE", f"{CORE}/services/by-hand")


def test_the_root_certificate_is_in_every_namespace_whatever_becomes_of_it(rest: Rest) -> None:
    path = f"{CORE}/configmaps/kube-root-ca.crt"

    def intact() -> bool:
        status, found = rest.ask("GET", path)
        return status == 200 and "BEGIN CERTIFICATE" in found["data"].get("ca.crt", "")

    wait_until(intact, "the ConfigMap to be made")
    rest.must("DELETE", path)
    wait_until(intact, "the ConfigMap to be made again")
    rest.must("PATCH", path, {"data": {"ca.crt": "other"}}, MERGE)
    wait_until(intact, "the ConfigMap to be mended")


def test_a_services_addresses_follow_its_type(rest: Rest) -> None:
    path = f"{CORE}/services"
    port = {"port": 80, "protocol": "TCP"}
    rest.must("POST", path, {"metadata": {"name": "changing"}, "spec": {"ports": [port]}})

    def change(spec: Object) -> Object:
        changed = rest.must("PATCH", f"{path}/changing", {"spec": spec}, MERGE)
        return dict(changed["spec"])

    outside = {"type": "ExternalName", "externalName": "example.com"}
    away = change({**outside, "clusterIP": "", "clusterIPs": None})
    assert not away.get("clusterIP")
    node = change({"type": "NodePort", "externalName": None, "ports": [port]})
    assert node["clusterIP"]
    assert node["ports"][0]["nodePort"] >= 30000
    again = change({**outside, "clusterIP": "", "clusterIPs": None, "ports": None})
    assert not again.get("clusterIP")
    assert not again.get("ports")
    inside = change({"type": "ClusterIP", "externalName": None, "ports": [port]})
    assert inside["clusterIP"]
    assert "nodePort" not in inside["ports"][0]
    rest.must("DELETE", f"{path}/changing")


_BACKEND = {"service": {"name": "web", "port": {"number": 80}}}
_NETWORKING = "/apis/networking.k8s.io/v1"
_STORAGE = "/apis/storage.k8s.io/v1"
_CLAIM = {
    "accessModes": ["ReadWriteOnce"],
    "storageClassName": "none",
    "resources": {"requests": {"storage": "1Gi"}},
}
_VOLUME = {
    "capacity": {"storage": "1Gi"},
    "accessModes": ["ReadWriteOnce"],
    "hostPath": {"path": "/tmp/volume"},
}
_FLOWS = "/apis/flowcontrol.apiserver.k8s.io/v1"
_LEVEL = {"limitResponse": {"type": "Reject"}}
_CHANGED = "2026-01-01T00:00:00Z"
_CONDITIONS = {
    "conditions": [
        {"type": "Dangling", "status": "True", "reason": "test", "lastTransitionTime": _CHANGED}
    ]
}
_STATUSES = {
    "ingresses": {"loadBalancer": {"ingress": [{"ip": "203.0.113.1"}]}},
    "flowschemas": _CONDITIONS,
    "prioritylevelconfigurations": _CONDITIONS,
}
_SLICES = f"/apis/discovery.k8s.io/v1/namespaces/{NAMESPACE}/endpointslices"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (f"{_NETWORKING}/namespaces/{NAMESPACE}/ingresses", {"spec": {"defaultBackend": _BACKEND}}),
        (f"{_NETWORKING}/ingressclasses", {"spec": {"controller": "example.com/c"}}),
        (_SLICES, {"addressType": "IPv4", "endpoints": [{"addresses": ["10.0.0.1"]}]}),
        (f"{CORE}/podtemplates", {"template": {"spec": _POD}}),
        (f"{CORE}/configmaps", {"data": {"a": "b"}}),
        (f"{CORE}/serviceaccounts", {"automountServiceAccountToken": False}),
        (f"{CORE}/secrets", {"stringData": {"a": "b"}}),
        (f"{CORE}/limitranges", {"spec": {"limits": [{"type": "Pod", "max": {"cpu": "1"}}]}}),
        (f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases", {"spec": {}}),
        ("/api/v1/nodes", {}),
        (
            "/apis/certificates.k8s.io/v1/certificatesigningrequests",
            {
                "spec": {
                    "request": make_request("nobody"),
                    "signerName": "example.com/nobody",
                    "usages": ["client auth"],
                }
            },
        ),
        (f"{_FLOWS}/flowschemas", {"spec": {"priorityLevelConfiguration": {"name": "low"}}}),
        (f"{_FLOWS}/prioritylevelconfigurations", {"spec": {"type": "Limited", "limited": _LEVEL}}),
        ("/apis/node.k8s.io/v1/runtimeclasses", {"handler": "h"}),
        ("/apis/scheduling.k8s.io/v1/priorityclasses", {"value": 5}),
        (f"{_STORAGE}/csidrivers", {"spec": {}}),
        (f"{_STORAGE}/csinodes", {"spec": {"drivers": []}}),
        (
            f"{_STORAGE}/namespaces/{NAMESPACE}/csistoragecapacities",
            {"storageClassName": "fast", "capacity": "1Gi"},
        ),
        (f"{_STORAGE}/storageclasses", {"provisioner": "example.com/p"}),
        (
            f"{_STORAGE}/volumeattachments",
            {
                "spec": {
                    "attacher": "example.com",
                    "nodeName": "n",
                    "source": {"persistentVolumeName": "v"},
                }
            },
        ),
        (f"{CORE}/persistentvolumeclaims", {"spec": _CLAIM}),
        ("/api/v1/persistentvolumes", {"spec": _VOLUME}),
    ],
    ids=lambda each: each.rpartition("/")[2] if isinstance(each, str) else "",
)
def test_every_verb_of_a_kind(rest: Rest, path: str, body: Object) -> None:
    before = rest.must("GET", path)["metadata"]["resourceVersion"]
    for name in ("one", "two"):
        rest.must("POST", path, {"metadata": {"name": name, "labels": {"of": "test"}}, **body})
    one = rest.must("GET", f"{path}/one")
    chosen = "labelSelector=of%3Dtest"
    assert len(_items(rest, path, chosen)) == 2
    patched = rest.must("PATCH", f"{path}/one", {"metadata": {"annotations": {"a": "1"}}}, MERGE)
    assert patched["metadata"]["annotations"] == {"a": "1"}
    assert rest.ask("PUT", f"{path}/one", one)[0] == 409
    patched["metadata"]["annotations"]["a"] = "2"
    updated = rest.must("PUT", f"{path}/one", patched)
    assert updated["metadata"]["annotations"] == {"a": "2"}
    if status := _STATUSES.get(path.rpartition("/")[2]):
        given = rest.must("PATCH", f"{path}/one/status", {"status": status}, MERGE)
        assert given["status"] == status
        assert rest.must("PUT", f"{path}/one/status", given)["status"] == status
        assert rest.must("GET", f"{path}/one/status")["spec"] == one["spec"]
    rest.must("DELETE", f"{path}/one")
    rest.must("DELETE", path, query=chosen)
    seen = []
    for kind, obj in rest.watch(path, f"{chosen}&resourceVersion={before}"):
        seen.append((kind, obj["metadata"]["name"]))
        if {("DELETED", "one"), ("DELETED", "two")} <= set(seen):
            break  # a volume and a claim once nobody protects them any more
    assert _items(rest, path, chosen) == []
    assert [each for each in seen if each[0] == "ADDED"] == [("ADDED", "one"), ("ADDED", "two")]
    assert ("MODIFIED", "one") in seen


@pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
def test_the_other_verbs_of_kubectls_own_conformance(
    rest: Rest, config: Path, tmp_path: Path
) -> None:
    kubectl = Kubectl(find_kubectls()[-1], config)
    assert "Kubernetes control plane" in kubectl.out("cluster-info")
    inside = ("-n", NAMESPACE)
    kubectl.run(*inside, "run", "plain", "--image=busybox:first", "--restart=Never")
    patch = json.dumps({"spec": {"containers": [{"name": "plain", "image": "busybox:second"}]}})
    image = ("get", "pod", "plain", "-o", "jsonpath={.spec.containers[0].image}")
    kubectl.run(*inside, "patch", "pod", "plain", "-p", patch, "--dry-run=server")
    assert kubectl.out(*inside, *image) == "busybox:first"
    whole = kubectl.out(*inside, "get", "pod", "plain", "-o", "json")
    whole = re.sub(r'"resourceVersion": ".*",', "", whole)  # whoever writes its status meanwhile
    kubectl.run(*inside, "replace", "-f", "-", text=whole.replace("busybox:first", "busybox:third"))
    assert kubectl.out(*inside, *image) == "busybox:third"
    kubectl.run(*inside, "label", "pod", "plain", "of=test")
    assert kubectl.out(*inside, "get", "pods", "-l", "of=test", "-o", "name") == "pod/plain\n"
    kubectl.run(*inside, "label", "pod", "plain", "of-")
    assert kubectl.out(*inside, "get", "pods", "-l", "of=test", "-o", "name") == ""
    kubectl.run(
        *inside, "expose", "pod", "plain", "--name=plain", "--port=1234", "--target-port=6379"
    )
    ports = kubectl.out(*inside, "get", "svc", "plain", "-o", "jsonpath={.spec.ports}")
    assert json.loads(ports) == [{"port": 1234, "protocol": "TCP", "targetPort": 6379}]
    kubectl.run(*inside, "delete", "pod,service", "plain", "--now")
