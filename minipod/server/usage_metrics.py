"""metrics.k8s.io: what nodes and Pods use, as `kubectl top` and autoscalers ask. Nothing of it is stored.

Made of the kubelet's /stats/summary for every question, with the names and labels that the store has; amounts as
metrics-server writes them. A Pod whose containers do not all run yet is left out, as there.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from minipod.api.kind import Kind
from minipod.server.view import View

Object = dict[str, Any]
GROUP = "metrics.k8s.io"
Fetch = Callable[[str], Awaitable[Object]]


class UsageMetrics:
    """Answers for one node. `fetch` gets JSON from its kubelet."""

    def __init__(self, view: View, fetch: Fetch) -> None:
        self._view = view
        self._fetch = fetch

    async def objects(self, kind: Kind) -> list[Object]:
        """Return every object of a kind of the group. Raises ServiceUnavailable."""
        summary = await self._fetch("/stats/summary")
        if kind.plural == "nodes":
            return node_metrics(summary, self._view.list("nodes"))
        return pod_metrics(summary, self._view.list("pods"))


def node_metrics(summary: Object, nodes: list[Object]) -> list[Object]:
    """Return a NodeMetrics for the node of a Summary. Pure."""
    told = summary["node"]
    return [
        {
            "kind": "NodeMetrics",
            "apiVersion": f"{GROUP}/v1beta1",
            "metadata": _metadata(node, told["cpu"]["time"]),
            "timestamp": told["cpu"]["time"],
            "window": _duration(summary["windowSeconds"]),
            "usage": _usage(told),
        }
        for node in nodes
        if node["metadata"]["name"] == told["nodeName"]
    ]


def pod_metrics(summary: Object, pods: list[Object]) -> list[Object]:
    """Return a PodMetrics for every running Pod of a Summary. Pure."""
    told = {each["podRef"]["uid"]: each for each in summary["pods"]}
    made = []
    for pod in pods:
        found = told.get(pod["metadata"]["uid"])
        if found is None or not found["containers"]:
            continue
        names = {each["name"] for each in found["containers"]}
        if not {each["name"] for each in pod["spec"]["containers"]} <= names:
            continue
        containers = [{"name": c["name"], "usage": _usage(c)} for c in found["containers"]]
        made.append(
            {
                "kind": "PodMetrics",
                "apiVersion": f"{GROUP}/v1beta1",
                "metadata": _metadata(pod, found["cpu"]["time"]),
                "timestamp": found["cpu"]["time"],
                "window": _duration(summary["windowSeconds"]),
                "containers": containers,
            }
        )
    return made


def _metadata(obj: Object, now: str) -> Object:
    known = obj["metadata"]
    made = {name: known[name] for name in ("name", "namespace", "labels") if known.get(name)}
    return {**made, "creationTimestamp": now}


def _usage(told: Object) -> Object:
    cpu, memory = told["cpu"]["usageNanoCores"], told["memory"]["workingSetBytes"]
    return {"cpu": f"{cpu}n" if cpu else "0", "memory": f"{memory // 1024}Ki" if memory else "0"}


def _duration(seconds: float) -> str:
    """Return seconds as Go writes a short duration."""
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
