"""The scale subresource, over HTTP."""

from pathlib import Path

from .harness import Api, serve

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
SCALE = f"{DEPLOYMENTS}/web/scale"
WEB = {
    "metadata": {"name": "web"},
    "spec": {
        "replicas": 2,
        "selector": {
            "matchLabels": {"app": "web"},
            "matchExpressions": [{"key": "tier", "operator": "In", "values": ["b", "a"]}],
        },
        "template": {
            "metadata": {"labels": {"app": "web", "tier": "a"}},
            "spec": {"containers": [{"name": "main", "image": "busybox:1"}]},
        },
    },
}


def test_scaling_changes_the_replicas_and_nothing_else(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(DEPLOYMENTS, WEB)
        scale = (await api("GET", SCALE)).body
        assert (scale["kind"], scale["apiVersion"]) == ("Scale", "autoscaling/v1")
        assert scale["spec"] == {"replicas": 2}
        assert scale["status"] == {"replicas": 0, "selector": "app=web,tier in (a,b)"}
        answer = await api("PUT", SCALE, {**scale, "spec": {"replicas": 5}})
        assert (answer.status, answer.body["spec"]) == (200, {"replicas": 5})
        found = (await api("GET", f"{DEPLOYMENTS}/web")).body
        assert found["spec"] == {**made["spec"], "replicas": 5}
        assert found["metadata"]["generation"] == 2
        stale = await api("PUT", SCALE, {**scale, "spec": {"replicas": 1}})
        assert stale.status == 409

    serve(tmp_path, body)


def test_scales_are_patched_to_zero_and_refused_below(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(DEPLOYMENTS, WEB)
        answer = await api(
            "PATCH", SCALE, {"spec": {"replicas": 0}}, Content_Type="application/merge-patch+json"
        )
        assert (answer.status, answer.body["spec"]) == (200, {})
        low = await api("PUT", SCALE, {"metadata": {"name": "web"}, "spec": {"replicas": -1}})
        assert low.status == 422
        assert low.body["message"] == (
            'Scale.autoscaling "web" is invalid: spec.replicas: Invalid value: -1: '
            "must be greater than or equal to 0"
        )
        assert (await api("GET", f"{DEPLOYMENTS}/none/scale")).status == 404

    serve(tmp_path, body)
