"""Resource requirements: known names, sane amounts, requests within limits."""

from collections.abc import Iterator, Mapping
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, forbidden, invalid, not_found, not_supported, required
from minipod.api.pod_resources import is_of_pods, sum_containers, written
from minipod.api.validation.metadata import causes_of

Object = dict[str, Any]

_STANDARD = ("cpu", "memory", "ephemeral-storage")
_POD_LEVEL = ("cpu", "memory")
RESOURCES = frozenset(
    (
        "cpu",
        "memory",
        "ephemeral-storage",
        "storage",
        "requests.cpu",
        "requests.memory",
        "requests.ephemeral-storage",
        "requests.storage",
        "limits.cpu",
        "limits.memory",
        "limits.ephemeral-storage",
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "persistentvolumeclaims",
        "configmaps",
        "services.nodeports",
        "services.loadbalancers",
    )
)


def validate_resources(
    resources: Object | None, claims: frozenset[str], path: str, pod_level: bool = False
) -> Iterator[Cause]:
    """Check a container's, or the Pod's own, requirements. `claims` are the names of the Pod's resource claims."""
    resources = resources or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for which, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            yield from _amount(name, amount, f"{path}.{which}[{name}]", pod_level)
    yield from _within(limits, requests, path)
    hugepages = [each for each in (*limits, *requests) if each.startswith("hugepages-")]
    if hugepages and not any(each in limits or each in requests for each in _POD_LEVEL):
        yield forbidden(path, "HugePages require cpu or memory")
    for index, claim in enumerate(resources.get("claims") or ()):
        if claim.get("name") not in claims:
            yield not_found(f"{path}.claims[{index}].name", claim.get("name") or "")


def validate_pod_resources(spec: Object, path: str) -> Iterator[Cause]:
    """Check the requirements of a Pod as a whole, and that its containers keep within them (KEP-2837)."""
    resources = spec.get("resources")
    if not resources:
        return
    if (spec.get("os") or {}).get("name") == "windows":
        yield forbidden(path, "may not be set for a windows pod")
        return
    yield from validate_resources(resources, frozenset(), path, pod_level=True)
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name, total in sum_containers(spec, "requests").items():
        if name in requests and total > quantity.parse(requests[name]):
            why = f"must be greater than or equal to aggregate container requests of {written(name, total)}"
            yield invalid(f"{path}.requests[{name}]", quantity.canonical(requests[name]), why)
    for index, container in enumerate(spec.get("containers") or ()):
        for name, amount in ((container.get("resources") or {}).get("limits") or {}).items():
            if name in limits and quantity.parse(amount) > quantity.parse(limits[name]):
                at = f"{path}.containers[{index}][{name}].limits"  # sic, as upstream builds it
                why = f"must be less than or equal to pod limits of {quantity.canonical(limits[name])}"
                yield invalid(at, quantity.canonical(amount), why)


def resource_name(name: str, path: str) -> Iterator[Cause]:
    """Check the name of any resource."""
    problems = names.qualified_name(name)
    yield from causes_of(problems, path, name)
    huge = name.startswith(("hugepages-", "requests.hugepages-"))
    if not problems and "/" not in name and name not in RESOURCES and not huge:
        yield invalid(path, name, "must be a standard resource type or fully qualified")


def is_extended(name: str) -> bool:
    """Whether a resource is none of Kubernetes' own."""
    native = "/" not in name or "kubernetes.io/" in name
    return (
        not native
        and not name.startswith("requests.")
        and not names.qualified_name(f"requests.{name}")
    )


def container_resource_name(name: str, path: str) -> Iterator[Cause]:
    """Check the name of a resource that a container may ask for."""
    yield from resource_name(name, path)
    if "/" not in name:
        if name not in _STANDARD and not name.startswith("hugepages-"):
            yield invalid(path, name, "must be a standard resource for containers")
    elif "kubernetes.io/" not in name and not is_extended(name):
        yield invalid(path, name, "doesn't follow extended resource name standard")


def _amount(name: str, amount: str, path: str, pod_level: bool) -> Iterator[Cause]:
    if not pod_level:
        yield from container_resource_name(name, path)
    elif not is_of_pods(name):
        yield not_supported(path, name, ("cpu", "hugepages-", "memory"))
    value = quantity.parse(amount)
    if value < 0:
        yield invalid(path, amount, "must be greater than or equal to 0")
    if not _is_divisible(name) and value.denominator != 1:
        yield invalid(path, amount, "must be an integer")
    if name.startswith("hugepages-") and not _is_of_whole_pages(name, amount):
        shown = quantity.canonical(amount)
        yield invalid(path, shown, f"{shown} is not positive integer multiple of {name}")


def _is_of_whole_pages(name: str, amount: str) -> bool:
    """Return whether an amount of huge pages is a multiple of the page size that their name tells."""
    size = name.removeprefix("hugepages-")
    if not quantity.is_quantity(size):
        return False
    bytes_each = quantity.parse(size)
    return (
        bytes_each > 0
        and bytes_each.denominator == 1
        and quantity.value(amount) % int(bytes_each) == 0
    )


def _is_divisible(name: str) -> bool:
    return name in _STANDARD


def _within(limits: Mapping[str, str], requests: Mapping[str, str], path: str) -> Iterator[Cause]:
    at = f"{path}.requests"
    for name, amount in requests.items():
        limit = limits.get(name)
        if limit is None:
            if not _is_divisible(name):
                yield required(
                    f"{path}.limits", "Limit must be set for non overcommitable resources"
                )
            continue
        wanted, bound = quantity.parse(amount), quantity.parse(limit)
        if wanted != bound and not _is_divisible(name):
            why = f"must be equal to {name} limit of {quantity.canonical(limit)}"
            yield invalid(at, quantity.canonical(amount), why)
        elif wanted > bound:
            why = f"must be less than or equal to {name} limit of {quantity.canonical(limit)}"
            yield invalid(at, quantity.canonical(amount), why)
