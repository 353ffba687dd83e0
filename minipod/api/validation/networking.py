"""networking.k8s.io/v1: Ingress, IngressClass; the status of load balancers."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, not_supported, required, too_long
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.values import domain_prefixed_path

Object = dict[str, Any]

PROTOCOLS = ("SCTP", "TCP", "UDP")
_PATH_TYPES = ("Exact", "ImplementationSpecific", "Prefix")
_PATH_SEQUENCES = ("//", "/./", "/../", "%2f", "%2F")
_PATH_SUFFIXES = ("/..", "/.")
_CLASS_ANNOTATION = "kubernetes.io/ingress.class"
_CONTROLLER_LIMIT = 250
_IP_MODES = ("Proxy", "VIP")

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


def validate_ingress_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an Ingress; where a Secret had no name that can be, none needs one."""
    terms = (old.get("spec") or {}).get("tls") or ()
    had = any(names.dns1123_subdomain(each.get("secretName") or "x") for each in terms)
    return list(_ingress(new.get("spec") or {}, "spec", any_secret=had))


def validate_ingress_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of an Ingress."""
    status, before = ((each.get("status") or {}).get("loadBalancer") or {} for each in (new, old))
    return list(validate_load_balancer(status, before, "status.loadBalancer"))


def validate_load_balancer(
    status: Object, before: Object, path: str, *, modes: bool = False
) -> Iterator[Cause]:
    """Check the addresses of a load balancer, a Service's with their `modes`; those taken once may stay."""
    known = {each.get("ip") for each in before.get("ingress") or ()}
    for index, each in enumerate(status.get("ingress") or ()):
        at = f"{path}.ingress[{index}]"
        if each.get("ip") and each["ip"] not in known:
            yield from causes_of(names.ip(each["ip"]), f"{at}.ip", each["ip"])
        if modes:
            yield from _ip_mode(each, f"{at}.ipMode")
        if each.get("hostname"):
            host = each["hostname"]
            yield from causes_of(names.dns1123_subdomain(host), f"{at}.hostname", host)
            if _is_address(host):
                yield invalid(f"{at}.hostname", host, "must be a DNS name, not an IP address")


def _ip_mode(ingress: Object, path: str) -> Iterator[Cause]:
    mode, address = ingress.get("ipMode"), ingress.get("ip")
    if mode is None:
        if address:
            yield required(path, "must be specified when `ip` is set")
    elif not address:
        yield forbidden(path, "may not be specified when `ip` is not set")
    elif mode not in _IP_MODES:
        yield not_supported(path, mode, _IP_MODES)


def _ingress(spec: Object, path: str, *, any_secret: bool = False) -> Iterator[Cause]:
    rules, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rules and default is None:
        why = "either `defaultBackend` or `rules` must be specified"
        yield invalid(path, spec.get("rules"), why)
    if default is not None:
        yield from _backend(default, f"{path}.defaultBackend")
    for index, rule in enumerate(rules):
        at = f"{path}.rules[{index}]"
        if rule.get("host"):
            yield from _host(rule["host"], f"{at}.host", rule=True)
        if rule.get("http") is not None:
            yield from _http(rule["http"], f"{at}.http")
    for index, tls in enumerate(spec.get("tls") or ()):
        for number, host in enumerate(tls.get("hosts") or ()):
            yield from _host(host, f"{path}.tls[{index}].hosts[{number}]", rule=False)
        secret = tls.get("secretName")
        if secret and not any_secret:
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
        yield from causes_of(names.dns1123_label(name), f"{path}.service.name", name)
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
            yield required(f"{path}.{name}")
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
    after, before = ((each.get("spec") or {}).get("controller") or "" for each in (new, old))
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
        if namespace is None:
            yield required(f"{at}.namespace", "`parameters.scope` is set to 'Namespace'")
        else:
            yield from causes_of(names.dns1123_label(namespace), f"{at}.namespace", namespace)
    elif scope == "Cluster" and namespace is not None:
        yield forbidden(f"{at}.namespace", "`parameters.scope` is set to 'Cluster'")
