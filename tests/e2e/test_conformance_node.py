"""What upstream's conformance tests ask of a node, tried: sig-node and sig-storage of test/conformance, v1.36.

Each row is a Pod that looks around and says what it sees, under the name that docs/conformance.md gives it. They run
all at once; what they said is then read one by one. What other tests here prove already is not tried again.
"""

import asyncio
import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from minipod.linux import capabilities
from tests.e2e.instance import Instance
from tests.e2e.kubectl import Kubectl, find_kubectls, kubeconfig
from tests.e2e.pods import inspect, pod, status_of, wait_gone, wait_pod

Object = dict[str, Any]

_MODE = "stat -L -c %a"
_BINARY = b"\xde\xca\xfe\xba\xd0\x00"
_RESOURCES = {
    "requests": {"cpu": "250m", "memory": "32Mi"},
    "limits": {"cpu": "1250m", "memory": "64Mi"},
}
_DOWNWARD = [
    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
    *(
        {
            "path": f"{which}-{what}",
            "resourceFieldRef": {
                "containerName": "c0",
                "resource": f"{which}.{what}",
                "divisor": {"cpu": "1m", "memory": "1Mi"}[what],
            },
        }
        for which in ("limits", "requests")
        for what in ("cpu", "memory")
    ),
]


def _looking(name: str, script: str, *volumes: Object, **fields: Any) -> Object:
    """Return a Pod that runs a script once, with its volumes at /NAME."""
    mounts = [{"name": each["name"], "mountPath": f"/{each['name']}"} for each in volumes]
    container = {"name": "c0", "image": "busybox", "command": ["sh", "-c", script]}
    container["volumeMounts"] = fields.pop("mounts", mounts)
    container |= fields.pop("container", {})
    return pod(name, container, restartPolicy="Never", volumes=list(volumes), **fields)


def _volume(name: str, kind: str, projected: bool, **source: Any) -> Object:
    """Return a ConfigMap, Secret or downward API volume, alone or as the only part of a projected one."""
    mode = source.pop("defaultMode", None)
    named = {"configMap": "name", "secret": "name" if projected else "secretName"}.get(kind)
    own = {**({named: "conformance"} if named else {}), **source}
    shape = {"projected": {"sources": [{kind: own}]}} if projected else {kind: own}
    if mode is not None:
        next(iter(shape.values()))["defaultMode"] = mode
    return {"name": name, **shape}


def _files(kind: str, projected: bool) -> Iterator[tuple[Object, str]]:
    """Yield what is the same for ConfigMaps and Secrets, alone and projected."""
    what = f"{'projected-' if projected else ''}{kind.lower()}"
    items = [{"key": "data-1", "path": "path/to/data"}]
    plain = _volume("v", kind, projected)
    own_mode = _volume("v", kind, projected, items=[{**items[0], "mode": 0o400}])
    user = {"securityContext": {"runAsUser": 1000}}
    read, mapped = (
        f"cat /v/data-1; {_MODE} /v/data-1",
        f"cat /v/path/to/data; {_MODE} /v/path/to/data",
    )
    yield _looking(f"{what}-plain", read, plain), "value-1644"
    yield _looking(f"{what}-user", read, plain, **user), "value-1644"
    yield (
        _looking(f"{what}-mode", read, _volume("v", kind, projected, defaultMode=0o400)),
        "value-1400",
    )
    yield (
        _looking(f"{what}-mapped", mapped, _volume("v", kind, projected, items=items)),
        "value-1644",
    )
    yield _looking(f"{what}-item-mode", mapped, own_mode), "value-1400"
    yield (
        _looking(f"{what}-mapped-user", mapped, _volume("v", kind, projected, items=items), **user),
        "value-1644",
    )
    group = {"securityContext": {"runAsUser": 1000, "fsGroup": 1001}}
    moded = _volume("v", kind, projected, defaultMode=0o440)
    yield (
        _looking(f"{what}-group", f"{read}; stat -L -c :%g /v/data-1", moded, **group),
        "value-1440\n:1001",
    )
    twice = (plain, _volume("w", kind, projected))
    yield _looking(f"{what}-twice", "cat /v/data-1 /w/data-1", *twice), "value-1value-1"


