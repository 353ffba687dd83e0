"""Conditions, as many kinds carry them in their status (apimachinery's metav1.Condition)."""

import re
from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, duplicate, invalid, not_supported, required, too_long
from minipod.api.validation.metadata import causes_of

Object = dict[str, Any]

_REASON = "[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?"
_REASON_TEXT = (
    "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric "
    "characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or "
    "'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is "
    f"'{_REASON}')"
)
_REASON_LIMIT, _MESSAGE_LIMIT = 1024, 32 * 1024


def validate_conditions(conditions: list[Object], path: str) -> Iterator[Cause]:
    """Check a list of conditions, of which there is one of each type."""
    seen: set[str] = set()
    for index, condition in enumerate(conditions):
        at, kind = f"{path}[{index}]", condition.get("type") or ""
        if kind in seen:
            yield duplicate(f"{at}.type", kind)
        seen.add(kind)
        yield from _condition(condition, at)


def _condition(condition: Object, path: str) -> Iterator[Cause]:
    kind, status = condition.get("type") or "", condition.get("status") or ""
    yield from causes_of(names.qualified_name(kind), f"{path}.type", kind)
    if status not in ("False", "True", "Unknown"):
        yield not_supported(f"{path}.status", status, ("False", "True", "Unknown"))
    generation = condition.get("observedGeneration") or 0
    if generation < 0:
        why = "must be greater than or equal to zero"
        yield invalid(f"{path}.observedGeneration", generation, why)
    if not condition.get("lastTransitionTime"):
        yield required(f"{path}.lastTransitionTime")
    reason = condition.get("reason") or ""
    if not reason:
        yield required(f"{path}.reason")
    elif not re.fullmatch(_REASON, reason):
        yield invalid(f"{path}.reason", reason, _REASON_TEXT)
    if len(reason) > _REASON_LIMIT:
        yield too_long(f"{path}.reason", _REASON_LIMIT)
    if len(condition.get("message") or "") > _MESSAGE_LIMIT:
        yield too_long(f"{path}.message", _MESSAGE_LIMIT)
