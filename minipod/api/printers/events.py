"""What `get events` shows."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age

Object = dict[str, Any]

COLUMNS = (
    Column("Last Seen", description="Time since it happened last."),
    Column("Type", description="Normal or Warning."),
    Column("Reason", description="What happened, as a word for machines."),
    Column("Object", description="What it happened to."),
    Column("Subobject", description="The part of it.", priority=1),
    Column("Source", description="Who tells of it.", priority=1),
    Column("Message", description="What happened, as a sentence for people."),
    Column("First Seen", description="Time since it happened first.", priority=1),
    Column("Count", description="How often it happened.", priority=1),
    Column("Name", format="name", description="Name of the Event.", priority=1),
)


def cells(event: Object, now: datetime) -> list[Any]:
    """Return the cells of an Event's row."""
    involved, series = event.get("involvedObject") or {}, event.get("series")
    first = age(event.get("firstTimestamp") or event.get("eventTime"), now)
    last = age(event["lastTimestamp"], now) if event.get("lastTimestamp") else first
    count = event.get("count") or 1
    if series:
        last, count = age(series.get("lastObservedTime"), now), series.get("count") or 0
    kind, name = (involved.get("kind") or "").lower(), involved.get("name")
    return [
        last,
        event.get("type") or "",
        event.get("reason") or "",
        f"{kind}/{name}" if name else kind,
        involved.get("fieldPath") or "",
        _source(event),
        (event.get("message") or "").strip(),
        first,
        count,
        event["metadata"].get("name", ""),
    ]


def _source(event: Object) -> str:
    source = event.get("source") or {}
    component = source.get("component") or event.get("reportingComponent") or ""
    instance = source.get("host") or event.get("reportingInstance") or ""
    return f"{component}, {instance}" if instance else component
