"""What a Pod asks for: its quality of service class, and the sums the scheduler and the node count with."""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from minipod.api import quantity

Object = dict[str, Any]
Amounts = dict[str, Fraction]

_QOS_RESOURCES = ("cpu", "memory")


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
    """Return what the scheduler reserves for a Pod."""
    return compute_pod_amounts(pod, "requests")


def compute_pod_amounts(pod: Object, which: str) -> Amounts:
    """Return a Pod's `requests` or `limits`: the larger of its running sum and its initialization's peak.

    Sidecars run beside everything that starts after them (KEP-753).
    """
    spec = pod.get("spec") or {}

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
    total = _largest(_sum((running, sidecars)), peak)
    total.update(_parsed((spec.get("resources") or {}).get(which)))
    overhead = _parsed(spec.get("overhead"))
    if which == "limits":  # of what has no limit, an overhead makes none
        overhead = {name: amount for name, amount in overhead.items() if total.get(name)}
    return _sum((total, overhead))


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
