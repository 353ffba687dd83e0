"""Fields that upstream's answers hold though nobody has set them: as null.

Go writes an empty list, map, pointer or instant as null unless its field says otherwise (`omitempty`, `omitzero`), and
what reads such an object finds the field there. Which fields those are is a fact of upstream's types (k8s.io/api v0.36)
that its OpenAPI document does not tell. Those that validation does not let be empty are left out here.
"""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from minipod.api.definitions import definitions

Object = dict[str, Any]

_CONDITION = "lastTransitionTime"
FIELDS = {
    "io.k8s.api.apps.v1.DaemonSetCondition": _CONDITION,
    "io.k8s.api.apps.v1.DeploymentCondition": f"lastUpdateTime {_CONDITION}",
    "io.k8s.api.apps.v1.ReplicaSetCondition": _CONDITION,
    "io.k8s.api.apps.v1.StatefulSetCondition": _CONDITION,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerCondition": _CONDITION,
    "io.k8s.api.autoscaling.v2.HorizontalPodAutoscalerStatus": "currentMetrics",
    "io.k8s.api.batch.v1.JobCondition": f"lastProbeTime {_CONDITION}",
    "io.k8s.api.certificates.v1.CertificateSigningRequestCondition": f"lastUpdateTime {_CONDITION}",
    "io.k8s.api.core.v1.AzureFilePersistentVolumeSource": "secretNamespace",
    "io.k8s.api.core.v1.ContainerImage": "names",
    "io.k8s.api.core.v1.ContainerStateRunning": "startedAt",
    "io.k8s.api.core.v1.ContainerStateTerminated": "startedAt finishedAt",
    "io.k8s.api.core.v1.Event": "firstTimestamp lastTimestamp eventTime",
    "io.k8s.api.core.v1.EventSeries": "lastObservedTime",
    "io.k8s.api.core.v1.LimitRangeSpec": "limits",
    "io.k8s.api.core.v1.NamespaceCondition": _CONDITION,
    "io.k8s.api.core.v1.NodeCondition": f"lastHeartbeatTime {_CONDITION}",
    "io.k8s.api.core.v1.PersistentVolumeClaimCondition": f"lastProbeTime {_CONDITION}",
    "io.k8s.api.core.v1.PodCondition": f"lastProbeTime {_CONDITION}",
    "io.k8s.api.core.v1.ProjectedVolumeSource": "sources",
    "io.k8s.api.core.v1.ReplicationControllerCondition": _CONDITION,
    "io.k8s.api.core.v1.TypedLocalObjectReference": "apiGroup",
    "io.k8s.api.core.v1.TypedObjectReference": "apiGroup",
    "io.k8s.api.discovery.v1.EndpointSlice": "endpoints ports",
    "io.k8s.api.events.v1.Event": "deprecatedFirstTimestamp deprecatedLastTimestamp eventTime",
    "io.k8s.api.events.v1.EventSeries": "lastObservedTime",
    "io.k8s.api.flowcontrol.v1.FlowSchemaCondition": _CONDITION,
    "io.k8s.api.flowcontrol.v1.PriorityLevelConfigurationCondition": _CONDITION,
    "io.k8s.api.flowcontrol.v1.ResourcePolicyRule": "namespaces",
    "io.k8s.api.rbac.v1.ClusterRole": "rules",
    "io.k8s.api.rbac.v1.Role": "rules",
    "io.k8s.api.storage.v1.CSINodeDriver": "topologyKeys",
    "io.k8s.api.storage.v1.CSINodeSpec": "drivers",
    "io.k8s.api.storage.v1.VolumeError": "time",
}


@dataclass(frozen=True)
class _Branch:
    """What of a definition's objects may have to be completed: its own fields, and those with such below them."""

    names: tuple[str, ...]
    below: dict[str, "_Branch"] = field(default_factory=dict)


def completed(definition: str, value: Object) -> Object:
    """Return an object with null where upstream has it. Unchanged parts are shared; the argument stays as it is."""
    branch = _branch(definition)
    return value if branch is None else _completed(branch, value)


def _completed(branch: _Branch, value: Object) -> Object:
    changes: Object = {name: None for name in branch.names if name not in value}
    for name, below in branch.below.items():
        item = value.get(name)
        if item is None:
            continue
        made = _completed_item(below, item)
        if made is not item:
            changes[name] = made
    return {**value, **changes} if changes else value


def _completed_item(branch: _Branch, item: Any) -> Any:
    if isinstance(item, dict):
        return _completed(branch, item)
    made = [_completed(branch, each) for each in item]
    same = all(new is old for new, old in zip(made, item, strict=True))
    return item if same else made


@cache
def _branch(definition: str) -> _Branch | None:
    """Return what a definition's objects need, None for nothing. (Definitions that hold themselves are not served.)"""
    found = definitions().get(definition) or {}
    below = {}
    for name, kind_of in (found.get("properties") or {}).items():
        part = _part(kind_of)
        branch = _branch(part) if part and part.startswith("io.k8s.api.") else None
        if branch is not None:
            below[name] = branch
    names = tuple(FIELDS.get(definition, "").split())
    return _Branch(names, below) if names or below else None


def _part(kind_of: Any) -> str:
    """Return the definition of a field's value, or of the elements of its list; maps have none of these."""
    if isinstance(kind_of, dict):
        return _part(kind_of.get("list") or kind_of.get("of") or "")
    return kind_of[1:] if kind_of.startswith("#") else ""
