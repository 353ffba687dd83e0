"""Watches deliver every version once and in order, from the ring or from the log."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from minipod.store import CommitFailed, Compacted, Event, Limits, Store, Watch


def in_store(
    path: Path, body: Callable[[Store], Awaitable[None]], limits: Limits | None = None
) -> None:
    async def main() -> None:
        store = await Store.open(path / "store.db", limits)
        try:
            await asyncio.wait_for(body(store), 30)
        finally:
            await store.close()

    asyncio.run(main())


def encode(revision: int) -> bytes:
    return str(revision).encode()


async def take(watch: Watch, count: int) -> list[Event]:
    found: list[Event] = []
    while len(found) < count:
        found += await watch.next()
    return found


def test_a_watch_sees_each_change_as_it_happens(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        watch = store.watch("/pods/", 0)
        await store.put("/pods/a/x", encode, expected=0)
        assert [(e.type, e.value) for e in await watch.next()] == [("ADDED", b"1")]
        waiting = asyncio.ensure_future(watch.next())
        await store.put("/pods/a/x", encode, expected=1)
        (changed,) = await waiting
        assert changed.type == "MODIFIED"
        assert changed.previous is not None
        assert changed.previous.value == b"1"
        await store.delete("/pods/a/x", encode, expected=2)
        assert [(e.type, e.value) for e in await watch.next()] == [("DELETED", b"3")]

    in_store(tmp_path, body)


@pytest.mark.parametrize(
    ("prefix", "expected"),
    [
        ("/pods/", ["/pods/a/x", "/pods/a/xy", "/pods/ab/x"]),
        ("/pods/a/", ["/pods/a/x", "/pods/a/xy"]),
        ("/pods/a/x", ["/pods/a/x"]),
        ("/", ["/pods/a/x", "/pods/a/xy", "/pods/ab/x", "/nodes/a"]),
    ],
)
@pytest.mark.parametrize("waiting", [True, False])
def test_a_watch_sees_its_prefix_only(
    tmp_path: Path, prefix: str, expected: list[str], waiting: bool
) -> None:
    async def body(store: Store) -> None:
        watch = store.watch(prefix, 0)
        found = asyncio.ensure_future(take(watch, len(expected)))
        if waiting:
            await asyncio.sleep(0)
        for key in ("/pods/a/x", "/pods/a/xy", "/pods/ab/x", "/nodes/a"):
            await store.put(key, encode, expected=0)
        assert [event.key for event in await found] == expected
        assert await watch.next(timeout=0.01) == []

    in_store(tmp_path, body)


def test_a_watch_replays_from_the_log_what_the_ring_has_dropped(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        revision = 0
        for _ in range(700):
            revision = (await store.put("/pods/a/x", encode, expected=revision)).revision
        events = await take(store.watch("/pods/", 0), 700)
        assert [event.revision for event in events] == list(range(1, 701))
        assert [e.previous.revision for e in events if e.previous] == list(range(1, 700))

    in_store(tmp_path, body, Limits(ring_events=50))


def test_a_watch_survives_a_restart(tmp_path: Path) -> None:
    async def before(store: Store) -> None:
        for name in "abc":
            await store.put(f"/pods/a/{name}", encode, expected=0)
        await store.delete("/pods/a/b", encode, expected=2)

    async def after(store: Store) -> None:
        watch = store.watch("/pods/", 1)
        await store.put("/pods/a/d", encode, expected=0)
        found = [(e.type, e.revision) for e in await take(watch, 4)]
        assert found == [("ADDED", 2), ("ADDED", 3), ("DELETED", 4), ("ADDED", 5)]

    in_store(tmp_path, before)
    in_store(tmp_path, after)


def test_a_reader_that_falls_behind_compaction_is_told(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        watch = store.watch("/pods/", 0)
        revision = 0
        for _ in range(40):
            revision = (await store.put("/pods/a/x", encode, expected=revision)).revision
        store.compact(30)
        with pytest.raises(Compacted):
            await watch.next()

    in_store(tmp_path, body, Limits(ring_events=4))


def test_a_quiet_watch_does_not_fall_behind(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        quiet = store.watch("/nodes/", 0)
        waiting = asyncio.ensure_future(quiet.next())
        await asyncio.sleep(0)
        revision = 0
        for _ in range(40):
            revision = (await store.put("/pods/a/x", encode, expected=revision)).revision
        quiet.interrupt()
        assert await waiting == []
        assert quiet.revision == revision
        store.compact(revision)
        last = await store.put("/nodes/n", encode, expected=0)
        assert [event.revision for event in await quiet.next()] == [last.revision]

    in_store(tmp_path, body, Limits(ring_events=4))


def test_an_interrupt_without_a_wait_loses_nothing(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        watch = store.watch("/pods/", 0)
        await store.put("/pods/a/x", encode, expected=0)
        watch.interrupt()
        assert [event.revision for event in await watch.next()] == [1]

    in_store(tmp_path, body)


def test_an_abandoned_watch_leaves_nothing_behind(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        waiting = asyncio.ensure_future(store.watch("/pods/", 0).next())
        await asyncio.sleep(0)
        assert store._feed._waiting
        waiting.cancel()
        await asyncio.wait((waiting,))
        assert not store._feed._waiting

    in_store(tmp_path, body)


def test_an_early_watch_is_told_of_an_announced_write_before_it_is_on_disk(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        early, plain = store.watch("/pods/", 0, early=True), store.watch("/pods/", 0)
        told = asyncio.ensure_future(early.next())
        later = asyncio.ensure_future(plain.next())
        await asyncio.sleep(0)
        with contextlib.closing(sqlite3.connect(tmp_path / "store.db")) as other:
            other.execute("BEGIN IMMEDIATE")  # nothing is committed before it ends
            silent = asyncio.ensure_future(store.put("/pods/a/x", encode, expected=0))
            announced = store.put("/pods/a/y", encode, expected=0, announce=True)
            writing = asyncio.ensure_future(announced)
            (event,) = await told
            assert (event.key, store.revision, early.revision) == ("/pods/a/y", 0, 0)
            assert not later.done()
        await store.settled(event.revision)
        assert store.get("/pods/a/y") is not None
        assert [e.key for e in await take(early, 2)] == ["/pods/a/x", "/pods/a/y"]
        await asyncio.gather(silent, writing, later)

    in_store(tmp_path, body)


def test_an_early_watch_expires_when_what_it_was_told_has_failed(tmp_path: Path) -> None:
    async def body(store: Store) -> None:
        early, plain = store.watch("/pods/", 0, early=True), store.watch("/pods/", 0)
        writer = store._database._connection
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        told = asyncio.ensure_future(early.next())
        await asyncio.sleep(0)

        def big(revision: int) -> bytes:
            return b"x" * 300_000

        writing = asyncio.ensure_future(store.put("/pods/a/x", big, expected=0, announce=True))
        (event,) = await told
        await store.settled(event.revision)
        with pytest.raises(CommitFailed):
            await writing
        assert store.get("/pods/a/x") is None
        with pytest.raises(Compacted):
            await early.next()
        writer.execute("PRAGMA max_page_count = 1000000").fetchall()
        again = store.watch("/pods/", store.revision, early=True)
        await store.put("/pods/a/x", encode, expected=0, announce=True)
        assert [e.key for e in await again.next()] == ["/pods/a/x"]
        assert [e.key for e in await plain.next()] == ["/pods/a/x"]

    in_store(tmp_path, body)
