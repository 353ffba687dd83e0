"""Admission over HTTP: quotas, limits, priorities, Pod security, classes."""

import asyncio
from pathlib import Path
from typing import Any

from .harness import PODS, Api, config_map, pod, serve

NAMESPACE = "/api/v1/namespaces/default"
QUOTAS = f"{NAMESPACE}/resourcequotas"
LIMITS = f"{NAMESPACE}/limitranges"
CLAIMS = f"{NAMESPACE}/persistentvolumeclaims"
PRIORITIES = "/apis/scheduling.k8s.io/v1/priorityclasses"
MERGE = "application/merge-patch+json"


def named(name: str, **fields: Any) -> dict[str, Any]:
    return {"metadata": {"name": name}, **fields}


def asking(name: str, **resources: dict[str, str]) -> dict[str, Any]:
    made = pod(name)
    made["spec"]["containers"][0]["resources"] = resources
    return made


def claim(size: str, **spec: Any) -> dict[str, Any]:
    resources = {"requests": {"storage": size}}
    return {"spec": {"accessModes": ["ReadWriteOnce"], "resources": resources, **spec}}


def test_a_quota_is_never_exceeded_however_many_create_at_once(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(QUOTAS, named("few", spec={"hard": {"configmaps": "3", "count/pods": "1"}}))
        path = f"{NAMESPACE}/configmaps"
        answers = await asyncio.gather(
            *(api("POST", path, config_map(f"c{number}")) for number in range(10))
        )
        assert sorted(each.status for each in answers) == [201] * 3 + [403] * 7
        refused = next(each for each in answers if each.status == 403)
        assert refused.body["message"].endswith(
            "is forbidden: exceeded quota: few, requested: configmaps=1, used: configmaps=3, "
            "limited: configmaps=3"
        )
        await api.make(PODS, pod("one"))
        second = await api("POST", PODS, pod("two"))
        assert second.body["message"] == (
            'pods "two" is forbidden: exceeded quota: few, requested: count/pods=1, '
            "used: count/pods=1, limited: count/pods=1"
        )
        assert (await api("DELETE", f"{path}/{_created(answers)}")).status == 200
        assert (await api("POST", path, config_map("later"))).status == 201

    serve(tmp_path, body)


def _created(answers: list[Any]) -> str:
    return str(next(each.body["metadata"]["name"] for each in answers if each.status == 201))


def test_a_quota_of_compute_wants_to_be_told(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        hard = {"requests.cpu": "1", "limits.memory": "1Gi"}
        await api.make(QUOTAS, named("compute", spec={"hard": hard}))
        untold = await api("POST", PODS, pod("untold"))
        assert untold.body["message"] == (
            'pods "untold" is forbidden: failed quota: compute: must specify limits.memory for: main; '
            "requests.cpu for: main"
        )
        fits = asking("fits", requests={"cpu": "600m"}, limits={"memory": "512Mi"})
        await api.make(PODS, fits)
        much = await api(
            "POST", PODS, asking("much", requests={"cpu": "500m"}, limits={"memory": "600Mi"})
        )
        assert much.body["message"] == (
            'pods "much" is forbidden: exceeded quota: compute, requested: '
            "limits.memory=600Mi,requests.cpu=500m, used: limits.memory=512Mi,requests.cpu=600m, "
            "limited: limits.memory=1Gi,requests.cpu=1"
        )
        over = {"status": {"phase": "Succeeded"}}
        await api("PATCH", f"{PODS}/fits/status", over, Content_Type=MERGE)
        again = asking("much", requests={"cpu": "1"}, limits={"memory": "1Gi"})
        assert (await api("POST", PODS, again)).status == 201

    serve(tmp_path, body)


def test_scopes_say_which_pods_count(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        spec = {"hard": {"pods": "0"}, "scopes": ["BestEffort"]}
        await api.make(QUOTAS, named("none", spec=spec))
        assert (await api("POST", PODS, pod("besteffort"))).status == 403
        await api.make(PODS, asking("burstable", requests={"cpu": "1m"}))

    serve(tmp_path, body)


def test_limits_are_given_and_held_to(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        limit = {
            "type": "Container",
            "default": {"cpu": "500m"},
            "defaultRequest": {"cpu": "100m"},
            "max": {"cpu": "1"},
            "min": {"cpu": "50m"},
        }
        pods = {"type": "Pod", "max": {"cpu": "1500m"}}
        stored = {"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}}
        await api.make(LIMITS, named("limits", spec={"limits": [limit, pods, stored]}))
        made = await api.make(PODS, pod("given"))
        resources = made["spec"]["containers"][0]["resources"]
        assert resources == {"limits": {"cpu": "500m"}, "requests": {"cpu": "100m"}}
        assert made["status"]["qosClass"] == "Burstable"
        assert made["metadata"]["annotations"]["kubernetes.io/limit-ranger"] == (
            "LimitRanger plugin set: cpu request for container main; cpu limit for container main"
        )
        much = await api("POST", PODS, asking("much", limits={"cpu": "2"}, requests={"cpu": "10m"}))
        assert much.body["message"] == (
            'pods "much" is forbidden: [minimum cpu usage per Container is 50m, but request is 10m, '
            "maximum cpu usage per Container is 1, but limit is 2, "
            "maximum cpu usage per Pod is 1500m, but limit is 2]"
        )
        small = await api("POST", CLAIMS, named("small", **claim("1Mi")))
        assert small.body["message"] == (
            'persistentvolumeclaims "small" is forbidden: minimum storage usage per '
            "PersistentVolumeClaim is 1Gi, but request is 1Mi"
        )

    serve(tmp_path, body)


def test_priorities_come_from_classes(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        listed = (await api("GET", PRIORITIES)).body["items"]
        assert {each["metadata"]["name"]: each["value"] for each in listed} == {
            "system-cluster-critical": 2000000000,
            "system-node-critical": 2000001000,
        }
        plain = await api.make(PODS, pod("plain"))
        assert (plain["spec"]["priority"], plain["spec"]["preemptionPolicy"]) == (
            0,
            "PreemptLowerPriority",
        )
        await api.make(PRIORITIES, named("usual", value=5, globalDefault=True))
        usual = await api.make(PODS, pod("usual"))
        assert (usual["spec"]["priorityClassName"], usual["spec"]["priority"]) == ("usual", 5)
        second = await api("POST", PRIORITIES, named("other", value=6, globalDefault=True))
        assert second.body["message"] == (
            'priorityclasses.scheduling.k8s.io "other" is forbidden: PriorityClass usual is already '
            "marked as default. Only one default can exist"
        )
        critical = await api.make(PODS, pod("critical", priorityClassName="system-node-critical"))
        assert critical["spec"]["priority"] == 2000001000
        unknown = await api("POST", PODS, pod("unknown", priorityClassName="none"))
        assert unknown.body["message"] == (
            'pods "unknown" is forbidden: no PriorityClass with name none was found'
        )

    serve(tmp_path, body)


RESTRICTED = (
    'violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false (container "main" '
    "must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container "
    '"main" must set securityContext.capabilities.drop=["ALL"]), runAsNonRoot != true (pod or container '
    '"main" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container "main" must '
    'set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")'
)


def test_a_namespace_holds_its_pods_to_a_standard(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        prefix = "pod-security.kubernetes.io/"
        safe = pod(
            "safe",
            securityContext={"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        )
        safe["spec"]["containers"][0]["securityContext"] = {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
        }  # fmt: skip
        for name in ("before", "another"):
            await api.make(PODS, pod(name))
        labels = {f"{prefix}enforce": "restricted"}
        labeled = await api(
            "PATCH", NAMESPACE, {"metadata": {"labels": labels}}, Content_Type=MERGE
        )
        assert labeled.status == 200
        assert any("violate the new PodSecurity enforce level" in each for each in labeled.warnings)
        assert any(
            "another (and 1 other pod): allowPrivilegeEscalation" in w for w in labeled.warnings
        )
        refused = await api("POST", PODS, pod("web"))
        assert refused.body["message"] == f'pods "web" is forbidden: {RESTRICTED}'
        await api.make(PODS, safe)
        warned = {f"{prefix}enforce": "privileged", f"{prefix}warn": "baseline"}
        await api("PATCH", NAMESPACE, {"metadata": {"labels": warned}}, Content_Type=MERGE)
        host = await api("POST", PODS, pod("host", hostPID=True, hostNetwork=True))
        assert host.status == 201
        assert any(
            'would violate PodSecurity \\"baseline:latest\\": host namespaces (hostNetwork=true, hostPID=true)'
            in each
            for each in host.warnings
        )
        wrong = {f"{prefix}enforce": "strict"}
        bad = await api("PATCH", NAMESPACE, {"metadata": {"labels": wrong}}, Content_Type=MERGE)
        assert bad.body["message"] == (
            f'Namespace "default" is invalid: metadata.labels[{prefix}enforce]: Invalid value: '
            '"strict": must be one of privileged, baseline, restricted'
        )

    serve(tmp_path, body)


def test_classes_are_chosen_for_what_names_none(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        default = {"storageclass.kubernetes.io/is-default-class": "true"}
        path = "/apis/storage.k8s.io/v1/storageclasses"
        await api.make(
            path, {"metadata": {"name": "std", "annotations": default}, "provisioner": "a.io/b"}
        )
        made = await api.make(CLAIMS, named("one", **claim("1Gi")))
        assert made["spec"]["storageClassName"] == "std"
        assert made["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        none = await api.make(CLAIMS, named("two", **claim("1Gi", storageClassName="")))
        assert none["spec"]["storageClassName"] == ""
        larger = {"spec": {"resources": {"requests": {"storage": "2Gi"}}}}
        refused = await api("PATCH", f"{CLAIMS}/one", larger, Content_Type=MERGE)
        assert refused.status in (403, 422)
        runtime = "/apis/node.k8s.io/v1/runtimeclasses"
        overhead = {"podFixed": {"cpu": "10m"}}
        await api.make(runtime, named("heavy", handler="heavy", overhead=overhead))
        heavy = await api.make(PODS, pod("heavy", runtimeClassName="heavy"))
        assert heavy["spec"]["overhead"] == {"cpu": "10m"}
        unknown = await api("POST", PODS, pod("unknown", runtimeClassName="none"))
        assert unknown.body["message"] == (
            'pods "unknown" is forbidden: pod rejected: RuntimeClass "none" not found'
        )

    serve(tmp_path, body)


def test_a_pod_without_containers_is_invalid_and_nothing_else(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for empty in ({}, {"metadata": {"name": "x"}, "spec": {}}):
            refused = await api("POST", PODS, empty)
            assert refused.status == 422
            assert "spec.containers: Required value" in refused.body["message"]

    serve(tmp_path, body)
