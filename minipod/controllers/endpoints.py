"""What stands behind a Service, computed from its selector and the Pods. Pure.

EndpointSlices are upstream's endpointslice-controller's (KEP-752): one address type, at most a hundred endpoints each,
one list of ports for all in a slice, so Pods that resolve a named port to other numbers get slices of their own.
Endpoints are the older form of the same.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from minipod.client import Object

SERVICE_NAME = "kubernetes.io/service-name"
MANAGED_BY = "endpointslice.kubernetes.io/managed-by"
CONTROLLER = "endpointslice-controller.k8s.io"
MIRROR = "endpointslicemirroring-controller.k8s.io"
SKIP_MIRROR = "endpointslice.kubernetes.io/skip-mirror"
ENDPOINTS_MANAGED_BY = "endpoints.kubernetes.io/managed-by"
HEADLESS = "service.kubernetes.io/headless"
SLICE_LIMIT = 100  # endpoints in a slice (upstream's --max-endpoints-per-slice)

Port = tuple[str, str, int, str]  # name, protocol, number, appProtocol


@dataclass(frozen=True)
class Group:
    """Endpoints that share their ports."""

    ports: tuple[Port, ...]
    endpoints: tuple[Object, ...]


def selects(service: Object, pod: Object) -> bool:
    """Whether a Service's selector, if it has one, selects a Pod."""
    selector = service["spec"].get("selector")
    labels = pod["metadata"].get("labels") or {}
    return bool(selector) and all(labels.get(key) == value for key, value in selector.items())


def compute_groups(service: Object, pods: Iterable[Object]) -> list[Group]:
    """Return the Service's endpoints by their ports, in a stable order."""
    found: dict[tuple[Port, ...], list[Object]] = defaultdict(list)
    for pod in pods:
        status = pod.get("status") or {}
        if not status.get("podIP") or status.get("phase") in ("Succeeded", "Failed"):
            continue
        if selects(service, pod):
            found[_ports(service, pod)].append(_endpoint(service, pod))
    return [
        Group(ports, tuple(sorted(each, key=lambda e: str(e["addresses"][0]))))
        for ports, each in sorted(found.items())
    ]


def _ports(service: Object, pod: Object) -> tuple[Port, ...]:
    found = []
    for port in service["spec"].get("ports") or ():
        number = _target(port, pod)
        if number is not None:
            name, protocol = port.get("name") or "", port.get("protocol") or "TCP"
            found.append((name, protocol, number, port.get("appProtocol") or ""))
    return tuple(found)


def _target(port: Object, pod: Object) -> int | None:
    """Return the number that a targetPort means for a Pod; None for a name that it has not."""
    target = port.get("targetPort") or port["port"]
    if isinstance(target, int):
        return target
    spec = pod["spec"]
    sidecars = [e for e in spec.get("initContainers") or () if e.get("restartPolicy") == "Always"]
    for container in (*spec["containers"], *sidecars):
        for each in container.get("ports") or ():
            same = each.get("protocol", "TCP") == port.get("protocol", "TCP")
            if each.get("name") == target and same:
                return int(each["containerPort"])
    return int(target) if target.isdigit() else None


def _endpoint(service: Object, pod: Object) -> Object:
    metadata, spec = pod["metadata"], pod["spec"]
    terminating = "deletionTimestamp" in metadata
    serving = is_ready(pod) or bool(service["spec"].get("publishNotReadyAddresses"))
    published = bool(service["spec"].get("publishNotReadyAddresses"))
    endpoint: Object = {
        "addresses": [pod["status"]["podIP"]],
        "conditions": {
            "ready": published or (serving and not terminating),
            "serving": serving,
            "terminating": terminating,
        },
        "targetRef": {
            "kind": "Pod",
            "namespace": metadata["namespace"],
            "name": metadata["name"],
            "uid": metadata["uid"],
        },
    }
    if spec.get("nodeName"):
        endpoint["nodeName"] = spec["nodeName"]
    if spec.get("hostname") and spec.get("subdomain") == service["metadata"]["name"]:
        endpoint["hostname"] = spec["hostname"]
    return endpoint


