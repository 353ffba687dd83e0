"""What a Job does about failed Pods (KEP-3329), and when some successes are enough (KEP-3998)."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from minipod.api import names
from minipod.api.field import (
    NO_VALUE,
    Cause,
    duplicate,
    invalid,
    not_supported,
    required,
    too_long,
    too_many,
)
from minipod.api.shown import struct
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.values import non_negative, repeats

Object = dict[str, Any]

_RULES_LIMIT = 20
_EXIT_CODES_LIMIT = 255
_INDEXES_LIMIT = 65536
_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")


def validate_failure_policy(spec: Object, path: str) -> Iterator[Cause]:
    """Check the podFailurePolicy of a Job's spec."""
    rules = spec["podFailurePolicy"].get("rules") or []
    if len(rules) > _RULES_LIMIT:
        yield too_many(f"{path}.rules", len(rules), _RULES_LIMIT)
    pod = (spec.get("template") or {}).get("spec") or {}
    containers = {
        each.get("name")
        for name in ("containers", "initContainers")
        for each in pod.get(name) or ()
    }
    for index, rule in enumerate(rules):
        yield from _failure_rule(rule, spec, containers, f"{path}.rules[{index}]")


def _failure_rule(rule: Object, spec: Object, containers: set[Any], path: str) -> Iterator[Cause]:
    action = rule.get("action") or ""
    if not action:
        yield required(f"{path}.action", 'valid values: ["Count" "FailIndex" "FailJob" "Ignore"]')
    elif action not in _ACTIONS:
        yield not_supported(f"{path}.action", action, _ACTIONS)
    elif action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        yield invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set")
    codes, conditions = rule.get("onExitCodes"), rule.get("onPodConditions") or []
    if codes is not None:
        yield from _exit_codes(codes, containers, f"{path}.onExitCodes")
    if conditions:
        yield from _pod_conditions(conditions, f"{path}.onPodConditions")
    if codes is not None and conditions:
        why = "specifying both OnExitCodes and OnPodConditions is not supported"
        yield invalid(path, NO_VALUE, why)
    if codes is None and not conditions:
        why = "specifying one of OnExitCodes and OnPodConditions is required"
        yield invalid(path, NO_VALUE, why)


def _exit_codes(codes: Object, containers: set[Any], path: str) -> Iterator[Cause]:
    operator, values = codes.get("operator") or "", codes.get("values") or []
    if not operator:
        yield required(f"{path}.operator", 'valid values: ["In" "NotIn"]')
    elif operator not in ("In", "NotIn"):
        yield not_supported(f"{path}.operator", operator, ("In", "NotIn"))
    name = codes.get("containerName")
    if name is not None and name not in containers:
        why = "must be one of the container or initContainer names in the pod template"
        yield invalid(f"{path}.containerName", name, why)
    at = f"{path}.values"
    if not values:
        yield invalid(at, codes.get("values"), "at least one value is required")
    elif len(values) > _EXIT_CODES_LIMIT:
        yield too_many(at, len(values), _EXIT_CODES_LIMIT)
    again = repeats(values)
    for index, value in enumerate(values):
        if operator == "In" and value == 0:
            yield invalid(f"{at}[{index}]", value, "must not be 0 for the In operator")
        if index in again:
            yield duplicate(f"{at}[{index}]", value)
    if values != sorted(values):
        yield invalid(at, values, "must be ordered")


def _pod_conditions(conditions: list[Object], path: str) -> Iterator[Cause]:
    if len(conditions) > _RULES_LIMIT:
        yield too_many(path, len(conditions), _RULES_LIMIT)
    for index, each in enumerate(conditions):
        at, kind, status = f"{path}[{index}]", each.get("type") or "", each.get("status") or ""
        yield from causes_of(names.qualified_name(kind), f"{at}.type", kind)
        if not status:
            yield required(f"{at}.status", 'valid values: ["False" "True" "Unknown"]')
        elif status not in ("False", "True", "Unknown"):
            yield not_supported(f"{at}.status", status, ("False", "True", "Unknown"))


def validate_success_policy(spec: Object, path: str) -> Iterator[Cause]:
    """Check the successPolicy of a Job's spec."""
    policy = spec["successPolicy"]
    rules = policy.get("rules") or []
    if spec.get("completionMode") != "Indexed":
        shown = [struct(each, "SucceededIndexes", "SucceededCount") for each in rules]
        yield invalid(path, {"Rules": shown or None}, "requires indexed completion mode")
        return
    if not rules:
        why = "at least one rules must be specified when the successPolicy is specified"
        yield required(f"{path}.rules", why)
    if len(rules) > _RULES_LIMIT:
        yield too_many(f"{path}.rules", len(rules), _RULES_LIMIT)
    for index, rule in enumerate(rules):
        yield from _success_rule(rule, spec.get("completions") or 0, f"{path}.rules[{index}]")


def _success_rule(rule: Object, completions: int, path: str) -> Iterator[Cause]:
    count, indexes = rule.get("succeededCount"), rule.get("succeededIndexes")
    if count is None and indexes is None:
        why = "at least one of succeededCount or succeededIndexes must be specified"
        yield required(path, why)
    total, counted = completions, "the number of specified completions"
    if indexes is not None:
        if len(indexes) > _INDEXES_LIMIT:
            yield too_long(f"{path}.succeededIndexes", _INDEXES_LIMIT)
        try:
            total = count_indexes(indexes, completions)
            counted = "the number of indexes in the specified succeededIndexes field"
        except ValueError as error:
            why = f"error parsing succeededIndexes: {error}"
            yield invalid(f"{path}.succeededIndexes", indexes, why)
            return
    if count is not None:
        at = f"{path}.succeededCount"
        yield from non_negative(count, at)
        if count > total:
            yield invalid(at, count, f"must be less than or equal to {total} ({counted})")


def count_indexes(text: str, completions: int) -> int:
    """Return how many indexes `1,3-5,7` has. Raises ValueError (with upstream's message) when it is malformed."""
    last, total = -1, 0
    for part in text.split(",") if text else ():
        start, end = _interval(part, completions)
        if start <= last:
            raise ValueError(f"non-increasing order, previous: {last}, current: {start}")
        total, last = total + end - start + 1, end
    return total


def intervals(text: str, completions: int) -> Iterator[tuple[int, int]]:
    """Yield the first and the last index of each part of such a text that is well formed."""
    for part in text.split(","):
        with suppress(ValueError):
            yield _interval(part, completions)


def _interval(part: str, completions: int) -> tuple[int, int]:
    numbers = part.split("-")
    if len(numbers) > 2:
        why = "an index interval can have at most two parts separated by '-'"
        raise ValueError(f'the fragment "{part}" violates the requirement that {why}')
    start = _index(numbers[0], completions)
    if len(numbers) == 1:
        return start, start
    end = _index(numbers[1], completions)
    if start >= end:
        raise ValueError(f"non-increasing order, previous: {start}, current: {end}")
    return start, end


def _index(text: str, completions: int) -> int:
    if not text.isdigit():
        raise ValueError(f'cannot convert string to integer for index: "{text}"')
    if int(text) >= completions:
        raise ValueError(f'too large index: "{text}"')
    return int(text)
