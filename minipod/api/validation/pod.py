"""A Pod as a whole."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, required
from minipod.api.validation.containers import (
    PodContext,
    validate_containers,
    validate_ephemeral_containers,
    validate_init_containers,
)
from minipod.api.validation.metadata import (
    causes_of,
    validate_annotations,
    validate_labels,
)
from minipod.api.validation.pod_annotations import (
    validate_pod_annotations,
    validate_profiles_agree,
)
from minipod.api.validation.resources import validate_pod_resources
from minipod.api.validation.scheduling import validate_scheduling
from minipod.api.validation.security import validate_pod_security
from minipod.api.validation.values import INT32_MAX, in_range, one_of
from minipod.api.validation.volumes import validate_volumes

Object = dict[str, Any]

# Values are listed in upstream's order, which is not always the alphabet's.
RESTART_POLICIES = ("Always", "OnFailure", "Never")
DNS_POLICIES = ("ClusterFirstWithHostNet", "ClusterFirst", "Default", "None")
_NAMESERVERS_LIMIT, _SEARCHES_LIMIT, _SEARCH_LIST_LIMIT = 3, 32, 2048
_HOSTNAME_LIMIT = 64


def validate_pod_create(pod: Object) -> list[Cause]:
    """Return what is wrong with a new Pod."""
    spec, annotations = pod.get("spec") or {}, pod["metadata"].get("annotations") or {}
    return [
        *validate_pod_annotations(annotations, spec, "metadata.annotations"),
        *validate_pod(pod),
        *validate_profiles_agree(annotations, spec, "spec"),
        *_only_on_create(spec),
    ]


def validate_pod(pod: Object) -> Iterator[Cause]:
    """Check a Pod's spec, new or updated."""
    yield from validate_pod_spec(pod.get("spec") or {}, "spec")


def validate_pod_template(template: Object | None, path: str) -> Iterator[Cause]:
    """Check the template that a controller makes Pods from."""
    template = template or {}
    metadata, spec = template.get("metadata") or {}, template.get("spec") or {}
    yield from validate_labels(metadata.get("labels"), f"{path}.labels")
    annotations = metadata.get("annotations") or {}
    yield from validate_annotations(annotations, f"{path}.annotations")
    yield from validate_pod_annotations(annotations, spec, f"{path}.annotations")
    yield from validate_pod_spec(spec, f"{path}.spec")
    yield from validate_profiles_agree(annotations, spec, f"{path}.spec")
    if spec.get("ephemeralContainers"):
        why = "ephemeral containers not allowed in pod template"
        yield forbidden(f"{path}.spec.ephemeralContainers", why)


def validate_pod_spec(spec: Object, path: str) -> Iterator[Cause]:
    """Check the spec of a Pod or of a template."""
    volumes, causes = validate_volumes(spec.get("volumes") or [], f"{path}.volumes")
    yield from causes
    context = PodContext(
        volumes=volumes,
        claims=frozenset(each.get("name", "") for each in spec.get("resourceClaims") or ()),
        grace=spec.get("terminationGracePeriodSeconds"),
        restart_policy=spec.get("restartPolicy") or "",
        host_users=spec.get("hostUsers") is not False,
        os=(spec.get("os") or {}).get("name") or "",
    )
    yield from validate_containers(spec, context, path)
    yield from validate_init_containers(spec, context, path)
    yield from validate_ephemeral_containers(spec, context, path)
    yield from validate_pod_resources(spec, f"{path}.resources")
    yield from _claims(spec.get("resourceClaims") or [], f"{path}.resourceClaims")
    yield from _host_network_ports(spec, path)
    yield from one_of(spec.get("restartPolicy"), RESTART_POLICIES, f"{path}.restartPolicy")
    yield from validate_pod_security(spec, path)
    yield from validate_scheduling(spec, path)
    yield from _dns(spec, path)
    yield from _names(spec, path)
    yield from _hostname(spec, path)
    yield from _numbers(spec, path)


def _only_on_create(spec: Object) -> Iterator[Cause]:
    if spec.get("ephemeralContainers"):
        yield forbidden("spec.ephemeralContainers", "cannot be set on create")
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield forbidden(
            "spec.nodeName", "cannot be set until all schedulingGates have been cleared"
        )


def _host_network_ports(spec: Object, path: str) -> Iterator[Cause]:
    if not spec.get("hostNetwork"):
        return
    for index, container in enumerate(spec.get("containers") or ()):
        for at_port, port in enumerate(container.get("ports") or ()):
            if port.get("hostPort", 0) != port.get("containerPort", 0):
                at = f"{path}.containers[{index}].ports[{at_port}].hostPort"
                why = "must match `containerPort` when `hostNetwork` is true"
                yield invalid(at, port.get("hostPort", 0), why)


