"""What an object asks for that this version stores and does not do: told by path, never passed over in silence.

A table of paths; a path covers all below it. A test holds the table against the schema, so that every field of a Pod
is either acted upon or listed here, and a field that a newer Kubernetes brings must be decided on.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from minipod.api.kind import Kind

Object = dict[str, Any]
Applies = Callable[[Any], bool]

_NO_LABELS = "stored, but no SELinux label is given to processes or files"
STORED = "accepted and stored, but not acted on by this version"

_VOLUMES = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "ephemeral",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "gitRepo",
    "glusterfs",
    "iscsi",
    "nfs",
    "persistentVolumeClaim",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)


def _always(_value: Any) -> bool:
    return True


def _is(*values: Any) -> Applies:
    return lambda value: value in values


@dataclass(frozen=True)
class Rule:
    """One thing that is not done. `path` has `[]` for every element of a list."""

    path: str
    reason: str = STORED
    applies: Applies = _always


def _container_rules(path: str) -> tuple[Rule, ...]:
    return (
        Rule(
            f"{path}.lifecycle.postStart.tcpSocket",
            "accepted as ever: the hook fails when it is run",
        ),
        Rule(
            f"{path}.lifecycle.preStop.tcpSocket", "accepted as ever: the hook fails when it is run"
        ),
        Rule(f"{path}.resources.claims"),
        Rule(f"{path}.securityContext.seLinuxOptions", _NO_LABELS),
        Rule(f"{path}.securityContext.windowsOptions"),
        Rule(f"{path}.volumeDevices"),
    )


POD_RULES = (
    *_container_rules("spec.containers[]"),
    *_container_rules("spec.initContainers[]"),
    *_container_rules("spec.ephemeralContainers[]"),
    Rule("spec.priorityClassName", "stored, but no Pod makes room for another"),
    Rule("spec.preemptionPolicy", "stored, but no Pod makes room for another", _is("Never")),
    Rule("spec.resourceClaims"),
    Rule("spec.resources.claims"),
    Rule("spec.runtimeClassName"),
    Rule("spec.schedulingGroup"),
    Rule(
        "spec.hostUsers",
        "stored, but the Pod's users are the host's: there is no user namespace",
        _is(False),
    ),
    Rule("spec.securityContext.seLinuxOptions", _NO_LABELS),
    Rule("spec.securityContext.seLinuxChangePolicy", _NO_LABELS),
    Rule("spec.securityContext.windowsOptions"),
    Rule(
        "spec.securityContext.fsGroupChangePolicy",
        "stored, but ownership is always changed",
        _is("OnRootMismatch"),
    ),
    *(Rule(f"spec.volumes[].{name}", "this kind of volume is not supported") for name in _VOLUMES),
    Rule("spec.volumes[].projected.sources[].podCertificate", "this source is not supported"),
)


# Where a kind keeps Pods to be: what is not done for a Pod is not done for these either.
TEMPLATES = {
    ("", "PodTemplate"): "template",
    ("", "ReplicationController"): "spec.template",
    ("apps", "DaemonSet"): "spec.template",
    ("apps", "Deployment"): "spec.template",
    ("apps", "ReplicaSet"): "spec.template",
    ("apps", "StatefulSet"): "spec.template",
    ("batch", "CronJob"): "spec.jobTemplate.spec.template",
    ("batch", "Job"): "spec.template",
}
# Kinds that are stored and that nobody acts on. Whoever adds the controller takes its line out.
WITHOUT_CONTROLLER = {
    ("", "ReplicationController"): "no Pods are made for it",
    ("apps", "DaemonSet"): "no Pods are made for it",
    ("apps", "Deployment"): "no Pods are made for it",
    ("apps", "ReplicaSet"): "no Pods are made for it",
    ("apps", "StatefulSet"): "no Pods are made for it",
    ("batch", "CronJob"): "no Jobs are made for it",
    ("batch", "Job"): "no Pods are made for it",
    ("", "PersistentVolume"): "no claim is bound to it",
    ("", "PersistentVolumeClaim"): "no volume is bound to it",
    ("autoscaling", "HorizontalPodAutoscaler"): "nothing is scaled",
    ("flowcontrol.apiserver.k8s.io", "FlowSchema"): "users take turns, whatever it says",
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
    ): "users take turns, whatever it says",
    ("networking.k8s.io", "Ingress"): "no traffic is routed by it",
    ("networking.k8s.io", "NetworkPolicy"): "no traffic is refused by it",
    ("storage.k8s.io", "StorageClass"): "no volumes are made for its claims",
    ("storage.k8s.io", "VolumeAttachment"): "nothing is attached",
}


@dataclass
class _Branch:
    """The rules as a tree, so that only fields on the way to a rule are looked at."""

    rules: list[Rule] = field(default_factory=list)
    below: dict[str, "_Branch"] = field(default_factory=dict)

    def add(self, steps: list[str], rule: Rule) -> None:
        if not steps:
            self.rules.append(rule)
        else:
            self.below.setdefault(steps[0], _Branch()).add(steps[1:], rule)

    def warnings(self, value: Any, path: str) -> Iterator[str]:
        if value is None or value == [] or value == "":
            return
        for rule in self.rules:
            if rule.applies(value):
                yield f"{path}: {rule.reason}"
        for name, branch in self.below.items():
            if name == "[]":
                for index, element in enumerate(value):
                    yield from branch.warnings(element, f"{path}[{index}]")
            else:
                yield from branch.warnings(value.get(name), f"{path}.{name}" if path else name)


def _tree(*rules: Rule) -> _Branch:
    root = _Branch()
    for rule in rules:
        root.add(rule.path.replace("[]", ".[]").split("."), rule)
    return root


_BY_KIND = {
    ("", "Pod"): _tree(*POD_RULES),
}


def of_new(kind: Kind, obj: Object) -> list[str]:
    """Return what the sender of a new, defaulted object should know, first of all what is not done."""
    return [*unsupported(kind, obj), *kind.hooks.warnings(obj)]


def of_change(kind: Kind, new: Object, old: Object) -> list[str]:
    """Return what the sender of a change should know; what is not done is told when the spec changes."""
    found = unsupported(kind, new) if new.get("spec") != old.get("spec") else []
    return [*found, *kind.hooks.update_warnings(new, old)]


def unsupported(kind: Kind, obj: Object) -> list[str]:
    """Return one line for each thing a (defaulted) object asks for that is not done, its path first."""
    key = (kind.group, kind.kind)
    found: list[str] = []
    if key in WITHOUT_CONTROLLER:
        found.append(f"{kind.kind} {STORED}: {WITHOUT_CONTROLLER[key]}")
    if key in _BY_KIND:
        found += _BY_KIND[key].warnings(obj, "")
    if key in TEMPLATES:
        found += _BY_KIND["", "Pod"].warnings(part_at(obj, TEMPLATES[key]), TEMPLATES[key])
    return found


def part_at(obj: Object, path: str) -> Object:
    """Return a part of an object by its path with dots, empty when it is not there."""
    for name in path.split("."):
        obj = obj.get(name) or {}
    return obj
