"""Reads, compare-and-swap and history of one store."""

import asyncio
import os
import re
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from minipod.store import (
    Closed,
    CommitFailed,
    Compacted,
    Conflict,
    Damaged,
    Guard,
    Limits,
    Store,
    Unusable,
)
from minipod.store.database import Database, Row


def text(value: str) -> Callable[[int], bytes]:
    return lambda revision: f"{value}@{revision}".encode()


def in_store(
    path: Path, body: Callable[[Store], Awaitable[None]], limits: Limits | None = None
) -> None:
    async def main() -> None:
        store = await Store.open(path, limits)
        try:
            await asyncio.wait_for(body(store), 30)
        finally:
            await store.close()

    asyncio.run(main())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store.db"


def test_a_write_is_read_back_with_its_revision_and_after_reopening(path: Path) -> None:
    async def write(store: Store) -> None:
        made = await store.put("/pods/a/x", text("one"), expected=0)
        assert (made.revision, made.value) == (1, b"one@1")
        changed = await store.put("/pods/a/x", text("two"), expected=1)
        assert store.get("/pods/a/x") == changed
        await store.put("/pods/a/y", text("gone"), expected=0)
        await store.delete("/pods/a/y", text("gone"), expected=3)

    async def read(store: Store) -> None:
        assert store.revision == 4
        entry = store.get("/pods/a/x")
        assert entry is not None
        assert entry.value == b"two@2"
        assert store.get("/pods/a/y") is None
        assert len(store) == 1

    in_store(path, write)
    in_store(path, read)


def test_the_database_is_for_its_owner_alone(path: Path) -> None:
    async def write(store: Store) -> None:
        await store.put("/pods/a/x", text("one"), expected=0)
        for name in path.parent.iterdir():
            assert name.stat().st_mode & 0o077 == 0, name

    in_store(path, write)
    assert path.parent.stat().st_mode & 0o077 == 0


def test_a_stale_write_loses(path: Path) -> None:
    async def body(store: Store) -> None:
        await store.put("/pods/a/x", text("one"), expected=0)
        with pytest.raises(Conflict) as twice:
            await store.put("/pods/a/x", text("again"), expected=0)
        assert twice.value.actual == 1
        with pytest.raises(Conflict):
            await store.delete("/pods/a/none", text(""), expected=7)
        assert store.revision == 1

    in_store(path, body)


def test_of_many_writers_at_one_revision_exactly_one_wins(path: Path) -> None:
    async def body(store: Store) -> None:
        await store.put("/pods/a/x", text("zero"), expected=0)
        tries = [store.put("/pods/a/x", text(str(n)), expected=1) for n in range(20)]
        results = await asyncio.gather(*tries, return_exceptions=True)
        assert sum(not isinstance(result, BaseException) for result in results) == 1
        assert sum(isinstance(result, Conflict) for result in results) == 19

    in_store(path, body)


def test_nothing_is_visible_before_its_commit(path: Path) -> None:
    async def body(store: Store) -> None:
        watch = store.watch("/pods/", 0)
        write = asyncio.ensure_future(store.put("/pods/a/x", text("one"), expected=0))
        await asyncio.sleep(0)
        assert store.pending("/pods/a/x")
        assert store.get("/pods/a/x") is None
        assert store.revision == 0
        assert (await write).revision == 1
        assert store.get("/pods/a/x") is not None
        assert [event.revision for event in await watch.next()] == [1]

    in_store(path, body)


def test_a_guard_is_asked_in_the_step_of_the_write(path: Path) -> None:
    async def body(store: Store) -> None:
        def refuse() -> None:
            raise PermissionError("no")

        guard = Guard("/namespaces/a", refuse)
        with pytest.raises(PermissionError):
            await store.put("/pods/a/x", text("one"), expected=0, guard=guard)
        assert not store.pending("/pods/a/x")
        await store.put("/pods/a/x", text("one"), expected=0)

    in_store(path, body)


