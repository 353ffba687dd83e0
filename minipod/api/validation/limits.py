"""LimitRanges and ResourceQuotas (pkg/apis/core/validation)."""

from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any

from minipod.api import names, quantity, quota_scopes
from minipod.api.field import Cause, duplicate, forbidden, invalid, required
from minipod.api.shown import struct
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.resources import (
    RESOURCES,
    container_resource_name,
    is_extended,
    resource_name,
)

Object = dict[str, Any]

_LIMIT_TYPES = ("Container", "PersistentVolumeClaim", "Pod")
_WHOLE = frozenset(
    (
        "pods",
        "resourcequotas",
        "services",
        "replicationcontrollers",
        "secrets",
        "configmaps",
        "persistentvolumeclaims",
        "services.nodeports",
        "services.loadbalancers",
    )
)
_MAPS = ("max", "min", "default", "defaultRequest", "maxLimitRequestRatio")
# (where, whose value is shown, smaller, larger, text): what must not be above what.
_ORDER = (
    ("min", "min", "min", "max", "min value {} is greater than max value {}"),
    (
        "defaultRequest",
        "defaultRequest",
        "min",
        "defaultRequest",
        "min value {} is greater than default request value {}",
    ),
    (
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "max",
        "default request value {} is greater than max value {}",
    ),
    (
        "defaultRequest",
        "defaultRequest",
        "defaultRequest",
        "default",
        "default request value {} is greater than default limit value {}",
    ),
    ("default", "min", "min", "default", "min value {} is greater than default value {}"),
    ("default", "max", "default", "max", "default value {} is greater than max value {}"),
)


def validate_limit_range(limit_range: Object) -> list[Cause]:
    """Return what is wrong with a LimitRange."""
    return list(_limits((limit_range.get("spec") or {}).get("limits") or [], "spec.limits"))


def validate_limit_range_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a LimitRange."""
    return validate_limit_range(new)


def _limits(limits: list[Object], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, limit in enumerate(limits):
        at, kind = f"{path}[{index}]", limit.get("type") or ""
        problems = names.qualified_name(kind)
        yield from causes_of(problems, f"{at}.type", kind)
        if not problems and "/" not in kind and kind not in _LIMIT_TYPES:
            yield invalid(f"{at}.type", kind, "must be a standard limit type or fully qualified")
        if kind in seen:
            yield duplicate(f"{at}.type", kind)
        seen.add(kind)
        for name in ("default", "defaultRequest") if kind == "Pod" else ():
            if limit.get(name):
                yield forbidden(f"{at}.{name}", "may not be specified when `type` is 'Pod'")
        bounds = {**(limit.get("min") or {}), **(limit.get("max") or {})}
        if kind == "PersistentVolumeClaim" and "storage" not in bounds:
            why = "either minimum or maximum storage value is required, but neither was provided"
            yield required(f"{at}.limits", why)
        yield from _limit(limit, at)


def _limit(limit: Object, path: str) -> Iterator[Cause]:
    given = {name: limit.get(name) or {} for name in _MAPS}
    keys = sorted({key for each in given.values() for key in each})
    for key in keys:
        rule = resource_name
        if limit.get("type") in ("Container", "Pod"):
            rule = container_resource_name
        for name in _MAPS:
            if key in given[name]:
                yield from rule(key, f"{path}.{name}[{key}]")
        yield from _ordered(given, key, path)


def _ordered(given: dict[str, Object], key: str, path: str) -> Iterator[Cause]:
    amounts = {name: quantity.parse(each[key]) for name, each in given.items() if key in each}
    for where, shown, smaller, larger, text in _ORDER:
        if smaller in amounts and larger in amounts and amounts[smaller] > amounts[larger]:
            why = text.format(given[smaller][key], given[larger][key])
            yield invalid(f"{path}.{where}[{key}]", given[shown][key], why)
    yield from _equal(given, key, path)
    ratio = amounts.get("maxLimitRequestRatio")
    if ratio is None:
        return
    at, written = f"{path}.maxLimitRequestRatio[{key}]", given["maxLimitRequestRatio"][key]
    if ratio < 1:
        yield invalid(at, written, f"ratio {written} is less than 1")
    low, high = amounts.get("min", Fraction(0)), amounts.get("max")
    if low and high is not None and ratio > high / low:
        yield invalid(
            at, written, f"ratio {written} is greater than max/min = {float(high / low):f}"
        )


def _equal(given: dict[str, Object], key: str, path: str) -> Iterator[Cause]:
    """Check that what cannot be overcommitted (huge pages, devices) is requested as it is limited."""
    limit, request = given["default"].get(key), given["defaultRequest"].get(key)
    if allows_overcommit(key) or limit is None or request is None:
        return
    if quantity.parse(limit) != quantity.parse(request):
        why = f"default value {limit} must equal to defaultRequest value {request} in {key}"
        yield invalid(f"{path}.defaultRequest[{key}]", request, why)


def allows_overcommit(name: str) -> bool:
    """Whether more of a resource may be limited than requested: of Kubernetes' own, but for huge pages."""
    prefix, slash, _ = name.partition("/")
    native = not slash or prefix.endswith("kubernetes.io")
    return native and not name.startswith("hugepages-")


