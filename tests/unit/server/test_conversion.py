"""One stored object, seen through two versions over HTTP."""

from pathlib import Path
from typing import Any

from .harness import Api, serve

V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
CORE = "/api/v1/namespaces/default/events"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
WEB: dict[str, Any] = {
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 70,
    },
}
V2_WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": WEB["spec"]["scaleTargetRef"],
        "maxReplicas": 3,
        "metrics": [
            {
                "type": "Resource",
                "resource": {
                    "name": "cpu",
                    "target": {"type": "Utilization", "averageUtilization": 50},
                },
            }
        ],
    },
}

EVENT: dict[str, Any] = {
    "metadata": {"name": "e"},
    "eventTime": "2026-01-01T00:00:00.000000Z",
    "regarding": {"kind": "Pod", "name": "web", "namespace": "default"},
    "note": "so it is",
    "reason": "Because",
    "action": "Telling",
    "type": "Normal",
    "reportingController": "x.io/y",
    "reportingInstance": "one",
}


def test_an_autoscaler_is_one_object_in_two_versions(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(V1, WEB)
        assert made["apiVersion"] == "autoscaling/v1"
        newer = (await api("GET", f"{V2}/web")).body
        assert made["status"] == {"currentReplicas": 0, "desiredReplicas": 0}
        assert newer["status"] == {"currentMetrics": None, "desiredReplicas": 0}
        assert newer["apiVersion"] == "autoscaling/v2"
        assert newer["metadata"]["uid"] == made["metadata"]["uid"]
        [metric] = newer["spec"]["metrics"]
        assert metric["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}
        patch = {"spec": {"targetCPUUtilizationPercentage": 60}}
        kind = "application/merge-patch+json"
        changed = await api("PATCH", f"{V1}/web", patch, Content_Type=kind)
        assert changed.body["spec"]["targetCPUUtilizationPercentage"] == 60
        listed = (await api("GET", V2)).body
        assert listed["kind"] == "HorizontalPodAutoscalerList"
        target = listed["items"][0]["spec"]["metrics"][0]["resource"]["target"]
        assert target["averageUtilization"] == 60
        bad = await api("PATCH", f"{V1}/web", {"spec": {"maxReplicas": 0}}, Content_Type=kind)
        assert bad.status == 422
        assert bad.body["message"].startswith(
            'HorizontalPodAutoscaler.autoscaling "web" is invalid: [spec.maxReplicas: Required value'
        )

    serve(tmp_path, body)


def test_watches_speak_the_version_that_was_asked_for(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(V1, WEB)
        async with api.watch(f"{V1}?watch=1") as events:
            first = await events.next()
            assert first is not None
            assert first["object"]["apiVersion"] == "autoscaling/v1"
            assert first["object"]["spec"]["targetCPUUtilizationPercentage"] == 70
            await api("DELETE", f"{V2}/web")
            gone = await events.next()
            assert gone is not None
            assert (gone["type"], gone["object"]["apiVersion"]) == ("DELETED", "autoscaling/v1")

    serve(tmp_path, body)


def test_events_are_the_same_in_both_groups(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(EVENTS, EVENT)
        core = (await api("GET", f"{CORE}/e")).body
        assert (core["apiVersion"], core["message"]) == ("v1", "so it is")
        found = await api("GET", f"{EVENTS}?fieldSelector=regarding.name%3Dweb")
        assert [each["note"] for each in found.body["items"]] == ["so it is"]
        other = await api("GET", f"{EVENTS}?fieldSelector=regarding.name%3Ddb")
        assert other.body["items"] == []
        timeless = {**EVENT, "metadata": {"name": "f"}}
        del timeless["eventTime"]
        bad = await api("POST", EVENTS, timeless)
        assert bad.body["message"] == 'Event "f" is invalid: eventTime: Required value'
        note = {**core, "message": "changed"}
        assert (await api("PUT", f"{CORE}/e", note)).status == 200

    serve(tmp_path, body)


def test_components_are_told_of_and_stored_nowhere(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        listed = (await api("GET", "/api/v1/componentstatuses")).body
        names = [each["metadata"]["name"] for each in listed["items"]]
        assert names == ["controller-manager", "etcd-0", "scheduler"]
        one = await api("GET", "/api/v1/componentstatuses/etcd-0")
        assert one.body["conditions"][0] == {"type": "Healthy", "status": "True", "message": "ok"}
        assert (await api("GET", "/api/v1/componentstatuses/x")).status == 404
        assert (await api("POST", "/api/v1/componentstatuses", {})).status == 405

    serve(tmp_path, body)


def test_a_binding_puts_its_pod_on_a_node(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        pods = "/api/v1/namespaces/default/pods"
        containers = [{"name": "main", "image": "busybox"}]
        await api.make(pods, {"metadata": {"name": "web"}, "spec": {"containers": containers}})
        binding = {"metadata": {"name": "web"}, "target": {"kind": "Node", "name": "one"}}
        answer = await api("POST", "/api/v1/namespaces/default/bindings", binding)
        assert answer.status == 201
        assert (await api("GET", f"{pods}/web")).body["spec"]["nodeName"] == "one"
        assert (await api("POST", "/api/v1/namespaces/default/bindings", binding)).status == 409

    serve(tmp_path, body)


def managers_of(obj: Any) -> list[tuple[str, str, str]]:
    found = obj["metadata"]["managedFields"]
    return sorted((each["manager"], each["operation"], each["apiVersion"]) for each in found)


def test_each_manager_is_known_by_the_version_that_it_wrote_by(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        first = await api.make(f"{V1}?fieldManager=old", WEB)
        assert managers_of(first) == [("old", "Update", "autoscaling/v1")]
        [entry] = first["metadata"]["managedFields"]
        assert "f:targetCPUUtilizationPercentage" in entry["fieldsV1"]["f:spec"]
        newer = (await api("GET", f"{V2}/web")).body
        newer["spec"]["metrics"][0]["resource"]["target"]["averageUtilization"] = 50
        changed = (await api("PUT", f"{V2}/web?fieldManager=new", newer)).body
        assert managers_of(changed) == [
            ("new", "Update", "autoscaling/v2"),
            ("old", "Update", "autoscaling/v1"),
        ]
        new, old = sorted(changed["metadata"]["managedFields"], key=lambda each: each["manager"])
        assert new["fieldsV1"] == {"f:spec": {"f:metrics": {}}}
        assert "f:targetCPUUtilizationPercentage" not in old["fieldsV1"]["f:spec"]
        assert "f:maxReplicas" in old["fieldsV1"]["f:spec"]

    serve(tmp_path, body)


def test_an_apply_meets_what_was_written_by_another_version(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(f"{V2}?fieldManager=new", V2_WEB)
        wanted = {"apiVersion": "autoscaling/v1", "kind": "HorizontalPodAutoscaler", **WEB}
        apply = {"Content_Type": "application/apply-patch+yaml"}
        refused = await api("PATCH", f"{V1}/web?fieldManager=me", wanted, **apply)
        assert refused.status == 409
        assert refused.body["message"] == (
            'Apply failed with 1 conflict: conflict with "new" using autoscaling/v2: .spec.metrics'
        )
        forced = await api("PATCH", f"{V1}/web?fieldManager=me&force=true", wanted, **apply)
        assert managers_of(forced.body) == [
            ("me", "Apply", "autoscaling/v1"),
            ("new", "Update", "autoscaling/v2"),
        ]
        again = await api("PATCH", f"{V1}/web?fieldManager=me", wanted, **apply)
        version = again.body["metadata"]["resourceVersion"]
        assert version == forced.body["metadata"]["resourceVersion"]

    serve(tmp_path, body)


def test_events_keep_the_group_that_they_were_written_by(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(f"{EVENTS}?fieldManager=me", EVENT)
        assert managers_of(made) == [("me", "Update", "events.k8s.io/v1")]
        [entry] = made["metadata"]["managedFields"]
        assert {"f:note", "f:regarding"} <= set(entry["fieldsV1"])
        assert "f:message" not in entry["fieldsV1"]

    serve(tmp_path, body)
