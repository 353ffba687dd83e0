"""What `get` shows of Services and of what is behind them."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.simple import AGE, NAME, NONE, age_cell, row
from minipod.api.printers.workloads import labels_cell

Object = dict[str, Any]

SERVICE_COLUMNS = (
    NAME,
    Column("Type", description="How the Service is reached."),
    Column("Cluster-IP", description="Its own address."),
    Column("External-IP", description="Its addresses outside."),
    Column("Port(s)", description="Its ports, with the nodes' where there are some."),
    AGE,
    Column("Selector", description="Which Pods are behind it.", priority=1),
)
ENDPOINTS_COLUMNS = (
    NAME,
    Column("Endpoints", description="Addresses and ports behind the Service."),
    AGE,
)
ENDPOINT_SLICE_COLUMNS = (
    NAME,
    Column("AddressType", description="The type of its addresses."),
    Column("Ports", description="The ports of its endpoints."),
    Column("Endpoints", description="The addresses of its endpoints."),
    AGE,
)
SHOWN = 3


def service_cells(service: Object, now: datetime) -> list[Any]:
    """Return the cells of a Service's row."""
    spec = service.get("spec") or {}
    addresses = spec.get("clusterIPs") or ([spec["clusterIP"]] if spec.get("clusterIP") else [])
    return [
        service["metadata"].get("name", ""),
        spec.get("type") or "",
        addresses[0] if addresses else NONE,
        _outside(service),
        ",".join(map(_port, spec.get("ports") or ())) or NONE,
        age_cell(service, now),
        labels_cell(spec.get("selector")),
    ]


def _port(port: Object) -> str:
    number = port.get("port") or 0
    if port.get("nodePort"):
        return f"{number}:{port['nodePort']}/{port.get('protocol')}"
    return f"{number}/{port.get('protocol')}"


def _outside(service: Object) -> str:
    spec = service.get("spec") or {}
    given = spec.get("externalIPs") or []
    if spec.get("type") == "ExternalName":
        return spec.get("externalName") or ""
    if spec.get("type") != "LoadBalancer":
        return ",".join(given) or NONE
    return ",".join([*balancer_addresses(service), *given]) or "<pending>"


def balancer_addresses(obj: Object) -> list[str]:
    """Return where a load balancer leads to a Service or an Ingress from: each once, sorted."""
    balancer = (obj.get("status") or {}).get("loadBalancer") or {}
    points = balancer.get("ingress") or ()
    return sorted({each.get("ip") or each.get("hostname") or "" for each in points} - {""})


def endpoints_cells(endpoints: Object, now: datetime) -> list[Any]:
    """Return the cells of an Endpoints object's row."""
    subsets = endpoints.get("subsets") or ()
    found = [text for subset in subsets for text in _ready_points(subset)]
    return row(endpoints, now, some(found) if subsets else NONE)


def _ready_points(subset: Object) -> list[str]:
    """Return a subset's addresses at its first port, then at its second, and so on; without ports, bare."""
    addresses = [each.get("ip") or "" for each in subset.get("addresses") or ()]
    ports = [each.get("port") for each in subset.get("ports") or ()]
    return [f"{_host(ip)}:{port}" for port in ports for ip in addresses] if ports else addresses


def _host(ip: str) -> str:
    return f"[{ip}]" if ":" in ip else ip


def endpoint_slice_cells(piece: Object, now: datetime) -> list[Any]:
    """Return the cells of an EndpointSlice's row."""
    ports = [_slice_port(port) for port in piece.get("ports") or ()]
    addresses = [
        each
        for endpoint in piece.get("endpoints") or ()
        for each in endpoint.get("addresses") or ()
    ]
    return [
        piece["metadata"].get("name", ""),
        piece.get("addressType") or "",
        some(ports) or "<unset>",
        some(addresses) or "<unset>",
        age_cell(piece, now),
    ]


def _slice_port(port: Object) -> str:
    if port.get("port") is not None:
        return str(port["port"])
    return port.get("name") or "*"


def some(found: Iterable[str]) -> str:
    """Return the first three, and how many more there are."""
    listed = list(found)
    text = ",".join(listed[:SHOWN])
    return f"{text} + {len(listed) - SHOWN} more..." if len(listed) > SHOWN else text
