"""Services (pkg/apis/core/validation: ValidateService)."""

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of, validate_labels
from minipod.api.validation.networking import PROTOCOLS, validate_load_balancer
from minipod.api.validation.values import in_range, repeats

Object = dict[str, Any]

TYPES = ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort")
_KUBELET_PORT = 10250
_NO_PORT = {
    "Name": "",
    "Protocol": "",
    "AppProtocol": None,
    "Port": 0,
    "TargetPort": 0,
    "NodePort": 0,
}
_ONLY_BALANCED = "may only be used when `type` is 'LoadBalancer'"
_TOPOLOGY = ("service.kubernetes.io/topology-aware-hints", "service.kubernetes.io/topology-mode")
_SOURCE_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_NEVER_EXTERNAL = "may not be set for ExternalName services"


def validate_service(service: Object) -> list[Cause]:
    """Return what is wrong with a Service."""
    return list(_service(service, {}))


def validate_service_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a Service: it keeps its addresses."""
    return [*_changes(new["spec"], old["spec"]), *_service(new, old["spec"])]


def validate_service_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of a Service."""
    status, spec = new.get("status") or {}, new.get("spec") or {}
    balancer = status.get("loadBalancer") or {}
    before = (old.get("status") or {}).get("loadBalancer") or {}
    if spec.get("type") != "LoadBalancer" and balancer.get("ingress"):
        path = "status.loadBalancer.ingress"
        return [forbidden(path, "may only be used when `spec.type` is 'LoadBalancer'")]
    return list(validate_load_balancer(balancer, before, "status.loadBalancer", modes=True))


def is_headless(spec: Object) -> bool:
    """Whether a Service has no address of its own."""
    return (spec.get("clusterIPs") or [""])[0] == "None" or spec.get("clusterIP") == "None"


def is_reached_from_outside(spec: Object) -> bool:
    """Whether a Service is reached at addresses that are not the cluster's."""
    return spec.get("type") in ("LoadBalancer", "NodePort") or bool(
        spec.get("type") == "ClusterIP" and spec.get("externalIPs")
    )


def _service(service: Object, before: Object) -> Iterator[Cause]:
    """Check a Service; addresses and ranges that the spec `before` had may stay as they are."""
    spec, path = service.get("spec") or {}, "spec"
    yield from _topology(service["metadata"].get("annotations") or {})
    ports = spec.get("ports") or []
    if not ports and not is_headless(spec) and spec.get("type") != "ExternalName":
        yield required(f"{path}.ports")
    yield from _of_type(spec, path)
    yield from _ports(ports, f"{path}.ports")
    yield from validate_labels(spec.get("selector"), f"{path}.selector")
    yield from _affinity(spec, path)
    yield from validate_addresses(spec, before, path)
    for index, each in enumerate(spec.get("externalIPs") or ()):
        known = each in (before.get("externalIPs") or ())
        yield from _external_ip(each, known, f"{path}.externalIPs[{index}]")
    if spec.get("type") not in TYPES:
        yield not_supported(f"{path}.type", spec.get("type"), TYPES)
    yield from _port_numbers(spec, f"{path}.ports")
    yield from _balancer(service, before.get("loadBalancerSourceRanges") or (), path)
    yield from _traffic(spec, path)


def _topology(annotations: Object) -> Iterator[Cause]:
    hints, mode = (annotations.get(name) for name in _TOPOLOGY)
    if hints is not None and mode is not None and hints != mode:
        at = f"metadata.annotations[{_TOPOLOGY[1]}]"
        why = f"must match annotations[{_TOPOLOGY[0]}] when both are specified"
        yield invalid(at, mode, why)


