"""Who is told what: a ring of the newest events, and watches that read it at their own pace.

A watch is a position in the history, not a queue: a slow one costs nothing, reads on from the ring, from the log when
the ring has moved past it, and is told `Compacted` when the log has too. Events are shared by all watches.

A write that is announced is told to early watches when it is submitted, and once more in its turn when it is on disk.
Should it fail, all early watches are told `Compacted`: whoever follows with one looks at everything again, and finds
that it never came to be.
"""

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Collection, Sequence

from minipod.store.errors import Closed, Compacted
from minipod.store.model import Event

TAKE_LIMIT = 256  # events handed to a watch at once
Replay = Callable[[int, int], Awaitable[Sequence[Event]]]


class Feed:
    """The newest committed events, and the watches waiting for more."""

    def __init__(self, revision: int, replay: Replay, *, events: int, size: int) -> None:
        self.revision = revision
        self.floor = revision  # the ring holds every event after this revision
        self.failures = 0  # of writes that early watches may have been told of
        self._events: list[Event] = []
        self._announced: list[Event] = []  # not on disk yet
        self._size = 0
        self._event_limit = events
        self._size_limit = size
        self._replay = replay
        self._waiting: dict[str, dict[Watch, None]] = {}  # those that waited first are woken first
        self._closed = False

    def announce(self, event: Event) -> None:
        """Tell early watches of a write that is submitted."""
        self._announced.append(event)
        for prefix in _prefixes(event.key):
            for watch in [each for each in self._waiting.get(prefix, ()) if each.early]:
                watch.wake(0)

    def announced(self, prefix: str, since: int) -> list[Event]:
        """Return the matching writes after `since` that are announced and not on disk yet."""
        return [e for e in self._announced if e.revision > since and _matches(e.key, prefix)]

    def retract(self, revisions: Collection[int]) -> None:
        """Take back what was announced of writes that have failed."""
        left = [each for each in self._announced if each.revision not in revisions]
        if len(left) == len(self._announced):
            return
        self._announced = left
        self.failures += 1
        for watches in list(self._waiting.values()):
            for watch in [each for each in watches if each.early]:
                watch.wake(0)

    def unsettled(self, revision: int) -> str:
        """Return the key of the first announced write up to `revision` that is not on disk yet, "" for none."""
        first = self._announced[0] if self._announced else None
        return first.key if first and first.revision <= revision else ""

    def publish(self, events: Sequence[Event]) -> None:
        """Append newly committed events, in revision order, and wake the watches they concern."""
        self._events.extend(events)
        self._size += sum(len(event.value) for event in events)
        self.revision = events[-1].revision
        if self._announced:
            self._announced = [e for e in self._announced if e.revision > self.revision]
        for event in events:
            if self._waiting:
                self._wake(event)
        self._trim()

    def watch(self, prefix: str, since: int, *, early: bool = False) -> "Watch":
        """Return a watch of the keys that are `prefix` or, when it ends in "/", lie under it."""
        if self._closed:
            raise Closed
        return Watch(self, prefix, since, early=early)

    def since(self, revision: int) -> Sequence[Event]:
        """Return the ring's events after `revision` (which must not be below `floor`)."""
        return self._events[self._position(revision) :]

    def close(self) -> None:
        """Wake every watch with nothing: none will ever come."""
        self._closed = True
        for watches in list(self._waiting.values()):
            for watch in list(watches):
                watch.interrupt()

    async def take(self, prefix: str, since: int) -> tuple[int, list[Event]]:
        """Return some matching events after `since`, and the revision up to which that is all of them."""
        if since < self.floor:
            # what is committed but not yet published is left for its publication
            found = [
                e for e in await self._replay(since, TAKE_LIMIT) if e.revision <= self.revision
            ]
            if not found:
                return max(since, self.floor), []
            return found[-1].revision, [event for event in found if _matches(event.key, prefix)]
        taken: list[Event] = []
        for index in range(self._position(since), len(self._events)):
            event = self._events[index]
            if _matches(event.key, prefix):
                taken.append(event)
                if len(taken) == TAKE_LIMIT:
                    return event.revision, taken
        return self.revision, taken

    def wait(self, watch: "Watch") -> None:
        """Remember a watch that has seen everything so far."""
        self._waiting.setdefault(watch.prefix, {})[watch] = None

    def forget(self, watch: "Watch") -> None:
        """Stop remembering it."""
        watches = self._waiting.get(watch.prefix)
        if watches is not None:
            watches.pop(watch, None)
            if not watches:
                del self._waiting[watch.prefix]

    @property
    def closed(self) -> bool:
        """Whether no further event will ever come."""
        return self._closed

    def _wake(self, event: Event) -> None:
        for prefix in _prefixes(event.key):
            for watch in list(self._waiting.get(prefix, ())):
                watch.wake(event.revision - 1)

    def _position(self, revision: int) -> int:
        return bisect_right(self._events, revision, key=lambda event: event.revision)

    def _trim(self) -> None:
        """Drop the oldest quarter at a time, so that dropping costs nothing per event."""
        if len(self._events) <= self._event_limit and self._size <= self._size_limit:
            return
        drop = 0
        while drop < len(self._events) - 1 and (
            len(self._events) - drop > self._event_limit * 3 // 4
            or self._size > self._size_limit * 3 // 4
        ):
            self._size -= len(self._events[drop].value)
            drop += 1
        if drop:
            self.floor = self._events[drop - 1].revision
            del self._events[:drop]


