"""Every key's newest committed value, in key order."""

from bisect import bisect_left, insort
from collections.abc import Iterable, Sequence

from minipod.store.model import Entry, Event


class Index:
    """Entries by key, grouped by their first path segment ("/pods/") so that kinds do not slow each other down."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._entries: dict[str, Entry] = {}
        self._keys: dict[str, list[str]] = {}
        self._changed: dict[str, int] = {}
        for entry in entries:
            self._entries[entry.key] = entry
            self._keys.setdefault(_group(entry.key), []).append(entry.key)
        for keys in self._keys.values():
            keys.sort()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> Entry | None:
        """Return the entry of `key`."""
        return self._entries.get(key)

    def apply(self, event: Event) -> None:
        """Take one committed change over."""
        group = _group(event.key)
        keys = self._keys.setdefault(group, [])
        self._changed[group] = event.revision
        if event.deleted:
            del self._entries[event.key]
            del keys[bisect_left(keys, event.key)]
            return
        if event.key not in self._entries:
            insort(keys, event.key)
        self._entries[event.key] = Entry(event.key, event.revision, event.value)

    def changed(self, group: str) -> int:
        """Return the revision of the newest change of a first path segment ("/pods/"), 0 for none since the start."""
        return self._changed.get(group, 0)

    def select(self, prefix: str, start: str, limit: int) -> tuple[list[Entry], int]:
        """Return up to `limit` (0: all) entries under `prefix` from key `start` on, and how many follow them."""
        keys = self._keys.get(_group(prefix), [])
        first = bisect_left(keys, max(prefix, start))
        end = bisect_left(keys, _after(prefix))
        last = min(first + limit, end) if limit else end
        return [self._entries[key] for key in keys[first:last]], max(end - last, 0)


def undo(entries: Iterable[Entry], events: Sequence[Event], prefix: str) -> list[Entry]:
    """Return the entries as they were before `events`, in key order."""
    before = {entry.key: entry for entry in entries}
    for event in reversed(events):
        if not event.key.startswith(prefix):
            continue
        if event.previous is None:
            before.pop(event.key, None)
        else:
            before[event.key] = event.previous
    return [before[key] for key in sorted(before)]


def _group(key: str) -> str:
    return key[: key.index("/", 1) + 1]


def _after(prefix: str) -> str:
    """The first string after every one that starts with `prefix` (which ends in "/", followed by "0" in ASCII)."""
    return prefix[:-1] + "0"
