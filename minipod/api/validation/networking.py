"""networking.k8s.io/v1: Ingress, IngressClass, NetworkPolicy, ServiceCIDR, IPAddress."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, not_supported, required, too_long
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.values import domain_prefixed_path

Object = dict[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_PATH_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_PATH_SUFFIXES = ("/..", "/.")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_CONTROLLER_LIMIT = 250

# -- Ingress ---------------------------------------------------------------------------------------


def validate_ingress(ingress: Object) -> list[Cause]:
    """Return what is wrong with a new Ingress."""
    causes = list(_ingress(ingress.get("spec") or {}, "spec"))
    given = (ingress["metadata"].get("annotations") or {}).get(_CLASS_ANNOTATION)
    named = (ingress.get("spec") or {}).get("ingressClassName")
    if given is not None and named is not None and given != named:
        why = "must match `ingressClassName` when both are specified"
        causes.append(invalid(f"annotations.{_CLASS_ANNOTATION}", given, why))
    return causes


def validate_ingress_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing an Ingress."""
    return list(_ingress(new.get("spec") or {}, "spec"))


def validate_ingress_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of an Ingress."""
    status = (new.get("status") or {}).get("loadBalancer") or {}
    return list(validate_load_balancer(status, "status.loadBalancer"))


def validate_load_balancer(status: Object, path: str) -> Iterator[Cause]:
    """Check the addresses of a load balancer."""
    for index, each in enumerate(status.get("ingress") or ()):
        at = f"{path}.ingress[{index}]"
        if each.get("ip"):
            yield from causes_of(names.ip(each["ip"]), f"{at}.ip", each["ip"])
        if each.get("hostname"):
            host = each["hostname"]
            yield from causes_of(names.dns1123_subdomain(host), f"{at}.hostname", host)
            if _is_address(host):
                yield invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address")


def _ingress(spec: Object, path: str) -> Iterator[Cause]:
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and default is None:
        yield invalid(path, rules, "either `defaultBackend` or `rules` must be specified")
    if default is not None:
        yield from _backend(default, f"{path}.defaultBackend")
    for index, rule in enumerate(rules):
        at = f"{path}.rules[{index}]"
        if rule.get("host"):
            yield from _host(rule["host"], f"{at}.host", rule=True)
        if rule.get("http") is not None:
            yield from _http(rule["http"], f"{at}.http")
    for index, tls in enumerate(spec.get("tls") or ()):
        for host in tls.get("hosts") or ():
            yield from _host(host, f"{path}.tls[{index}].hosts", rule=False)
        secret = tls.get("secretName")
        if secret:
            at = f"{path}.tls[{index}].secretName"
            yield from causes_of(names.dns1123_subdomain(secret), at, secret)
    named = spec.get("ingressClassName")
    if named is not None:
        yield from causes_of(names.dns1123_subdomain(named), f"{path}.ingressClassName", named)


def _host(host: str, path: str, rule: bool) -> Iterator[Cause]:
    if rule and _is_address(host):
        yield invalid(path, host, "must be a DNS name, not an IP address")
    check = names.wildcard_dns1123_subdomain if "*" in host else names.dns1123_subdomain
    yield from causes_of(check(host), path, host)


def _http(value: Object, path: str) -> Iterator[Cause]:
    if not value.get("paths"):
        yield required(f"{path}.paths")
    for index, each in enumerate(value.get("paths") or ()):
        yield from _path(each, f"{path}.paths[{index}]")


def _path(given: Object, path: str) -> Iterator[Cause]:
    kind, value, at = given.get("pathType"), given.get("path") or "", f"{path}.path"
    if kind is None:
        yield required(f"{path}.pathType", "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not value.startswith("/"):
            yield invalid(at, value, "must be an absolute path")
        for each in _PATH_SEQUENCES:
            if each in value:
                yield invalid(at, value, f"must not contain '{each}'")
        for each in _PATH_SUFFIXES:
            if value.endswith(each):
                yield invalid(at, value, f"cannot end with '{each}'")
    elif kind == "ImplementationSpecific":
        if value and not value.startswith("/"):
            yield invalid(at, value, "must be an absolute path")
    else:
        yield not_supported(f"{path}.pathType", kind, _PATH_TYPES)
    yield from _backend(given.get("backend") or {}, f"{path}.backend")


def _backend(backend: Object, path: str) -> Iterator[Cause]:
    resource, service = backend.get("resource"), backend.get("service")
    if resource is not None and service is not None:
        yield invalid(path, "", "cannot set both resource and service backends")
    elif resource is not None:
        yield from _reference(resource, f"{path}.resource")
    elif service is not None:
        yield from _service_backend(service, path)
    else:
        yield invalid(path, "", "resource or service backend is required")


def _service_backend(service: Object, path: str) -> Iterator[Cause]:
    name, port = service.get("name") or "", service.get("port") or {}
    if not name:
        yield required(f"{path}.service.name")
    else:
        yield from causes_of(names.dns1035_label(name), f"{path}.service.name", name)
    if port.get("name") and port.get("number"):
        yield invalid(path, "", "cannot set both port name & port number")
    elif port.get("name"):
        at = f"{path}.service.port.name"
        yield from causes_of(names.port_name(port["name"]), at, port["name"])
    elif port.get("number"):
        at = f"{path}.service.port.number"
        yield from causes_of(names.port_number(port["number"]), at, port["number"])
    else:
        yield required(path, "port name or number is required")


def _reference(reference: Object, path: str) -> Iterator[Cause]:
    """Check a TypedLocalObjectReference."""
    group = reference.get("apiGroup")
    if group is not None:
        yield from causes_of(names.dns1123_subdomain(group), f"{path}.apiGroup", group)
    for name in ("kind", "name"):
        value = reference.get(name) or ""
        if not value:
            yield required(f"{path}.{name}", f"{name} is required")
        else:
            yield from causes_of(names.path_segment(value), f"{path}.{name}", value)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


# -- IngressClass ----------------------------------------------------------------------------------


def validate_ingress_class(ingress_class: Object) -> list[Cause]:
    """Return what is wrong with an IngressClass."""
    return list(_class(ingress_class.get("spec") or {}, "spec"))


def validate_ingress_class_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an IngressClass: its controller stays."""
    after = (new.get("spec") or {}).get("controller")
    before = (old.get("spec") or {}).get("controller")
    return [*immutable(after, before, "spec.controller"), *validate_ingress_class(new)]


