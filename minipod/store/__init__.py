"""Objects at resourceVersions in SQLite: compare-and-swap, list, watch. Knows no kinds and no HTTP."""

from minipod.store.errors import (
    Closed,
    CommitFailed,
    Compacted,
    Conflict,
    Damaged,
    InDoubt,
    StoreError,
    Unreadable,
    Unusable,
)
from minipod.store.feed import Watch
from minipod.store.model import Entry, Event, Page
from minipod.store.sealing import MARK, Opened, Seal, Unopened
from minipod.store.store import Guard, Limits, Store

__all__ = [
    "MARK",
    "Closed",
    "CommitFailed",
    "Compacted",
    "Conflict",
    "Damaged",
    "Entry",
    "Event",
    "Guard",
    "InDoubt",
    "Limits",
    "Opened",
    "Page",
    "Seal",
    "Store",
    "StoreError",
    "Unopened",
    "Unreadable",
    "Unusable",
    "Watch",
]
