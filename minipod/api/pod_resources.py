"""What a Pod asks for: its quality of service class, and the sums the scheduler and the node count with."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from minipod.api import quantity

Object = dict[str, Any]
Amounts = dict[str, Fraction]

_QOS_RESOURCES = ("cpu", "memory")
_BYTES = ("memory", "storage", "hugepages-", "ephemeral-storage")


def is_of_pods(name: str) -> bool:
    """Return whether a Pod as a whole may ask for a resource."""
    return name in _QOS_RESOURCES or name.startswith("hugepages-")


def compute_qos_class(pod: Object) -> str:
    """Return Guaranteed, Burstable or BestEffort, by the cpu and memory that the Pod or its containers ask for.

    Guaranteed: everything has limits, and requests that equal them. BestEffort: nothing has either.
    """
    spec = pod.get("spec") or {}
    whole = spec.get("resources") or {}
    asked = [whole] if _amounts(whole, "requests") or _amounts(whole, "limits") else _each(spec)
    if not any(_amounts(each, "requests") or _amounts(each, "limits") for each in asked):
        return "BestEffort"
    return "Guaranteed" if all(_is_guaranteed(each) for each in asked) else "Burstable"


def compute_pod_requests(pod: Object) -> Amounts:
    """Return what the scheduler reserves for a Pod: while it is being resized, the larger of what it has and wants."""
    return compute_pod_amounts(_settled(pod), "requests")


def compute_granted(pod: Object) -> Amounts:
    """Return the requests that the node has granted a Pod, whatever its spec asks for now."""
    return compute_pod_amounts(_settled(pod, only_granted=True), "requests")


def compute_pod_amounts(pod: Object, which: str) -> Amounts:
    """Return a Pod's `requests` or `limits`: what its containers ask for, unless the Pod says it for all (KEP-2837)."""
    spec = pod.get("spec") or {}
    total = sum_containers(spec, which)
    total.update(_parsed((spec.get("resources") or {}).get(which)))
    overhead = _parsed(spec.get("overhead"))
    if which == "limits":  # of what has no limit, an overhead makes none
        overhead = {name: amount for name, amount in overhead.items() if total.get(name)}
    return _sum((total, overhead))


def sum_containers(spec: Object, which: str) -> Amounts:
    """Return what a Pod's containers ask for: the larger of the running sum and the initialization's peak.

    Sidecars run beside everything that starts after them (KEP-753).
    """

    def asked(container: Object) -> Amounts:
        return _parsed((container.get("resources") or {}).get(which))

    running = _sum(asked(each) for each in spec.get("containers") or ())
    sidecars: Amounts = {}
    peak: Amounts = {}
    for container in spec.get("initContainers") or ():
        if container.get("restartPolicy") == "Always":
            sidecars = _sum((sidecars, asked(container)))
            peak = _largest(peak, sidecars)
        else:
            peak = _largest(peak, _sum((sidecars, asked(container))))
    return _largest(_sum((running, sidecars)), peak)


def compute_enforced(pod: Object) -> Object:
    """Return the requests and limits of a whole Pod, as written; a limit only where it holds for all of the Pod.

    It does when the Pod says it, or when every container has one.
    """
    spec = pod.get("spec") or {}
    own = (spec.get("resources") or {}).get("limits") or {}
    limited = [(each.get("limits") or {}).keys() for each in _each(spec)]
    found = {
        "requests": compute_pod_amounts(pod, "requests"),
        "limits": {
            name: amount
            for name, amount in compute_pod_amounts(pod, "limits").items()
            if name in own or all(name in names for names in limited)
        },
    }
    return {
        which: {name: written(name, each) for name, each in sorted(amounts.items())}
        for which, amounts in found.items()
        if amounts
    }


def written(name: str, amount: Fraction) -> str:
    """Return an amount of a resource as a quantity: bytes in powers of 1024."""
    plain = name.rpartition(".")[2]
    if plain.startswith(_BYTES) and amount.denominator == 1 and amount and amount % 1024 == 0:
        return quantity.in_binary(amount)
    return quantity.in_decimal(amount)


def _settled(pod: Object, *, only_granted: bool = False) -> Object:
    """Return the Pod with the requests that the node has granted it, where a resize is not done (KEP-1287).

    Of one that the node cannot do at all, only what was granted counts.
    """
    status, spec = pod.get("status") or {}, pod.get("spec") or {}
    conditions = status.get("conditions") or ()
    infeasible = only_granted or any(
        each.get("type") == "PodResizePending" and each.get("reason") == "Infeasible"
        for each in conditions
    )
    granted = {
        each["name"]: each["allocatedResources"]
        for group in ("initContainerStatuses", "containerStatuses")
        for each in status.get(group) or ()
        if each.get("allocatedResources")
    }
    changed = {**spec}
    for group in ("initContainers", "containers"):
        if any(each.get("name") in granted for each in spec.get(group) or ()):
            changed[group] = [
                _granted(each, granted.get(each.get("name", "")), infeasible)
                for each in spec[group]
            ]
    if spec.get("resources"):
        whole = _granted(spec, _granted_as_a_whole(spec, status), infeasible)
        changed["resources"] = whole["resources"]
    return {**pod, "spec": changed}


def _granted_as_a_whole(spec: Object, status: Object) -> Object:
    """Return what was granted of what the Pod itself asks for: its status has its containers' and the overhead too."""
    own, overhead = spec["resources"].get("requests") or {}, _parsed(spec.get("overhead"))
    granted = _parsed(status.get("allocatedResources"))
    return {
        name: written(name, amount - overhead.get(name, Fraction()))
        for name, amount in granted.items()
        if name in own
    }


def _granted(asking: Object, granted: Object | None, infeasible: bool) -> Object:
    resources = asking.get("resources") or {}
    requests = resources.get("requests") or {}
    if not granted or granted == requests:
        return asking
    larger = {
        name: amount
        for name, amount in granted.items()
        if infeasible or quantity.parse(amount) > quantity.parse(requests.get(name, "0"))
    }
    return {**asking, "resources": {**resources, "requests": {**requests, **larger}}}


def _each(spec: Object) -> list[Object]:
    containers = [*(spec.get("initContainers") or ()), *(spec.get("containers") or ())]
    return [each.get("resources") or {} for each in containers]


def _amounts(resources: Object, which: str) -> Amounts:
    """Return the positive cpu and memory amounts: zero is as good as nothing."""
    found = _parsed(resources.get(which))
    return {name: found[name] for name in _QOS_RESOURCES if found.get(name)}


def _is_guaranteed(resources: Object) -> bool:
    limits, requests = _amounts(resources, "limits"), _amounts(resources, "requests")
    return len(limits) == len(_QOS_RESOURCES) and all(
        requests.get(name, amount) == amount for name, amount in limits.items()
    )


def _parsed(amounts: Mapping[str, str] | None) -> Amounts:
    return {name: quantity.parse(each) for name, each in (amounts or {}).items()}


def _sum(all_amounts: Iterable[Amounts]) -> Amounts:
    total: Amounts = {}
    for amounts in all_amounts:
        for name, amount in amounts.items():
            total[name] = total.get(name, Fraction(0)) + amount
    return total


def _largest(one: Amounts, other: Amounts) -> Amounts:
    return {
        name: max(one.get(name, Fraction(0)), other.get(name, Fraction(0)))
        for name in {**one, **other}
    }
