"""What is behind a Service: Endpoints (core/v1) and EndpointSlices (discovery.k8s.io/v1)."""

import re
from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, invalid, not_supported, required, too_many
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.networking import PROTOCOLS
from minipod.api.validation.services import not_special

Object = dict[str, Any]

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_ADDRESSES_LIMIT, _PORTS_LIMIT, _ENDPOINTS_LIMIT, _HINTS_LIMIT = 100, 20000, 1000, 8


def validate_endpoints(endpoints: Object) -> list[Cause]:
    """Return what is wrong with an Endpoints object."""
    return [
        cause
        for index, subset in enumerate(endpoints.get("subsets") or ())
        for cause in _subset(subset, f"subsets[{index}]")
    ]


def validate_endpoints_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing an Endpoints object."""
    return validate_endpoints(new)


def _subset(subset: Object, path: str) -> Iterator[Cause]:
    if not subset.get("addresses") and not subset.get("notReadyAddresses"):
        yield required(path, "must specify `addresses` or `notReadyAddresses`")
    for name in ("addresses", "notReadyAddresses"):
        for index, each in enumerate(subset.get(name) or ()):
            yield from _address(each, f"{path}.{name}[{index}]")
    ports = subset.get("ports") or []
    for index, port in enumerate(ports):
        at, name = f"{path}.ports[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{at}.name")
        elif name:
            yield from causes_of(names.dns1123_label(name), f"{at}.name", name)
        number = port.get("port") or 0
        yield from causes_of(names.port_number(number), f"{at}.port", number)
        yield from _protocol(port, at)


def _address(address: Object, path: str) -> Iterator[Cause]:
    ip = address.get("ip") or ""
    yield from causes_of(names.ip(ip), f"{path}.ip", ip)
    if address.get("hostname"):
        host = address["hostname"]
        yield from causes_of(names.dns1123_label(host), f"{path}.hostname", host)
    if address.get("nodeName") is not None:
        node = address["nodeName"]
        yield from causes_of(names.dns1123_subdomain(node), f"{path}.nodeName", node)
    yield from not_special(ip, f"{path}.ip")


def _protocol(port: Object, path: str) -> Iterator[Cause]:
    protocol = port.get("protocol") or ""
    if not protocol:
        yield required(f"{path}.protocol")
    elif protocol not in PROTOCOLS:
        yield not_supported(f"{path}.protocol", protocol, PROTOCOLS)
    if port.get("appProtocol") is not None:
        value = port["appProtocol"]
        yield from causes_of(names.qualified_name(value), f"{path}.appProtocol", value)


def validate_endpoint_slice(piece: Object) -> list[Cause]:
    """Return what is wrong with an EndpointSlice."""
    return list(_slice(piece))


def validate_endpoint_slice_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an EndpointSlice: it is of one type for ever."""
    fixed = immutable(new.get("addressType"), old.get("addressType"), "addressType")
    return [*_slice(new), *fixed]


def _slice(piece: Object) -> Iterator[Cause]:
    kind = piece.get("addressType") or ""
    if not kind:
        yield required("addressType")
    elif kind not in _ADDRESS_TYPES:
        yield not_supported("addressType", kind, _ADDRESS_TYPES)
    endpoints = piece.get("endpoints") or []
    if len(endpoints) > _ENDPOINTS_LIMIT:
        yield too_many("endpoints", len(endpoints), _ENDPOINTS_LIMIT)
    else:
        for index, endpoint in enumerate(endpoints):
            yield from _endpoint(endpoint, kind, f"endpoints[{index}]")
    ports = piece.get("ports") or []
    if len(ports) > _PORTS_LIMIT:
        yield too_many("ports", len(ports), _PORTS_LIMIT)
        return
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"ports[{index}]", port.get("name") or ""
        if name:
            yield from causes_of(names.dns1123_label(name), f"{at}.name", name)
        if name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        if port.get("port") is not None:
            yield from causes_of(names.port_number(port["port"]), f"{at}.port", port["port"])
        yield from _protocol(port, at)


def _endpoint(endpoint: Object, kind: str, path: str) -> Iterator[Cause]:
    addresses, at = endpoint.get("addresses") or [], f"{path}.addresses"
    if not addresses:
        yield required(at, "must contain at least 1 address")
    elif len(addresses) > _ADDRESSES_LIMIT:
        yield too_many(at, len(addresses), _ADDRESSES_LIMIT)
    for index, address in enumerate(addresses):
        yield from _address_of(kind, address, f"{at}[{index}]")
    if endpoint.get("nodeName") is not None:
        node = endpoint["nodeName"]
        yield from causes_of(names.dns1123_subdomain(node), f"{path}.nodeName", node)
    if endpoint.get("hostname") is not None:
        host = endpoint["hostname"]
        yield from causes_of(names.dns1123_label(host), f"{path}.hostname", host)
    zones, at = (endpoint.get("hints") or {}).get("forZones") or [], f"{path}.hints.forZones"
    if len(zones) > _HINTS_LIMIT:
        yield too_many(at, len(zones), _HINTS_LIMIT)
        return
    given = [each.get("name") or "" for each in zones]
    for index, zone in enumerate(given):
        if zone in given[:index]:
            yield duplicate(f"{at}[{index}].name", zone)
        yield from causes_of(names.label_value(zone), f"{at}[{index}].name", zone)


def _address_of(kind: str, address: str, path: str) -> Iterator[Cause]:
    if kind == "FQDN":
        name = address.removesuffix(".")
        yield from causes_of(names.dns1123_subdomain(name), path, address)
        if not re.search(r"\.", name):
            why = "should be a domain with at least two segments separated by dots"
            yield invalid(path, address, why)
    elif kind in ("IPv4", "IPv6"):
        problems = names.ip(address)
        if problems or f"IPv{ip_address(address).version}" != kind:
            yield invalid(path, address, f"must be a valid {kind} address")
        else:
            yield from not_special(address, path)
