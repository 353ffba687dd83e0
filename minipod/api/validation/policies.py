"""PodDisruptionBudget, PriorityClass, RuntimeClass, Lease: small kinds that bound or order others."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, forbidden, invalid, not_supported, required
from minipod.api.shown import label_selector, struct
from minipod.api.validation.conditions import validate_conditions
from minipod.api.validation.metadata import causes_of, immutable, validate_labels
from minipod.api.validation.numbers import at_most_all, counts, int_or_percent
from minipod.api.validation.resources import validate_resources
from minipod.api.validation.scheduling import validate_label_selector, validate_tolerations
from minipod.api.validation.values import non_negative, repeats

Object = dict[str, Any]

HIGHEST_USER_PRIORITY = 1_000_000_000
SYSTEM_PRIORITIES = {
    "system-cluster-critical": 2_000_000_000,
    "system-node-critical": 2_000_001_000,
}
_TOLERATION = ("key", "operator", "value", "effect")
_BUDGET = ("MinAvailable", "Selector", "MaxUnavailable", "UnhealthyPodEvictionPolicy")
_PREEMPTION = ("PreemptLowerPriority", "Never")


def validate_budget(budget: Object) -> list[Cause]:
    """Return what is wrong with a PodDisruptionBudget."""
    return list(_budget(budget.get("spec") or {}, "spec"))


def validate_budget_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a PodDisruptionBudget."""
    return validate_budget(new)


def validate_budget_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the numbers of a PodDisruptionBudget."""
    status = new.get("status") or {}
    parts = ("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods")
    conditions = validate_conditions(status.get("conditions") or [], "status.conditions")
    return [*conditions, *counts(status, parts, "status")]


def _budget(spec: Object, path: str) -> Iterator[Cause]:
    given = [name for name in ("minAvailable", "maxUnavailable") if spec.get(name) is not None]
    if len(given) == 2:
        shown = struct({**spec, "selector": label_selector(spec.get("selector"))}, *_BUDGET)
        yield invalid(path, shown, "minAvailable and maxUnavailable cannot be both set")
    for name in given:
        yield from int_or_percent(spec[name], f"{path}.{name}")
        yield from at_most_all(spec[name], f"{path}.{name}")
    yield from validate_label_selector(spec.get("selector"), f"{path}.selector")
    policy, supported = spec.get("unhealthyPodEvictionPolicy"), ("AlwaysAllow", "IfHealthyBudget")
    if policy is not None and policy not in supported:
        yield not_supported(f"{path}.unhealthyPodEvictionPolicy", policy, supported)


def validate_priority_class(priority_class: Object) -> list[Cause]:
    """Return what is wrong with a PriorityClass."""
    return list(_priority_class(priority_class))


def validate_priority_class_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a PriorityClass: Pods have its value already."""
    return [
        *(
            [forbidden("value", "may not be changed in an update.")]
            if new.get("value") != old.get("value")
            else []
        ),
        *immutable(new.get("preemptionPolicy"), old.get("preemptionPolicy"), "preemptionPolicy"),
    ]


def _priority_class(priority_class: Object) -> Iterator[Cause]:
    name, value = priority_class["metadata"].get("name") or "", priority_class.get("value") or 0
    if name.startswith("system-"):
        problem = _not_system(priority_class, name, value)
        if problem:
            why = (
                "priority class names with 'system-' prefix are reserved for system use only. "
                f"error: {problem}"
            )
            yield forbidden("metadata.name", why)
    elif value > HIGHEST_USER_PRIORITY:
        why = f"maximum allowed value of a user defined priority is {HIGHEST_USER_PRIORITY}"
        yield forbidden("value", why)
    policy = priority_class.get("preemptionPolicy")
    if not policy:
        yield required("preemptionPolicy")
    elif policy not in _PREEMPTION:
        yield not_supported("preemptionPolicy", policy, _PREEMPTION)


def _not_system(priority_class: Object, name: str, value: int) -> str:
    """Return why a PriorityClass is none of the system's own, "" when it is one."""
    known = SYSTEM_PRIORITIES.get(name)
    if known is None:
        return f"{name} is not a known system priority class"
    if value != known:
        return f"value of {name} PriorityClass must be {known}"
    if priority_class.get("globalDefault"):
        return f"globalDefault of {name} PriorityClass must be false"
    return ""


def validate_runtime_class(runtime_class: Object) -> list[Cause]:
    """Return what is wrong with a RuntimeClass."""
    return list(_runtime_class(runtime_class))


def validate_runtime_class_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a RuntimeClass: its handler stays."""
    after, before = (each.get("handler") or "" for each in (new, old))
    return [*validate_runtime_class(new), *immutable(after, before, "handler")]


def _runtime_class(runtime_class: Object) -> Iterator[Cause]:
    handler = runtime_class.get("handler") or ""
    if not handler:
        yield required("handler")
    else:
        yield from causes_of(names.dns1123_label(handler), "handler", handler)
    fixed = {"limits": (runtime_class.get("overhead") or {}).get("podFixed")}
    yield from validate_resources(fixed, frozenset(), "overhead")
    scheduling = runtime_class.get("scheduling") or {}
    yield from validate_labels(scheduling.get("nodeSelector"), "scheduling.nodeSelector")
    tolerations = scheduling.get("tolerations") or []
    yield from validate_tolerations(tolerations, "scheduling.tolerations")
    keys = [tuple(each.get(name) or "" for name in _TOLERATION) for each in tolerations]
    for index in sorted(repeats(keys)):
        told = dict(zip(("Key", "Operator", "Value", "Effect"), keys[index], strict=True))
        shown = {**told, "TolerationSeconds": tolerations[index].get("tolerationSeconds")}
        yield duplicate(f"scheduling.tolerations[{index}]", shown)


def validate_lease(lease: Object) -> list[Cause]:
    """Return what is wrong with a Lease."""
    return list(_lease(lease.get("spec") or {}, "spec"))


def validate_lease_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a Lease."""
    return validate_lease(new)


def _lease(spec: Object, path: str) -> Iterator[Cause]:
    duration = spec.get("leaseDurationSeconds")
    if duration is not None and duration <= 0:
        yield invalid(f"{path}.leaseDurationSeconds", duration, "must be greater than 0")
    yield from non_negative(spec.get("leaseTransitions"), f"{path}.leaseTransitions")
    strategy = spec.get("strategy")
    if strategy is not None:
        yield from causes_of(names.qualified_name(strategy), f"{path}.strategy", strategy)
    if spec.get("preferredHolder") and not strategy:
        why = "may only be specified if `strategy` is defined"
        yield forbidden(f"{path}.preferredHolder", why)