def test_a_guard_sees_the_write_that_was_under_way(path: Path) -> None:
    async def body(store: Store) -> None:
        def check() -> None:
            if store.get("/namespaces/a") is None:
                raise PermissionError("gone")

        guard = Guard("/namespaces/a", check)
        await store.put("/namespaces/a", text("there"), expected=0)
        going = store.delete("/namespaces/a", text("gone"), expected=1)
        late = store.put("/pods/a/x", text("late"), expected=0, guard=guard)
        results = await asyncio.gather(going, late, return_exceptions=True)
        assert isinstance(results[1], PermissionError)

    in_store(path, body)


def test_a_cancelled_caller_does_not_undo_its_write(path: Path) -> None:
    async def body(store: Store) -> None:
        write = asyncio.ensure_future(store.put("/pods/a/x", text("one"), expected=0))
        await asyncio.sleep(0)
        write.cancel()
        watch = store.watch("/pods/a/x", 0)
        assert [event.type for event in await watch.next()] == ["ADDED"]

    in_store(path, body)


def test_a_list_is_paged_over_one_moment(path: Path) -> None:
    async def body(store: Store) -> None:
        for name in "dacb":
            await store.put(f"/pods/a/{name}", text(name), expected=0)
        await store.put("/pods/ab/z", text("other namespace"), expected=0)
        first = store.list("/pods/a/", limit=2)
        assert [entry.key[-1] for entry in first.entries] == ["a", "b"]
        assert first.remaining == 2
        await store.delete("/pods/a/c", text("c"), expected=3)
        changed = await store.put("/pods/a/d", text("changed"), expected=1)
        await store.put("/pods/a/d", text("again"), expected=changed.revision)
        await store.put("/pods/a/e", text("late"), expected=0)
        rest = store.list("/pods/a/", start=first.next_key, limit=2, at=first.revision)
        assert [entry.value for entry in rest.entries] == [b"c@3", b"d@1"]
        assert (rest.next_key, rest.revision) == ("", first.revision)

    in_store(path, body)


def test_pages_of_a_forgotten_moment_are_refused(path: Path) -> None:
    async def body(store: Store) -> None:
        for number in range(12):
            await store.put(f"/pods/a/{number}", text(""), expected=0)
        with pytest.raises(Compacted):
            store.list("/pods/a/", at=2)

    in_store(path, body, Limits(ring_events=4))


def test_compaction_forgets_history_and_keeps_the_newest(path: Path) -> None:
    async def body(store: Store) -> None:
        await store.put("/pods/a/kept", text("one"), expected=0)
        await store.put("/pods/a/kept", text("two"), expected=1)
        await store.put("/pods/a/gone", text("x"), expected=0)
        await store.delete("/pods/a/gone", text("x"), expected=3)
        store.compact(4)
        with pytest.raises(Compacted):
            store.watch("/pods/", 3)
        with pytest.raises(Compacted):
            store.list("/pods/", at=3)
        await store.put("/pods/a/new", text("y"), expected=0)  # behind the compaction in the queue
        assert _rows(path) == [(2, "/pods/a/kept"), (5, "/pods/a/new")]

    async def reopened(store: Store) -> None:
        assert store.compacted == 4
        assert [entry.revision for entry in store.list("/pods/").entries] == [2, 5]
        assert [event.revision for event in await store.watch("/pods/", 4).next()] == [5]

    in_store(path, body)
    in_store(path, reopened)


def test_revisions_do_not_come_back_after_everything_was_compacted(path: Path) -> None:
    async def body(store: Store) -> None:
        await store.put("/pods/a/x", text(""), expected=0)
        await store.delete("/pods/a/x", text(""), expected=1)
        store.compact(2)

    async def reopened(store: Store) -> None:
        assert store.revision == 2
        assert (await store.put("/pods/a/x", text(""), expected=0)).revision == 3

    in_store(path, body)
    in_store(path, reopened)


