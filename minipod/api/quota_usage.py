"""What objects use of a ResourceQuota: pure (pkg/quota/v1/evaluator/core).

`usage_of(kind, obj)` is what one object uses; a quota's usage is the sum over the objects that it selects.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from fractions import Fraction
from typing import Any

from minipod.api import quantity, quota_scopes
from minipod.api.kind import Kind
from minipod.api.pod_resources import Amounts, compute_pod_amounts
from minipod.api.service_strategy import needs_node_port

Object = dict[str, Any]

_COUNTED = (
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
)
_CLASS_SUFFIX = ".storageclass.storage.k8s.io/"
# What a Pod's containers must say when a quota is about it.
_MUST_SAY = ("cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory")


def usage_of(kind: Kind, obj: Object, now: datetime) -> Amounts:
    """Return what an object uses, by the names that quotas have for it."""
    used: Amounts = {f"count/{kind.resource}": Fraction(1)}
    if kind.resource == "pods":
        return used | _pod_usage(obj, now)
    if kind.resource == "services":
        return used | _service_usage(obj)
    if kind.resource == "persistentvolumeclaims":
        return used | _claim_usage(obj)
    if kind.resource in _COUNTED:
        used[kind.resource] = Fraction(1)
    return used


def is_relevant(kind: Kind, hard: Mapping[str, Any]) -> bool:
    """Whether a quota of these amounts is about objects of a kind."""
    return any(resource in _names(kind) or _belongs(kind, resource) for resource in hard)


def _names(kind: Kind) -> tuple[str, ...]:
    return f"count/{kind.resource}", kind.resource


def _belongs(kind: Kind, resource: str) -> bool:
    if kind.resource == "services":
        return resource in ("services.nodeports", "services.loadbalancers")
    if kind.resource == "persistentvolumeclaims":
        return resource == "requests.storage" or _CLASS_SUFFIX in resource
    if kind.resource != "pods" or resource.startswith("count/") or _CLASS_SUFFIX in resource:
        return False
    plain = resource.startswith(("requests.", "limits.", "hugepages-"))
    return resource in ("cpu", "memory", "ephemeral-storage") or (
        plain and resource != "requests.storage"
    )


def _pod_usage(pod: Object, now: datetime) -> Amounts:
    """Return the usage of a Pod that is not over, and not overdue in its ending."""
    if not _counts(pod, now):
        return {}
    used: Amounts = {"pods": Fraction(1)}
    for name, amount in compute_pod_amounts(pod, "requests").items():
        used[f"requests.{name}"] = amount
        if name in ("cpu", "memory", "ephemeral-storage") or name.startswith("hugepages-"):
            used[name] = amount
    for name, amount in compute_pod_amounts(pod, "limits").items():
        used[f"limits.{name}"] = amount
    return used


def _counts(pod: Object, now: datetime) -> bool:
    if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
        return False
    metadata = pod["metadata"]
    ending, grace = metadata.get("deletionTimestamp"), metadata.get("deletionGracePeriodSeconds")
    if not ending or grace is None:
        return True
    return now < datetime.fromisoformat(ending.replace("Z", "+00:00"))


def _service_usage(service: Object) -> Amounts:
    spec = service.get("spec") or {}
    used: Amounts = {"services": Fraction(1)}
    used["services.loadbalancers"] = Fraction(spec.get("type") == "LoadBalancer")
    ports = len(spec.get("ports") or ()) if needs_node_port(spec) else 0
    used["services.nodeports"] = Fraction(ports)
    return used


def _claim_usage(claim: Object) -> Amounts:
    spec = claim.get("spec") or {}
    asked = ((spec.get("resources") or {}).get("requests") or {}).get("storage", "0")
    amount = quantity.parse(asked)
    have = ((claim.get("status") or {}).get("allocatedResources") or {}).get("storage")
    if have is not None:
        amount = max(amount, quantity.parse(have))
    used: Amounts = {"persistentvolumeclaims": Fraction(1), "requests.storage": amount}
    if spec.get("storageClassName"):
        prefix = f"{spec['storageClassName']}{_CLASS_SUFFIX}"
        used[f"{prefix}requests.storage"] = amount
        used[f"{prefix}persistentvolumeclaims"] = Fraction(1)
    return used


def total(usages: Iterable[Amounts], hard: Iterable[str]) -> Amounts:
    """Return the sum of usages, of the resources that a quota names: zero where nothing uses them."""
    found = {name: Fraction(0) for name in hard}
    for usage in usages:
        for name in found:
            found[name] += usage.get(name, 0)
    return found


def selects(quota: Object, kind: Kind, obj: Object) -> bool:
    """Whether a quota counts an object: its scopes allow it."""
    return quota_scopes.selects(quota.get("spec") or {}, kind.resource, obj)


def find_unsaid(pod: Object, hard: Mapping[str, Any]) -> dict[str, list[str]]:
    """Return the containers that do not say what a quota counts: resource to names."""
    spec = pod.get("spec") or {}
    if (spec.get("resources") or {}).get("requests") or (spec.get("resources") or {}).get("limits"):
        return {}
    found: dict[str, list[str]] = {}
    for resource in _MUST_SAY:
        if resource not in hard:
            continue
        which, _, name = resource.rpartition(".")
        for group in ("containers", "initContainers"):
            for container in spec.get(group) or ():
                given = (container.get("resources") or {}).get(which or "requests") or {}
                if name not in given:
                    found.setdefault(resource, []).append(container.get("name") or "")
    return found
