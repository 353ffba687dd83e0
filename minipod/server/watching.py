"""One watch of one caller: committed events turned into what its selectors let it see.

Changes stay encoded: the same bytes serve every watch. Objects are decoded (once for all watches) only to be
looked at by a selector.
"""

import asyncio
import enum
from dataclasses import dataclass, replace

from minipod.api.errors import StatusError, resource_version_too_old
from minipod.client import Object, WatchType
from minipod.server import wire
from minipod.server.conversion import presented
from minipod.server.selection import Selection, SharedDecoder
from minipod.store import Compacted, Entry, Event, Watch

BOOKMARK_SECONDS = 60.0
_INITIAL_END = {"k8s.io/initial-events-end": "true"}


class Initial(enum.Enum):
    """What comes before the changes."""

    NOTHING = enum.auto()
    OBJECTS = enum.auto()
    OBJECTS_AND_BOOKMARK = enum.auto()


@dataclass(frozen=True)
class WatchPlan:
    """What a watch is to deliver. `deadline` is in the event loop's time."""

    selection: Selection
    initial: Initial
    bookmarks: bool
    deadline: float


@dataclass(frozen=True, slots=True)
class Change:
    """One watch event: its type and its encoded object; `early` is its revision while that is not durable, else 0."""

    type: WatchType
    value: bytes
    early: int = 0


class ResourceWatch:
    """Delivers changes in batches until its deadline or the server's end."""

    def __init__(
        self, plan: WatchPlan, watch: Watch, decoder: SharedDecoder, initial: list[Entry]
    ) -> None:
        self.kind = plan.selection.kind
        self._plan = plan
        self._watch = watch
        self._decoder = decoder
        self._initial = initial
        self._started = False
        self._bookmark_at = asyncio.get_running_loop().time() + BOOKMARK_SECONDS
        self._ended = False

    async def next(self) -> list[Change] | None:
        """Return the next changes, at least one; None at the end. Raises Expired when it fell too far behind."""
        if not self._started:
            self._started = True
            if changes := self._first():
                return changes
        while not self._ended and not self._watch.ended:
            if changes := await self._following():
                return changes
        return None

    def stop(self) -> None:
        """Make `next` return None soon."""
        self._ended = True
        self._watch.interrupt()

    def _first(self) -> list[Change]:
        changes = [Change("ADDED", presented(self.kind, entry.value)) for entry in self._initial]
        self._initial = []
        if self._plan.initial is Initial.OBJECTS_AND_BOOKMARK and self._plan.bookmarks:
            changes.append(self._bookmark(_INITIAL_END))
        return changes

    async def _following(self) -> list[Change]:
        now = asyncio.get_running_loop().time()
        if now >= self._plan.deadline:
            self._ended = True
            return [self._bookmark()] if self._plan.bookmarks else []
        if now >= self._bookmark_at:
            self._bookmark_at = now + BOOKMARK_SECONDS
            if self._plan.bookmarks:
                return [self._bookmark()]
        until = min(self._plan.deadline, self._bookmark_at)
        try:
            events = await self._watch.next(max(until - now, 0.0))
        except Compacted as error:
            raise _fell_behind(error) from error
        changes = [change for event in events if (change := self._change(event)) is not None]
        if self.kind.stored_as is None:
            return changes
        return [replace(each, value=presented(self.kind, each.value)) for each in changes]

    def _change(self, event: Event) -> Change | None:
        """Return what the change looks like through the selector: objects come and go as they match."""
        selected = self._plan.selection.selected
        if selected is None:
            return Change(event.type, event.value, self._early(event))
        previous = event.previous
        before = previous is not None and selected(
            self._decoder.object(previous.revision, previous.value)
        )
        after = not event.deleted and selected(self._decoder.object(event.revision, event.value))
        if after:
            return Change("MODIFIED" if before else "ADDED", event.value, self._early(event))
        if not before or previous is None:
            return None
        if event.deleted:
            return Change("DELETED", event.value, self._early(event))
        gone = wire.decode(previous.value)
        return Change("DELETED", wire.with_version(gone, event.revision), self._early(event))

    def _early(self, event: Event) -> int:
        """Return the revision of an event that is not committed: those that are move the watch on."""
        return event.revision if event.revision > self._watch.revision else 0

    def _bookmark(self, annotations: dict[str, str] | None = None) -> Change:
        metadata: Object = {"resourceVersion": str(self._watch.revision)}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"kind": self.kind.kind, "apiVersion": self.kind.api_version, "metadata": metadata}
        return Change("BOOKMARK", wire.encode(obj))


def _fell_behind(error: Compacted) -> StatusError:
    return resource_version_too_old(error.revision, error.oldest)