def test_history_is_bounded_by_count_without_being_asked(path: Path) -> None:
    async def body(store: Store) -> None:
        revision = 0
        for _ in range(50):
            revision = (await store.put("/pods/a/x", text(""), expected=revision)).revision
        assert store.compacted >= 20
        assert len(_rows(path)) < 30

    in_store(path, body, Limits(keep_revisions=10))


def test_old_history_goes_by_age(path: Path) -> None:
    async def body(store: Store) -> None:
        revision = 0
        watch = store.watch("/pods/", 0)
        while not store.compacted:
            revision = (await store.put("/pods/a/x", text(""), expected=revision)).revision
            await watch.next()
        assert store.compacted < store.revision

    in_store(path, body, Limits(keep_seconds=0.02, compaction_interval=0.01))


def test_a_full_disk_fails_its_callers_and_nothing_else(path: Path) -> None:
    def big(revision: int) -> bytes:
        return b"x" * 300_000

    async def body(store: Store) -> None:
        await store.put("/pods/a/kept", text("kept"), expected=0)
        writer = store._database._connection
        (pages,) = writer.execute("PRAGMA page_count").fetchone()
        writer.execute(f"PRAGMA max_page_count = {pages + 20}").fetchall()
        watch = store.watch("/pods/", store.revision)
        writes = [store.put(f"/pods/a/{n}", big, expected=0) for n in range(3)]
        for result in await asyncio.gather(*writes, return_exceptions=True):
            assert isinstance(result, CommitFailed)
            assert "full" in str(result)
        assert [entry.key for entry in store.list("/pods/").entries] == ["/pods/a/kept"]
        writer.execute("PRAGMA max_page_count = 1000000").fetchall()
        after = await store.put("/pods/a/1", big, expected=0)
        assert [event.revision for event in await watch.next()] == [after.revision]

    async def reopened(store: Store) -> None:
        assert [entry.key for entry in store.list("/pods/").entries] == [
            "/pods/a/1",
            "/pods/a/kept",
        ]

    in_store(path, body)
    in_store(path, reopened)


def test_a_refused_transaction_is_rolled_back(path: Path) -> None:
    database = Database.open(path)
    row = Row(1, "/pods/a/x", 0, False, b"x")
    with pytest.raises(sqlite3.IntegrityError):
        database.append([row, row])
    database.append([row])
    assert [entry.key for entry in database.load().entries] == ["/pods/a/x"]
    database.close()


def test_a_commit_waits_for_the_disk(path: Path) -> None:
    """Nothing short of a power cut shows the difference: look at the settings themselves."""
    database = Database.open(path)
    found = [
        database._connection.execute(f"PRAGMA {name}").fetchone()[0]
        for name in ("journal_mode", "synchronous")
    ]
    assert found == ["wal", 2]  # 2 is FULL
    database.close()


def test_two_daemons_cannot_share_one_database(path: Path) -> None:
    async def body(store: Store) -> None:
        with pytest.raises(Unusable, match=rf'"{path}" is in use by process {os.getpid()}'):
            await Store.open(path)

    in_store(path, body)
    in_store(path, lambda store: asyncio.sleep(0))