def validate_quota(quota: Object) -> list[Cause]:
    """Return what is wrong with a ResourceQuota."""
    return list(_quota(quota))


def validate_quota_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ResourceQuota: its scopes stay."""
    after, before = ((each.get("spec") or {}).get("scopes") or [] for each in (new, old))
    fixed = [] if set(after) == set(before) else [
        invalid("spec.scopes", after, "field is immutable")
    ]  # fmt: skip
    return [*_quota(new), *fixed]


def validate_quota_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the usage that a ResourceQuota tells of."""
    status = new.get("status") or {}
    return [
        cause
        for name in ("hard", "used")
        for key, amount in (status.get(name) or {}).items()
        for cause in _amount(key, amount, f"status.{name}[{key}]")
    ]


def _quota(quota: Object) -> Iterator[Cause]:
    spec = quota.get("spec") or {}
    for key, amount in (spec.get("hard") or {}).items():
        yield from _amount(key, amount, f"spec.hard[{key}]")
    yield from _scopes(spec, "spec.scopes")
    yield from _scope_selector(spec, "spec.scopeSelector.matchExpressions")


def _amount(name: str, amount: Any, path: str) -> Iterator[Cause]:
    yield from resource_name(name, path)
    if "/" not in name and not _is_standard(name):
        yield invalid(path, name, "must be a standard resource for quota")
    value, shown = quantity.parse(amount), quantity.canonical(amount)
    if value < 0:
        yield invalid(path, shown, "must be greater than or equal to 0")
    if value.denominator != 1 and (name in _WHOLE or is_extended(name)):
        yield invalid(path, shown, "must be an integer")


def _is_standard(name: str) -> bool:
    return name in RESOURCES or name.startswith(("hugepages-", "requests.hugepages-"))


def _misfits(scope: str, hard: Iterable[str]) -> bool:
    """Whether a quota of a scope limits a resource that the scope says nothing about."""
    known = scope in quota_scopes.SCOPES
    return known and not all(quota_scopes.fits(scope, key) for key in hard if _is_standard(key))


def _scopes(spec: Object, path: str) -> Iterator[Cause]:
    scopes, hard = spec.get("scopes") or [], spec.get("hard") or {}
    if any(scope not in quota_scopes.SCOPES for scope in scopes):
        yield invalid(path, scopes, "unsupported scope")
    for scope in scopes:
        if _misfits(scope, hard):
            yield invalid(path, scopes, "unsupported scope applied to resource")
    for one, other in quota_scopes.CONFLICTS:
        if one in scopes and other in scopes:
            yield invalid(path, scopes, "conflicting scopes")


def _scope_selector(spec: Object, path: str) -> Iterator[Cause]:
    given, hard = (
        (spec.get("scopeSelector") or {}).get("matchExpressions") or [],
        spec.get("hard") or {},
    )
    for each in given:
        scope = each.get("scopeName") or ""
        operator, values = each.get("operator") or "", each.get("values") or []
        if scope not in quota_scopes.SCOPES:
            yield invalid(f"{path}.scopeName", scope, "unsupported scope")
        if _misfits(scope, hard):
            why = "unsupported scope applied to resource"
            shown = [struct(each, "ScopeName", "Operator", "Values") for each in given]
            yield invalid(path, {"MatchExpressions": shown}, why)
        if scope in quota_scopes.WITHOUT_VALUES and operator != "Exists":
            why = (
                "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
                "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, "
                "ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity"
            )
            yield invalid(f"{path}.operator", operator, why)
        if operator in ("In", "NotIn") and not values:
            why = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector"
            yield required(f"{path}.values", why)
        elif operator in ("Exists", "DoesNotExist") and values:
            why = "must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"
            yield invalid(f"{path}.values", values, why)
        elif operator not in ("In", "NotIn", "Exists", "DoesNotExist"):
            yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    named = {each.get("scopeName") for each in given}
    for one, other in quota_scopes.CONFLICTS:
        if one in named and other in named:
            yield invalid(path, spec.get("scopes"), "conflicting scopes")
