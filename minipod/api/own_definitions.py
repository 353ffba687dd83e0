"""Definitions of kinds that upstream's current schema has not: in `definitions`' form, with their prose.

PodPreset was settings.k8s.io/v1alpha1 until Kubernetes 1.19 (the design is in kubernetes/community,
"Pod Preset"). metrics.k8s.io is another API server's there, metrics-server's (k8s.io/metrics).
"""

from typing import Any

Object = dict[str, Any]

_CORE = "#io.k8s.api.core.v1"
_META = "#io.k8s.apimachinery.pkg.apis.meta.v1"
METRICS = "io.k8s.metrics.pkg.apis.metrics.v1beta1"
POD_PRESET = "io.k8s.api.settings.v1alpha1.PodPreset"


def _named_list(element: str, key: str) -> Object:
    """Return a list whose elements are known by one of their fields, for patches and apply."""
    kind = {"list": f"{_CORE}.{element}", "type": "map", "keys": [key]}
    return {**kind, "merge": key, "strategy": "merge"}


def _of(version: str, kind: str, **fields: Any) -> Object:
    """Return the definition of a kind."""
    group, _, short = version.rpartition("/")
    return {
        "gvk": [[group, short, kind]],
        "properties": {
            "apiVersion": {"of": "string", "enum": [version]},
            "kind": {"of": "string", "enum": [kind]},
            "metadata": f"{_META}.ObjectMeta",
            **fields,
        },
    }


def _measured(kind: str, **fields: Any) -> dict[str, Object]:
    """Return the definitions of a kind of metrics.k8s.io and of its list."""
    version = "metrics.k8s.io/v1beta1"
    listed = _of(version, f"{kind}List", items={"list": f"#{METRICS}.{kind}"})
    listed["properties"]["metadata"] = f"{_META}.ListMeta"
    one = _of(version, kind, timestamp="time", window="string", **fields)
    return {f"{METRICS}.{kind}": one, f"{METRICS}.{kind}List": {**listed, "required": ["items"]}}


STRUCTURE: dict[str, Object] = {
    **_measured("NodeMetrics", usage={"map": "quantity"}),
    **_measured(
        "PodMetrics", containers={"list": f"#{METRICS}.ContainerMetrics", "type": "atomic"}
    ),
    f"{METRICS}.ContainerMetrics": {
        "properties": {"name": "string", "usage": {"map": "quantity"}},
        "required": ["name", "usage"],
    },
    POD_PRESET: {
        "gvk": [["settings.k8s.io", "v1alpha1", "PodPreset"]],
        "properties": {
            "apiVersion": {"of": "string", "enum": ["settings.k8s.io/v1alpha1"]},
            "kind": {"of": "string", "enum": ["PodPreset"]},
            "metadata": f"{_META}.ObjectMeta",
            "spec": f"#{POD_PRESET}Spec",
        },
    },
    f"{POD_PRESET}Spec": {
        "properties": {
            "selector": f"{_META}.LabelSelector",
            "env": _named_list("EnvVar", "name"),
            "envFrom": {"list": f"{_CORE}.EnvFromSource", "type": "atomic"},
            "volumes": _named_list("Volume", "name"),
            "volumeMounts": _named_list("VolumeMount", "mountPath"),
        }
    },
}

PROSE: dict[str, dict[str, str]] = {
    f"{METRICS}.NodeMetrics": {
        "": "What a node uses.",
        "timestamp": "When it was measured.",
        "window": "Over which time CPU was measured, up to the timestamp.",
        "usage": "CPU and memory (the working set) in use.",
    },
    f"{METRICS}.PodMetrics": {
        "": "What a Pod's containers use.",
        "timestamp": "When it was measured.",
        "window": "Over which time CPU was measured, up to the timestamp.",
        "containers": "Each container's use.",
    },
    f"{METRICS}.ContainerMetrics": {
        "": "What a container uses.",
        "name": "The container's name.",
        "usage": "CPU and memory (the working set) in use.",
    },
    POD_PRESET: {
        "": "What Pods that it selects are given when they are created.",
        "spec": "Which Pods, and what they are given.",
    },
    f"{POD_PRESET}Spec": {
        "": "Which Pods, and what they are given.",
        "selector": "The labels of the Pods; an empty selector means all Pods of the namespace.",
        "env": "Variables for every container.",
        "envFrom": "ConfigMaps and Secrets whose keys become variables of every container.",
        "volumes": "Volumes for the Pod.",
        "volumeMounts": "Mounts for every container.",
    },
}
