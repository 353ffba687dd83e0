"""HorizontalPodAutoscaler as autoscaling/v1 has it: a share of CPU, and all else in annotations.

Conversions to and from autoscaling/v2, which is stored (pkg/apis/autoscaling/v1/conversion.go). Pure; what cannot be
understood in an annotation is left where it is.
"""

import json
from typing import Any

Object = dict[str, Any]

METRICS = "autoscaling.alpha.kubernetes.io/metrics"
CURRENT_METRICS = "autoscaling.alpha.kubernetes.io/current-metrics"
CONDITIONS = "autoscaling.alpha.kubernetes.io/conditions"
BEHAVIOR = "autoscaling.alpha.kubernetes.io/behavior"
_PLAIN_SPEC = ("scaleTargetRef", "minReplicas", "maxReplicas")
_PLAIN_STATUS = ("observedGeneration", "lastScaleTime", "currentReplicas", "desiredReplicas")


def to_v2(autoscaler: Object) -> Object:
    """Return an autoscaling/v1 object as autoscaling/v2."""
    metadata = dict(autoscaler["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    made = {name: spec[name] for name in _PLAIN_SPEC if name in spec}
    metrics = [_metric_to_v2(each) for each in _taken(annotations, METRICS) or ()]
    share = spec.get("targetCPUUtilizationPercentage")
    if share is not None:
        metrics.append(_cpu_metric(share))
    made["metrics"] = metrics or [_cpu_metric(80)]
    behavior = _taken(annotations, BEHAVIOR)
    if behavior is not None:
        made["behavior"] = behavior
    result: Object = {**autoscaler, "metadata": metadata, "spec": made}
    result["status"] = _status_to_v2(status, annotations)
    metadata.pop("annotations", None)
    if annotations:
        metadata["annotations"] = annotations
    if not result["status"]:
        del result["status"]
    return result


def to_v1(autoscaler: Object) -> Object:
    """Return an autoscaling/v2 object as autoscaling/v1."""
    metadata = dict(autoscaler["metadata"])
    annotations = dict(metadata.get("annotations") or {})
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    made = {name: spec[name] for name in _PLAIN_SPEC if name in spec}
    others = []
    for metric in spec.get("metrics") or ():
        share = _cpu_share(metric, "target")
        if share is None:
            others.append(_metric_to_v1(metric))
        elif "targetCPUUtilizationPercentage" not in made:
            made["targetCPUUtilizationPercentage"] = share
    current = [_current_to_v1(each) for each in status.get("currentMetrics") or ()]
    _put(annotations, METRICS, others)
    _put(annotations, CURRENT_METRICS, current)
    _put(annotations, CONDITIONS, status.get("conditions"))
    _put(annotations, BEHAVIOR, spec.get("behavior"))
    told = {"currentReplicas": 0, "desiredReplicas": 0}  # which v1 always shows
    told |= {name: status[name] for name in _PLAIN_STATUS if name in status}
    for each in status.get("currentMetrics") or ():
        share = _cpu_share(each, "current")
        if share is not None:
            told["currentCPUUtilizationPercentage"] = share
    if annotations:
        metadata["annotations"] = annotations
    result = {**autoscaler, "metadata": metadata, "spec": made}
    if "status" in autoscaler:
        result["status"] = told
    return result


def _status_to_v2(status: Object, annotations: Object) -> Object:
    made: Object = {name: status[name] for name in _PLAIN_STATUS if name in status}
    current = _taken(annotations, CURRENT_METRICS)
    share = status.get("currentCPUUtilizationPercentage")
    if current is not None:
        made["currentMetrics"] = [_current_to_v2(each) for each in current]
    elif share is not None:
        resource = {"name": "cpu", "current": {"averageUtilization": share}}
        made["currentMetrics"] = [{"type": "Resource", "resource": resource}]
    conditions = _taken(annotations, CONDITIONS)
    if conditions is not None:
        made["conditions"] = conditions
    return made


def _cpu_metric(share: int) -> Object:
    target = {"type": "Utilization", "averageUtilization": share}
    return {"type": "Resource", "resource": {"name": "cpu", "target": target}}


def _cpu_share(metric: Object, part: str) -> Any:
    """Return the share of CPU that a metric is about; None for any other."""
    resource = metric.get("resource") or {}
    if metric.get("type") != "Resource" or resource.get("name") != "cpu":
        return None
    return (resource.get(part) or {}).get("averageUtilization")


def _put(annotations: Object, name: str, value: Any) -> None:
    if value:
        annotations[name] = json.dumps(value, separators=(",", ":"))


def _taken(annotations: Object, name: str) -> Any:
    """Take a value out of its annotation; None when there is none that can be understood."""
    try:
        value = json.loads(annotations[name])
    except (KeyError, ValueError, TypeError):
        return None
    if not isinstance(value, dict if name == BEHAVIOR else list):
        return None
    if isinstance(value, list) and not all(isinstance(each, dict) for each in value):
        return None
    del annotations[name]
    return value


# v1's name of a target, v2's name of it, for each source; and the same for what is current.
_TARGETS = {
    "resource": {
        "targetAverageUtilization": "averageUtilization",
        "targetAverageValue": "averageValue",
    },
    "containerResource": {
        "targetAverageUtilization": "averageUtilization",
        "targetAverageValue": "averageValue",
    },
    "pods": {"targetAverageValue": "averageValue"},
    "object": {"targetValue": "value", "averageValue": "averageValue"},
    "external": {"targetValue": "value", "targetAverageValue": "averageValue"},
}
_CURRENTS = {
    "resource": {
        "currentAverageUtilization": "averageUtilization",
        "currentAverageValue": "averageValue",
    },
    "containerResource": {
        "currentAverageUtilization": "averageUtilization",
        "currentAverageValue": "averageValue",
    },
    "pods": {"currentAverageValue": "averageValue"},
    "object": {"currentValue": "value", "averageValue": "averageValue"},
    "external": {"currentValue": "value", "currentAverageValue": "averageValue"},
}


def _metric_to_v2(metric: Object) -> Object:
    return _each_source(
        metric, lambda name, source: _source_to_v2(name, source, "target", _TARGETS)
    )


def _metric_to_v1(metric: Object) -> Object:
    return _each_source(
        metric, lambda name, source: _source_to_v1(name, source, "target", _TARGETS)
    )


def _current_to_v2(metric: Object) -> Object:
    return _each_source(
        metric, lambda name, source: _source_to_v2(name, source, "current", _CURRENTS)
    )


def _current_to_v1(metric: Object) -> Object:
    return _each_source(
        metric, lambda name, source: _source_to_v1(name, source, "current", _CURRENTS)
    )


def _each_source(metric: Object, convert: Any) -> Object:
    return {
        name: convert(name, value) if name in _TARGETS and isinstance(value, dict) else value
        for name, value in metric.items()
    }


def _selector_name(name: str) -> str:
    return "metricSelector" if name == "external" else "selector"


def _source_to_v2(name: str, source: Object, part: str, words: dict[str, dict[str, str]]) -> Object:
    values = {new: source[old] for old, new in words[name].items() if source.get(old) is not None}
    if part == "target":
        values = {"type": _target_type(values), **values}
    made: Object = {key: source[key] for key in ("name", "container") if key in source}
    if name == "object":
        made["describedObject"] = source.get("target") or {}
    if name in ("object", "pods", "external"):
        metric = {"name": source.get("metricName") or ""}
        if source.get(_selector_name(name)) is not None:
            metric["selector"] = source[_selector_name(name)]
        made["metric"] = metric
    return {**made, part: values}


def _target_type(values: Object) -> str:
    if "averageUtilization" in values:
        return "Utilization"
    return "AverageValue" if "averageValue" in values else "Value"


def _source_to_v1(name: str, source: Object, part: str, words: dict[str, dict[str, str]]) -> Object:
    values = source.get(part) or {}
    made: Object = {key: source[key] for key in ("name", "container") if key in source}
    made |= {old: values[new] for old, new in words[name].items() if values.get(new) is not None}
    metric = source.get("metric") or {}
    if name == "object":
        made["target"] = source.get("describedObject") or {}
    if metric:
        made["metricName"] = metric.get("name") or ""
        if metric.get("selector") is not None:
            made[_selector_name(name)] = metric["selector"]
    return made
