"""One stored object, seen through two versions over HTTP."""

from pathlib import Path

from .harness import Api, serve

V1 = "/apis/autoscaling/v1/namespaces/default/horizontalpodautoscalers"
V2 = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers"
CORE = "/api/v1/namespaces/default/events"
EVENTS = "/apis/events.k8s.io/v1/namespaces/default/events"
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"},
        "maxReplicas": 3,
        "targetCPUUtilizationPercentage": 70,
    },
}


def test_an_autoscaler_is_one_object_in_two_versions(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(V1, WEB)
        assert made["apiVersion"] == "autoscaling/v1"
        newer = (await api("GET", f"{V2}/web")).body
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
        event = {
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
        await api.make(EVENTS, event)
        core = (await api("GET", f"{CORE}/e")).body
        assert (core["apiVersion"], core["message"]) == ("v1", "so it is")
        found = await api("GET", f"{EVENTS}?fieldSelector=regarding.name%3Dweb")
        assert [each["note"] for each in found.body["items"]] == ["so it is"]
        other = await api("GET", f"{EVENTS}?fieldSelector=regarding.name%3Ddb")
        assert other.body["items"] == []
        del event["eventTime"]
        event["metadata"] = {"name": "f"}
        bad = await api("POST", EVENTS, event)
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
