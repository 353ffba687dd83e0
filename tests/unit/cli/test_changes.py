"""create, apply, patch, label, annotate, delete, wait."""

import base64
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from minipod.cli.commands.apply import LAST_APPLIED
from tests.fakes.apiserver import FakeApiServer
from tests.unit.cli.conftest import Minipod, pod

MANIFEST = """apiVersion: v1
kind: Pod
metadata:
  name: nginx
spec:
  containers:
  - {name: app, image: nginx}
"""


@pytest.fixture
def manifest(tmp_path: Path) -> str:
    path = tmp_path / "pod.yaml"
    path.write_text(MANIFEST)
    return str(path)


@pytest.mark.parametrize("verb", ["apply", "create", "delete"])
def test_a_manifest_without_objects_names_the_command(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path, verb: str
) -> None:
    (tmp_path / "empty.yaml").write_text("# nothing\n")
    refused = minipod("--request-timeout=5", verb, "-f", str(tmp_path / "empty.yaml"))
    assert refused.err == f"error: no objects passed to {verb}\n"


def test_what_has_no_name_cannot_be_applied(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path
) -> None:
    path = tmp_path / "m.yaml"
    for metadata, why in (
        ("{}", "resource name may not be empty"),
        ("{generateName: a-}", "cannot use generate name with apply"),
    ):
        path.write_text(f"apiVersion: v1\nkind: ConfigMap\nmetadata: {metadata}\n")
        refused = minipod("apply", "-f", str(path))
        assert refused.err == f'error: error when applying "{path}": {why}\n'


def test_create_from_a_manifest(server: FakeApiServer, minipod: Minipod, manifest: str) -> None:
    ended = minipod("create", "-f", manifest)
    assert (ended.code, ended.out) == (0, "pod/nginx created\n")
    sent = server.writes()[0]
    assert sent.path == "/api/v1/namespaces/default/pods"
    assert sent.query["fieldValidation"] == ["Strict"]
    again = minipod("create", "-f", manifest)
    assert again.code == 1
    assert again.err == (
        f'Error from server (AlreadyExists): error when creating "{manifest}": pods "nginx" already exists\n'
    )


def test_dry_runs(server: FakeApiServer, minipod: Minipod, manifest: str) -> None:
    assert (
        minipod("create", "-f", manifest, "--dry-run=client").out == "pod/nginx created (dry run)\n"
    )
    assert not server.writes()
    assert (
        minipod("apply", "-f", manifest, "--dry-run=server").out
        == "pod/nginx created (server dry run)\n"
    )
    assert server.writes()[0].query["dryRun"] == ["All"]
    assert minipod("create", "-f", manifest, "--dry-run").err.startswith(
        "error: --dry-run flag without a value"
    )
    assert "Invalid dry-run value (all)" in minipod("create", "-f", manifest, "--dry-run=all").err


def test_create_secret_and_configmap(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path
) -> None:
    (tmp_path / "username.txt").write_text("admin\n")
    (tmp_path / "blob").write_bytes(b"\xff\x00")
    file = f"--from-file={tmp_path / 'username.txt'}"
    assert (
        minipod("create", "secret", "generic", "user", file, "--from-literal=a=b=c").out
        == "secret/user created\n"
    )
    secret = server.objects["secrets", "default", "user"]
    assert secret["data"] == {"username.txt": base64.b64encode(b"admin\n").decode(), "a": "Yj1j"}
    assert "type" not in secret  # the server says what it is by default
    missing = minipod("create", "secret", "tls", "site", f"--cert={tmp_path / 'blob'}").err
    assert missing.startswith('error: required flag "--key" not set\n')
    minipod("create", "configmap", "c", f"--from-file={tmp_path}", "--from-literal", "k=v")
    made = server.objects["configmaps", "default", "c"]
    assert made["data"] == {"username.txt": "admin\n", "k": "v"}
    assert made["binaryData"] == {"blob": "/wA="}
    assert minipod("create", "ns", "lab").out == "namespace/lab created\n"
    assert (
        minipod("create", "serviceaccount", "bot", "-n", "lab").out
        == "serviceaccount/bot created\n"
    )
    assert ("serviceaccounts", "lab", "bot") in server.objects