class Watch:
    """One reader of the history of a prefix: every version once, in order.

    An early one gives announced events first as well: those after `revision`.
    """

    __slots__ = ("_announced", "_failures", "_feed", "_waiter", "early", "prefix", "revision")

    def __init__(self, feed: Feed, prefix: str, since: int, *, early: bool = False) -> None:
        self._feed = feed
        self._failures = feed.failures
        self._announced = 0  # everything announced up to here has been returned
        self.early = early
        self._waiter: asyncio.Future[bool] | None = None
        self.prefix = prefix
        self.revision = since  # everything up to here has been returned

    async def next(self, timeout: float | None = None) -> list[Event]:
        """Return the next events; an empty list after `timeout` seconds, an `interrupt`, or the feed's end.

        Raises Compacted when the history it would have to read is gone.
        """
        while not self._feed.closed:
            if self.early and self._failures != self._feed.failures:
                raise Compacted(self.revision, self._feed.revision)
            self.revision, events = await self._feed.take(self.prefix, self.revision)
            if self.early and not events and self.revision >= self._feed.revision:
                events = self._take_announced()
            if events:
                return events
            if self.revision >= self._feed.revision and not await self._wait(timeout):
                break
        return []

    def _take_announced(self) -> list[Event]:
        events = self._feed.announced(self.prefix, self._announced)
        if events:
            self._announced = events[-1].revision
        return events

    @property
    def ended(self) -> bool:
        """Whether the store has closed: nothing will ever come."""
        return self._feed.closed

    def wake(self, revision: int) -> None:
        """Something it watches follows `revision`; everything up to there did not concern it."""
        self.revision = max(self.revision, revision)
        self._settle(found=True)

    def interrupt(self) -> None:
        """Make a waiting `next` return with nothing."""
        self._settle(found=False)

    async def _wait(self, timeout: float | None) -> bool:
        """Wait for a wake-up (true) or an end of patience (false)."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[bool] = loop.create_future()
        self._waiter = waiter
        self._feed.wait(self)
        timer = loop.call_later(timeout, self.interrupt) if timeout is not None else None
        try:
            return await waiter
        finally:
            self._feed.forget(self)
            self._waiter = None
            if timer is not None:
                timer.cancel()

    def _settle(self, *, found: bool) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is None or waiter.done():
            return
        self._feed.forget(self)
        if not found:  # nothing that concerns it has come since it began to wait
            self.revision = max(self.revision, self._feed.revision)
        waiter.set_result(found)


def _matches(key: str, prefix: str) -> bool:
    return key.startswith(prefix) if prefix.endswith("/") else key == prefix


def _prefixes(key: str) -> list[str]:
    """Every prefix under which a watch may wait for this key: "/", "/pods/", "/pods/default/", and itself."""
    found = [key]
    end = key.rfind("/")
    while end >= 0:
        found.append(key[: end + 1])
        end = key.rfind("/", 0, end)
    return found