def is_ready(pod: Object) -> bool:
    """Whether a Pod's Ready condition is true."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)


def has_selector(service: Object) -> bool:
    """Whether the endpoints are for us to find."""
    return bool(service["spec"].get("selector")) and service["spec"].get("type") != "ExternalName"


def _slice_ports(ports: tuple[Port, ...]) -> list[Object]:
    made = []
    for name, protocol, number, application in ports:
        port: Object = {"name": name, "protocol": protocol, "port": number}
        made.append({**port, "appProtocol": application} if application else port)
    return made


# -- EndpointSlices --------------------------------------------------------------------------------


def compute_slices(owner: Object, groups: Iterable[Group], manager: str) -> list[Object]:
    """Return the slices that a Service (`manager` CONTROLLER) or its Endpoints (MIRROR) should have, unnamed."""
    return [
        _slice(owner, group.ports, group.endpoints[start : start + SLICE_LIMIT], manager)
        for group in groups
        for start in range(0, len(group.endpoints), SLICE_LIMIT)
    ]


def _slice(
    owner: Object, ports: tuple[Port, ...], endpoints: tuple[Object, ...], manager: str
) -> Object:
    metadata = owner["metadata"]
    labels = {
        **_own_labels(metadata),
        SERVICE_NAME: metadata["name"],
        MANAGED_BY: manager,
    }
    if manager == CONTROLLER and owner["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    kind = "Service" if manager == CONTROLLER else "Endpoints"
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "generateName": f"{metadata['name']}-",
            "namespace": metadata["namespace"],
            "labels": labels,
            "ownerReferences": [_owner_reference(metadata, kind)],
        },
        "addressType": "IPv4",
        "endpoints": list(endpoints),
        "ports": _slice_ports(ports),
    }


def _owner_reference(metadata: Object, kind: str) -> Object:
    return {
        "apiVersion": "v1",
        "kind": kind,
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _own_labels(metadata: Object) -> dict[str, str]:
    ours = (SERVICE_NAME, MANAGED_BY, HEADLESS, ENDPOINTS_MANAGED_BY)
    return {key: value for key, value in (metadata.get("labels") or {}).items() if key not in ours}


@dataclass(frozen=True)
class Changes:
    """What to write so that the slices are as they should be."""

    create: tuple[Object, ...] = ()
    update: tuple[Object, ...] = ()
    delete: tuple[str, ...] = ()  # names


def compute_changes(wanted: list[Object], existing: Iterable[Object]) -> Changes:
    """Match wanted slices with existing ones of the same ports; what is equal is left alone."""
    left = sorted(existing, key=lambda each: str(each["metadata"]["name"]))
    create: list[Object] = []
    update: list[Object] = []
    for each in sorted(wanted, key=lambda one: -_overlap(one, left)):
        match = max(
            (old for old in left if _same_ports(old, each)),
            key=lambda old: len(_addresses(old) & _addresses(each)),
            default=None,
        )
        if match is None:
            create.append(each)
            continue
        left.remove(match)
        if not _is_equal(match, each):
            update.append(_merged(match, each))
    names = tuple(str(old["metadata"]["name"]) for old in left)
    return Changes(tuple(create), tuple(update), names)


def _addresses(found: Object) -> set[str]:
    return {each["addresses"][0] for each in found.get("endpoints") or ()}


def _overlap(wanted: Object, existing: list[Object]) -> int:
    """Return how well the best existing slice fits."""
    fitting = [each for each in existing if _same_ports(each, wanted)]
    return max((len(_addresses(each) & _addresses(wanted)) for each in fitting), default=0)


def _same_ports(one: Object, other: Object) -> bool:
    return (one.get("ports") or []) == (other.get("ports") or [])


def _is_equal(old: Object, new: Object) -> bool:
    same = ("endpoints", "ports", "addressType")
    labels = old["metadata"].get("labels") == new["metadata"]["labels"]
    return labels and all((old.get(key) or []) == (new.get(key) or []) for key in same)


def _merged(old: Object, new: Object) -> Object:
    metadata = {**old["metadata"], "labels": new["metadata"]["labels"]}
    metadata["ownerReferences"] = new["metadata"]["ownerReferences"]
    return {**old, "metadata": metadata, "endpoints": new["endpoints"], "ports": new["ports"]}


# -- Endpoints -------------------------------------------------------------------------------------


def compute_endpoints(service: Object, groups: Iterable[Group]) -> Object:
    """Return the Service's Endpoints. What is ending is left out, as upstream does."""
    metadata = service["metadata"]
    labels = {**_own_labels(metadata), ENDPOINTS_MANAGED_BY: "endpoint-controller"}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS] = ""
    subsets = [subset for group in groups if (subset := _subset(group))]
    made = {"name": metadata["name"], "namespace": metadata["namespace"], "labels": labels}
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": made, "subsets": subsets}


def _subset(group: Group) -> Object:
    subset: dict[str, list[Any]] = {"addresses": [], "notReadyAddresses": []}
    for each in group.endpoints:
        conditions = each["conditions"]
        if conditions["ready"]:
            subset["addresses"].append(_address(each))
        elif not conditions["terminating"]:
            subset["notReadyAddresses"].append(_address(each))
    if not any(subset.values()):
        return {}
    return {**{key: each for key, each in subset.items() if each}, "ports": _old_ports(group.ports)}


def _old_ports(ports: tuple[Port, ...]) -> list[Object]:
    return [{k: v for k, v in each.items() if v != ""} for each in _slice_ports(ports)]


def _address(endpoint: Object) -> Object:
    made: Object = {"ip": endpoint["addresses"][0], "targetRef": endpoint["targetRef"]}
    return made | {key: endpoint[key] for key in ("hostname", "nodeName") if key in endpoint}


def mirror_groups(endpoints: Object) -> list[Group]:
    """Return the groups that Endpoints made by hand describe."""
    groups = []
    for subset in endpoints.get("subsets") or ():
        ports = tuple(
            (p.get("name") or "", p.get("protocol") or "TCP", p["port"], p.get("appProtocol") or "")
            for p in subset.get("ports") or ()
        )
        ready = [_mirrored(each, True) for each in subset.get("addresses") or ()]
        unready = [_mirrored(each, False) for each in subset.get("notReadyAddresses") or ()]
        groups.append(Group(ports, (*ready, *unready)))
    return groups


def _mirrored(address: Mapping[str, Any], ready: bool) -> Object:
    made: Object = {"addresses": [address["ip"]], "conditions": {"ready": ready}}
    return made | {k: address[k] for k in ("hostname", "nodeName", "targetRef") if k in address}
