"""Events as events.k8s.io/v1 has them; they are stored as the core group's (pkg/apis/events/v1/conversion.go)."""

from typing import Any

Object = dict[str, Any]

# events.k8s.io's name of a field: the core group's.
_NAMES = {
    "regarding": "involvedObject",
    "note": "message",
    "reportingController": "reportingComponent",
    "deprecatedSource": "source",
    "deprecatedFirstTimestamp": "firstTimestamp",
    "deprecatedLastTimestamp": "lastTimestamp",
    "deprecatedCount": "count",
}
_CORE_NAMES = {old: new for new, old in _NAMES.items()}


def to_core(event: Object) -> Object:
    """Return an events.k8s.io/v1 Event as the core group's."""
    made = {_NAMES.get(name, name): value for name, value in event.items()}
    made.setdefault("involvedObject", {})
    return made


def from_core(event: Object) -> Object:
    """Return a core/v1 Event as events.k8s.io/v1 has it."""
    made = {_CORE_NAMES.get(name, name): value for name, value in event.items()}
    made.setdefault("eventTime", None)
    return made
