"""events.k8s.io/v1: the core group's Events in another form, with stricter rules for new ones (KEP-383)."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from minipod.api import names
from minipod.api.event_versions import from_core, to_core
from minipod.api.field import Cause, invalid, required
from minipod.api.kind import Hooks
from minipod.api.printers import events as printers
from minipod.api.validation.metadata import causes_of, immutable

Object = dict[str, Any]

_LIMITS = {"reportingInstance": 128, "action": 128, "reason": 128}
_NOTE_LIMIT = 1024
_FIXED = {
    "regarding": "involvedObject",
    "reason": "reason",
    "note": "message",
    "type": "type",
    "eventTime": "eventTime",
    "action": "action",
    "related": "related",
    "reportingController": "reportingController",
    "reportingInstance": "reportingInstance",
}


def _validate(event: Object) -> list[Cause]:
    return list(_checks(event))


def _checks(event: Object) -> Iterator[Cause]:
    if not event.get("eventTime"):
        yield required("eventTime")
    if event.get("type") not in ("Normal", "Warning"):
        yield invalid("type", "", f"has invalid value: {event.get('type') or ''}")
    yield from _not_deprecated(event)
    controller = event.get("reportingController") or ""
    if not controller:
        yield required("reportingController")
    yield from causes_of(names.qualified_name(controller), "reportingController", controller)
    for name, limit in _LIMITS.items():
        value = event.get(name) or ""
        if not value:
            yield required(name)
        if len(value) > limit:
            yield invalid(name, "", f"can have at most {limit} characters")
    if len(event.get("note") or "") > _NOTE_LIMIT:
        yield invalid("message", "", f"can have at most {_NOTE_LIMIT} characters")


def _not_deprecated(event: Object) -> Iterator[Cause]:
    if event.get("deprecatedCount"):
        yield invalid("count", "", "needs to be unset")
    if event.get("deprecatedFirstTimestamp"):
        yield invalid("firstTimestamp", "", "needs to be unset")
    if event.get("deprecatedLastTimestamp"):
        yield invalid("lastTimestamp", "", "needs to be unset")
    if any((event.get("deprecatedSource") or {}).values()):
        yield invalid("source", "", "needs to be unset")


def _validate_update(new: Object, old: Object) -> list[Cause]:
    """Return what changes of an Event that may not: all but its series."""
    return [
        cause
        for name, path in _FIXED.items()
        for cause in immutable(new.get(name), old.get(name), path)
    ]


def _cells(event: Object, now: datetime) -> list[Any]:
    return printers.cells(to_core(event), now)


def _fields(event: Object) -> dict[str, str]:
    regarding = event.get("regarding") or {}
    parts = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    found = {f"regarding.{name}": str(regarding.get(name) or "") for name in parts}
    controller = event.get("reportingController") or ""
    return {
        **found,
        "reason": event.get("reason") or "",
        "reportingController": controller,
        "type": event.get("type") or "",
    }


EVENT = Hooks(
    validate_create=_validate,
    validate_update=_validate_update,
    fields=_fields,
    columns=printers.COLUMNS,
    cells=_cells,
    to_stored=to_core,
    from_stored=from_core,
)
