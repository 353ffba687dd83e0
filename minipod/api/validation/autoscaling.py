"""HorizontalPodAutoscalers, in the form of autoscaling/v2 (pkg/apis/autoscaling/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.numbers import counts
from minipod.api.validation.resources import container_resource_name

Object = dict[str, Any]

_LONGEST_WINDOW, _LONGEST_PERIOD = 3600, 1800
# What a metric's type is called, and where it says the rest.
_SOURCES = {
    "ContainerResource": "containerResource",
    "External": "external",
    "Object": "object",
    "Pods": "pods",
    "Resource": "resource",
}
_TARGETS = ("AverageValue", "Utilization", "Value")
_INFORMATION = "must populate information for the given metric source"


def validate_autoscaler(autoscaler: Object) -> list[Cause]:
    """Return what is wrong with a HorizontalPodAutoscaler."""
    return list(_spec(autoscaler.get("spec") or {}, {}, "spec"))


def validate_autoscaler_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a HorizontalPodAutoscaler."""
    return list(_spec(new.get("spec") or {}, old.get("spec") or {}, "spec"))


def validate_autoscaler_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of a HorizontalPodAutoscaler."""
    status = new.get("status") or {}
    return list(counts(status, ("currentReplicas", "desiredReplicas"), "status"))


def _spec(spec: Object, before: Object, path: str) -> Iterator[Cause]:
    """Check a spec. Versions that were taken once may stay, and so may scaling to zero."""
    low, high = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    lowest = 0 if before.get("minReplicas") == 0 else 1
    if low is not None and low < lowest:
        why = f"must be greater than or equal to {lowest}"
        yield invalid(f"{path}.minReplicas", low, why)
    if high == 0:
        yield required(f"{path}.maxReplicas", "must be set and greater than 0")
    elif high < 0:
        yield invalid(f"{path}.maxReplicas", high, "must be greater than or equal to 1")
    if low is not None and high < low:
        why = "must be greater than or equal to `minReplicas`"
        yield invalid(f"{path}.maxReplicas", high, why)
    yield from _target_reference(spec, before, f"{path}.scaleTargetRef")
    metrics, had_any = spec.get("metrics") or [], _had_any_version(before)
    for index, metric in enumerate(metrics):
        yield from _metric(metric, had_any, f"{path}.metrics[{index}]")
    if low == 0 and not any(each.get("type") in ("Object", "External") for each in metrics):
        why = "must specify at least one Object or External metric to support scaling to zero replicas"
        yield forbidden(f"{path}.metrics", why)
    for name in ("scaleUp", "scaleDown"):
        rules = (spec.get("behavior") or {}).get(name)
        if rules is not None:
            yield from _rules(rules, f"{path}.behavior.{name}")


def _target_reference(spec: Object, before: Object, path: str) -> Iterator[Cause]:
    reference, was = spec.get("scaleTargetRef") or {}, before.get("scaleTargetRef") or {}
    yield from _reference(reference, path)
    version = reference.get("apiVersion") or ""
    names_of = ("apiVersion", "kind")
    if before and all((was.get(name) or "") == (reference.get(name) or "") for name in names_of):
        return
    yield from _version(version, path)
    group = version.rpartition("/")[0]
    if not group and reference.get("kind") != "ReplicationController":
        yield invalid(f"{path}.apiVersion", version, "apiVersion must specify API group")


def _had_any_version(before: Object) -> bool:
    """Whether a version that is none was taken for the object of a metric once."""
    objects = (
        (each.get("object") or {}).get("describedObject") or {}
        for each in before.get("metrics") or ()
        if each.get("type") == "Object"
    )
    return any((each.get("apiVersion") or "").count("/") > 1 for each in objects)


def _reference(reference: Object, path: str) -> Iterator[Cause]:
    for name in ("kind", "name"):
        value = reference.get(name) or ""
        if not value:
            yield required(f"{path}.{name}")
        else:
            yield from causes_of(names.path_segment(value), f"{path}.{name}", value)


def _version(version: str, path: str) -> Iterator[Cause]:
    if version.count("/") > 1:
        why = f"unexpected GroupVersion string: {version}"
        yield invalid(f"{path}.apiVersion", version, why)


def _metric(metric: Object, any_version: bool, path: str) -> Iterator[Cause]:
    kind = metric.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric source type")
    if kind not in _SOURCES:
        yield not_supported(f"{path}.type", kind, _SOURCES)
    given = [name for name in _SOURCES.values() if metric.get(name) is not None]
    if given:
        yield from _source(given[0], metric[given[0]], any_version, f"{path}.{given[0]}")
    expected = _SOURCES.get(kind, "")
    if expected and expected not in given:
        yield required(f"{path}.{expected}", _INFORMATION)
    if len(given) != 1:
        for name in given:
            if name != expected:
                why = "must populate the given metric source only"
                yield forbidden(f"{path}.{name}", why)


def _source(name: str, source: Object, any_version: bool, path: str) -> Iterator[Cause]:
    target, at = source.get("target") or {}, f"{path}.target"
    if name == "object":
        described = source.get("describedObject") or {}
        yield from _reference(described, f"{path}.describedObject")
        if not any_version:
            yield from _version(described.get("apiVersion") or "", f"{path}.describedObject")
    if name in ("resource", "containerResource"):
        resource = source.get("name") or ""
        if not resource:
            yield required(f"{path}.name", "must specify a resource name")
        if name == "containerResource":
            yield from container_resource_name(resource, f"{path}.name") if resource else ()
            yield from _container(source.get("container") or "", f"{path}.container")
    else:
        yield from _identifier(source.get("metric") or {}, f"{path}.metric")
    yield from _target(target, at)
    yield from _CHECKS[name](target, at)


def _container(name: str, path: str) -> Iterator[Cause]:
    if not name:
        yield required(path, "must specify a container")
    else:
        yield from causes_of(names.dns1123_label(name), path, name)


def _of_object(target: Object, path: str) -> Iterator[Cause]:
    if target.get("value") is None and target.get("averageValue") is None:
        why = "must set either a target value or averageValue"
        yield required(f"{path}.averageValue", why)


def _of_external(target: Object, path: str) -> Iterator[Cause]:
    value, average = target.get("value"), target.get("averageValue")
    if value is None and average is None:
        why = "must set either a target value for metric or a per-pod target"
        yield required(f"{path}.averageValue", why)
    if value is not None and average is not None:
        why = "may not set both a target value for metric and a per-pod target"
        yield forbidden(f"{path}.value", why)


def _of_pods(target: Object, path: str) -> Iterator[Cause]:
    if target.get("averageValue") is None:
        yield required(f"{path}.averageValue", "must specify a positive target averageValue")


def _of_resource(target: Object, path: str) -> Iterator[Cause]:
    share, average = target.get("averageUtilization"), target.get("averageValue")
    if share is None and average is None:
        why = "must set either a target raw value or a target utilization"
        yield required(f"{path}.averageUtilization", why)
    if share is not None and average is not None:
        why = "may not set both a target raw value and a target utilization"
        yield forbidden(f"{path}.averageValue", why)


_CHECKS = {
    "object": _of_object,
    "external": _of_external,
    "pods": _of_pods,
    "resource": _of_resource,
    "containerResource": _of_resource,
}


def _identifier(metric: Object, path: str) -> Iterator[Cause]:
    name = metric.get("name") or ""
    if not name:
        yield required(f"{path}.name", "must specify a metric name")
    else:
        yield from causes_of(names.path_segment(name), f"{path}.name", name)


def _target(target: Object, path: str) -> Iterator[Cause]:
    kind = target.get("type") or ""
    if not kind:
        yield required(f"{path}.type", "must specify a metric target type")
    if kind not in _TARGETS:
        why = "must be either Utilization, Value, or AverageValue"
        yield invalid(f"{path}.type", kind, why)
    for name in ("value", "averageValue"):
        if target.get(name) is not None and quantity.parse(target[name]) <= 0:
            yield invalid(f"{path}.{name}", quantity.canonical(target[name]), "must be positive")
    share = target.get("averageUtilization")
    if share is not None and share < 1:
        yield invalid(f"{path}.averageUtilization", share, "must be greater than 0")


def _rules(rules: Object, path: str) -> Iterator[Cause]:
    window, at = rules.get("stabilizationWindowSeconds"), f"{path}.stabilizationWindowSeconds"
    if window is not None and window < 0:
        yield invalid(at, window, "must be greater than or equal to zero")
    if window is not None and window > _LONGEST_WINDOW:
        yield invalid(at, window, f"must be less than or equal to {_LONGEST_WINDOW}")
    chosen, supported = rules.get("selectPolicy"), ("Disabled", "Max", "Min")
    if chosen is not None and chosen not in supported:
        yield not_supported(f"{path}.selectPolicy", chosen, supported)
    policies = rules.get("policies") or []
    if not policies:
        yield required(f"{path}.policies", "must specify at least one Policy")
    for index, policy in enumerate(policies):
        yield from _scaling_policy(policy, f"{path}.policies[{index}]")
    if rules.get("tolerance") is not None and quantity.parse(rules["tolerance"]) < 0:
        shown = quantity.canonical(rules["tolerance"])
        yield invalid(f"{path}.tolerance", shown, "must be greater than or equal to 0")


def _scaling_policy(policy: Object, path: str) -> Iterator[Cause]:
    if policy.get("type") not in ("Percent", "Pods"):
        yield not_supported(f"{path}.type", policy.get("type") or "", ("Percent", "Pods"))
    value, period = policy.get("value") or 0, policy.get("periodSeconds") or 0
    if value <= 0:
        yield invalid(f"{path}.value", value, "must be greater than zero")
    if period <= 0:
        yield invalid(f"{path}.periodSeconds", period, "must be greater than zero")
    if period > _LONGEST_PERIOD:
        why = f"must be less than or equal to {_LONGEST_PERIOD}"
        yield invalid(f"{path}.periodSeconds", period, why)