def _downward(projected: bool) -> Iterator[tuple[Object, str]]:
    what = "projected-downward" if projected else "downward"
    volume = _volume("v", "downwardAPI", projected, items=_DOWNWARD)
    script = "cd /v; for f in name limits-cpu limits-memory requests-cpu requests-memory; do cat $f; echo; done"
    told = f"{what}-resources\n1250\n64\n250\n32"
    yield _looking(f"{what}-resources", script, volume, container={"resources": _RESOURCES}), told
    items = [{**_DOWNWARD[0], "mode": 0o400}]
    yield (
        _looking(
            f"{what}-item-mode",
            f"{_MODE} /v/name",
            _volume("v", "downwardAPI", projected, items=items),
        ),
        "400",
    )
    moded = _volume("v", "downwardAPI", projected, items=_DOWNWARD[:1], defaultMode=0o400)
    yield _looking(f"{what}-mode", f"{_MODE} /v/name", moded), "400"
    limits = _volume("v", "downwardAPI", projected, items=_DOWNWARD[1:3])
    whole = (
        "[ $(cat /v/limits-cpu) -gt 0 ] && [ $(cat /v/limits-memory) -gt 0 ] && cat /v/limits-cpu"
    )
    yield _looking(f"{what}-allocatable", whole, limits), "ALLOCATABLE"


def _empty_dirs() -> Iterator[tuple[Object, str]]:
    script = (
        "stat -c %a /v; for m in 644 666 777; do echo x > /v/$m; chmod $m /v/$m; stat -c %a /v/$m; done; "
        "grep -q ' / /v .* tmpfs ' /proc/self/mountinfo && echo memory"  # one of its own: the host's may be one
    )
    for medium in ("", "Memory"):
        for user in (0, 1001):
            volume = {"name": "v", "emptyDir": {"medium": medium} if medium else {}}
            name = f"empty-dir-{medium.lower() or 'default'}-{user}"
            context = {"securityContext": {"runAsUser": user}}
            yield (
                _looking(name, script, volume, **context),
                "777\n644\n666\n777" + ("\nmemory" if medium else ""),
            )
    shared = _looking(
        "empty-dir-shared",
        "until [ -e /v/said ]; do sleep 0.1; done; cat /v/said",
        {"name": "v", "emptyDir": {}},
    )
    writer = {
        **shared["spec"]["containers"][0],
        "name": "c1",
        "command": ["sh", "-c", "sleep 0.3; echo -n hello > /v/.n; mv /v/.n /v/said"],
    }
    shared["spec"]["containers"].append(writer)
    yield shared, "hello"


