"""Definitions of kinds that upstream's current schema has not: in `definitions`' form, with their prose.

PodPreset was settings.k8s.io/v1alpha1 until Kubernetes 1.19 (the design is in kubernetes/community,
"Pod Preset").
"""

from typing import Any

Object = dict[str, Any]

_CORE = "#io.k8s.api.core.v1"
_META = "#io.k8s.apimachinery.pkg.apis.meta.v1"
POD_PRESET = "io.k8s.api.settings.v1alpha1.PodPreset"


def _named_list(element: str, key: str) -> Object:
    """Return a list whose elements are known by one of their fields, for patches and apply."""
    kind = {"list": f"{_CORE}.{element}", "type": "map", "keys": [key]}
    return {**kind, "merge": key, "strategy": "merge"}


STRUCTURE: dict[str, Object] = {
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
