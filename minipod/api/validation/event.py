"""Events: they lie where the object they tell of lies."""

from typing import Any

from minipod.api.field import Cause, invalid

Object = dict[str, Any]


def validate_event(event: Object) -> list[Cause]:
    """Return what is wrong with an Event. Those of cluster-scoped objects lie in the namespace default."""
    namespace = event["metadata"].get("namespace") or ""
    involved = (event.get("involvedObject") or {}).get("namespace") or ""
    if (involved or "default") == (namespace or "default"):
        return []
    return [invalid("involvedObject.namespace", involved, "does not match event.namespace")]


def validate_event_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing an Event: nothing more than with a new one."""
    return validate_event(new)