def _class(spec: Object, path: str) -> Iterator[Cause]:
    controller = spec.get("controller") or ""
    if len(controller) > _CONTROLLER_LIMIT:
        yield too_long(f"{path}.controller", _CONTROLLER_LIMIT)
    yield from domain_prefixed_path(controller, f"{path}.controller")
    parameters, at = spec.get("parameters"), f"{path}.parameters"
    if parameters is None:
        return
    yield from _reference(parameters, at)
    scope, namespace = parameters.get("scope"), parameters.get("namespace")
    if scope is None:
        yield required(f"{at}.scope")
        return
    if scope not in ("Cluster", "Namespace"):
        yield not_supported(f"{at}.scope", scope, ("Cluster", "Namespace"))
    if scope == "Namespace":
        if not namespace:
            why = '`parameters.scope` is set to "Namespace"'
            yield required(f"{at}.namespace", why)
        else:
            yield from causes_of(names.dns1123_label(namespace), f"{at}.namespace", namespace)
    elif scope == "Cluster" and namespace is not None:
        yield forbidden(f"{at}.namespace", '`parameters.scope` is set to "Cluster"')


# -- NetworkPolicy ---------------------------------------------------------------------------------


def validate_network_policy(policy: Object) -> list[Cause]:
    """Return what is wrong with a NetworkPolicy."""
    return list(_policy(policy.get("spec") or {}, "spec"))


