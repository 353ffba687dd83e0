"""Counts and shares that controllers are told: replicas, percentages, and the numbers of their status."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minipod.api.field import Cause, invalid
from minipod.api.validation.values import non_negative

_PERCENT = "[0-9]+%"
_NOT_PERCENT = (
    "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', "
    f"regex used for validation is '{_PERCENT}')"
)


def int_or_percent(value: Any, path: str) -> Iterator[Cause]:
    """Check a number of at least zero, or a percentage."""
    if isinstance(value, str):
        if not re.fullmatch(_PERCENT, value):
            yield invalid(path, value, _NOT_PERCENT)
    else:
        yield from non_negative(value, path)


def at_most_all(value: Any, path: str) -> Iterator[Cause]:
    """Check that a percentage is not above 100%."""
    if isinstance(value, str) and re.fullmatch(_PERCENT, value) and int(value[:-1]) > 100:
        yield invalid(path, value, "must not be greater than 100%")


def share(value: Any) -> int:
    """Return the number of a count or percentage: 0 is nothing, in both; so is a text that is neither."""
    if isinstance(value, str):
        found = re.fullmatch("([+-]?[0-9]+)%?", value)
        return int(found[1]) if found else 0
    return int(value or 0)


def counts(status: Mapping[str, Any], names: Iterable[str], path: str) -> Iterator[Cause]:
    """Check that the named numbers of a status are not below zero."""
    for name in names:
        yield from non_negative(status.get(name), f"{path}.{name}")


def bounded(
    status: Mapping[str, Any], names: Iterable[str], bound: str, path: str, text: str = ""
) -> Iterator[Cause]:
    """Check that the named numbers of a status are not above another of its numbers."""
    for name in names:
        value = status.get(name) or 0
        if value > (status.get(bound) or 0):
            yield invalid(f"{path}.{name}", value, text or f"cannot be greater than {path}.{bound}")


def not_decremented(new: Mapping[str, Any], old: Mapping[str, Any], name: str) -> Iterator[Cause]:
    """Check that a number of the status does not get smaller, or lost."""
    before, after = old.get(name), new.get(name)
    if before is not None and (after is None or after < before):
        yield invalid(f"status.{name}", after or 0, "cannot be decremented")
