"""What the descriptions of several kinds share: metadata and events."""

from typing import Any

from minipod.cli.describe.layout import Writer
from minipod.cli.times import UNKNOWN, age

Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
LONGEST_ANNOTATION = 140


def name_lines(w: Writer, obj: Object, *, namespaced: bool = True) -> None:
    """Name, Namespace, Labels, Annotations."""
    metadata = obj["metadata"]
    w.field(0, "Name", metadata["name"])
    if namespaced:
        w.field(0, "Namespace", metadata.get("namespace", ""))
    w.mapping(0, "Labels", metadata.get("labels") or {})
    annotation_lines(w, metadata.get("annotations") or {})


def annotation_lines(w: Writer, annotations: dict[str, str]) -> None:
    """Annotations, long ones shortened; the one of apply left out."""
    shown = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    entries = [line for key in sorted(shown) for line in _annotation(key, shown[key])] or ["<none>"]
    w.field(0, "Annotations", entries[0])
    for entry in entries[1:]:
        w.line(0, f"\t{entry}")


def _annotation(key: str, value: str) -> list[str]:
    value = value.removesuffix("\n")
    if len(key) + len(value) + 2 <= LONGEST_ANNOTATION and "\n" not in value:
        return [f"{key}: {value}"]
    limit = LONGEST_ANNOTATION - 2
    shortened = [line if len(line) <= limit else line[:limit] + "..." for line in value.split("\n")]
    return [f"{key}:", *(f"  {line}" for line in shortened)]


def event_lines(w: Writer, events: list[Object]) -> None:
    """Events, oldest first."""
    if not events:
        w.field(0, "Events", "<none>")
        return
    w.line(0, "Events:")
    w.line(1, "Type\tReason\tAge\tFrom\tMessage")
    w.line(1, "----\t------\t----\t----\t-------")
    for event in sorted(events, key=last_seen):
        message = str(event.get("message", "")).strip()
        if part := (event.get("involvedObject") or {}).get("fieldPath"):
            message = f"{part}: {message}"
        kind, reason = event.get("type", ""), event.get("reason", "")
        w.line(1, f"{kind}\t{reason}\t{event_age(event)}\t{_source(event)}\t{message}")


def last_seen(event: Object) -> tuple[str, int]:
    """Return when an event happened last, to sort by; times are whole seconds, versions decide within one."""
    series = event.get("series") or {}
    seen = series.get("lastObservedTime") or event.get("lastTimestamp") or event.get("eventTime")
    version = str(event["metadata"].get("resourceVersion", ""))
    text = str(seen or event["metadata"].get("creationTimestamp") or "")
    return text, int(version) if version.isdigit() else 0


def event_age(event: Object) -> str:
    """Return `5s`, or `5s (x3 over 2m)` for an event that happened several times."""
    first = event.get("firstTimestamp") or event.get("eventTime")
    series = event.get("series") or {}
    if series:
        return (
            f"{age(series.get('lastObservedTime'))} (x{series.get('count', 1)} over {age(first)})"
        )
    if (event.get("count") or 0) > 1:
        return f"{age(event.get('lastTimestamp'))} (x{event['count']} over {age(first)})"
    return age(first) if first else UNKNOWN


def _source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    return (
        f"{component}, {source['host']}" if source.get("host") and not component else str(component)
    )


def optional_text(value: object) -> str:
    """Return a missing boolean as false."""
    return "true" if value else "false"
