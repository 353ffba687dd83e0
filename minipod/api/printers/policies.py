"""What `get` shows of kinds that bound, order and scale others."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.simple import AGE, NAME, NONE, age_cell, row

Object = dict[str, Any]

QUOTA_COLUMNS = (
    NAME,
    Column("Request", description="What is used of what may be requested."),
    Column("Limit", description="What is used of what may be set as limits."),
    AGE,
)
BUDGET_COLUMNS = (
    NAME,
    Column("Min Available", description="How many Pods must stay."),
    Column("Max Unavailable", description="How many Pods may be missing."),
    Column("Allowed Disruptions", type="integer", description="How many may go at this moment."),
    AGE,
)
PRIORITY_CLASS_COLUMNS = (
    NAME,
    Column("Value", type="integer", description="The priority of Pods of this class."),
    Column("Global-Default", type="boolean", description="Whether Pods without a class are of it."),
    AGE,
    Column("PreemptionPolicy", description="Whether its Pods displace others."),
)
RUNTIME_CLASS_COLUMNS = (
    NAME,
    Column("Handler", description="The configuration that runs it."),
    AGE,
)
LEASE_COLUMNS = (NAME, Column("Holder", description="Who has it."), AGE)
AUTOSCALER_COLUMNS = (
    NAME,
    Column("Reference", description="What is scaled."),
    Column("Targets", description="What is measured, and what it should be."),
    Column("MinPods", description="How few Pods there may be."),
    Column("MaxPods", description="How many Pods there may be."),
    Column("Replicas", description="How many Pods there are."),
    AGE,
)
COMPONENT_STATUS_COLUMNS = (
    NAME,
    Column("Status", description="Whether the component is healthy."),
    Column("Message", description="What it says."),
    Column("Error", description="What is wrong with it."),
)
_UNKNOWN = "<unknown>"
_METRICS_SHOWN = 2
_METRIC_SOURCES = ("resource", "containerResource", "pods", "object", "external")


def quota_cells(quota: Object, now: datetime) -> list[Any]:
    """Return the cells of a ResourceQuota's row."""
    status = quota.get("status") or {}
    used = status.get("used") or {}
    requests: list[str] = []
    limits: list[str] = []
    for name, hard in sorted((status.get("hard") or {}).items()):
        text = f"{name}: {used.get(name, '0')}/{hard}"
        (limits if name.startswith("limits.") else requests).append(text)
    return row(quota, now, ", ".join(requests), ", ".join(limits))


def budget_cells(budget: Object, now: datetime) -> list[Any]:
    """Return the cells of a PodDisruptionBudget's row."""
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    least, most = (_or_none(spec.get(name)) for name in ("minAvailable", "maxUnavailable"))
    return row(budget, now, least, most, status.get("disruptionsAllowed") or 0)


def _or_none(value: Any) -> str:
    return "N/A" if value is None else str(value)


def priority_class_cells(priority_class: Object, now: datetime) -> list[Any]:
    """Return the cells of a PriorityClass's row."""
    return [
        priority_class["metadata"].get("name", ""),
        priority_class.get("value") or 0,
        bool(priority_class.get("globalDefault")),
        age_cell(priority_class, now),
        priority_class.get("preemptionPolicy") or "",
    ]


def runtime_class_cells(runtime_class: Object, now: datetime) -> list[Any]:
    """Return the cells of a RuntimeClass's row."""
    return row(runtime_class, now, runtime_class.get("handler") or "")


def lease_cells(lease: Object, now: datetime) -> list[Any]:
    """Return the cells of a Lease's row."""
    return row(lease, now, (lease.get("spec") or {}).get("holderIdentity") or "")


def component_status_cells(component: Object, _now: datetime) -> list[Any]:
    """Return the cells of a ComponentStatus's row."""
    status, message, error = "Unknown", "", ""
    for each in component.get("conditions") or ():
        if each.get("type") == "Healthy":
            status = "Healthy" if each.get("status") == "True" else "Unhealthy"
            message, error = each.get("message") or "", each.get("error") or ""
    return [component["metadata"].get("name", ""), status, message, error]


def autoscaler_cells(autoscaler: Object, now: datetime) -> list[Any]:
    """Return the cells of a HorizontalPodAutoscaler's row, in the form of autoscaling/v2."""
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    least = spec.get("minReplicas")
    return row(
        autoscaler,
        now,
        f"{target.get('kind', '')}/{target.get('name', '')}",
        _targets(spec.get("metrics") or [], status.get("currentMetrics") or []),
        "<unset>" if least is None else str(least),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
    )


def _targets(metrics: list[Object], current: list[Object]) -> str:
    """Return what is measured of what is wanted; two metrics, and how many more there are."""
    if not metrics:
        return NONE
    texts = [
        _target(metric, current[index] if index < len(current) else {})
        for index, metric in enumerate(metrics)
    ]
    text = ", ".join(texts[:_METRICS_SHOWN])
    more = len(texts) - _METRICS_SHOWN
    return f"{text} + {more} more..." if more > 0 else text


def _target(metric: Object, current: Object) -> str:
    kind = metric.get("type") or ""
    name = kind[:1].lower() + kind[1:]
    if name not in _METRIC_SOURCES:
        return "<unknown type>"
    of_resource = name in ("resource", "containerResource")
    source, now = metric.get(name) or {}, (current.get(name) or {}).get("current") or {}
    wanted = source.get("target") or {}
    prefix = f"{source.get('name')}: " if of_resource else ""
    if wanted.get("averageUtilization") is not None:
        share = now.get("averageUtilization")
        measured = _UNKNOWN if share is None else f"{share}%"
        return f"{prefix}{measured}/{wanted['averageUtilization']}%"
    if wanted.get("averageValue") is not None:
        suffix = " (avg)" if name in ("external", "object") else ""
        return f"{prefix}{now.get('averageValue', _UNKNOWN)}/{wanted['averageValue']}{suffix}"
    unset = "<auto>" if of_resource else _UNKNOWN
    return f"{prefix}{now.get('value', _UNKNOWN)}/{wanted.get('value', unset)}"