def _claims(claims: list[Object], path: str) -> Iterator[Cause]:
    for index, claim in enumerate(claims):
        at, name = f"{path}[{index}]", claim.get("name") or ""
        if not name:
            yield required(f"{at}.name")
        else:
            yield from causes_of(names.dns1123_label(name), f"{at}.name", name)
        given = [
            each for each in ("resourceClaimName", "resourceClaimTemplateName") if claim.get(each)
        ]
        if len(given) != 1:
            word = "at most one of" if given else "must specify one of:"
            yield invalid(at, claim, f"{word} `resourceClaimName`, `resourceClaimTemplateName`")


def _dns(spec: Object, path: str) -> Iterator[Cause]:
    policy, config = spec.get("dnsPolicy"), spec.get("dnsConfig")
    yield from one_of(policy, DNS_POLICIES, f"{path}.dnsPolicy")
    at = f"{path}.dnsConfig"
    if policy == "None" and config is None:
        yield required(at, "must provide `dnsConfig` when `dnsPolicy` is None")
    elif policy == "None" and not (config or {}).get("nameservers"):
        why = "must provide at least one DNS nameserver when `dnsPolicy` is None"
        yield required(f"{at}.nameservers", why)
    if config is not None:
        yield from _dns_config(config, at)


def _dns_config(config: Object, path: str) -> Iterator[Cause]:
    servers, searches = config.get("nameservers") or [], config.get("searches") or []
    at = f"{path}.nameservers"
    if len(servers) > _NAMESERVERS_LIMIT:
        yield invalid(at, servers, f"must not have more than {_NAMESERVERS_LIMIT} nameservers")
    for index, server in enumerate(servers):
        yield from causes_of(names.ip(server), f"{at}[{index}]", server)
    at = f"{path}.searches"
    if len(searches) > _SEARCHES_LIMIT:
        yield invalid(at, searches, f"must not have more than {_SEARCHES_LIMIT} search paths")
    if len(" ".join(searches)) > _SEARCH_LIST_LIMIT:
        why = f"must not have more than {_SEARCH_LIST_LIMIT} characters (including spaces) in the search list"
        yield invalid(at, searches, why)
    for index, search in enumerate(searches):
        if search != ".":
            # Underscores are allowed in search domains (KEP-4427).
            plain = search.removesuffix(".").replace("_", "a")
            yield from causes_of(names.dns1123_subdomain(plain), f"{at}[{index}]", search)
    for index, option in enumerate(config.get("options") or ()):
        if not option.get("name"):
            yield required(f"{path}.options[{index}]", "must not be empty")


def _names(spec: Object, path: str) -> Iterator[Cause]:
    for name in ("serviceAccountName", "nodeName", "runtimeClassName"):
        value = spec.get(name)
        if value:
            yield from causes_of(names.dns1123_subdomain(value), f"{path}.{name}", value)
    for name in ("hostname", "subdomain"):
        value = spec.get(name)
        if value:
            yield from causes_of(names.dns1123_label(value), f"{path}.{name}", value)
    for index, alias in enumerate(spec.get("hostAliases") or ()):
        at, address = f"{path}.hostAliases[{index}]", alias.get("ip") or ""
        yield from causes_of(names.ip(address), f"{at}.ip", address)
        for at_name, host in enumerate(alias.get("hostnames") or ()):
            yield from causes_of(names.dns1123_subdomain(host), f"{at}.hostnames[{at_name}]", host)
    if spec.get("os") is not None:
        yield from one_of(spec["os"].get("name"), ("linux", "windows"), f"{path}.os.name")


def _hostname(spec: Object, path: str) -> Iterator[Cause]:
    """`hostnameOverride` is the kernel's name of the Pod, whole (KEP-4762)."""
    name, at = spec.get("hostnameOverride"), f"{path}.hostnameOverride"
    if name is None:
        return
    if len(name) > _HOSTNAME_LIMIT:
        yield invalid(at, name, f"must be no more than {_HOSTNAME_LIMIT} characters")
    yield from causes_of(names.dns1123_subdomain(name), at, name)
    for other in ("hostNetwork", "setHostnameAsFQDN"):
        if spec.get(other):
            yield forbidden(at, f"may not be set together with `{other}`")


def _numbers(spec: Object, path: str) -> Iterator[Cause]:
    if spec.get("terminationGracePeriodSeconds") is None:
        yield required(f"{path}.terminationGracePeriodSeconds")
    deadline = spec.get("activeDeadlineSeconds")
    if deadline is not None:
        yield from in_range(deadline, 1, INT32_MAX, f"{path}.activeDeadlineSeconds")
