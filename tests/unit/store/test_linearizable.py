"""The store against its laws, under writers that run over each other in every way that hypothesis thinks of."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from minipod.store import Conflict, Entry, Event, Limits, Store, Watch

KEYS = ("/a/x", "/a/y", "/b/x")
SMALL = Limits(ring_events=8, ring_bytes=1 << 20)  # watches must read from the log as well

# what one writer does to a key: write or remove the version it read so many turns of the loop before
_STEP = st.tuples(st.sampled_from(KEYS), st.booleans(), st.integers(0, 3))
_WRITERS = st.lists(st.lists(_STEP, max_size=6), min_size=1, max_size=5)


@dataclass
class History:
    """What was acknowledged: (revision, key, expected revision, removed)."""

    done: list[tuple[int, str, int, bool]] = field(default_factory=list)
    refused: int = 0


async def write(store: Store, steps: list[tuple[str, bool, int]], history: History) -> None:
    """Read, think for some turns, and swap; a swap that lost is written down as refused."""
    for key, remove, turns in steps:
        entry = store.get(key)
        expected = entry.revision if entry else 0
        for _ in range(turns):
            await asyncio.sleep(0)
        swap = store.delete if remove and entry else store.put
        try:
            made = await swap(key, lambda revision: f"{revision}".encode(), expected=expected)
        except Conflict:
            history.refused += 1
        else:
            history.done.append((made.revision, key, expected, bool(remove and entry)))


async def drain(watch: Watch, until: int) -> list[Event]:
    """Return all events of a watch up to a revision."""
    found: list[Event] = []
    while watch.revision < until:
        found += await watch.next(0)  # all is committed: nothing to wait for
    return found


def fold(events: list[Event]) -> dict[str, int]:
    """Return each key's revision after the events, as a reader of the history has it."""
    state: dict[str, int] = {}
    for event in events:
        if event.deleted:
            del state[event.key]
        else:
            state[event.key] = event.revision
    return state


def run(writers: list[list[tuple[str, bool, int]]], check: Callable[..., Awaitable[None]]) -> None:
    async def main(root: Path) -> None:
        store = await Store.open(root / "store.db", SMALL)
        history = History()
        early = store.watch("/a/", 0)
        try:
            await asyncio.gather(*(write(store, steps, history) for steps in writers))
            await check(store, history, early)
        finally:
            await store.close()

    with tempfile.TemporaryDirectory() as root:
        asyncio.run(main(Path(root)))


@settings(max_examples=40, deadline=None)
@given(_WRITERS)
def test_no_update_is_lost_and_every_watch_sees_every_version_once_and_in_order(
    writers: list[list[tuple[str, bool, int]]],
) -> None:
    async def check(store: Store, history: History, early: Watch) -> None:
        done = sorted(history.done)
        revisions = [revision for revision, *_ in done]
        assert len(set(revisions)) == len(revisions)
        assert len(done) + history.refused == sum(map(len, writers))
        newest: dict[str, int] = {}
        for revision, key, expected, removed in done:
            assert newest.get(key, 0) == expected, "somebody's version was written over unread"
            newest[key] = 0 if removed else revision
        if not done:
            return
        of_a = [(r, key) for r, key, *_ in done if key.startswith("/a/")]
        for watch in (early, store.watch("/a/", 0)):
            seen = await drain(watch, store.revision)
            assert [(event.revision, event.key) for event in seen] == of_a
            state = {entry.key: entry.revision for entry in store.list("/a/").entries}
            assert fold(seen) == state, "the history, replayed, is the list"

    run(writers, check)


@settings(max_examples=25, deadline=None)
@given(_WRITERS)
def test_a_list_of_an_earlier_revision_is_the_history_up_to_it(
    writers: list[list[tuple[str, bool, int]]],
) -> None:
    async def check(store: Store, history: History, early: Watch) -> None:
        if not history.done:
            return
        events = await drain(early, store.revision)
        floor = store.revision - 5  # within the ring
        for at in range(max(floor, 1), store.revision + 1):
            found: list[Entry] = store.list("/a/", at=at).entries
            assert {entry.key: entry.revision for entry in found} == fold(
                [event for event in events if event.revision <= at]
            )

    run(writers, check)


@settings(max_examples=15, deadline=None)
@given(_WRITERS)
def test_a_store_that_is_opened_again_is_the_same(
    writers: list[list[tuple[str, bool, int]]],
) -> None:
    async def main(path: Path) -> None:
        store, history = await Store.open(path), History()
        await asyncio.gather(*(write(store, steps, history) for steps in writers))
        before = [store.list(prefix).entries for prefix in ("/a/", "/b/")], store.revision
        await store.close()
        again = await Store.open(path)
        after = [again.list(prefix).entries for prefix in ("/a/", "/b/")], again.revision
        assert after[0] == before[0]
        assert after[1] <= before[1]
        await again.close()

    with tempfile.TemporaryDirectory() as root:
        asyncio.run(main(Path(root) / "store.db"))
