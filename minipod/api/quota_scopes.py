"""Which objects a ResourceQuota is about: its scopes (pkg/quota/v1/evaluator/core/pods.go)."""

from collections.abc import Iterable, Mapping
from typing import Any

from minipod.api.pod_resources import compute_qos_class

Object = dict[str, Any]

WITHOUT_VALUES = (
    "BestEffort",
    "NotBestEffort",
    "Terminating",
    "NotTerminating",
    "CrossNamespacePodAffinity",
)
SCOPES = (*WITHOUT_VALUES, "PriorityClass", "VolumeAttributesClass")
CONFLICTS = (("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating"))
_COMPUTE = (
    "cpu",
    "memory",
    "requests.cpu",
    "requests.memory",
    "limits.cpu",
    "limits.memory",
)
_PODS = ("pods", "count/pods")
_CLAIMS = ("persistentvolumeclaims", "requests.storage")


def fits(scope: str, resource: str) -> bool:
    """Whether a scope says something about a resource that quotas know."""
    counted = {"BestEffort": _PODS, "VolumeAttributesClass": _CLAIMS}
    return resource in counted.get(scope, (*_PODS, *_COMPUTE))


def selects(spec: Mapping[str, Any], resource: str, obj: Object) -> bool:
    """Whether a quota of this spec counts an object of a resource (`pods`, `persistentvolumeclaims`)."""
    return all(_matches(each, resource, obj) for each in requirements(spec))


def requirements(spec: Mapping[str, Any]) -> Iterable[Object]:
    """Return the scopes of a quota as requirements; a scope by its name means that it holds."""
    for scope in spec.get("scopes") or ():
        yield {"scopeName": scope, "operator": "Exists"}
    yield from (spec.get("scopeSelector") or {}).get("matchExpressions") or ()


def _matches(requirement: Object, resource: str, obj: Object) -> bool:
    scope, spec = requirement.get("scopeName"), obj.get("spec") or {}
    if scope == "VolumeAttributesClass":
        if resource != "persistentvolumeclaims":
            return False
        return _compares(requirement, spec.get("volumeAttributesClassName") or "")
    if resource != "pods":
        return False
    if scope == "PriorityClass":
        return _compares(requirement, spec.get("priorityClassName") or "")
    if scope in ("Terminating", "NotTerminating"):
        return bool((spec.get("activeDeadlineSeconds") is not None) == (scope == "Terminating"))
    if scope in ("BestEffort", "NotBestEffort"):
        return bool((compute_qos_class(obj) == "BestEffort") == (scope == "BestEffort"))
    return scope == "CrossNamespacePodAffinity" and _looks_elsewhere(spec.get("affinity") or {})


def _compares(requirement: Object, value: str) -> bool:
    operator: str = requirement.get("operator") or ""
    values: list[str] = requirement.get("values") or []
    if operator == "Exists":
        return bool(value)
    if operator == "DoesNotExist":
        return not value
    return (value in values) == (operator == "In")


def _looks_elsewhere(affinity: Object) -> bool:
    """Whether a Pod's affinity is to Pods of other namespaces."""
    for name in ("podAffinity", "podAntiAffinity"):
        found = affinity.get(name) or {}
        terms = [
            *(found.get("requiredDuringSchedulingIgnoredDuringExecution") or ()),
            *(
                each.get("podAffinityTerm") or {}
                for each in found.get("preferredDuringSchedulingIgnoredDuringExecution") or ()
            ),
        ]
        if any(
            each.get("namespaces") or each.get("namespaceSelector") is not None for each in terms
        ):
            return True
    return False
