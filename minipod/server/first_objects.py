"""What every cluster has before anybody asks: namespaces, the system's priorities, the range of Service addresses."""

from collections.abc import Iterator

from minipod.client import Object
from minipod.server.admission import SYSTEM_NAMESPACES

_PRIORITIES = {
    "system-cluster-critical": (
        2_000_000_000,
        "For Pods that the cluster needs, on whichever node.",
    ),
    "system-node-critical": (
        2_000_001_000,
        "For Pods that the cluster needs on the node they are on.",
    ),
}


def first_objects(service_cidr: str) -> Iterator[tuple[str, Object]]:
    """Yield (resource, object), in the order in which they are made."""
    for name in SYSTEM_NAMESPACES:
        yield "namespaces", {"metadata": {"name": name}}
    for name, (value, description) in _PRIORITIES.items():
        yield (
            "priorityclasses.scheduling.k8s.io",
            {"metadata": {"name": name}, "value": value, "description": description},
        )
    cidr: Object = {"metadata": {"name": "kubernetes"}, "spec": {"cidrs": [service_cidr]}}
    yield "servicecidrs.networking.k8s.io", cidr
