"""Usage as the kubelet's HTTP API tells of it: /stats/summary (JSON), /metrics/resource (Prometheus' text). Pure."""

from collections.abc import Iterator
from typing import Any

from minipod.clock import format_time
from minipod.node.usage import Look, Measured, Running, Used

Object = dict[str, Any]
_LABELS = {"container": ("container", "namespace", "pod"), "pod": ("namespace", "pod"), "node": ()}


def summary(node: str, measured: Measured) -> Object:
    """Return a stats/v1alpha1 Summary (k8s.io/kubelet). `windowSeconds` is ours: what the rates were made over."""
    at = format_time(measured.now.at)
    pods: dict[str, Object] = {}
    for each in measured.now.running:
        if not each.container:
            reference = {"name": each.pod, "namespace": each.namespace, "uid": each.uid}
            pods[each.uid] = {"podRef": reference, **_part(each, measured, at), "containers": []}
    for each in measured.now.running:
        if each.container and each.uid in pods:
            named = {"name": each.container, **_part(each, measured, at)}
            pods[each.uid]["containers"].append(named)
    whole = _usage(measured.now.node, measured.node_rate(), at)
    return {
        "node": {"nodeName": node, **whole},
        "pods": list(pods.values()),
        "windowSeconds": measured.window,
    }


def _part(each: Running, measured: Measured, at: str) -> Object:
    started = format_time(each.started_at)
    return {"startTime": started, **_usage(each.used, measured.rate(each), at)}


def _usage(used: Used, rate: int, at: str) -> Object:
    return {
        "cpu": {"time": at, "usageNanoCores": rate, "usageCoreNanoSeconds": used.cpu_ns},
        "memory": {
            "time": at,
            "usageBytes": used.memory_bytes,
            "workingSetBytes": used.working_set_bytes,
        },
    }


def resource_metrics(look: Look) -> str:
    """Return what metrics-server and Prometheus read of a kubelet."""
    from prometheus_client import CollectorRegistry, generate_latest
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

    class Collector:
        def collect(self) -> Iterator[Metric]:
            for what, labels in _LABELS.items():
                cpu = CounterMetricFamily(
                    f"{what}_cpu_usage_seconds",
                    "Cumulative cpu time in core-seconds",
                    labels=labels,
                )
                memory = GaugeMetricFamily(
                    f"{what}_memory_working_set_bytes",
                    "Current working set in bytes",
                    labels=labels,
                )
                for values, used in _samples(look, what):
                    cpu.add_metric(values, used.cpu_ns / 1e9, timestamp=look.at)
                    memory.add_metric(values, used.working_set_bytes, timestamp=look.at)
                yield cpu
                yield memory
            yield GaugeMetricFamily(
                "resource_scrape_error", "1 if reading failed, 0 if not", value=0
            )

    registry = CollectorRegistry(auto_describe=False)
    registry.register(Collector())
    return generate_latest(registry).decode()


def _samples(look: Look, what: str) -> Iterator[tuple[tuple[str, ...], Used]]:
    if what == "node":
        yield (), look.node
        return
    for each in look.running:
        if what == "container" and each.container:
            yield (each.container, each.namespace, each.pod), each.used
        if what == "pod" and not each.container:
            yield (each.namespace, each.pod), each.used
