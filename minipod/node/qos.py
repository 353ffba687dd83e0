"""A Pod's quality of service class: given at its creation, never changed. Its numbers are in `node.resources`."""

from minipod.api.pod_resources import compute_qos_class
from minipod.client import Object


def compute_qos(pod: Object) -> str:
    """Return "Guaranteed", "Burstable" or "BestEffort"."""
    given = (pod.get("status") or {}).get("qosClass")
    return str(given) if given else compute_qos_class(pod)
