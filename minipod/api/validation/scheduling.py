"""Where a Pod may run: tolerations, affinity, spreading, gates."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of, validate_labels
from minipod.api.validation.values import one_of, optional_one_of

Object = dict[str, Any]

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("DoesNotExist", "Exists", "Gt", "In", "Lt", "NotIn")
_LABEL_OPERATORS = ("DoesNotExist", "Exists", "In", "NotIn")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"


def validate_scheduling(spec: Object, path: str) -> Iterator[Cause]:
    """Check all that tells the scheduler where to put a Pod."""
    yield from validate_labels(spec.get("nodeSelector"), f"{path}.nodeSelector")
    yield from validate_tolerations(spec.get("tolerations") or [], f"{path}.tolerations")
    yield from _affinity(spec.get("affinity") or {}, f"{path}.affinity")
    for index, each in enumerate(spec.get("topologySpreadConstraints") or ()):
        yield from _spread(each, f"{path}.topologySpreadConstraints[{index}]")
    yield from _gates(spec, path)
    if spec.get("priorityClassName"):
        name = spec["priorityClassName"]
        yield from causes_of(names.dns1123_subdomain(name), f"{path}.priorityClassName", name)
    yield from optional_one_of(
        spec.get("preemptionPolicy"), ("PreemptLowerPriority", "Never"), f"{path}.preemptionPolicy"
    )


def validate_tolerations(tolerations: list[Object], path: str) -> Iterator[Cause]:
    """Check a list of tolerations."""
    for index, each in enumerate(tolerations):
        at = f"{path}[{index}]"
        key, operator = each.get("key") or "", each.get("operator") or ""
        effect, value = each.get("effect") or "", each.get("value") or ""
        if key:
            yield from causes_of(names.qualified_name(key), f"{at}.key", key)
        elif operator != "Exists":
            why = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
            yield invalid(f"{at}.operator", operator, why)
        if each.get("tolerationSeconds") is not None and effect != "NoExecute":
            why = "effect must be 'NoExecute' when `tolerationSeconds` is set"
            yield invalid(f"{at}.effect", effect, why)
        yield from _toleration_value(operator, value, f"{at}.operator")
        if effect:
            yield from optional_one_of(effect, TAINT_EFFECTS, f"{at}.effect")


def validate_label_selector(selector: Object | None, path: str) -> Iterator[Cause]:
    """Check a LabelSelector object."""
    selector = selector or {}
    yield from validate_labels(selector.get("matchLabels"), f"{path}.matchLabels")
    for index, each in enumerate(selector.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = each.get("operator") or "", each.get("values") or []
        if operator in ("In", "NotIn") and not values:
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            yield forbidden(
                f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        elif operator not in _LABEL_OPERATORS:
            yield invalid(f"{at}.operator", operator, "not a valid selector operator")
        key = each.get("key") or ""
        yield from causes_of(names.qualified_name(key), f"{at}.key", key)
        for at_value, value in enumerate(values):
            yield from causes_of(names.label_value(value), f"{at}.values[{at_value}]", value)


def _toleration_value(operator: str, value: str, path: str) -> Iterator[Cause]:
    if operator in ("", "Equal"):
        problems = names.label_value(value)
        if problems:
            yield invalid(path, value, ";".join(problems))
    elif operator == "Exists":
        if value:
            yield invalid(path, value, "value must be empty when `operator` is 'Exists'")
    elif operator in ("Gt", "Lt"):
        if not value.lstrip("-").isdigit():
            yield invalid(path, value, "value must be an integer when `operator` is 'Gt' or 'Lt'")
    else:
        yield not_supported(path, operator, ("Equal", "Exists", "Gt", "Lt"))


def _affinity(affinity: Object, path: str) -> Iterator[Cause]:
    node = affinity.get("nodeAffinity") or {}
    at = f"{path}.nodeAffinity"
    if node.get(_REQUIRED) is not None:
        yield from validate_node_selector(node[_REQUIRED], f"{at}.{_REQUIRED}")
    for index, each in enumerate(node.get(_PREFERRED) or ()):
        below = f"{at}.{_PREFERRED}[{index}]"
        yield from _weight(each, below)
        yield from _node_term(each.get("preference") or {}, f"{below}.preference", any_value=True)
    for name in ("podAffinity", "podAntiAffinity"):
        yield from _pod_affinity(affinity.get(name) or {}, f"{path}.{name}")


def validate_node_selector(selector: Object, path: str) -> Iterator[Cause]:
    """Check a NodeSelector object."""
    terms = selector.get("nodeSelectorTerms") or []
    if not terms:
        yield required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")
    for index, term in enumerate(terms):
        yield from _node_term(term, f"{path}.nodeSelectorTerms[{index}]")


def _node_term(term: Object, path: str, *, any_value: bool = False) -> Iterator[Cause]:
    for index, each in enumerate(term.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}]"
        operator, values = each.get("operator") or "", each.get("values") or []
        if operator in ("In", "NotIn") and not values:
            yield required(f"{at}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist") and values:
            yield forbidden(
                f"{at}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
            )
        elif operator in ("Gt", "Lt") and len(values) != 1:
            yield required(
                f"{at}.values", "must be specified single value when `operator` is 'Lt' or 'Gt'"
            )
        elif operator not in _NODE_OPERATORS:
            yield invalid(f"{at}.operator", operator, "not a valid selector operator")
        key = each.get("key") or ""
        yield from causes_of(names.qualified_name(key), f"{at}.key", key)
        for number, value in enumerate(() if any_value else values):
            yield from causes_of(names.label_value(value), f"{at}.values[{number}]", value)
    for index, each in enumerate(term.get("matchFields") or ()):
        yield from _node_field(each, f"{path}.matchFields[{index}]")


def _node_field(requirement: Object, path: str) -> Iterator[Cause]:
    operator, values = requirement.get("operator") or "", requirement.get("values") or []
    if operator not in ("In", "NotIn"):
        yield invalid(f"{path}.operator", operator, "not a valid selector operator")
    elif len(values) != 1:
        why = "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"
        yield required(f"{path}.values", why)
    key = requirement.get("key") or ""
    if key != "metadata.name":
        yield invalid(f"{path}.key", key, "not a valid field selector key")
        return
    for number, value in enumerate(values):
        yield from causes_of(names.dns1123_subdomain(value), f"{path}.values[{number}]", value)


def _pod_affinity(affinity: Object, path: str) -> Iterator[Cause]:
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        yield from _pod_term(term, f"{path}.{_REQUIRED}[{index}]")
    for index, each in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        yield from _weight(each, at)
        yield from _pod_term(each.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")


def _pod_term(term: Object, path: str) -> Iterator[Cause]:
    for name in ("labelSelector", "namespaceSelector"):
        yield from validate_label_selector(term.get(name), f"{path}.{name}")
    for name in term.get("namespaces") or ():
        yield from causes_of(names.dns1123_label(name), f"{path}.namespace", name)
    key = term.get("topologyKey") or ""
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    yield from causes_of(names.qualified_name(key), f"{path}.topologyKey", key)


def _weight(term: Object, path: str) -> Iterator[Cause]:
    weight = term.get("weight", 0)
    if not 1 <= weight <= 100:
        yield invalid(f"{path}.weight", weight, "must be in the range 1-100")


def _spread(constraint: Object, path: str) -> Iterator[Cause]:
    for name in ("maxSkew", "minDomains"):
        value = constraint.get(name, 0 if name == "maxSkew" else None)
        if value is not None and value <= 0:
            yield invalid(f"{path}.{name}", value, "must be greater than zero")
    key = constraint.get("topologyKey") or ""
    if not key:
        yield required(f"{path}.topologyKey", "can not be empty")
    else:
        yield from causes_of(names.qualified_name(key), f"{path}.topologyKey", key)
    supported = ("DoNotSchedule", "ScheduleAnyway")
    yield from one_of(constraint.get("whenUnsatisfiable"), supported, f"{path}.whenUnsatisfiable")
    yield from validate_label_selector(constraint.get("labelSelector"), f"{path}.labelSelector")


def _gates(spec: Object, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, gate in enumerate(spec.get("schedulingGates") or ()):
        at, name = f"{path}.schedulingGates[{index}]", gate.get("name") or ""
        yield from causes_of(names.qualified_name(name), at, name)
        if name in seen:
            yield duplicate(at, name)
        seen.add(name)
    for index, gate in enumerate(spec.get("readinessGates") or ()):
        name = gate.get("conditionType") or ""
        at = f"{path}.readinessGates[{index}].conditionType"
        yield from causes_of(names.qualified_name(name), at, name)