def test_create_registry_secret(server: FakeApiServer, minipod: Minipod, tmp_path: Path) -> None:
    create = ("create", "secret", "docker-registry", "login")
    short = minipod(*create, "--docker-username=me")
    assert "--docker-password missing" in short.err
    minipod(*create, "--docker-server=r:5000", "--docker-username=me", "--docker-password=pw")
    made = server.objects["secrets", "default", "login"]
    assert made["type"] == "kubernetes.io/dockerconfigjson"
    config = json.loads(base64.b64decode(made["data"][".dockerconfigjson"]))
    entry = {"username": "me", "password": "pw", "auth": base64.b64encode(b"me:pw").decode()}
    assert config == {"auths": {"r:5000": entry}}
    file = tmp_path / "config.json"
    file.write_text('{"auths": {}}')
    minipod(*create[:3], "other", f"--from-file={file}")
    other = server.objects["secrets", "default", "other"]["data"]
    assert base64.b64decode(other[".dockerconfigjson"]) == b'{"auths": {}}'


def _key_pair(directory: Path, name: str) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    built = x509.CertificateBuilder(subject, subject, key.public_key(), 1)
    day = datetime(2026, 1, 1, tzinfo=UTC)
    certificate = (
        built.not_valid_before(day).not_valid_after(day + timedelta(1)).sign(key, hashes.SHA256())
    )
    paths = directory / f"{name}.crt", directory / f"{name}.key"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    paths[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, *form))
    return paths


def test_create_tls_secret_holds_the_pair_together(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path
) -> None:
    (cert, key), (_, other) = _key_pair(tmp_path, "a"), _key_pair(tmp_path, "b")
    create = ("create", "secret", "tls", "site", f"--cert={cert}")
    assert "private key does not match public key" in minipod(*create, f"--key={other}").err
    assert "No such file" in minipod(*create, f"--key={tmp_path / 'none'}").err
    assert ("secrets", "default", "site") not in server.objects
    minipod(*create, f"--key={key}")
    made = server.objects["secrets", "default", "site"]
    assert made["type"] == "kubernetes.io/tls"
    assert base64.b64decode(made["data"]["tls.key"]) == key.read_bytes()


def test_env_files(server: FakeApiServer, minipod: Minipod, tmp_path: Path) -> None:
    file = tmp_path / "env"
    file.write_text("# comment\nA=1\n\nB=x=y\n")
    minipod("create", "cm", "c", f"--from-env-file={file}")
    assert server.objects["configmaps", "default", "c"]["data"] == {"A": "1", "B": "x=y"}
    file.write_text("A=1\n9 lives=no\n")
    assert (
        f'"{file}", line 2: "9 lives" is not a valid key name'
        in minipod("create", "cm", "d", f"--from-env-file={file}").err
    )


