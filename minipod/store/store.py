"""The store: keys at revisions, compare-and-swap, snapshots and watches.

One event loop, one writer thread. Revisions are handed out in the loop when a write is submitted; it becomes visible
to readers and watches, and its caller is answered, when its transaction is on disk: never before, in revision order.
A failed transaction leaves a gap in the revisions and nothing else. At most one write per key is under way, so a
compare-and-swap never builds on a version that may yet fail.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipod.store.database import Database, FindDamage, Loaded, Row
from minipod.store.errors import (
    Closed,
    CommitFailed,
    Compacted,
    Conflict,
    Damaged,
    InDoubt,
    Unreadable,
)
from minipod.store.feed import Feed, Watch
from minipod.store.index import Index, undo
from minipod.store.model import Entry, Event, Page
from minipod.store.sealing import Seal, Unopened
from minipod.store.writer import Writer

Encode = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class Guard:
    """A condition on another key: `check` runs in the step of the write, with no write of `key` under way.

    So what it sees of that key is what the write's revision follows. It raises to refuse.
    """

    key: str
    check: Callable[[], None]


@dataclass(frozen=True)
class Limits:
    """How much history is kept. At least `keep_seconds` of it, unless there are more than `keep_revisions`."""

    keep_seconds: float = 300.0
    keep_revisions: int = 20_000
    compaction_interval: float = 60.0
    ring_events: int = 4_000
    ring_bytes: int = 4 << 20


class Store:
    """Create with `await Store.open(path)`. All methods belong to the event loop that opened it."""

    def __init__(self, database: Database, loaded: Loaded, limits: Limits) -> None:
        self._database = database
        self._limits = limits
        self._index = Index(loaded.entries)
        self._allocated = loaded.revision
        self._compacted = loaded.compacted
        self._condition = loaded.condition
        self._pending: dict[str, asyncio.Future[Entry]] = {}
        self._feed = Feed(
            loaded.revision, self._replay, events=limits.ring_events, size=limits.ring_bytes
        )
        self._writer = Writer(database, self._on_committed, self._on_failed)
        self._marks: list[tuple[float, int]] = [(time.monotonic(), loaded.revision)]
        self._closing = False
        self._timer = self._schedule_compaction()

    @classmethod
    async def open(
        cls,
        path: Path,
        limits: Limits | None = None,
        seal: Seal | None = None,
        find_damage: FindDamage = lambda value: "",
    ) -> "Store":
        """Open or create the store at `path`, locked to this process. Raises Unusable.

        `seal` closes what is written from now on; what it cannot open is `unreadable`, and what `find_damage` finds
        fault with is `damaged`: neither is read or written over.
        """
        database = Database.open(path, seal)
        try:
            loaded = database.load(find_damage)
        except BaseException:
            database.close()
            raise
        return cls(database, loaded, limits or Limits())

    @property
    def revision(self) -> int:
        """The newest committed revision."""
        return self._feed.revision

    @property
    def closed(self) -> bool:
        """Whether nothing can be written any more."""
        return self._closing

    @property
    def compacted(self) -> int:
        """History is kept after this revision."""
        return self._compacted

    @property
    def unreadable(self) -> Mapping[str, str]:
        """The keys whose values cannot be opened, and why."""
        return self._condition.unreadable

    @property
    def damaged(self) -> Mapping[str, str]:
        """The keys whose values are not what was written, and why."""
        return self._condition.damaged

    def __len__(self) -> int:
        return len(self._index)

    def get(self, key: str) -> Entry | None:
        """Return the committed entry of `key`. Raises Unreadable, Damaged."""
        self._check_readable(key)
        return self._index.get(key)

    def stale(self, key: str) -> bool:
        """Return whether the value of `key` would be stored otherwise now, by another key or by none."""
        return key in self._condition.stale

    def pending(self, key: str) -> bool:
        """Return whether a write of `key` is under way."""
        return key in self._pending

    def changed(self, group: str) -> int:
        """Return the revision of the newest change under a key's first segment ("/pods/"); 0: none since the opening.

        So that what is computed from a few kinds can be kept until one of them changes.
        """
        return self._index.changed(group)

    def list(self, prefix: str, *, start: str = "", limit: int = 0, at: int = 0) -> Page:
        """Return the entries under `prefix` (ending in "/") in key order, `limit` (0: all) of them from `start` on.

        `at` asks for an earlier revision, as the next page of a list does. Raises Compacted when it is too old,
        and Unreadable for one value that cannot be opened: a list that leaves something out would be taken for all.
        """
        for key, reason in self.unreadable.items():
            if key.startswith(prefix):
                raise Unreadable(key, reason)
        if not at or at == self.revision:
            entries, remaining = self._index.select(prefix, start, limit)
            return _page(entries, self.revision, remaining)
        oldest = max(self._feed.floor, self._compacted)  # as long as a watch could begin there
        if at < oldest:
            raise Compacted(at, oldest)
        everything = self._index.select(prefix, "", 0)[0]
        entries = [e for e in undo(everything, self._feed.since(at), prefix) if e.key >= start]
        cut = limit or len(entries)
        return _page(entries[:cut], at, len(entries[cut:]))

    async def put(
        self,
        key: str,
        encode: Encode,
        *,
        expected: int,
        guard: Guard | None = None,
        announce: bool = False,
    ) -> Entry:
        """Write `encode(revision)` to `key` if it is at revision `expected` (0: does not exist).

        `announce` has early watches told before it is on disk.
        Raises Conflict, CommitFailed, InDoubt, Closed, Unreadable, Damaged, and what the guard's check raises.
        """
        return await self._write(key, encode, expected, guard, announce=announce)

    async def delete(
        self, key: str, encode: Encode, *, expected: int, guard: Guard | None = None
    ) -> Entry:
        """Remove `key` if it is at revision `expected`; `encode(revision)` is the last value, told to watches."""
        return await self._write(key, encode, expected, guard, deleted=True)

    def watch(self, prefix: str, since: int, *, early: bool = False) -> Watch:
        """Return a watch of every change after `since` under `prefix` (of one key when it does not end in "/").

        An early one is told of what `put` announces before it is on disk too; `settled` says when it is. If such a
        write fails the watch ends with Compacted.
        Raises Compacted when `since` is too old.
        """
        if since < self._compacted:
            raise Compacted(since, self._compacted)
        return self._feed.watch(prefix, since, early=early)

    async def settled(self, revision: int) -> None:
        """Wait until every announced write up to `revision` is on disk, or has failed."""
        while key := self._feed.unsettled(revision):
            await asyncio.wait({self._pending[key]})

    def compact(self, until: int) -> None:
        """Forget the history up to `until`: superseded versions and deletions go, newest versions stay."""
        until = min(until, self.revision)
        if until > self._compacted:
            self._writer.compact(self._compacted, until)
            self._compacted = until

    async def close(self) -> None:
        """Commit what was submitted, end every watch and close the file. Idempotent."""
        if self._closing:
            return
        self._closing = True
        self._timer.cancel()
        self._feed.close()
        await self._writer.stop()
        await asyncio.sleep(0)  # the writer's last results are in the loop's queue, ahead of this
        self._database.close()

    async def _write(
        self,
        key: str,
        encode: Encode,
        expected: int,
        guard: Guard | None,
        *,
        deleted: bool = False,
        announce: bool = False,
    ) -> Entry:
        keys = (key, guard.key) if guard else (key,)
        while under_way := [self._pending[each] for each in keys if each in self._pending]:
            await asyncio.wait(under_way)
        if self._closing:
            raise Closed
        self._check_readable(key)
        current = self._index.get(key)
        actual = current.revision if current else 0
        if actual != expected:
            raise Conflict(key, expected, actual)
        if guard is not None:
            guard.check()
        value = encode(self._allocated + 1)
        self._allocated += 1
        row = Row(self._allocated, key, actual, deleted, value)
        answer: asyncio.Future[Entry] = asyncio.get_running_loop().create_future()
        self._pending[key] = answer
        self._writer.submit(row)
        if announce:
            self._feed.announce(Event(row.revision, key, value, deleted, current))
        # a cancelled caller does not cancel its write
        return await asyncio.shield(answer)

    def _check_readable(self, key: str) -> None:
        if key in self.unreadable:
            raise Unreadable(key, self.unreadable[key])
        if key in self.damaged:
            raise Damaged(key, self.damaged[key])

    def _on_committed(self, rows: Sequence[Row]) -> None:
        """Make a committed batch visible, then wake the watches and answer its callers.

        In this order: what follows from a write is begun before its caller, perhaps a slow one, is attended to.
        """
        events, answers = [], []
        for row in rows:
            previous = self._index.get(row.key)
            event = Event(row.revision, row.key, row.value, row.deleted, previous)
            self._index.apply(event)
            events.append(event)
            self._condition.stale.discard(row.key)
            answers.append((self._pending.pop(row.key), Entry(row.key, row.revision, row.value)))
        self._feed.publish(events)
        for answer, entry in answers:
            answer.set_result(entry)
        if self.revision - self._compacted > self._limits.keep_revisions * 2:
            self.compact(self.revision - self._limits.keep_revisions)

    def _on_failed(self, rows: Sequence[Row], reason: Exception) -> None:
        kind = InDoubt if isinstance(reason, InDoubt) else CommitFailed
        for row in rows:
            answer = self._pending.pop(row.key)
            answer.set_exception(kind(f'cannot write "{row.key}": {reason}'))
            answer.exception()  # its caller may be gone: nobody is warned about that
        self._feed.retract({row.revision for row in rows})

    async def _replay(self, since: int, limit: int) -> Sequence[Event]:
        if since < self._compacted:
            raise Compacted(since, self._compacted)
        try:
            compacted, events = await asyncio.to_thread(self._database.replay, since, limit)
        except Unopened as error:  # of an older version: the newest ones are there to be listed
            raise Compacted(since, self.revision) from error
        if since < compacted:
            raise Compacted(since, compacted)
        return events

    def _schedule_compaction(self) -> asyncio.TimerHandle:
        loop = asyncio.get_running_loop()
        return loop.call_later(self._limits.compaction_interval, self._compact_by_age)

    def _compact_by_age(self) -> None:
        """Compact up to the newest mark that is old enough, and set a new mark."""
        now = time.monotonic()
        old = [mark for mark in self._marks if mark[0] <= now - self._limits.keep_seconds]
        if old:
            self.compact(old[-1][1])
            self._marks = self._marks[len(old) :]
        if not self._marks or self._marks[-1][1] != self.revision:
            self._marks.append((now, self.revision))
        self._timer = self._schedule_compaction()


def _page(entries: list[Entry], revision: int, remaining: int) -> Page:
    if not remaining:
        return Page(entries, revision)
    return Page(entries, revision, entries[-1].key + "\0", remaining)
