"""Field errors: what is wrong with one field of an object, in upstream's words (apimachinery's field.Error).

A validator returns a list of causes; `errors.invalid` turns them into one Status.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

Object = dict[str, Any]

NO_VALUE = object()
# What stands before the detail, by the Status cause's reason.
_WORDS = {
    "FieldValueNotFound": "Not found",
    "FieldValueRequired": "Required value",
    "FieldValueDuplicate": "Duplicate value",
    "FieldValueInvalid": "Invalid value",
    "FieldValueNotSupported": "Unsupported value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueTooLong": "Too long",
    "FieldValueTooMany": "Too many",
    "FieldValueTypeInvalid": "Invalid value",
    "InternalError": "Internal error",
}


@dataclass(frozen=True)
class Cause:
    """One wrong field: `field` is its path (`spec.containers[0].image`), `message` all but the path."""

    field: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}"


def required(field: str, detail: str = "") -> Cause:
    """Return the cause of a missing value."""
    return _cause(field, "FieldValueRequired", detail)


def invalid(field: str, value: Any, detail: str) -> Cause:
    """Return the cause of a value that is not well formed (NO_VALUE: which is not said)."""
    return _cause(field, "FieldValueInvalid", detail, value)


def not_supported(field: str, value: Any, supported: Iterable[str]) -> Cause:
    """Return the cause of a value outside an enumeration, which is named in the order given."""
    listed = ", ".join(json.dumps(each) for each in supported)
    detail = f"supported values: {listed}" if listed else ""
    return _cause(field, "FieldValueNotSupported", detail, value)


def duplicate(field: str, value: Any, detail: str = "") -> Cause:
    """Return the cause of a value that must be unique."""
    return _cause(field, "FieldValueDuplicate", detail, value)


def not_found(field: str, value: Any) -> Cause:
    """Return the cause of a reference to what does not exist."""
    return _cause(field, "FieldValueNotFound", "", value)


def forbidden(field: str, detail: str) -> Cause:
    """Return the cause of a value that may not be there."""
    return _cause(field, "FieldValueForbidden", detail)


def too_long(field: str, limit: int) -> Cause:
    """Return the cause of a text of more than `limit` bytes."""
    unit = "byte" if limit == 1 else "bytes"
    return _cause(field, "FieldValueTooLong", f"may not be more than {limit} {unit}")


def too_many(field: str, count: int, limit: int) -> Cause:
    """Return the cause of a list of more than `limit` items."""
    unit = "item" if limit == 1 else "items"
    return _cause(field, "FieldValueTooMany", f"must have at most {limit} {unit}", count)


_HTML = {ord(each): f"\\u{ord(each):04x}" for each in "<>&"}


def _cause(field: str, reason: str, detail: str, value: Any = NO_VALUE) -> Cause:
    message = _WORDS[reason]
    if value is not NO_VALUE:
        message += f": {_shown(value)}"
    if detail:
        message += f": {detail}"
    return Cause(field, reason, message)


def _shown(value: Any) -> str:
    """Return a value as Go prints it: what is no plain text is JSON, in which HTML's characters are escaped."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    return text if isinstance(value, str) else text.translate(_HTML)