def test_apply_creates_with_the_annotation_that_kubectl_writes(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    assert minipod("apply", "-f", manifest).out == "pod/nginx created\n"
    annotation = server.objects["pods", "default", "nginx"]["metadata"]["annotations"][LAST_APPLIED]
    assert annotation == (
        '{"apiVersion":"v1","kind":"Pod","metadata":{"annotations":{},"name":"nginx","namespace":"default"},'
        '"spec":{"containers":[{"image":"nginx","name":"app"}]}}\n'
    )


def test_a_diff_that_fails_is_no_difference(server: FakeApiServer, minipod: Minipod) -> None:
    ended = minipod("diff", "-f", "/nowhere.yaml")
    assert (ended.code, ended.err) == (2, 'error: the path "/nowhere.yaml" does not exist\n')


def test_what_exists_already_is_told_as_kubectl_tells_it(
    server: FakeApiServer, minipod: Minipod
) -> None:
    for words, text in (
        ("namespace", 'Error from server (AlreadyExists): namespaces "x" already exists'),
        ("serviceaccount", 'error: failed to create serviceaccount: serviceaccounts "x" already'),
    ):
        minipod("create", words, "x")
        assert minipod("create", words, "x").err.startswith(text)


def test_apply_twice_changes_nothing_then_only_what_differs(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    minipod("apply", "-f", manifest)
    assert minipod("apply", "-f", manifest).out == "pod/nginx unchanged\n"
    assert len(server.writes()) == 1
    Path(manifest).write_text(
        MANIFEST.replace("  name: nginx\n", "  name: nginx\n  labels: {a: b}\n")
    )
    assert minipod("apply", "-f", manifest).out == "pod/nginx configured\n"
    sent = server.writes()[-1]
    assert sent.headers["content-type"] == "application/strategic-merge-patch+json"
    assert sent.body["metadata"]["labels"] == {"a": "b"}
    assert set(sent.body) == {"metadata"}


def test_apply_over_an_object_that_create_made_warns(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    minipod("create", "-f", manifest)
    ended = minipod("apply", "-f", manifest)
    assert ended.out == "pod/nginx configured\n"
    assert ended.err.startswith(
        "Warning: resource pods/nginx is missing the kubectl.kubernetes.io/last-applied"
    )


def test_until_ready_waits_and_says_for_what(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    def bring_up(fake: FakeApiServer, _what: str, made: dict[str, object]) -> None:
        waiting = {
            "name": "app",
            "state": {"waiting": {"reason": "ErrImageNeverPull", "message": "no image"}},
        }
        fake.put("pods", {**made, "status": {"phase": "Pending", "containerStatuses": [waiting]}})
        fake.put("pods", {**made, "status": pod()["status"]})

    server.on_write = bring_up
    ended = minipod("apply", "-f", manifest, "--until-ready")
    assert ended.out == "pod/nginx created\npod/nginx ready\n"
    assert ended.err == 'pod/nginx waits: container "app": ErrImageNeverPull: no image\n'


def test_until_ready_waits_for_the_spec_that_was_applied(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path
) -> None:
    spec = {"containers": [{"name": "app", "image": "nginx:2"}]}
    (tmp_path / "pod.json").write_text(
        json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "nginx"}, "spec": spec})
    )
    runs = {"name": "app", "ready": True, "state": {"running": {}}, "image": "nginx"}
    former = {**pod(), "status": {**pod()["status"], "containerStatuses": [runs]}}
    changed = {**former, "spec": spec, "metadata": {**former["metadata"], "generation": 2}}

    def status(generation: int, image: str) -> dict[str, object]:
        containers = [{**runs, "image": image}]
        known = {"observedGeneration": generation, "containerStatuses": containers}
        return {**changed, "status": {**former["status"], **known}}

    server.put("pods", changed | {"status": {**former["status"], "observedGeneration": 1}})

    def go_on() -> None:
        server.wait_for_request(lambda seen: "watch" in seen.query)
        server.put("pods", status(2, "nginx"))  # told of while the former one is being ended
        server.put("pods", status(2, "nginx:2"))

    with ThreadPoolExecutor() as others:
        going_on = others.submit(go_on)
        ended = minipod("apply", "-f", str(tmp_path / "pod.json"), "--until-ready")
        going_on.result()
    assert ended.out.endswith("pod/nginx ready\n")
    assert ended.err.endswith('pod/nginx waits: container "app": still runs image "nginx"\n')


def test_until_ready_asks_the_node_of_a_pod_that_was_ready_before(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    minipod("create", "-f", manifest, "--save-config")
    made = server.objects["pods", "default", "nginx"]
    made = server.put(
        "pods", {**made, "spec": {**made["spec"], "nodeName": "n"}, "status": pod()["status"]}
    )

    def node_knows(phase: str) -> None:
        known = {**made, "status": pod(phase=phase)["status"]}
        listed = json.dumps({"items": [known]}).encode()
        server.answers["/api/v1/nodes/n/proxy/pods"] = (200, listed)

    node_knows("Pending")  # it cannot write that on a full disk
    ended = minipod("apply", "-f", manifest, "--until-ready", "--timeout=300ms")
    assert ended.err.endswith("timed out waiting for pod/nginx: phase Pending\n")
    node_knows("Running")
    ended = minipod("apply", "-f", manifest, "--until-ready")
    assert (ended.code, ended.out.splitlines()[-1:]) == (0, ["pod/nginx ready"])


def test_until_ready_believes_the_status_where_the_node_may_not_be_asked(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    minipod("create", "-f", manifest, "--save-config")
    made = server.objects["pods", "default", "nginx"]
    server.put(
        "pods", {**made, "spec": {**made["spec"], "nodeName": "n"}, "status": pod()["status"]}
    )
    refusal = {"kind": "Status", "status": "Failure", "reason": "Forbidden", "code": 403}
    server.answers["/api/v1/nodes/n/proxy/pods"] = (403, json.dumps(refusal).encode())
    ended = minipod("apply", "-f", manifest, "--until-ready")
    assert (ended.code, ended.out.splitlines()[-1:]) == (0, ["pod/nginx ready"])


def test_until_ready_times_out_with_the_reason(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    ended = minipod("apply", "-f", manifest, "--until-ready", "--timeout=50ms")
    assert ended.code == 1
    assert ended.err.endswith("error: timed out waiting for pod/nginx: phase Pending\n")


def test_until_ready_looks_at_every_pod_though_the_first_took_all_the_time(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path
) -> None:
    path = tmp_path / "pods.yaml"
    names = ("late", "ready", "waits")
    path.write_text("---\n".join(MANIFEST.replace("nginx", name, 1) for name in names))

    def bring_up(fake: FakeApiServer, _what: str, made: dict[str, object]) -> None:
        if made["metadata"]["name"] == "ready":  # type: ignore[index]
            fake.put("pods", {**made, "status": pod()["status"]})

    server.on_write = bring_up
    ended = minipod("apply", "-f", str(path), "--until-ready", "--timeout=50ms")
    assert ended.code == 1
    assert ended.out.splitlines()[-1] == "pod/ready ready"
    assert ended.err.splitlines()[-2:] == [
        "error: timed out waiting for pod/late: phase Pending",
        "error: timed out waiting for pod/waits: phase Pending",
    ]


def test_until_ready_fails_when_the_pod_fails(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    ended_state = {"name": "app", "state": {"terminated": {"exitCode": 3, "reason": "Error"}}}
    status = {"phase": "Failed", "containerStatuses": [ended_state]}
    server.on_write = lambda fake, _what, made: (
        fake.put("pods", {**made, "status": status}) and None
    )
    ended = minipod("apply", "-f", manifest, "--until-ready")
    assert (ended.code, ended.err) == (
        1,
        'error: pod/nginx failed: container "app": Error, exit code 3\n',
    )


def test_namespaces_of_manifest_and_flag_must_agree(
    server: FakeApiServer, minipod: Minipod, tmp_path: Path
) -> None:
    path = tmp_path / "pod.yaml"
    path.write_text(MANIFEST.replace("metadata:\n", "metadata:\n  namespace: lab\n"))
    assert minipod("apply", "-f", str(path)).code == 0
    assert ("pods", "lab", "nginx") in server.objects
    err = minipod("-n", "other", "apply", "-f", str(path)).err
    assert err.startswith(
        'error: the namespace from the provided object "lab" does not match the namespace "other"'
    )


def test_a_kind_the_server_has_not(server: FakeApiServer, minipod: Minipod, tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_text("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n")
    assert minipod("apply", "-f", str(path)).err == (
        f'error: resource mapping not found for name: "d" namespace: "" from "{path}": '
        'no matches for kind "Deployment" in version "apps/v1"\n'
    )


def test_invalid_objects_list_their_causes(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    causes = [
        {"field": "spec.a", "message": "Required value"},
        {"field": "spec.b", "message": "Invalid value"},
    ]
    status = {"kind": "Status", "code": 422, "reason": "Invalid", "message": "m"}
    details = {"kind": "Pod", "name": "nginx", "causes": causes}
    answer = json.dumps({**status, "details": details}).encode()
    server.answers["/api/v1/namespaces/default/pods"] = (422, answer)
    assert minipod("create", "-f", manifest).err == (
        'The Pod "nginx" is invalid: \n* spec.a: Required value\n* spec.b: Invalid value\n'
    )


def test_patch_says_whether_anything_changed(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    change = ("patch", "pod", "nginx", "-p", '{"metadata":{"labels":{"a":"b"}}}')
    assert minipod(*change).out == "pod/nginx patched\n"
    assert minipod(*change).out == "pod/nginx patched (no change)\n"
    assert minipod("patch", "pod", "nginx", "--type=json", "-p", "{}").code == 1
    assert (
        minipod("patch", "pod", "nginx", "--type=merge", "-p", "metadata: {labels: {a: null}}").code
        == 0
    )
    assert server.objects["pods", "default", "nginx"]["metadata"]["labels"] == {}


def test_label_and_annotate(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    assert minipod("label", "pod", "nginx", "tier=web").out == "pod/nginx labeled\n"
    assert minipod("label", "pod", "nginx", "tier=web").out == "pod/nginx not labeled\n"
    clash = minipod("label", "pod", "nginx", "tier=db")
    assert (clash.code, clash.err) == (
        1,
        "error: 'tier' already has a value (web), and --overwrite is false\n",
    )
    assert minipod("label", "pod/nginx", "tier=db", "--overwrite").out == "pod/nginx labeled\n"
    assert minipod("label", "pods", "--all", "tier-").out == "pod/nginx unlabeled\n"
    assert minipod("annotate", "pod", "nginx", "note=a b").out == "pod/nginx annotated\n"
    assert server.objects["pods", "default", "nginx"]["metadata"]["annotations"] == {"note": "a b"}
    assert minipod("label", "pod", "nginx").err == "error: at least one label update is required\n"


def test_delete_by_name_file_and_label(
    server: FakeApiServer, minipod: Minipod, manifest: str
) -> None:
    server.put("pods", pod())
    server.put("pods", pod("a", labels={"x": "y"}))
    assert minipod("delete", "pod", "nginx").out == 'pod "nginx" deleted from default namespace\n'
    assert server.writes()[-1].body == {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": "Background",
    }
    gone = minipod("delete", "-f", manifest)
    assert (
        gone.err
        == f'Error from server (NotFound): error when deleting "{manifest}": pods "nginx" not found\n'
    )
    assert minipod("delete", "-f", manifest, "--ignore-not-found").code == 0
    assert minipod("delete", "pods", "-l", "x=y").out == 'pod "a" deleted from default namespace\n'
    assert minipod("delete", "pods", "--all").out == "No resources found\n"
    assert (
        minipod("delete", "pods").err
        == "error: resource(s) were provided, but no name was specified\n"
    )


def test_grace_periods(server: FakeApiServer, minipod: Minipod) -> None:
    for flags, grace in (
        (("--now",), 1),
        (("--grace-period=0",), 1),
        (("--force",), 0),
        (("--force", "--grace-period=0"), 0),
        (("--grace-period=7",), 7),
    ):
        server.put("pods", pod())
        ended = minipod("delete", "pod", "nginx", *flags)
        assert server.writes()[-1].body["gracePeriodSeconds"] == grace
        assert ("force deleted" in ended.out) == (grace == 0)
        assert ended.err.startswith("Warning: Immediate deletion") == (grace == 0)
    assert minipod("delete", "pod", "x", "--force", "--grace-period=3").code == 1


def test_delete_waits_until_the_object_is_gone(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    uid = server.objects["pods", "default", "nginx"]["metadata"]["uid"]
    server.answers["/api/v1/namespaces/default/pods/nginx"] = (
        200,
        json.dumps({"metadata": {"uid": uid}}).encode(),
    )

    def end() -> None:
        server.wait_for_request(lambda each: "watch" in each.query)
        server.remove("pods", "default", "nginx")

    thread = threading.Thread(target=end)
    thread.start()
    assert minipod("delete", "pod", "nginx").code == 0
    thread.join()
    server.put("pods", pod())
    server.answers["/api/v1/namespaces/default/pods/nginx"] = (200, b"{}")
    late = minipod("delete", "pod", "nginx", "--timeout=50ms")
    assert late.err == "error: timed out waiting for the condition on pods/nginx\n"
    assert minipod("delete", "pod", "nginx", "--wait=false").code == 0


def test_wait_for_conditions_paths_and_deletion(server: FakeApiServer, minipod: Minipod) -> None:
    server.put("pods", pod())
    assert minipod("wait", "--for=condition=Ready", "pod/nginx").out == "pod/nginx condition met\n"
    assert minipod("wait", "--for=condition=ready=True", "pods", "--all").code == 0
    assert minipod("wait", "--for=jsonpath={.status.phase}=Running", "pod/nginx").code == 0
    assert minipod("wait", "--for=create", "pod/nginx").code == 0
    late = minipod("wait", "--for=condition=Gone", "pod/nginx", "--timeout=20ms")
    assert (late.code, late.err) == (
        1,
        "error: timed out waiting for the condition on pods/nginx\n",
    )
    assert minipod("wait", "--for=delete", "pod/other").code == 0
    missing = minipod("wait", "--for=condition=Ready", "pod/other")
    assert missing.err == 'Error from server (NotFound): pods "other" not found\n'
    assert "unrecognized condition" in minipod("wait", "--for=x", "pod/nginx").err


@pytest.mark.parametrize(
    ("arguments", "name"),
    [  # what kubectl 1.32 makes of them
        (("configmap", "c", "--from-literal=a=b<&>"), "configmap/c-k7hhd2bk76"),
        (("configmap", "empty"), "configmap/empty-b6t642d2fb"),
        (("secret", "generic", "s", "--from-literal=a=b"), "secret/s-7fd2tm89d8"),
        (
            ("secret", "docker-registry", "d", "--docker-username=u", "--docker-password=p"),
            "secret/d-k85gk65kdh",
        ),
    ],
)
def test_a_hash_of_the_content_is_appended_as_by_kubectl(
    server: FakeApiServer, minipod: Minipod, arguments: tuple[str, ...], name: str
) -> None:
    ended = minipod("create", *arguments, "--append-hash", "--dry-run=client", "-o", "name")
    assert ended.out == f"{name}\n"
