"""Objects at resourceVersions in SQLite: compare-and-swap, list, watch. Knows no kinds and no HTTP."""

from minipod.store.errors import (
    Closed,
    CommitFailed,
    Compacted,
    Conflict,
    InDoubt,
    StoreError,
    Unusable,
)
from minipod.store.feed import Watch
from minipod.store.model import Entry, Event, Page
from minipod.store.store import Guard, Limits, Store

__all__ = [
    "Closed",
    "CommitFailed",
    "Compacted",
    "Conflict",
    "Entry",
    "Event",
    "Guard",
    "InDoubt",
    "Limits",
    "Page",
    "Store",
    "StoreError",
    "Unusable",
    "Watch",
]
