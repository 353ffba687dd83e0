"""LimitRange, ResourceQuota, PodDisruptionBudget, PriorityClass, RuntimeClass, Lease, ComponentStatus."""

from typing import Any

from minipod.api import deprecations, quantity
from minipod.api.kind import Hooks
from minipod.api.printers import policies as printers
from minipod.api.validation import limits, policies

Object = dict[str, Any]


def _default_limit_range(limit_range: Object) -> None:
    """A container's default limit is its maximum, its default request that limit, else its minimum."""
    for limit in (limit_range.get("spec") or {}).get("limits") or ():
        if limit.get("type") != "Container":
            continue
        default = {**(limit.get("max") or {}), **(limit.get("default") or {})}
        request = {**(limit.get("min") or {}), **default, **(limit.get("defaultRequest") or {})}
        for name, amounts in (("default", default), ("defaultRequest", request)):
            if amounts:
                limit[name] = amounts


def _default_priority_class(priority_class: Object) -> None:
    priority_class.setdefault("preemptionPolicy", "PreemptLowerPriority")
    if "value" not in priority_class:
        priority_class["value"] = 0


def _quota_warnings(quota: Object) -> list[str]:
    """Return one line for each resource of which more may be requested than limited."""
    hard = (quota.get("spec") or {}).get("hard") or {}
    found = []
    for name in ("cpu", "memory", "storage", "ephemeral-storage"):
        request, limit = f"requests.{name}", f"limits.{name}"
        if request not in hard and name in ("cpu", "memory"):
            request = name
        if request in hard and limit in hard:
            one, other = (quantity.canonical(hard[each]) for each in (request, limit))
            if quantity.parse(one) > quantity.parse(other):
                why = f"should be less than {limit} ({other})"
                found.append(f"ResourceQuota {request} ({one}) {why}")
    return found


def _runtime_class_warnings(runtime_class: Object) -> list[str]:
    labels = (runtime_class.get("scheduling") or {}).get("nodeSelector") or ()
    return [
        warning
        for label in labels
        for warning in deprecations.of_node_label(label, "scheduling.nodeSelector")
    ]


def _drop_strategy(lease: Object) -> None:
    """Leases are not handed from one holder to another by the server: coordinated election is alpha."""
    for name in ("strategy", "preferredHolder"):
        (lease.get("spec") or {}).pop(name, None)


def _drop_new_strategy(new: Object, old: Object) -> None:
    if not (old.get("spec") or {}).get("strategy"):
        _drop_strategy(new)


def _component(name: str) -> Object:
    condition = {"type": "Healthy", "status": "True", "message": "ok"}
    return {
        "kind": "ComponentStatus",
        "apiVersion": "v1",
        "metadata": {"name": name},
        "conditions": [condition],
    }


def components() -> list[Object]:
    """Return the parts of the control plane. They live in the process that answers: who hears this, they are well."""
    return [_component(name) for name in ("controller-manager", "etcd-0", "scheduler")]


LIMIT_RANGE = Hooks(
    defaults=_default_limit_range,
    validate_create=limits.validate_limit_range,
    validate_update=limits.validate_limit_range_update,
)
RESOURCE_QUOTA = Hooks(
    validate_create=limits.validate_quota,
    validate_update=limits.validate_quota_update,
    validate_status_update=limits.validate_quota_status,
    warnings=_quota_warnings,
    columns=printers.QUOTA_COLUMNS,
    cells=printers.quota_cells,
)
POD_DISRUPTION_BUDGET = Hooks(
    validate_create=policies.validate_budget,
    validate_update=policies.validate_budget_update,
    validate_status_update=policies.validate_budget_status,
    columns=printers.BUDGET_COLUMNS,
    cells=printers.budget_cells,
)
PRIORITY_CLASS = Hooks(
    defaults=_default_priority_class,
    validate_create=policies.validate_priority_class,
    validate_update=policies.validate_priority_class_update,
    columns=printers.PRIORITY_CLASS_COLUMNS,
    cells=printers.priority_class_cells,
)
RUNTIME_CLASS = Hooks(
    validate_create=policies.validate_runtime_class,
    validate_update=policies.validate_runtime_class_update,
    warnings=_runtime_class_warnings,
    update_warnings=lambda new, _old: _runtime_class_warnings(new),
    columns=printers.RUNTIME_CLASS_COLUMNS,
    cells=printers.runtime_class_cells,
)
LEASE = Hooks(
    validate_create=policies.validate_lease,
    prepare_create=_drop_strategy,
    prepare_update=_drop_new_strategy,
    validate_update=policies.validate_lease_update,
    columns=printers.LEASE_COLUMNS,
    cells=printers.lease_cells,
)
COMPONENT_STATUS = Hooks(
    computed=components,
    columns=printers.COMPONENT_STATUS_COLUMNS,
    cells=printers.component_status_cells,
)
