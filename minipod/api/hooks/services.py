"""Services, Endpoints, EndpointSlices (pkg/apis/core/v1/defaults.go, pkg/registry/core/service)."""

from collections.abc import Iterable
from typing import Any

from minipod.api import deprecations
from minipod.api.hooks.networking import load_balancer_warnings
from minipod.api.hooks.templates import fill
from minipod.api.kind import Hooks
from minipod.api.printers import services as printers
from minipod.api.service_strategy import prepare_service_create, prepare_service_update
from minipod.api.validation import endpoints, services

Object = dict[str, Any]

_AFFINITY_SECONDS = 10800
_MADE_BY = "endpoints.kubernetes.io/managed-by"
# What upstream's controllers make is well spelled.
_SLICE_MAKERS = ("endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io")
_HINTS = "service.kubernetes.io/topology-aware-hints"
_HINTS_RENAMED = (
    f"annotation {_HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
)


def _default_service(service: Object) -> None:
    spec = fill(service.setdefault("spec", {}), {"sessionAffinity": "None", "type": "ClusterIP"})
    if spec["sessionAffinity"] == "None":
        spec.pop("sessionAffinityConfig", None)
    elif spec["sessionAffinity"] == "ClientIP":
        config = fill(
            fill(spec, {"sessionAffinityConfig": {}})["sessionAffinityConfig"], {"clientIP": {}}
        )
        fill(config["clientIP"], {"timeoutSeconds": _AFFINITY_SECONDS})
    for port in spec.get("ports") or ():
        fill(port, {"protocol": "TCP"})
        if port.get("targetPort") in (None, 0, ""):
            port["targetPort"] = port.get("port") or 0
    if services.is_reached_from_outside(spec):
        fill(spec, {"externalTrafficPolicy": "Cluster"})
    if spec["type"] in ("ClusterIP", "LoadBalancer", "NodePort"):
        spec.setdefault("internalTrafficPolicy", "Cluster")
    if spec["type"] == "LoadBalancer":
        fill(spec, {"allocateLoadBalancerNodePorts": True})


def _default_modes(new: Object, _old: Object) -> None:
    """An address of a load balancer is delivered as it is, unless its sender says otherwise (KEP-1860)."""
    balancer = (new.get("status") or {}).get("loadBalancer") or {}
    for each in balancer.get("ingress") or ():
        if each.get("ip") and new["spec"]["type"] == "LoadBalancer":
            each.setdefault("ipMode", "VIP")


def _default_endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            fill(port, {"protocol": "TCP"})


def _default_slice(piece: Object) -> None:
    for port in piece.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("name", "")


def _prepare_slice_create(piece: Object) -> None:
    """Start to count. The topology of an endpoint is told in fields of its own today."""
    piece["metadata"]["generation"] = 1
    for endpoint in piece.get("endpoints") or ():
        endpoint.pop("deprecatedTopology", None)


def _prepare_slice_update(new: Object, old: Object) -> None:
    """Count what changes of a slice besides its metadata; labels count, as the Service's name is one of them."""
    parts = ("endpoints", "ports", "addressType")
    labels = new["metadata"].get("labels") != old["metadata"].get("labels")
    if labels or any(new.get(name) != old.get(name) for name in parts):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _service_warnings(service: Object) -> list[str]:
    """Return what is deprecated or means nothing in a Service (pkg/api/service/warnings.go)."""
    spec, annotations = service["spec"], service["metadata"].get("annotations") or {}
    found = [_HINTS_RENAMED] if _HINTS in annotations else []
    headless = spec["type"] == "ClusterIP" and spec.get("clusterIP") == "None"
    outside = spec.get("externalIPs") or []
    if not headless:
        found += _addresses_warnings(spec.get("clusterIPs") or (), "spec.clusterIPs")
    else:
        found += [
            f"spec.{name} is ignored for headless services"
            for name, there in (
                ("loadBalancerIP", spec.get("loadBalancerIP")),
                ("externalIPs", outside),
                ("SessionAffinity", spec["sessionAffinity"] != "None"),
            )
            if there
        ]
    found += _addresses_warnings(outside, "spec.externalIPs")
    external = spec["type"] == "ExternalName"
    if outside and not headless and not external:
        found.append(
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters"
        )
    found += deprecations.of_ip(spec.get("loadBalancerIP") or "", "spec.loadBalancerIP")
    for index, each in enumerate(spec.get("loadBalancerSourceRanges") or ()):
        found += deprecations.of_cidr(each, f"spec.loadBalancerSourceRanges[{index}]")
    if external and outside:
        found.append('spec.externalIPs is ignored when spec.type is "ExternalName"')
    if not external and spec.get("externalName"):
        found.append('spec.externalName is ignored when spec.type is not "ExternalName"')
    if spec.get("trafficDistribution") == "PreferClose":
        found.append('spec.trafficDistribution: "PreferClose" is deprecated; use "PreferSameZone"')
    return found