def _sub_paths() -> Iterator[tuple[Object, str]]:
    for kind in ("configMap", "secret"):
        mounts = [{"name": "v", "mountPath": "/etc/resolv.conf", "subPath": "data-1"}]
        volume = _volume("v", kind, False)
        yield (
            _looking(f"sub-path-{kind.lower()}", "cat /etc/resolv.conf", volume, mounts=mounts),
            "value-1",
        )
    mounts = [{"name": "v", "mountPath": "/there", "subPath": "data-1"}]
    yield (
        _looking(
            "sub-path-projected", "cat /there", _volume("v", "configMap", True), mounts=mounts
        ),
        "value-1",
    )
    volume = _volume("v", "downwardAPI", False, items=_DOWNWARD[:1])
    mounts = [{"name": "v", "mountPath": "/there", "subPath": "name"}]
    yield _looking("sub-path-downward", "cat /there", volume, mounts=mounts), "sub-path-downward"
    me = [{"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]
    mounts = [
        {"name": "v", "mountPath": "/own", "subPathExpr": "foo/$(POD_NAME)"},
        {"name": "v", "mountPath": "/v"},
    ]
    script = "echo -n written > /own/file; cat /v/foo/sub-path-expr/file"
    made = _looking(
        "sub-path-expr", script, {"name": "v", "emptyDir": {}}, mounts=mounts, container={"env": me}
    )
    yield made, "written"


def _containers() -> Iterator[tuple[Object, str]]:
    env = [
        {"name": "FOO", "value": "foo"},
        {"name": "BAR", "value": "bar"},
        {"name": "BOTH", "value": "$(FOO);;$(BAR)"},
    ]
    yield _looking("expand-env", "echo -n $BOTH", container={"env": env}), "foo;;bar"
    yield _looking("expand-command", "echo -n $(FOO)", container={"env": env}), "foo"
    args = {"env": env, "command": ["echo", "-n"], "args": ["$(BAR)", "$(NONE)"]}
    yield _looking("expand-args", "", container=args), "bar $(NONE)"
    reference = {"name": "conformance"}
    one = [{"name": "DATA", "valueFrom": {"configMapKeyRef": {**reference, "key": "data-1"}}}]
    both = [{"configMapRef": reference, "prefix": "c_"}, {"secretRef": reference, "prefix": "s_"}]
    yield _looking("env-configmap", "echo -n $DATA", container={"env": one}), "value-1"
    one = [{"name": "DATA", "valueFrom": {"secretKeyRef": {**reference, "key": "data-1"}}}]
    yield _looking("env-secret", "echo -n $DATA", container={"env": one}), "value-1"
    yield (
        _looking(
            "env-from",
            "tr '\\0' '\\n' < /proc/1/environ | grep -c data-1=value-1",
            container={"envFrom": both},
        ),
        "2",
    )
    fields = [
        "metadata.name",
        "metadata.namespace",
        "metadata.uid",
        "status.podIP",
        "status.hostIP",
    ]
    env = [
        {"name": f"F{n}", "valueFrom": {"fieldRef": {"fieldPath": each}}}
        for n, each in enumerate(fields)
    ]
    script = 'echo $F0 $F1; for v in "$F2" "$F3" "$F4"; do [ -n "$v" ] && echo there; done'
    yield (
        _looking("env-fields", script, container={"env": env}),
        "env-fields default\nthere\nthere\nthere",
    )
    env = [
        {
            "name": "CPU",
            "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "1m"}},
        },
        {"name": "MEM", "valueFrom": {"resourceFieldRef": {"resource": "requests.memory"}}},
    ]
    made = {"env": env, "resources": _RESOURCES}
    yield _looking("env-resources", "echo -n $CPU $MEM", container=made), "1250 33554432"
    yield _looking("env-allocatable", "echo -n $CPU", container={"env": env[:1]}), "ALLOCATABLE"


def _contexts() -> Iterator[tuple[Object, str]]:
    def own(**fields: Any) -> Object:
        return {"container": {"securityContext": fields}}

    yield _looking("run-as-user", "id -u", **own(runAsUser=65534)), "65534"
    yield (
        _looking("run-as-group", "id -u; id -g", **own(runAsUser=1001, runAsGroup=2002)),
        "1001\n2002",
    )
    whole = {"securityContext": {"runAsUser": 1001, "runAsGroup": 2002}}
    yield _looking("run-as-group-of-pod", "id -u; id -g", **whole), "1001\n2002"
    write = "touch /file 2>/dev/null && echo written || echo refused"
    yield _looking("root-writable", write, **own(readOnlyRootFilesystem=False)), "written"
    yield _looking("root-read-only", write, **own(readOnlyRootFilesystem=True)), "refused"
    dummy = "ip link add dummy0 type dummy 2>/dev/null && echo made || echo refused"
    yield _looking("unprivileged", dummy, **own(privileged=False)), "refused"
    script = "id -u; grep NoNewPrivs /proc/self/status | cut -f2"
    yield (
        _looking("no-escalation", script, **own(runAsUser=1000, allowPrivilegeEscalation=False)),
        "1000\n1",
    )
    sysctls = {"securityContext": {"sysctls": [{"name": "kernel.shm_rmid_forced", "value": "1"}]}}
    yield _looking("sysctls", "cat /proc/sys/kernel/shm_rmid_forced", **sysctls), "1"


def _others() -> Iterator[tuple[Object, str]]:
    binary = f"base64 /v/binary; {_MODE} /v/binary"
    yield (
        _looking("configmap-binary", binary, _volume("v", "configMap", False)),
        (f"{base64.b64encode(_BINARY).decode()}\n644"),
    )
    many = [{"name": f"v{number}", "configMap": {"name": "conformance"}} for number in range(50)]
    yield _looking("fifty-volumes", "cat /v*/data-1 | wc -c", *many), str(50 * len("value-1"))
    both = (_volume("v", "configMap", False), _volume("w", "secret", False))
    yield _looking("no-conflict", "cat /v/data-1 /w/data-1", *both), "value-1value-1"
    sources = [
        {"configMap": {"name": "conformance", "items": [{"key": "data-1", "path": "c"}]}},
        {"secret": {"name": "conformance", "items": [{"key": "data-1", "path": "s"}]}},
        {"downwardAPI": {"items": _DOWNWARD[:1]}},
    ]
    combined = {"name": "v", "projected": {"sources": sources}}
    yield (
        _looking("projected-combined", "cat /v/c /v/s /v/name", combined),
        "value-1value-1projected-combined",
    )
    aliases = {"hostAliases": [{"ip": "123.45.67.89", "hostnames": ["foo", "bar"]}]}
    yield _looking("host-aliases", "grep 123.45 /etc/hosts", **aliases), "123.45.67.89\tfoo\tbar"


CASES = [
    *_files("configMap", False),
    *_files("configMap", True),
    *_files("secret", False),
    *_files("secret", True),
    *_downward(False),
    *_downward(True),
    *_empty_dirs(),
    *_sub_paths(),
    *_containers(),
    *_contexts(),
    *_others(),
]


@pytest.fixture(scope="module")
def tried(shared: Instance) -> Iterator[Instance]:
    """All Pods of the table, running beside one another."""
    data = {"data-1": "value-1"}
    metadata = {"name": "conformance"}
    other = {"metadata": {"name": "conformance-other"}, "apiVersion": "v1", "kind": "Namespace"}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "stringData": data}
    elsewhere = {**secret, "metadata": {**metadata, "namespace": "conformance-other"}}
    binary = {"binary": base64.b64encode(_BINARY).decode()}
    shared.apply(
        {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata,
            "data": data,
            "binaryData": binary,
        },
        secret,
        other,
        {**elsewhere, "stringData": {"data-1": "another"}},
    )
    shared.apply(*(made for made, _ in CASES), timeout=180)
    yield shared
    shared.run(
        "delete", "pods", *(made["metadata"]["name"] for made, _ in CASES), "--now", timeout=120
    )
    shared.run(
        "delete", "configmap/conformance", "secret/conformance", "namespace/conformance-other"
    )


@pytest.mark.parametrize(
    ("made", "wanted"), CASES, ids=[made["metadata"]["name"] for made, _ in CASES]
)
def test_a_pod_sees(tried: Instance, made: Object, wanted: str) -> None:
    name = made["metadata"]["name"]
    wait_pod(
        tried, name, lambda p: p["status"].get("phase") in ("Succeeded", "Failed"), "the end", 90
    )
    if wanted == "ALLOCATABLE":
        (node,) = tried.get("nodes")["items"]
        cpu = node["status"]["allocatable"]["cpu"]
        wanted = str(int(cpu.removesuffix("m")) if cpu.endswith("m") else int(cpu) * 1000)
    assert tried.out("logs", name, "-c", "c0").strip("\n") == wanted


# -- one at a time -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "script", "fields", "message"),
    [
        ("fallback-success", "echo from the log", {}, ""),
        (
            "file-success",
            "echo -n from the file > /dev/termination-log; echo log",
            {},
            "from the file",
        ),
        ("fallback-failure", "echo -n from the log; exit 1", {}, "from the log"),
        (
            "own-path",
            "echo -n own > /dev/own-log",
            {"terminationMessagePath": "/dev/own-log", "securityContext": {"runAsUser": 1000}},
            "own",
        ),
    ],
)
def test_termination_messages(
    shared: Instance, name: str, script: str, fields: Object, message: str
) -> None:
    policy = {"terminationMessagePolicy": "FallbackToLogsOnError", **fields}
    shared.apply(_looking(name, script, container=policy))
    found = wait_pod(shared, name, lambda p: "terminated" in status_of(p, "c0")["state"], "the end")
    assert status_of(found, "c0")["state"]["terminated"].get("message", "") == message
    shared.run("delete", "pod", name, "--now")


