"""PodDisruptionBudgets: what they count, and what follows of it. Pure.

Semantics of upstream's disruption controller (pkg/controller/disruption) and of its eviction subresource.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from minipod.api.selectors import from_object

Object = dict[str, Any]

BUDGETS = "poddisruptionbudgets.policy"
ALLOWED = "DisruptionAllowed"
SUFFICIENT, INSUFFICIENT, FAILED = "SufficientPods", "InsufficientPods", "SyncFailed"


@dataclass(frozen=True)
class Counts:
    """The numbers of a budget's status."""

    expected: int
    desired: int
    healthy: int

    @property
    def allowed(self) -> int:
        """How many Pods may be disrupted now: of a budget that expects no Pod, none, whatever comes."""
        return max(0, self.healthy - self.desired) if self.expected > 0 else 0


def selects(budget: Object, pod: Object) -> bool:
    """Whether a budget is for a Pod of its namespace: one without a selector is for none."""
    selector = (budget.get("spec") or {}).get("selector")
    labels = pod["metadata"].get("labels") or {}
    return selector is not None and from_object(selector).matches(labels)


def is_ready(pod: Object) -> bool:
    """Whether a Pod counts as healthy."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(each.get("type") == "Ready" and each.get("status") == "True" for each in conditions)


def count_healthy(pods: Iterable[Object], disrupted: Object) -> int:
    """Count the Pods that are ready and stay: those being deleted, or about to be, do not."""
    return sum(
        is_ready(pod)
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"] and pod["metadata"]["name"] not in disrupted
    )


def depends_on_scale(budget: Object) -> bool:
    """Whether a budget is a part of the Pods that there should be, which their controllers know."""
    spec = budget.get("spec") or {}
    return spec.get("maxUnavailable") is not None or isinstance(spec.get("minAvailable"), str)


def compute_expected(budget: Object, pods: int, scale: int) -> tuple[int, int]:
    """Return how many Pods are expected, and how many of them are to be healthy.

    `pods`: those there are; `scale`: what their controllers should keep.
    """
    spec = budget.get("spec") or {}
    most, least = spec.get("maxUnavailable"), spec.get("minAvailable")
    if most is not None:
        return scale, max(0, scale - _part(most, scale))
    if isinstance(least, str):
        return scale, _part(least, scale)
    return (pods, least) if least is not None else (0, 0)


def _part(value: int | str, whole: int) -> int:
    """Return a number, or a percentage of the whole, rounded up."""
    return -(-int(value.rstrip("%")) * whole // 100) if isinstance(value, str) else value


def compute_status(budget: Object, counts: Counts, disrupted: Object, now: str) -> Object:
    """Return the status of a budget that was counted."""
    before = budget.get("status") or {}
    status: Object = {
        "observedGeneration": budget["metadata"].get("generation", 0),
        "disruptionsAllowed": counts.allowed,
        "currentHealthy": counts.healthy,
        "desiredHealthy": counts.desired,
        "expectedPods": counts.expected,
        **({"disruptedPods": disrupted} if disrupted else {}),
    }
    return with_allowed({**status, "conditions": before.get("conditions") or []}, now)


def compute_failed(budget: Object, why: str, now: str) -> Object:
    """Return the status of a budget that cannot be counted: nothing may be disrupted."""
    status = {**(budget.get("status") or {}), "disruptionsAllowed": 0}
    return _with_condition(status, "False", FAILED, why, now)


def with_allowed(status: Object, now: str) -> Object:
    """Return a status whose condition says whether disruptions are allowed."""
    some = status["disruptionsAllowed"] > 0
    chosen = ("True", SUFFICIENT) if some else ("False", INSUFFICIENT)
    return _with_condition(status, *chosen, "", now)


def _with_condition(status: Object, value: str, reason: str, message: str, now: str) -> Object:
    conditions = status.get("conditions") or []
    before = find_allowed(status)
    same = before is not None and before.get("status") == value
    made = {
        "type": ALLOWED,
        "status": value,
        "observedGeneration": status.get("observedGeneration", 0),
        "lastTransitionTime": before["lastTransitionTime"] if same and before else now,
        "reason": reason,
        "message": message,
    }
    others = [made if each is before else each for each in conditions]
    return {**status, "conditions": others if before is not None else [*others, made]}


def find_allowed(status: Object) -> Object | None:
    """Return the condition that says whether disruptions are allowed, None before there is one."""
    conditions = status.get("conditions") or ()
    return next((each for each in conditions if each.get("type") == ALLOWED), None)


def refusal(name: str, status: Object) -> str:
    """Return why a budget lets no Pod go, as upstream's eviction says it."""
    condition = find_allowed(status) or {}
    message = condition.get("message") if condition.get("status") == "False" else ""
    healthy, desired = status.get("currentHealthy", 0), status.get("desiredHealthy", 0)
    refused = f"The disruption budget {name} does not allow evicting pods currently"
    if message and condition.get("reason") == FAILED:
        return f"{refused} because it failed sync: {message}"
    if healthy <= desired:
        return (
            f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
        )
    return f"{refused} ({condition.get('reason')}): {message}" if message else refused


def shown_selector(selector: Object | None) -> str:
    """Return a label selector as upstream's Events show it."""
    if selector is None:
        return "nil"
    labels = "".join(f"{k}: {v}," for k, v in sorted((selector.get("matchLabels") or {}).items()))
    terms: Sequence[Object] = selector.get("matchExpressions") or ()
    shown = "".join(
        f"LabelSelectorRequirement{{Key:{each.get('key', '')},Operator:{each.get('operator', '')},"
        f"Values:[{' '.join(each.get('values') or ())}],}},"
        for each in terms
    )
    return (
        f"&LabelSelector{{MatchLabels:map[string]string{{{labels}}},"
        f"MatchExpressions:[]LabelSelectorRequirement{{{shown}}},}}"
    )
