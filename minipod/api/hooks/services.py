"""Services, Endpoints, EndpointSlices (pkg/apis/core/v1/defaults.go, pkg/registry/core/service)."""

from typing import Any

from minipod.api.hooks.templates import fill
from minipod.api.kind import Hooks
from minipod.api.printers import services as printers
from minipod.api.service_strategy import prepare_service_create, prepare_service_update
from minipod.api.validation import endpoints, services

Object = dict[str, Any]

_AFFINITY_SECONDS = 10800


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
        fill(spec, {"internalTrafficPolicy": "Cluster"})
    if spec["type"] == "LoadBalancer":
        fill(spec, {"allocateLoadBalancerNodePorts": True})


def _default_endpoints(obj: Object) -> None:
    for subset in obj.get("subsets") or ():
        for port in subset.get("ports") or ():
            fill(port, {"protocol": "TCP"})


def _default_slice(piece: Object) -> None:
    for port in piece.get("ports") or ():
        fill(port, {"protocol": "TCP"})
        if port.get("name") is None:
            port["name"] = ""


def _prepare_slice_create(piece: Object) -> None:
    piece["metadata"]["generation"] = 1


def _prepare_slice_update(new: Object, old: Object) -> None:
    """Count what changes of a slice besides its metadata; labels count, as the Service's name is one of them."""
    parts = ("endpoints", "ports", "addressType")
    labels = new["metadata"].get("labels") != old["metadata"].get("labels")
    if labels or any(new.get(name) != old.get(name) for name in parts):
        new["metadata"]["generation"] = old["metadata"].get("generation", 0) + 1


def _service_fields(service: Object) -> dict[str, str]:
    spec = service.get("spec") or {}
    return {"spec.clusterIP": spec.get("clusterIP") or "", "spec.type": spec.get("type") or ""}


SERVICE = Hooks(
    defaults=_default_service,
    prepare_create=prepare_service_create,
    prepare_update=prepare_service_update,
    validate_create=services.validate_service,
    validate_update=services.validate_service_update,
    validate_status_update=services.validate_service_status,
    fields=_service_fields,
    columns=printers.SERVICE_COLUMNS,
    cells=printers.service_cells,
)
ENDPOINTS = Hooks(
    defaults=_default_endpoints,
    validate_create=endpoints.validate_endpoints,
    validate_update=endpoints.validate_endpoints_update,
    warnings=lambda _obj: [
        "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice"
    ],
    columns=printers.ENDPOINTS_COLUMNS,
    cells=printers.endpoints_cells,
)
ENDPOINT_SLICE = Hooks(
    defaults=_default_slice,
    prepare_create=_prepare_slice_create,
    prepare_update=_prepare_slice_update,
    validate_create=endpoints.validate_endpoint_slice,
    validate_update=endpoints.validate_endpoint_slice_update,
    columns=printers.ENDPOINT_SLICE_COLUMNS,
    cells=printers.endpoint_slice_cells,
)