_CANNOT_CREATE = ("CreateContainerConfigError", "CreateContainerError")


def test_a_sub_path_expression_that_fails_is_mended_in_the_pods_life(shared: Instance) -> None:
    annotation = {"fieldRef": {"fieldPath": "metadata.annotations['mysubpath']"}}
    mounts = [{"name": "v", "mountPath": "/own", "subPathExpr": "$(PLACE)"}]
    made = _looking(
        "sub-path-mended",
        "sleep 300",
        {"name": "v", "emptyDir": {}},
        mounts=mounts,
        container={"env": [{"name": "PLACE", "valueFrom": annotation}]},
    )
    for number, bad in enumerate(("/absolute", "..", "`whoami`/..")):
        name = f"sub-path-bad-{number}"
        made["metadata"] = {"name": name, "annotations": {"mysubpath": bad}}
        shared.apply(made)
        wait_pod(
            shared,
            name,
            lambda p: (
                status_of(p, "c0")["state"].get("waiting", {}).get("reason") in _CANNOT_CREATE
            ),
            bad,
        )
    shared.run("annotate", "pod", "sub-path-bad-0", "mysubpath=good", "--overwrite")
    wait_pod(
        shared,
        "sub-path-bad-0",
        lambda p: "running" in status_of(p, "c0")["state"],
        "the mended",
        60,
    )
    for number in range(3):
        shared.run("delete", "pod", f"sub-path-bad-{number}", "--now")


