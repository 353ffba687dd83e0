"""What a node agent may write into the objects that it may write (upstream's NodeRestriction admission plugin).

Its own Node without the labels and taints that others steer by, statuses of its own Pods, mirror Pods, tokens bound to
its Pods.
"""

from typing import Any

from minipod.api.errors import forbidden, status_error
from minipod.api.kind import Kind
from minipod.api.pod_references import audiences_of, config_maps_of, secrets_of
from minipod.client import Object, Request
from minipod.server.identity import Identity
from minipod.server.node_authorization import node_name

MIRROR = "kubernetes.io/config.mirror"
_RESERVED = "node-restriction.kubernetes.io"
# Labels of Kubernetes' own prefixes that a kubelet sets (k8s.io/kubernetes/pkg/kubelet/apis: kubeletLabels).
_OWN_LABELS = frozenset(
    (
        "kubernetes.io/hostname",
        "kubernetes.io/arch",
        "kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "failure-domain.beta.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "topology.kubernetes.io/zone",
    )
)
_OWN_PREFIXES = ("kubelet.kubernetes.io", "node.kubernetes.io")


def node_of(request: Request) -> str:
    """Return the node that a request is of, "" for anybody else's."""
    return node_name(Identity(request.user, request.groups))


def check_create(request: Request, kind: Kind, obj: Object) -> None:
    """Refuse what a node may not make. Raises Forbidden."""
    if not (node := node_of(request)):
        return
    name = obj["metadata"].get("name", "")
    why = ""
    match kind.resource:
        case "pods":
            why = _of_new_pod(node, obj)
        case "nodes" if name != node:
            why = f'node "{node}" is not allowed to modify node "{name}"'
        case "nodes":
            why = _of_labels(node, {}, obj["metadata"].get("labels") or {}, "set")
        case "leases.coordination.k8s.io" | "csinodes.storage.k8s.io" if name != node:
            why = f"can only access {kind.kind} with the same name as the requesting node"
    if why:
        raise forbidden(kind, name, why)


def check_change(request: Request, kind: Kind, new: Object, old: Object) -> None:
    """Refuse what a node may not change. Raises Forbidden."""
    if not (node := node_of(request)):
        return
    why = ""
    if kind.resource == "pods":
        why = _of_pod_status(node, new, old)
    elif kind.resource == "nodes":
        why = _of_node(node, new, old)
    if why:
        raise forbidden(kind, old["metadata"]["name"], why)


def check_delete(request: Request, kind: Kind, obj: Object) -> None:
    """Refuse to delete or evict other nodes' Pods. Raises Forbidden."""
    node = node_of(request)
    if node and kind.resource == "pods" and obj["spec"].get("nodeName") != node:
        why = f'node "{node}" can only delete pods with spec.nodeName set to itself'
        raise forbidden(kind, obj["metadata"]["name"], why)


def check_token(request: Request, kind: Kind, spec: Object, pod: Object | None) -> None:
    """Refuse tokens that none of a node's Pods has asked for; `pod` is the one bound to. Raises Forbidden, Conflict."""
    if not (node := node_of(request)):
        return
    bound, why = spec.get("boundObjectRef") or {}, ""
    if bound.get("apiVersion") != "v1" or bound.get("kind") != "Pod" or not bound.get("name"):
        why = "node requested token not bound to a pod"
    elif not bound.get("uid"):
        why = "node requested token with a pod binding without a uid"
    elif pod is None:
        raise status_error(404, "NotFound", f'pod "{bound["name"]}" not found')
    elif bound["uid"] != pod["metadata"]["uid"]:
        why = f"the UID in the bound object reference ({bound['uid']}) does not match the UID in record"
    elif pod["spec"].get("nodeName") != node:
        why = "node requested token bound to a pod scheduled on a different node"
    else:
        why = _of_audience(spec.get("audiences") or [], pod)
    if why:
        raise forbidden(kind, request.name, why)


def _of_audience(audiences: list[str], pod: Object) -> str:
    if len(audiences) > 1:
        return "node may only request 0 or 1 audiences"
    audience = audiences[0] if audiences else ""
    if audience in audiences_of(pod):
        return ""
    return f'audience "{audience}" not found in pod spec volume'


def _of_new_pod(node: str, pod: Object) -> str:
    if MIRROR not in (pod["metadata"].get("annotations") or {}):
        return f'pod does not have "{MIRROR}" annotation, node "{node}" can only create mirror pods'
    spec = pod["spec"]
    if spec.get("nodeName") != node:
        return f'node "{node}" can only create pods with spec.nodeName set to itself'
    if spec.get("serviceAccountName"):
        return f'node "{node}" can not create pods that reference a service account'
    if secrets_of(pod):
        return f'node "{node}" can not create pods that reference secrets'
    if config_maps_of(pod):
        return f'node "{node}" can not create pods that reference configmaps'
    return ""


def _of_pod_status(node: str, new: Object, old: Object) -> str:
    if old["spec"].get("nodeName") != node:
        return f'node "{node}" can only update pod status for pods with spec.nodeName set to itself'
    if _labels(new) != _labels(old):
        return f'node "{node}" cannot update labels through pod status'
    return ""


def _of_node(node: str, new: Object, old: Object) -> str:
    name = old["metadata"]["name"]
    if name != node:
        return f'node "{node}" is not allowed to modify node "{name}"'
    if (new.get("spec") or {}).get("taints") != (old.get("spec") or {}).get("taints"):
        return f'node "{node}" is not allowed to modify taints'
    if new["metadata"].get("ownerReferences") != old["metadata"].get("ownerReferences"):
        return f'node "{node}" is not allowed to modify ownerReferences'
    return _of_labels(node, _labels(old), _labels(new), "modify")


def _of_labels(node: str, old: Object, new: Object, verb: str) -> str:
    changed = {key for key in {*old, *new} if old.get(key) != new.get(key)}
    refused = sorted(filter(_is_others, changed))
    if not refused:
        return ""
    what = "labels" if verb == "modify" else "the following labels"
    return f'node "{node}" is not allowed to {verb} {what}: {", ".join(refused)}'


def _is_others(label: str) -> bool:
    """Whether a label is of Kubernetes' own prefixes, and not one that a kubelet sets."""
    prefix, slash, _ = label.partition("/")
    if not slash:
        return False
    ours = any(
        prefix == each or prefix.endswith(f".{each}") for each in ("kubernetes.io", "k8s.io")
    )
    if not ours:
        return False
    if prefix == _RESERVED or prefix.endswith(f".{_RESERVED}"):
        return True
    own = any(prefix == each or prefix.endswith(f".{each}") for each in _OWN_PREFIXES)
    return not own and label not in _OWN_LABELS


def _labels(obj: Object) -> Any:
    return obj["metadata"].get("labels") or {}
