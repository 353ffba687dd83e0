"""LimitRange, ResourceQuota, PodDisruptionBudget, PriorityClass, RuntimeClass, Lease, ComponentStatus."""

from typing import Any

from minipod.api import quantity
from minipod.api.hooks.templates import fill
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
    fill(priority_class, {"preemptionPolicy": "PreemptLowerPriority"})
    if "value" not in priority_class:
        priority_class["value"] = 0


def _quota_warnings(quota: Object) -> list[str]:
    """Return one line for each amount that is a fraction of a byte."""
    return [
        f'spec.hard[{name}]: fractional byte value "{amount}" is invalid, must be an integer'
        for name, amount in ((quota.get("spec") or {}).get("hard") or {}).items()
        if name.endswith(("memory", "storage")) and quantity.parse(amount).denominator != 1
    ]


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
    columns=printers.RUNTIME_CLASS_COLUMNS,
    cells=printers.runtime_class_cells,
)
LEASE = Hooks(
    validate_create=policies.validate_lease,
    validate_update=policies.validate_lease_update,
    columns=printers.LEASE_COLUMNS,
    cells=printers.lease_cells,
)
COMPONENT_STATUS = Hooks(
    computed=components,
    columns=printers.COMPONENT_STATUS_COLUMNS,
    cells=printers.component_status_cells,
)