def test_a_deadline_can_be_set_on_a_running_pod(shared: Instance) -> None:
    shared.apply(
        _looking("deadline", "sleep 300", terminationGracePeriodSeconds=1),
        options=("--until-ready",),
    )
    shared.run("patch", "pod", "deadline", "-p", '{"spec": {"activeDeadlineSeconds": 2}}')
    found = wait_pod(shared, "deadline", lambda p: p["status"]["phase"] == "Failed", "its end")
    assert found["status"]["reason"] == "DeadlineExceeded"
    shared.run("delete", "pod", "deadline", "--now")


@pytest.mark.parametrize("kind", ["ConfigMap", "Secret"])
def test_what_is_immutable_stays_but_for_its_labels(shared: Instance, kind: str) -> None:
    name, field = "frozen", "data" if kind == "ConfigMap" else "stringData"
    made = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, field: {"a": "1"}}
    shared.apply(made)
    shared.apply({**made, field: {"a": "2"}})
    shared.apply({**made, field: {"a": "2"}, "immutable": True})
    for patch in ({field: {"a": "3"}}, {"immutable": False}):
        refused = shared.run(
            "patch", kind, name, "--type=merge", "-p", json.dumps(patch), check=False
        )
        assert refused.returncode != 0
        assert "field is immutable when `immutable` is set" in refused.stderr
    shared.run("label", kind, name, "may=change")
    shared.run("delete", kind, name)
    refused = shared.run(
        "apply", "-f", "-", input=json.dumps({**made, field: {"": "x"}}), check=False
    )
    assert f"{'data'}[]: Invalid value" in refused.stderr.replace("stringData", "data"), (
        refused.stderr
    )


def test_invalid_sysctls_are_refused_and_unsafe_ones_not_applied(shared: Instance) -> None:
    context = {"sysctls": [{"name": "foo-", "value": "1"}, {"name": "kernel.shmmax", "value": "1"}]}
    made = _looking("sysctl-bad", "true", securityContext=context)
    refused = shared.run("apply", "-f", "-", input=json.dumps(made), check=False)
    assert 'spec.securityContext.sysctls[0].name: Invalid value: "foo-"' in refused.stderr
    made["spec"]["securityContext"] = {
        "sysctls": [{"name": "kernel.msgmax", "value": "10000000000"}]
    }
    shared.apply(made)
    found = wait_pod(
        shared, "sysctl-bad", lambda p: p["status"].get("phase") == "Failed", "the refusal"
    )
    assert found["status"]["reason"] == "SysctlForbidden"
    shared.run("delete", "pod", "sysctl-bad", "--now")
    wait_gone(shared, "sysctl-bad")


