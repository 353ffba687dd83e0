"""What is behind a Service: Endpoints (core/v1) and EndpointSlices (discovery.k8s.io/v1)."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from minipod.api import equality, names
from minipod.api.field import Cause, duplicate, invalid, not_supported, required, too_many
from minipod.api.validation.metadata import causes_of, immutable, validate_labels
from minipod.api.validation.networking import PROTOCOLS
from minipod.api.validation.services import not_special

Object = dict[str, Any]

_ADDRESS_TYPES = ("FQDN", "IPv4", "IPv6")
_TOPOLOGY_LIMIT = 16
_ADDRESSES_LIMIT, _PORTS_LIMIT, _ENDPOINTS_LIMIT, _HINTS_LIMIT = 100, 20000, 1000, 8


def validate_endpoints(endpoints: Object) -> list[Cause]:
    """Return what is wrong with an Endpoints object."""
    return [
        cause
        for index, subset in enumerate(endpoints.get("subsets") or ())
        for cause in _subset(subset, f"subsets[{index}]")
    ]


def validate_endpoints_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an Endpoints object; what was taken once may stay."""
    same = equality.equal(new.get("subsets"), old.get("subsets"))
    return [] if same else validate_endpoints(new)


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
    yield from _app_protocol(port, path)


def _app_protocol(port: Object, path: str) -> Iterator[Cause]:
    if port.get("appProtocol") is not None:
        value = port["appProtocol"]
        yield from causes_of(names.qualified_name(value), f"{path}.appProtocol", value)


def validate_endpoint_slice(piece: Object) -> list[Cause]:
    """Return what is wrong with a new EndpointSlice."""
    return [*_slice(piece), *_endpoints(piece)]


def validate_endpoint_slice_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an EndpointSlice: it is of one type for ever."""
    same = equality.equal(new.get("endpoints"), old.get("endpoints"))
    endpoints = () if same else _endpoints(new)
    after, before = (each.get("addressType") or "" for each in (new, old))
    return [*_slice(new), *endpoints, *immutable(after, before, "addressType")]


def _slice(piece: Object) -> Iterator[Cause]:
    kind = piece.get("addressType") or ""
    if not kind:
        yield required("addressType")
    elif kind not in _ADDRESS_TYPES:
        yield not_supported("addressType", kind, _ADDRESS_TYPES)
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
        if port.get("protocol") not in PROTOCOLS:
            yield not_supported(f"{at}.protocol", port.get("protocol") or "", PROTOCOLS)
        yield from _app_protocol(port, at)


def _endpoints(piece: Object) -> Iterator[Cause]:
    endpoints, kind = piece.get("endpoints") or [], piece.get("addressType") or ""
    if len(endpoints) > _ENDPOINTS_LIMIT:
        yield too_many("endpoints", len(endpoints), _ENDPOINTS_LIMIT)
        return
    for index, endpoint in enumerate(endpoints):
        yield from _endpoint(endpoint, kind, f"endpoints[{index}]")


def _endpoint(endpoint: Object, kind: str, path: str) -> Iterator[Cause]:
    addresses, at = endpoint.get("addresses") or [], f"{path}.addresses"
    if not addresses:
        yield required(at, "must contain at least 1 address")
    elif len(addresses) > _ADDRESSES_LIMIT:
        yield too_many(at, len(addresses), _ADDRESSES_LIMIT)
    for index, address in enumerate(addresses):
        yield from _address_of(kind, address, at, index)
    if endpoint.get("nodeName") is not None:
        node = endpoint["nodeName"]
        yield from causes_of(names.dns1123_subdomain(node), f"{path}.nodeName", node)
    topology = endpoint.get("deprecatedTopology") or {}
    if len(topology) > _TOPOLOGY_LIMIT:
        yield too_many(f"{path}.deprecatedTopology", len(topology), _TOPOLOGY_LIMIT)
    yield from validate_labels(topology, f"{path}.deprecatedTopology")
    if endpoint.get("hostname") is not None:
        host = endpoint["hostname"]
        yield from causes_of(names.dns1123_label(host), f"{path}.hostname", host)
    yield from _hints(endpoint.get("hints") or {}, f"{path}.hints")


def _hints(hints: Object, path: str) -> Iterator[Cause]:
    for field, rule in (("forZones", names.label_value), ("forNodes", names.dns1123_subdomain)):
        given, at = [each.get("name") or "" for each in hints.get(field) or ()], f"{path}.{field}"
        if len(given) > _HINTS_LIMIT:
            yield too_many(at, len(given), _HINTS_LIMIT)
            return
        for index, name in enumerate(given):
            if name in given[:index]:
                yield duplicate(f"{at}[{index}].name", name)
            yield from causes_of(rule(name), f"{at}[{index}].name", name)


def _address_of(kind: str, address: str, path: str, index: int) -> Iterator[Cause]:
    at = f"{path}[{index}]"
    if kind == "FQDN":
        yield from _domain_name(address, at)
    elif kind in ("IPv4", "IPv6"):
        rule = names.ip if kind == "IPv4" else names.canonical_ip
        problems = rule(address)
        yield from causes_of(problems, at, address)
        if problems:
            return
        if f"IPv{ip_address(address).version}" != kind:
            yield invalid(path, address, f"must be an {kind} address")
        yield from not_special(address, at)


def _domain_name(name: str, path: str) -> Iterator[Cause]:
    """Check a domain name that says it all (upstream's IsFullyQualifiedDomainName)."""
    plain = name.removesuffix(".")
    problems = names.dns1123_subdomain(plain)
    if not name:
        yield required(path)
    elif problems:
        yield invalid(path, plain, ",".join(problems))
    elif "." not in plain:
        why = "should be a domain with at least two segments separated by dots"
        yield invalid(path, plain, why)
    else:
        for label in plain.split("."):
            if problems := names.dns1123_label(label):
                yield invalid(path, label, ",".join(problems))
                return
