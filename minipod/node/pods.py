"""Questions that many parts of the node ask of a Pod object."""

from collections.abc import Iterator
from typing import Literal

from minipod.client import Object

ContainerKind = Literal["init", "sidecar", "app", "ephemeral"]

DEFAULT_GRACE = 30.0  # terminationGracePeriodSeconds' default


def uid_of(pod: Object) -> str:
    """Return the UID."""
    return str(pod["metadata"]["uid"])


def full_name(pod: Object) -> str:
    """Return "name_namespace(uid)", as the kubelet's messages have it."""
    metadata = pod["metadata"]
    return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"


def is_deleted(pod: Object) -> bool:
    """Whether deletion was asked for."""
    return "deletionTimestamp" in pod["metadata"]


def is_finished(pod: Object) -> bool:
    """Whether the Pod has reached a phase that it never leaves."""
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def deletion_grace(pod: Object) -> float:
    """Return the seconds that deletion grants: DELETE's own, or the spec's."""
    grace = pod["metadata"].get("deletionGracePeriodSeconds")
    return float(grace) if grace is not None else spec_grace(pod)


def spec_grace(pod: Object) -> float:
    """Return terminationGracePeriodSeconds."""
    grace = pod["spec"].get("terminationGracePeriodSeconds")
    return DEFAULT_GRACE if grace is None else float(grace)


def containers_of(pod: Object) -> Iterator[tuple[ContainerKind, Object]]:
    """Yield init containers and sidecars in order, then the app containers, with what they are."""
    for container in pod["spec"].get("initContainers") or ():
        yield ("sidecar" if is_sidecar(container) else "init"), container
    for container in pod["spec"]["containers"]:
        yield "app", container


def all_containers_of(pod: Object) -> Iterator[tuple[ContainerKind, Object]]:
    """Yield the same, then the ephemeral containers."""
    yield from containers_of(pod)
    for container in pod["spec"].get("ephemeralContainers") or ():
        yield "ephemeral", container


def is_sidecar(container: Object) -> bool:
    """Whether an init container is a sidecar (KEP-753)."""
    return container.get("restartPolicy") == "Always"


def find_container(pod: Object, name: str) -> tuple[ContainerKind, Object] | None:
    """Return a container of the spec and what it is, or None."""
    return next((found for found in all_containers_of(pod) if found[1]["name"] == name), None)


def known_container(pod: Object, name: str) -> Object:
    """Return a container that the spec is known to have."""
    found = find_container(pod, name)
    assert found is not None
    return found[1]


def field_path(pod: Object, name: str) -> str:
    """Return the path of a container for Events: "spec.containers{app}"."""
    found = find_container(pod, name)
    groups = {"app": "containers", "ephemeral": "ephemeralContainers"}
    group = groups.get(found[0], "initContainers") if found else "containers"
    return f"spec.{group}{{{name}}}"


def shares_mounts(container: Object) -> bool:
    """Whether mounts are passed on: the host's are looked at first, and some taken while they are still peers."""
    mounts = container.get("volumeMounts") or ()
    return any((each.get("mountPropagation") or "None") != "None" for each in mounts)


def host_network(pod: Object) -> bool:
    """Whether the Pod lives in the host's network."""
    return bool(pod["spec"].get("hostNetwork"))