@pytest.mark.parametrize(
    ("protocol", "decode"),
    [("", bytes), ("binary.k8s.io", bytes), ("base64.binary.k8s.io", base64.b64decode)],
)
def test_a_log_comes_over_websocket(shared: Instance, protocol: str, decode: Any) -> None:
    shared.apply(_looking("ws-log", "echo first; echo second"))
    wait_pod(shared, "ws-log", lambda p: p["status"]["phase"] == "Succeeded", "its end")

    async def read() -> bytes:
        connector = aiohttp.UnixConnector(str(shared.layout.api_socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            protocols = (protocol,) if protocol else ()
            url = (
                "http://minipod/api/v1/namespaces/default/pods/ws-log/log?container=c0&follow=true"
            )
            async with session.ws_connect(url, protocols=protocols) as socket:
                return b"".join([decode(message.data) async for message in socket])

    assert asyncio.run(asyncio.wait_for(read(), 20)) == b"first\nsecond\n"
    shared.run("delete", "pod", "ws-log", "--now")


@pytest.mark.skipif(not find_kubectls(), reason="needs kubectl")
def test_a_pods_status_is_patched_and_a_collection_goes(shared: Instance, tmp_path: Path) -> None:
    kubectl = Kubectl(find_kubectls()[-1], kubeconfig(shared, tmp_path))
    for number in range(3):
        made = _looking(f"of-a-set-{number}", "sleep 300", terminationGracePeriodSeconds=1)
        made["metadata"]["labels"] = {"set": "one"}
        shared.apply(made)
    gate = [{"type": "example.com/gate", "status": "True", "reason": "Patched"}]
    patch = json.dumps({"status": {"conditions": gate}})
    kubectl.run("patch", "pod", "of-a-set-0", "--subresource=status", "-p", patch)
    conditions = shared.get("pod", "of-a-set-0")["status"]["conditions"]
    assert "Patched" in [each.get("reason") for each in conditions]
    kubectl.run("delete", "pods", "-l", "set=one", "--now")
    assert kubectl.out("get", "pods", "-l", "set=one", "-o", "name") == ""


def test_a_guaranteed_pod_has_that_class(shared: Instance) -> None:
    same = {"cpu": "100m", "memory": "32Mi"}
    resources = {"resources": {"requests": same, "limits": same}}
    shared.apply(_looking("guaranteed", "true", container=resources))
    assert shared.get("pod", "guaranteed")["status"]["qosClass"] == "Guaranteed"
    shared.run("delete", "pod", "guaranteed", "--now")


def test_the_kernel_is_told_whom_to_kill_first(shared: Instance) -> None:
    capable = capabilities.bounding() & capabilities.mask(["SYS_RESOURCE"])
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    same = {"cpu": "10m", "memory": "32Mi"}
    total = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    asked = int(total[1]) // 2 + 1 if total else 0
    rows: tuple[tuple[str, Object, str], ...] = (
        ("spare", {}, "1000"),
        ("half", {"requests": {"memory": f"{asked}Ki"}}, "500"),
        ("kept", {"requests": same, "limits": same}, "-997" if capable else own),
    )
    for name, resources, _ in rows:
        made = _looking(name, "sleep 1000", container={"resources": resources})
        shared.apply({**made, "spec": {**made["spec"], "terminationGracePeriodSeconds": 0}})
    for name, _, score in rows:
        wait_pod(shared, name, lambda found: found["status"]["phase"] == "Running", "running")
        container = inspect(shared, name)["containers"][0]
        read = Path(f"/proc/{container['pid']}/oom_score_adj").read_text().strip()
        assert (read, container["status"]["OomScoreAdj"]) == (score, score), name
    assert capable or "no oom_score_adj can be lowered" in shared.daemon_log()
    shared.run("delete", "pod", *(name for name, _, _ in rows), "--now")


def test_the_node_counts_its_probes(shared: Instance) -> None:
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    made = pod(
        "counted", {**_looking("x", "sleep 300")["spec"]["containers"][0], "readinessProbe": probe}
    )
    shared.apply(made, options=("--until-ready",))
    (node,) = shared.get("nodes")["items"]
    path = f"http://minipod/api/v1/nodes/{node['metadata']['name']}/proxy/metrics/probes"

    async def read() -> str:
        connector = aiohttp.UnixConnector(str(shared.layout.api_socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            return await (await session.get(path)).text()

    text = asyncio.run(asyncio.wait_for(read(), 20))
    assert re.search(
        r'prober_probe_total{container="c0",.*pod="counted",.*result="successful"} \d', text
    )
    shared.run("delete", "pod", "counted", "--now")
