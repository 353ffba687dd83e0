"""Cron schedules, in the notation that CronJobs use: five fields, or `@daily` and the like.

Grammar and messages of github.com/robfig/cron v3 (ParseStandard). A field is a list of `*`, `?`, numbers, ranges and
steps; months and days of the week have names. If neither day of the month nor day of the week is `*`, either matches.
"""

import re
from dataclasses import dataclass

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DESCRIPTORS = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)(ns|us|µs|ms|s|m|h)")


class CronError(ValueError):
    """A text that is no schedule; the message is upstream's."""


@dataclass(frozen=True)
class _Bounds:
    low: int
    high: int
    names: tuple[str, ...] = ()
    first: int = 0  # the number of the first name


_MINUTE, _HOUR, _DAY = _Bounds(0, 59), _Bounds(0, 23), _Bounds(1, 31)
_MONTH, _WEEKDAY = _Bounds(1, 12, _MONTHS, 1), _Bounds(0, 6, _DAYS, 0)


@dataclass(frozen=True)
class Schedule:
    """When it is time: sets of numbers (Sunday is 0), or `every` so many seconds."""

    minutes: frozenset[int] = frozenset()
    hours: frozenset[int] = frozenset()
    days: frozenset[int] = frozenset()
    months: frozenset[int] = frozenset()
    weekdays: frozenset[int] = frozenset()
    any_day: bool = False  # the day of the month is written as `*`
    any_weekday: bool = False
    every: float = 0.0


def parse(text: str) -> Schedule:
    """Return the schedule that a text describes, without a time zone. Raises CronError."""
    if not text:
        raise CronError("empty spec string")
    if text.startswith("@"):
        return _descriptor(text)
    fields = text.split()
    if len(fields) != 5:
        listed = " ".join(fields)
        raise CronError(f"expected exactly 5 fields, found {len(fields)}: [{listed}]")
    minutes, hours, days, months, weekdays = fields
    return Schedule(
        _field(minutes, _MINUTE)[0],
        _field(hours, _HOUR)[0],
        _field(days, _DAY)[0],
        _field(months, _MONTH)[0],
        _field(weekdays, _WEEKDAY)[0],
        _field(days, _DAY)[1],
        _field(weekdays, _WEEKDAY)[1],
    )


def _descriptor(text: str) -> Schedule:
    if text in _DESCRIPTORS:
        return parse(_DESCRIPTORS[text])
    if text.startswith("@every "):
        return Schedule(every=max(1.0, float(int(_duration(text, text[len("@every ") :])))))
    raise CronError(f"unrecognized descriptor: {text}")


def _duration(text: str, duration: str) -> float:
    """Return the seconds of a duration in Go's notation."""
    parts = _DURATION.findall(duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise CronError(f'failed to parse duration {text}: time: invalid duration "{duration}"')
    return float(sum(float(number) * _UNITS[unit] for number, unit in parts))


def _field(text: str, bounds: _Bounds) -> tuple[frozenset[int], bool]:
    """Return the numbers of a field, and whether it is written as a star."""
    found: set[int] = set()
    star = False
    for part in text.split(","):
        if part:
            numbers, is_star = _range(part, bounds)
            found |= numbers
            star = star or is_star
    return frozenset(found), star


def _range(text: str, bounds: _Bounds) -> tuple[set[int], bool]:
    span, *steps = text.split("/")
    low_text, *ends = span.split("-")
    star = low_text in ("*", "?")
    if star:
        start, end = bounds.low, bounds.high
    else:
        start = _number(low_text, bounds)
        if len(ends) > 1:
            raise CronError(f"too many hyphens: {text}")
        end = _number(ends[0], bounds) if ends else start
    if len(steps) > 1:
        raise CronError(f"too many slashes: {text}")
    step = 1
    if steps:
        step = _integer(steps[0])
        if not star and not ends:
            end = bounds.high  # N/step means N-max/step
        star = star and step <= 1
    _check(start, end, step, bounds, text)
    return set(range(start, end + 1, step)), star


def _check(start: int, end: int, step: int, bounds: _Bounds, text: str) -> None:
    if start < bounds.low:
        raise CronError(f"beginning of range ({start}) below minimum ({bounds.low}): {text}")
    if end > bounds.high:
        raise CronError(f"end of range ({end}) above maximum ({bounds.high}): {text}")
    if start > end:
        raise CronError(f"beginning of range ({start}) beyond end of range ({end}): {text}")
    if step == 0:
        raise CronError(f"step of range should be a positive number: {text}")


def _number(text: str, bounds: _Bounds) -> int:
    if text.lower() in bounds.names:
        return bounds.names.index(text.lower()) + bounds.first
    return _integer(text)


def _integer(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]+", text):
        raise CronError(
            f'failed to parse int from {text}: strconv.Atoi: parsing "{text}": invalid syntax'
        )
    if int(text) < 0:
        raise CronError(f"negative number ({int(text)}) not allowed: {text}")
    return int(text)