def _of_type(spec: Object, path: str) -> Iterator[Cause]:
    kind = spec.get("type")
    if kind in ("LoadBalancer", "NodePort") and is_headless(spec):
        why = f"may not be set to 'None' for {kind} services"
        yield invalid(f"{path}.clusterIPs[0]", "None", why)
    if kind == "LoadBalancer":
        for index, port in enumerate(spec.get("ports") or ()):
            if port.get("port") == _KUBELET_PORT:
                why = f"may not expose port {_KUBELET_PORT} externally since it is used by kubelet"
                yield invalid(f"{path}.ports[{index}]", _KUBELET_PORT, why)
    if kind == "ExternalName":
        for name in ("clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if spec.get(name):
                yield forbidden(f"{path}.{name}", _NEVER_EXTERNAL)
        target = (spec.get("externalName") or "").removesuffix(".")
        if not target:
            yield required(f"{path}.externalName")
        else:
            yield from causes_of(names.dns1123_subdomain(target), f"{path}.externalName", target)


def _ports(ports: list[Object], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, port in enumerate(ports):
        at, name = f"{path}[{index}]", port.get("name") or ""
        if not name and len(ports) > 1:
            yield required(f"{at}.name")
        elif name:
            yield from causes_of(names.dns1123_label(name), f"{at}.name", name)
            if name in seen:
                yield duplicate(f"{at}.name", name)
            seen.add(name)
        number = port.get("port") or 0
        yield from causes_of(names.port_number(number), f"{at}.port", number)
        protocol = port.get("protocol") or ""
        if not protocol:
            yield required(f"{at}.protocol")
        elif protocol not in PROTOCOLS:
            yield not_supported(f"{at}.protocol", protocol, PROTOCOLS)
        yield from port_or_name(port.get("targetPort"), f"{at}.targetPort")
        if port.get("appProtocol") is not None:
            value = port["appProtocol"]
            yield from causes_of(names.qualified_name(value), f"{at}.appProtocol", value)


def port_or_name(value: int | str | None, path: str) -> Iterator[Cause]:
    """Check a port that is a number or the name of one."""
    if isinstance(value, str):
        yield from causes_of(
            names.port_name(value) if value else ["must be non-empty"], path, value
        )
    else:
        yield from causes_of(names.port_number(value or 0), path, value or 0)


def _affinity(spec: Object, path: str) -> Iterator[Cause]:
    affinity, config = spec.get("sessionAffinity") or "", spec.get("sessionAffinityConfig")
    at = f"{path}.sessionAffinityConfig"
    if not affinity:
        yield required(f"{path}.sessionAffinity")
    elif affinity not in ("ClientIP", "None"):
        yield not_supported(f"{path}.sessionAffinity", affinity, ("ClientIP", "None"))
    elif affinity == "None" and config is not None:
        yield forbidden(at, "must not be set when session affinity is None")
    elif affinity == "ClientIP":
        yield from _client_ip(config, at)


def _client_ip(config: Object | None, path: str) -> Iterator[Cause]:
    if config is None:
        yield required(path, "when session affinity type is ClientIP")
        return
    given, at = config.get("clientIP"), f"{path}.clientIP"
    if given is None:
        yield required(at, "when session affinity type is ClientIP")
    elif given.get("timeoutSeconds") is None:
        yield required(f"{at}.timeoutSeconds", "when session affinity type is ClientIP")
    elif not 1 <= given["timeoutSeconds"] <= 86400:
        why = "must be greater than 0 and less than 86400"
        yield invalid(f"{at}.timeoutSeconds", given["timeoutSeconds"], why)


def validate_addresses(spec: Object, before: Object, path: str) -> Iterator[Cause]:
    """Check the Service's own addresses and their families (KEP-563); those of the spec `before` may stay."""
    if spec.get("type") == "ExternalName":
        return
    families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
    yield from _agreeing(spec, f"{path}.clusterIPs")
    again = repeats(families)
    for index, family in enumerate(families):
        if family not in ("IPv4", "IPv6"):
            yield not_supported(f"{path}.ipFamilies[{index}]", family, ("IPv4", "IPv6"))
        if index in again:
            yield duplicate(f"{path}.ipFamilies[{index}]", family)
    policies = ("PreferDualStack", "RequireDualStack", "SingleStack")
    if policy is not None and policy not in policies:
        yield not_supported(f"{path}.ipFamilyPolicy", policy, policies)
    yield from _cluster_ips(spec, before.get("clusterIPs") or (), f"{path}.clusterIPs")


def _agreeing(spec: Object, path: str) -> Iterator[Cause]:
    one, given = spec.get("clusterIP"), spec.get("clusterIPs") or []
    if one and not given:
        yield required(path)
    elif one and given[0] != one:
        yield invalid(path, given, "first value must match `clusterIP`")
    elif given and not one:
        yield invalid(path, given, "must be empty when `clusterIP` is not specified")


def _cluster_ips(spec: Object, known: Collection[str], path: str) -> Iterator[Cause]:
    given, families = spec.get("clusterIPs") or [], spec.get("ipFamilies") or []
    wrong = given[:1] == ["None"] and len(given) > 1
    if wrong:
        yield invalid(path, given, "'None' must be the first and only value")
    for index, each in enumerate(given):
        if each in known or (index, each) == (0, "None"):
            continue
        problems = names.ip(each)
        wrong = wrong or bool(problems)
        yield from causes_of(problems, f"{path}[{index}]", each)
    if len(given) > 2:
        yield invalid(path, given, "may only hold up to 2 values")
    if wrong or given == ["None"]:
        return
    found = [family_of(each) for each in given]
    if len(found) > 1 and len(set(found)) < 2:
        yield invalid(path, given, "may specify no more than one IP for each IP family")
    for index, (one, wanted) in enumerate(zip(found, families, strict=False)):
        if wanted in ("IPv4", "IPv6") and one != wanted:
            why = f"expected an {wanted} value as indicated by `ipFamilies[{index}]`"
            yield invalid(f"{path}[{index}]", given[index], why)


def family_of(address: str) -> str:
    """Return the family of a valid address, or of one that was taken for valid."""
    found = names.lenient_ip(address)
    return f"IPv{found.version}" if found else ""


def _external_ip(address: str, known: bool, path: str) -> Iterator[Cause]:
    problems = [] if known else names.ip(address)
    if problems:
        yield from causes_of(problems, path, address)
    else:
        yield from not_special(address, path)


def not_special(address: str, path: str) -> Iterator[Cause]:
    """Check that an address may be an endpoint's: not of the loopback, the link, everybody or nobody."""
    found = names.lenient_ip(address)
    if found is None:
        yield invalid(path, address, "must be a valid IP address")
        return
    if found.is_unspecified:
        yield invalid(path, address, f"may not be unspecified ({address})")
    if found.is_loopback:
        yield invalid(path, address, "may not be in the loopback range (127.0.0.0/8, ::1/128)")
    if found.is_link_local:
        why = "may not be in the link-local range (169.254.0.0/16, fe80::/10)"
        yield invalid(path, address, why)
    if _is_link_local_multicast(found):
        why = "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"
        yield invalid(path, address, why)


def _is_link_local_multicast(address: IPv4Address | IPv6Address) -> bool:
    """Whether an address is of 224.0.0.0/24, or of IPv6 multicast with the scope of the link (RFC 4291, 2.7)."""
    packed = address.packed
    if len(packed) == 4:
        return packed[:3] == b"\xe0\x00\x00"
    return packed[0] == 0xFF and packed[1] & 0x0F == 2


def _port_numbers(spec: Object, path: str) -> Iterator[Cause]:
    """Check that ports are not given twice, and node ports only where they are used."""
    ports = list(enumerate(spec.get("ports") or ()))
    seen: set[tuple[str, Any]] = set()
    for index, port in ports:
        node_port, protocol = port.get("nodePort"), port.get("protocol") or ""
        if not node_port:
            continue
        if spec.get("type") == "ClusterIP":
            why = "may not be used when `type` is 'ClusterIP'"
            yield forbidden(f"{path}[{index}].nodePort", why)
        if (protocol, node_port) in seen:
            yield duplicate(f"{path}[{index}].nodePort", node_port)
        seen.add((protocol, node_port))
    seen.clear()
    for index, port in ports:
        key = (port.get("protocol") or "", port.get("port") or 0)
        if key in seen:
            yield duplicate(f"{path}[{index}]", {**_NO_PORT, "Protocol": key[0], "Port": key[1]})
        seen.add(key)


def _balancer(service: Object, known: Collection[str], path: str) -> Iterator[Cause]:
    spec: Object = service.get("spec") or {}
    balanced = spec.get("type") == "LoadBalancer"
    ranges = spec.get("loadBalancerSourceRanges") or []
    if ranges and not balanced:
        yield forbidden(f"{path}.LoadBalancerSourceRanges", _ONLY_BALANCED)
    for index, each in enumerate(ranges):
        at = f"{path}.LoadBalancerSourceRanges[{index}]"
        problems = [] if each in known else names.cidr(each.strip())
        yield from causes_of(problems, at, each.strip())
    if not ranges:
        yield from _annotated_ranges(service["metadata"].get("annotations") or {}, balanced)
    allocate, at = (
        spec.get("allocateLoadBalancerNodePorts"),
        f"{path}.allocateLoadBalancerNodePorts",
    )
    if allocate is not None and not balanced:
        yield forbidden(at, _ONLY_BALANCED)
    if allocate is None and balanced:
        yield required(at)
    name = spec.get("loadBalancerClass")
    if name is not None:
        if not balanced:
            yield forbidden(f"{path}.loadBalancerClass", _ONLY_BALANCED)
        else:
            yield from causes_of(names.qualified_name(name), f"{path}.loadBalancerClass", name)


def _annotated_ranges(annotations: Object, balanced: bool) -> Iterator[Cause]:
    """Check the ranges as they were written before there was a field for them."""
    given = annotations.get(_SOURCE_RANGES)
    if given is None:
        return
    at = f"metadata.annotations[{_SOURCE_RANGES}]"
    if not balanced:
        yield forbidden(at, _ONLY_BALANCED)
    for each in given.strip().split(",") if given.strip() else ():
        yield from causes_of(names.cidr(each.strip()), at, each.strip())


def _traffic(spec: Object, path: str) -> Iterator[Cause]:
    policy, at = spec.get("externalTrafficPolicy"), f"{path}.externalTrafficPolicy"
    if not is_reached_from_outside(spec):
        if policy:
            yield invalid(at, policy, "may only be set for externally-accessible services")
    elif not policy:
        yield required(at)
    elif policy not in ("Cluster", "Local"):
        yield not_supported(at, policy, ("Cluster", "Local"))
    port, at = spec.get("healthCheckNodePort") or 0, f"{path}.healthCheckNodePort"
    if spec.get("type") != "LoadBalancer" or policy != "Local":
        if port:
            why = "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"
            yield invalid(at, port, why)
    elif port:
        yield from in_range(port, 1, 65535, at)
    internal, at = spec.get("internalTrafficPolicy"), f"{path}.internalTrafficPolicy"
    if internal is None and spec.get("type") in ("ClusterIP", "LoadBalancer", "NodePort"):
        yield required(at)
    elif internal is not None and internal not in ("Cluster", "Local"):
        yield not_supported(at, internal, ("Cluster", "Local"))
    near, at = spec.get("trafficDistribution"), f"{path}.trafficDistribution"
    supported = ("PreferClose", "PreferSameZone", "PreferSameNode")
    if near is not None and near not in supported:
        yield not_supported(at, near, supported)


def _changes(new: Object, old: Object) -> Iterator[Cause]:
    """Check that addresses and their families stay: a second one may come and go."""
    if "ExternalName" not in (new.get("type"), old.get("type")):
        for name in ("clusterIPs", "ipFamilies"):
            yield from _same_first(new.get(name) or [], old.get(name) or [], f"spec.{name}")
    kept = new.get("type") == old.get("type") == "LoadBalancer"
    if kept and new.get("loadBalancerClass") != old.get("loadBalancerClass"):
        why = "may not change once set"
        yield invalid("spec.loadBalancerClass", new.get("loadBalancerClass"), why)
    port, before = new.get("healthCheckNodePort"), old.get("healthCheckNodePort")
    if kept and before and new.get("externalTrafficPolicy") == "Local" and port != before:
        yield forbidden("spec.healthCheckNodePort", "field is immutable")


def _same_first(new: list[str], old: list[str], path: str) -> Iterator[Cause]:
    for index, before in enumerate(old):
        after = new[index] if index < len(new) else ""
        if after == before or (not after and index):
            continue
        what = "clusterIP" if path.endswith("IPs") else "ipFamily"
        why = "may not change once set" if after else f"primary {what} can not be unset"
        yield invalid(f"{path}[{index}]", new, why)
