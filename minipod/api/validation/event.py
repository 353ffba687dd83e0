"""Events: they lie where the object they tell of lies; those that say when they happened say more (KEP-383).

The rules look at the core group's form, whichever form was sent (pkg/apis/core/validation/events.go).
"""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, invalid, required
from minipod.api.validation.metadata import causes_of, immutable

Object = dict[str, Any]

_WORDS_LIMIT, _NOTE_LIMIT = 128, 1024
_FIXED = (
    "involvedObject",
    "reason",
    "message",
    "source",
    "firstTimestamp",
    "lastTimestamp",
    "count",
    "type",
    "eventTime",
    "action",
    "related",
    "reportingController",
    "reportingInstance",
)
# Where the core group's form names a field otherwise than events.k8s.io does, by whose names it is spoken of.
_NAMES = {"reportingController": "reportingComponent"}
_TEXTS = ("reason", "message", "type", "action", "reportingController", "reportingInstance")
_UNSET = ("firstTimestamp", "lastTimestamp", "count", "source")


def validate_event(event: Object) -> list[Cause]:
    """Return what is wrong with an Event of the core group."""
    return list(_any_event(event, "reportingComponent"))


def validate_event_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing an Event: nothing more than with a new one."""
    return validate_event(new)


def validate_new_event(event: Object) -> list[Cause]:
    """Return what is wrong with a new Event of events.k8s.io, which is held to more."""
    return [*_any_event(event, "reportingController"), *_name(event["metadata"]), *_strict(event)]


def validate_new_event_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an Event through events.k8s.io: all but its series stays."""
    causes = list(_any_event(new, "reportingController"))
    if new.get("series") != old.get("series"):
        causes += _series(new)
    for name in _FIXED:
        empty: Any = {"count": 0}.get(name, "" if name in _TEXTS else None)
        after, before = (each.get(_NAMES.get(name, name)) or empty for each in (new, old))
        causes += immutable(after, before, name)
    return causes


def _any_event(event: Object, controller: str) -> Iterator[Cause]:
    """Check what every Event must be. `controller` is what the field is called that says who tells of it."""
    namespace = event["metadata"].get("namespace") or ""
    involved = (event.get("involvedObject") or {}).get("namespace") or ""
    timed = bool(event.get("eventTime"))
    if timed:
        astray = not involved and namespace not in ("default", "kube-system")
    else:
        astray = (involved or "default") != (namespace or "default")
    if astray:
        yield invalid("involvedObject.namespace", involved, "does not match event.namespace")
    if timed:
        yield from _timed(event, controller)


def _timed(event: Object, controller: str) -> Iterator[Cause]:
    by = event.get("reportingComponent") or ""
    if not by:
        yield required(controller)
    yield from causes_of(names.qualified_name(by), controller, by)
    for name in ("reportingInstance", "action", "reason"):
        value = event.get(name) or ""
        if not value:
            yield required(name)
        if len(value) > _WORDS_LIMIT:
            yield invalid(name, "", f"can have at most {_WORDS_LIMIT} characters")
    if len(event.get("message") or "") > _NOTE_LIMIT:
        yield invalid("message", "", f"can have at most {_NOTE_LIMIT} characters")


def _name(metadata: Object) -> Iterator[Cause]:
    for field in ("generateName", "name"):
        value = metadata.get(field)
        problems = names.object_name("dns1123_subdomain", value or "a", field == "generateName")
        yield from causes_of(problems, f"metadata.{field}", value)


def _strict(event: Object) -> Iterator[Cause]:
    yield from _series(event)
    if not event.get("eventTime"):
        yield required("eventTime")
    if event.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {event.get('type') or ''}")
    for name in _UNSET:
        value = event.get(name)
        if any(value.values()) if isinstance(value, dict) else value:
            yield invalid(name, "", "needs to be unset")


def _series(event: Object) -> Iterator[Cause]:
    series = event.get("series")
    if series is None:
        return
    if (series.get("count") or 0) < 2:
        yield invalid("series.count", "", "should be at least 2")
    if not series.get("lastObservedTime"):
        yield required("series.lastObservedTime")