@pytest.mark.parametrize(
    "content",
    [b"this is not a database, it is a letter. " * 50, b"SQLite format 3\0" + b"\xff" * 4096],
)
def test_a_damaged_file_gives_one_clear_line(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(Unusable) as refused:
        in_store(path, lambda store: asyncio.sleep(0))
    assert f'store "{path}" is damaged: ' in str(refused.value)
    assert "\n" not in str(refused.value)
    assert path.read_bytes() == content


def test_a_database_damaged_in_the_middle_is_reported(path: Path) -> None:
    async def fill(store: Store) -> None:
        writes = [store.put(f"/pods/a/{n}", lambda _: b"x" * 5000, expected=0) for n in range(50)]
        await asyncio.gather(*writes)

    in_store(path, fill)
    with path.open("r+b") as file:
        file.seek(4096 * 4)
        file.write(os.urandom(4096 * 20))
    with pytest.raises(Unusable, match="is damaged: database disk image is malformed"):
        in_store(path, lambda store: asyncio.sleep(0))


def test_a_damaged_value_is_named_and_left_alone_and_keeps_no_other(path: Path) -> None:
    async def fill(store: Store) -> None:
        await store.put("/pods/a/good", text("good"), expected=0)
        await store.put("/pods/a/bad", text("bad"), expected=0)

    def find_damage(value: bytes) -> str:
        return "Expecting value" if value.startswith(b"bad") else ""

    async def body() -> None:
        store = await Store.open(path, find_damage=find_damage)
        try:
            assert [each.key for each in store.list("/pods/").entries] == ["/pods/a/good"]
            told = (
                'the stored value of "/pods/a/bad" is damaged (Expecting value); restore a copy of the store, or '
                "remove the value while minipod is down: DELETE FROM log WHERE key = '/pods/a/bad'"
            )
            with pytest.raises(Damaged, match=re.escape(told)):
                store.get("/pods/a/bad")
            with pytest.raises(Damaged):
                await store.put("/pods/a/bad", text("over"), expected=0)
            assert store.damaged == {"/pods/a/bad": "Expecting value"}
        finally:
            await store.close()

    in_store(path, fill)
    asyncio.run(body())
    assert _rows(path)[-1][1] == "/pods/a/bad"


def test_an_empty_file_is_no_new_store(path: Path) -> None:
    async def fill(store: Store) -> None:
        await store.put("/pods/a/b", text(""), expected=0)

    in_store(path, fill)
    os.truncate(path, 0)
    with pytest.raises(Unusable, match="is empty, as a crash of its file system leaves it"):
        in_store(path, lambda store: asyncio.sleep(0))
    assert path.stat().st_size == 0


def test_a_store_cut_short_is_reported(path: Path) -> None:
    async def fill(store: Store) -> None:
        writes = [store.put(f"/pods/a/{n}", lambda _: b"x" * 5000, expected=0) for n in range(50)]
        await asyncio.gather(*writes)

    in_store(path, fill)
    for size in (100_000, 5000, 100):
        os.truncate(path, size)
        with pytest.raises(Unusable, match="is damaged: "):
            in_store(path, lambda store: asyncio.sleep(0))


def test_a_store_of_a_later_version_is_left_alone(path: Path) -> None:
    in_store(path, lambda store: asyncio.sleep(0))
    later = sqlite3.connect(path)
    later.execute("PRAGMA user_version = 7")
    later.close()
    with pytest.raises(Unusable, match="has format 7, this minipod reads 1"):
        in_store(path, lambda store: asyncio.sleep(0))


def test_somebody_elses_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir(parents=True)
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE letters (text)")
    other.commit()
    other.close()
    with pytest.raises(Unusable, match="some other program's database"):
        in_store(path, lambda store: asyncio.sleep(0))


def test_a_closed_store_refuses_writes_and_ends_watches(path: Path) -> None:
    async def main() -> None:
        store = await Store.open(path)
        waiting = asyncio.ensure_future(store.watch("/pods/", 0).next())
        last = asyncio.ensure_future(store.put("/pods/a/last", text(""), expected=0))
        await asyncio.sleep(0)
        await store.close()
        await store.close()
        assert (await last).revision == 1
        assert await waiting == []
        with pytest.raises(Closed):
            await store.put("/pods/a/x", text(""), expected=0)
        with pytest.raises(Closed):
            store.watch("/pods/", 0)

    asyncio.run(main())


def _rows(path: Path) -> list[tuple[int, str]]:
    reader = sqlite3.connect(path)
    try:
        return list(reader.execute("SELECT revision, key FROM log ORDER BY revision"))
    finally:
        reader.close()
