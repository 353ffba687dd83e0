"""What a kind's objects are at birth, and what an update of them leaves alone (upstream's strategies).

Metadata is the server's business; these are the `prepare_*` hooks of the kinds.
"""

from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

from minipod.api.field import Cause, invalid
from minipod.api.pod_resources import compute_qos_class

Object = dict[str, Any]


def prepare_pod_create(pod: Object) -> None:
    """A new Pod is Pending and knows its class."""
    pod["status"] = {"phase": "Pending", "qosClass": compute_qos_class(pod)}
    if (pod.get("spec") or {}).get("schedulingGates"):
        pod["status"]["conditions"] = [
            {
                "type": "PodScheduled",
                "status": "False",
                "reason": "SchedulingGated",
                "message": "Scheduling is blocked due to non-empty scheduling gates",
                "lastProbeTime": None,
                "lastTransitionTime": None,
                "observedGeneration": 1,
            }
        ]


def prepare_pod_status_update(new: Object, old: Object) -> None:
    """The class of a Pod is decided once."""
    status = new.setdefault("status", {})
    status.setdefault("qosClass", (old.get("status") or {}).get("qosClass", "BestEffort"))


def prepare_namespace_create(namespace: Object) -> None:
    """A new namespace is Active, and goes through its finalizer when it is deleted."""
    spec = namespace.setdefault("spec", {})
    spec["finalizers"] = list(dict.fromkeys([*(spec.get("finalizers") or ()), "kubernetes"]))
    namespace["status"] = {"phase": "Active"}


def prepare_namespace_update(new: Object, old: Object) -> None:
    """Finalizers of the spec change through the finalize subresource only."""
    _keep(new.setdefault("spec", {}), old.get("spec") or {}, "finalizers")


def prepare_namespace_status(new: Object, _old: Object) -> None:
    """A namespace that does not say how it is is Active."""
    new["status"] = {"phase": "Active", **(new.get("status") or {})}


def prepare_node_create(node: Object) -> None:
    """A node is not told where its configuration comes from any more."""
    (node.get("spec") or {}).pop("configSource", None)


def bind_pod(pod: Object, binding: Object, now: datetime) -> Cause | None:
    """Put a Pod on the node that a Binding names, in place. Returns why not, and then changes nothing.

    What the scheduler does through `pods/NAME/binding` (upstream's assignPod).
    """
    spec, target = pod["spec"], (binding.get("target") or {}).get("name", "")
    if pod["metadata"].get("deletionTimestamp"):
        name = pod["metadata"]["name"]
        return invalid(
            "metadata.deletionTimestamp",
            name,
            f"pod {name} is being deleted, cannot be assigned to a host",
        )
    if spec.get("nodeName"):
        return invalid(
            "spec.nodeName",
            spec["nodeName"],
            f'pod {pod["metadata"]["name"]} is already assigned to node "{spec["nodeName"]}"',
        )
    spec["nodeName"] = target
    status = pod.setdefault("status", {})
    kept = [each for each in status.get("conditions") or () if each.get("type") != "PodScheduled"]
    scheduled = {
        "type": "PodScheduled",
        "status": "True",
        "lastProbeTime": None,
        "lastTransitionTime": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "observedGeneration": pod["metadata"].get("generation", 1),
    }
    status["conditions"] = [*kept, scheduled]
    return None


def _keep(new: Object, old: Object, name: str) -> None:
    if name in old:
        new[name] = deepcopy(old[name])
    else:
        new.pop(name, None)