def validate_network_policy_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a NetworkPolicy."""
    return validate_network_policy(new)


def _policy(spec: Object, path: str) -> Iterator[Cause]:
    yield from validate_label_selector(spec.get("podSelector"), f"{path}.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            at = f"{path}.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                yield from _policy_port(port, f"{at}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, f"{at}.{peers}[{number}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        yield invalid(f"{path}.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, each in enumerate(types):
        if each not in ("Ingress", "Egress"):
            yield not_supported(f"{path}.policyTypes[{index}]", each, ("Ingress", "Egress"))


def _policy_port(port: Object, path: str) -> Iterator[Cause]:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in PROTOCOLS:
        yield not_supported(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP"))
    if isinstance(number, int):
        yield from causes_of(names.port_number(number), f"{path}.port", number)
        if end is not None:
            if end < number:
                yield invalid(f"{path}.endPort", end, "must be greater than or equal to `port`")
            yield from causes_of(names.port_number(end), f"{path}.endPort", end)
    elif number is not None:
        if end is not None:
            why = "may not be specified when `port` is non-numeric"
            yield invalid(f"{path}.endPort", end, why)
        yield from causes_of(names.port_name(number), f"{path}.port", number)
    elif end is not None:
        yield invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _peer(peer: Object, path: str) -> Iterator[Cause]:
    given = [name for name in ("podSelector", "namespaceSelector") if peer.get(name) is not None]
    for name in given:
        yield from validate_label_selector(peer[name], f"{path}.{name}")
    block = peer.get("ipBlock")
    if block is not None:
        yield from _block(block, f"{path}.ipBlock")
        if given:
            yield forbidden(path, "may not specify both ipBlock and another peer")
    elif not given:
        yield required(path, "must specify a peer")


def _block(block: Object, path: str) -> Iterator[Cause]:
    cidr = block.get("cidr") or ""
    if not cidr:
        yield required(f"{path}.cidr")
        return
    yield from causes_of(names.cidr(cidr), f"{path}.cidr", cidr)
    whole = _network(cidr)
    for index, each in enumerate(block.get("except") or () if whole else ()):
        at = f"{path}.except[{index}]"
        part = _network(each)
        if part is None:
            yield from causes_of(names.cidr(each), at, each)
        elif whole is not None and not _is_within(part, whole):
            yield invalid(at, each, "must be a strict subset of `cidr`")


def _network(text: str) -> IPv4Network | IPv6Network | None:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None


def _is_within(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    if part.version != whole.version or part.prefixlen <= whole.prefixlen:
        return False
    return part.network_address in whole


# -- ServiceCIDR and IPAddress ---------------------------------------------------------------------


def validate_service_cidr(service_cidr: Object) -> list[Cause]:
    """Return what is wrong with a ServiceCIDR."""
    return list(_service_cidr((service_cidr.get("spec") or {}).get("cidrs") or [], "spec.cidrs"))


def validate_service_cidr_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ServiceCIDR: its ranges stay."""
    after, before = ((each.get("spec") or {}).get("cidrs") for each in (new, old))
    return list(immutable(after, before, "spec.cidrs"))


def _service_cidr(cidrs: list[str], path: str) -> Iterator[Cause]:
    if not cidrs:
        yield required(path, "at least one CIDR required")
        return
    if len(cidrs) > 2:
        why = "must only specify two values, one for each IP family"
        yield invalid(path, cidrs, why)
        return
    for index, cidr in enumerate(cidrs):
        yield from causes_of(names.canonical_cidr(cidr), f"{path}[{index}]", cidr)
    found = [_network(each) for each in cidrs]
    if len({each.version for each in found if each is not None}) < len(cidrs):
        yield invalid(
            path, cidrs, "must specify one for each IP family, i.e. [10.0.0.0/24, 2001:db8::/64]"
        )


def validate_ip_address(address: Object) -> list[Cause]:
    """Return what is wrong with an IPAddress."""
    parent, path = (address.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        return [required(path)]
    causes: list[Cause] = []
    if parent.get("group"):
        at = f"{path}.group"
        causes += causes_of(names.dns1123_subdomain(parent["group"]), at, parent["group"])
    for name in ("resource", "name"):
        value = parent.get(name) or ""
        if not value:
            causes.append(required(f"{path}.{name}"))
        else:
            causes += causes_of(names.path_segment(value), f"{path}.{name}", value)
    if parent.get("namespace"):
        at = f"{path}.namespace"
        causes += causes_of(names.path_segment(parent["namespace"]), at, parent["namespace"])
    return causes


def validate_ip_address_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an IPAddress: it belongs to whom it belongs."""
    after, before = ((each.get("spec") or {}).get("parentRef") for each in (new, old))
    return list(immutable(after, before, "spec.parentRef"))
