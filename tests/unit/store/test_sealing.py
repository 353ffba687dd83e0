"""Sealed values: on the disk they cannot be read, in memory and in watches they can."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from minipod.store import Compacted, Limits, Opened, Seal, Store, Unopened, Unreadable

PLAIN = b"hunter2-hunter2"


class Rot:
    """A seal that adds a number to every byte, and knows by the first byte which."""

    def __init__(self, write: int, *read: int) -> None:
        self.write, self.read = write, (write, *read)

    def close(self, key: str, value: bytes) -> bytes:
        return bytes([self.write, *((each + self.write) % 256 for each in value)])

    def open(self, key: str, stored: bytes) -> Opened:
        if stored[0] not in self.read:
            raise Unopened(f"number {stored[0]} is not known")
        value = bytes((each - stored[0]) % 256 for each in stored[1:])
        return Opened(value, stale=stored[0] != self.write)


def _run(
    path: Path,
    seal: Seal | None,
    body: Callable[[Store], Awaitable[None]],
    limits: Limits | None = None,
) -> None:
    async def main() -> None:
        store = await Store.open(path, limits, seal)
        try:
            await asyncio.wait_for(body(store), 30)
        finally:
            await store.close()

    asyncio.run(main())


async def _put(store: Store, key: str, value: bytes = PLAIN) -> None:
    entry = store.get(key)
    await store.put(key, lambda _: value, expected=entry.revision if entry else 0)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "store.db"


def _on_disk(path: Path) -> bytes:
    return b"".join(each.read_bytes() for each in sorted(path.parent.iterdir()))


def test_the_disk_has_none_of_a_sealed_value_and_every_reader_all_of_it(path: Path) -> None:
    async def write(store: Store) -> None:
        await _put(store, "/secrets/a/x")
        await _put(store, "/secrets/a/x", PLAIN + b"!")
        watch = store.watch("/secrets/", 0)
        assert [event.value for event in await watch.next()] == [PLAIN, PLAIN + b"!"]
        assert PLAIN not in _on_disk(path)

    async def read(store: Store) -> None:
        entry = store.get("/secrets/a/x")
        assert entry is not None
        assert entry.value == PLAIN + b"!"
        replayed = await store.watch("/secrets/", 0).next()  # from the log
        assert [event.value for event in replayed] == [PLAIN, PLAIN + b"!"]
        assert replayed[1].previous is not None
        assert replayed[1].previous.value == PLAIN

    _run(path, Rot(7), write)
    _run(path, Rot(7), read)


def test_a_rotated_key_reads_old_values_and_says_that_they_are_stale(path: Path) -> None:
    async def rewrite(store: Store) -> None:
        assert store.stale("/secrets/a/x")
        await _put(store, "/secrets/a/x")
        assert not store.stale("/secrets/a/x")

    async def check(store: Store) -> None:
        assert not store.stale("/secrets/a/x")
        assert store.unreadable == {}
        # the first version, of the key that is gone, is history no longer kept
        with pytest.raises(Compacted):
            await store.watch("/secrets/", 0).next()

    _run(path, Rot(7), lambda store: _put(store, "/secrets/a/x"))
    _run(path, Rot(8, 7), rewrite)
    _run(path, Rot(8), check)


def test_what_cannot_be_opened_is_reported_and_never_lost(path: Path) -> None:
    async def refuse(store: Store) -> None:
        key = "/secrets/a/x"
        assert store.unreadable == {key: "number 7 is not known"}
        with pytest.raises(Unreadable, match=r'"/secrets/a/x": number 7 is not known'):
            store.get(key)
        for prefix in ("/secrets/", "/secrets/a/"):
            with pytest.raises(Unreadable):
                store.list(prefix)
        assert store.list("/secrets/b/").entries == []
        for expected in (0, 1):
            with pytest.raises(Unreadable):
                await store.put(key, lambda _: b"other", expected=expected)
            with pytest.raises(Unreadable):
                await store.delete(key, lambda _: b"", expected=expected)
        await _put(store, "/pods/a/x")
        store.compact(store.revision)

    async def read(store: Store) -> None:
        entry = store.get("/secrets/a/x")
        assert entry is not None
        assert entry.value == PLAIN

    _run(path, Rot(7), lambda store: _put(store, "/secrets/a/x"))
    _run(path, Rot(8), refuse)
    _run(path, Rot(8, 7), read)


def test_no_seal_leaves_values_as_they_are_and_refuses_encrypted_ones(path: Path) -> None:
    async def check(store: Store) -> None:
        (reason,) = store.unreadable.values()
        assert '"aesgcm:v1:one"' in reason

    sealed = b"k8s:enc:aesgcm:v1:one:\x00\x01"
    _run(path, None, lambda store: _put(store, "/secrets/a/x", sealed))
    assert sealed in _on_disk(path)
    _run(path, None, check)


def test_nothing_of_what_was_stored_before_is_left_once_it_is_history(path: Path) -> None:
    async def seal(store: Store) -> None:
        for number in range(50):
            await _put(store, f"/secrets/a/{number}")
        store.compact(store.revision)
        await _put(store, "/secrets/a/last", b"a write behind the compaction")

    async def plain(store: Store) -> None:
        for number in range(50):
            await _put(store, f"/secrets/a/{number}")

    class OrPlain(Rot):
        def open(self, key: str, stored: bytes) -> Opened:
            if stored[0] in self.read:
                return super().open(key, stored)
            return Opened(stored, stale=True)

    _run(path, None, plain)
    assert PLAIN in _on_disk(path)
    _run(path, OrPlain(7), seal)
    assert PLAIN not in _on_disk(path)
    with contextlib.closing(sqlite3.connect(path)) as looked:
        assert looked.execute("SELECT count(*) FROM log").fetchone() == (51,)
