"""The store's own vocabulary: entries, events and pages. Values are opaque bytes."""

from dataclasses import dataclass
from typing import Literal

EventType = Literal["ADDED", "MODIFIED", "DELETED"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One key's value and the revision that wrote it."""

    key: str
    revision: int
    value: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One committed change. `previous` is the version it replaced; a deletion carries the last value."""

    revision: int
    key: str
    value: bytes
    deleted: bool
    previous: Entry | None

    @property
    def type(self) -> EventType:
        """The change as a watcher of this key sees it."""
        if self.deleted:
            return "DELETED"
        return "MODIFIED" if self.previous else "ADDED"


@dataclass(frozen=True, slots=True)
class Page:
    """Entries in key order, as they were at `revision`; `next_key` is "" on the last page."""

    entries: list[Entry]
    revision: int
    next_key: str = ""
    remaining: int = 0
