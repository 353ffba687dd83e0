"""events.k8s.io/v1: the core group's Events in another form, with stricter rules for new ones (KEP-383)."""

from datetime import datetime
from typing import Any

from minipod.api.event_versions import from_core, to_core
from minipod.api.field import Cause
from minipod.api.kind import Hooks
from minipod.api.printers import events as printers
from minipod.api.validation import event

Object = dict[str, Any]


def _validate(given: Object) -> list[Cause]:
    return event.validate_new_event(to_core(given))


def _validate_update(new: Object, old: Object) -> list[Cause]:
    return event.validate_new_event_update(to_core(new), to_core(old))


def _cells(given: Object, now: datetime) -> list[Any]:
    return printers.cells(to_core(given), now)


def _fields(given: Object) -> dict[str, str]:
    regarding = given.get("regarding") or {}
    parts = ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
    found = {f"regarding.{name}": str(regarding.get(name) or "") for name in parts}
    controller = given.get("reportingController") or ""
    return {
        **found,
        "reason": given.get("reason") or "",
        "reportingController": controller,
        "type": given.get("type") or "",
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
