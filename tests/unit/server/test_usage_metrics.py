"""metrics.k8s.io over the API: made of a kubelet's summary, selected and printed as any kind."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from aiohttp import web

from minipod.paths import layout
from minipod.server.usage_metrics import _duration, pod_metrics

from .harness import PODS, Api, pod, serve

Object = dict[str, Any]
METRICS = "/apis/metrics.k8s.io/v1beta1"
AT = "2026-01-01T00:00:00Z"


def usage(nanocores: int, working_set: int) -> Object:
    cpu = {"time": AT, "usageNanoCores": nanocores}
    return {"cpu": cpu, "memory": {"time": AT, "workingSetBytes": working_set}}


def told(pod_: Object, *containers: str) -> Object:
    reference = {name: pod_["metadata"][name] for name in ("name", "namespace", "uid")}
    found = [{"name": name, **usage(250_000_000, 3 << 20)} for name in containers]
    return {"podRef": reference, **usage(0, 0), "containers": found}


def with_summary(root: Path, body: Callable[[Api, Object], Awaitable[None]]) -> None:
    """Run `body` with a kubelet that tells what `body` puts into the summary."""

    async def main(api: Api) -> None:
        summary: Object = {"node": {"nodeName": "one", **usage(10**9, 2 << 30)}, "pods": []}
        summary["windowSeconds"] = 15.0

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            assert request.path == "/stats/summary"
            return web.json_response(summary)

        server = web.Server(answer)
        socket = layout(root).kubelet_socket
        listening = await asyncio.get_running_loop().create_unix_server(server, socket)
        try:
            await body(api, summary)
        finally:
            listening.close()
            await server.shutdown(0.05)

    serve(root, main)


def test_nodes_and_pods_are_told_of(tmp_path: Path) -> None:
    async def body(api: Api, summary: Object) -> None:
        await api.make("/api/v1/nodes", {"metadata": {"name": "one", "labels": {"zone": "a"}}})
        made = pod("web", nodeName="one")
        made["metadata"]["labels"] = {"app": "web"}
        web_pod, idle = await api.make(PODS, made), await api.make(PODS, pod("idle"))
        summary["pods"] = [told(web_pod, "main"), told(idle, "main")]
        nodes = (await api("GET", f"{METRICS}/nodes")).body
        assert nodes["kind"] == "NodeMetricsList"
        assert nodes["items"][0]["usage"] == {"cpu": "1000000000n", "memory": "2097152Ki"}
        assert nodes["items"][0]["metadata"]["labels"] == {"zone": "a"}
        path = f"{METRICS}/namespaces/default/pods"
        one = (await api("GET", f"{path}/web")).body
        assert (one["apiVersion"], one["kind"]) == ("metrics.k8s.io/v1beta1", "PodMetrics")
        assert (one["timestamp"], one["window"]) == (AT, "15s")
        assert one["containers"] == [
            {"name": "main", "usage": {"cpu": "250000000n", "memory": "3072Ki"}}
        ]
        selected = (await api("GET", f"{METRICS}/pods?labelSelector=app%3Dweb")).body
        assert [each["metadata"]["name"] for each in selected["items"]] == ["web"]
        assert (await api("GET", f"{METRICS}/namespaces/other/pods")).body["items"] == []
        assert (await api("GET", f"{path}/none")).status == 404
        assert (await api("POST", path, {})).status == 405
        table = "application/json;as=Table;v=v1;g=meta.k8s.io"
        rows = (await api("GET", f"{path}?fieldSelector=metadata.name%3Dweb", Accept=table)).body
        assert [row["cells"] for row in rows["rows"]] == [["web", "250000000n", "3072Ki", "15s"]]
        listed = await api.client.list("pods.metrics.k8s.io", "default")
        assert len(listed.items) == 2

    with_summary(tmp_path, body)


def test_a_kubelet_that_is_away_is_told_of(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        answer = await api("GET", f"{METRICS}/nodes")
        assert (answer.status, answer.body["reason"]) == (503, "ServiceUnavailable")
        assert "kubelet.sock" in answer.body["message"]

    serve(tmp_path, body)


def test_a_pod_that_does_not_run_whole_is_left_out() -> None:
    made = {**pod(), "metadata": {"name": "web", "namespace": "default", "uid": "u"}}
    made["spec"]["containers"].append({"name": "second"})

    def found(*containers: str) -> list[Object]:
        summary = {"windowSeconds": 1.0, "pods": [told(made, *containers)]}
        return pod_metrics(summary, [made])

    assert found() == []
    assert found("main") == []
    assert [each["name"] for each in found("main", "second", "side")[0]["containers"]] == [
        "main",
        "second",
        "side",
    ]
    assert pod_metrics({"windowSeconds": 1.0, "pods": []}, [made]) == []


def test_windows_are_written_as_go_writes_them() -> None:
    assert [_duration(each) for each in (1.0, 15.25, 0.9996, 60)] == ["1s", "15.25s", "1s", "60s"]