def _addresses_warnings(addresses: Iterable[str], path: str) -> list[str]:
    return [
        warning
        for index, each in enumerate(addresses)
        for warning in deprecations.of_ip(each, f"{path}[{index}]")
    ]


def _service_fields(service: Object) -> dict[str, str]:
    spec = service.get("spec") or {}
    return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


def _subset_warnings(obj: Object) -> list[str]:
    if (obj["metadata"].get("labels") or {}).get(_MADE_BY) == "endpoint-controller":
        return []
    return [
        warning
        for index, subset in enumerate(obj.get("subsets") or ())
        for name in ("addresses", "notReadyAddresses")
        for at, each in enumerate(subset.get(name) or ())
        for warning in deprecations.of_ip(each.get("ip") or "", f"subsets[{index}].{name}[{at}].ip")
    ]


def _slice_warnings(piece: Object) -> list[str]:
    domains = piece.get("addressType") == "FQDN"
    told = ["spec.addressType: FQDN endpoints are deprecated"] if domains else []
    return told + _slice_address_warnings(piece)


def _slice_address_warnings(piece: Object) -> list[str]:
    maker = (piece["metadata"].get("labels") or {}).get("endpointslice.kubernetes.io/managed-by")
    if maker in _SLICE_MAKERS:
        return []
    return [
        warning
        for index, each in enumerate(piece.get("endpoints") or ())
        for warning in _addresses_warnings(
            each.get("addresses") or (), f"endpoints[{index}].addresses"
        )
    ]


SERVICE = Hooks(
    defaults=_default_service,
    prepare_create=prepare_service_create,
    prepare_update=prepare_service_update,
    prepare_status_update=_default_modes,
    validate_create=services.validate_service,
    validate_update=services.validate_service_update,
    validate_status_update=services.validate_service_status,
    fields=_service_fields,
    warnings=_service_warnings,
    update_warnings=lambda new, _old: _service_warnings(new),
    status_warnings=load_balancer_warnings,
    columns=printers.SERVICE_COLUMNS,
    cells=printers.service_cells,
)
ENDPOINTS = Hooks(
    defaults=_default_endpoints,
    validate_create=endpoints.validate_endpoints,
    validate_update=endpoints.validate_endpoints_update,
    warnings=_subset_warnings,
    update_warnings=lambda new, _old: _subset_warnings(new),
    columns=printers.ENDPOINTS_COLUMNS,
    cells=printers.endpoints_cells,
)
ENDPOINT_SLICE = Hooks(
    defaults=_default_slice,
    prepare_create=_prepare_slice_create,
    prepare_update=_prepare_slice_update,
    validate_create=endpoints.validate_endpoint_slice,
    validate_update=endpoints.validate_endpoint_slice_update,
    warnings=_slice_warnings,
    update_warnings=lambda new, _old: _slice_address_warnings(new),
    columns=printers.ENDPOINT_SLICE_COLUMNS,
    cells=printers.endpoint_slice_cells,
)
