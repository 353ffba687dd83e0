"""A file system that is really full: commits fail, and all is well when there is space."""

import asyncio
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from minipod.store import CommitFailed, Store

pytestmark = pytest.mark.kernel


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Path]:
    """Two megabytes of tmpfs."""
    where = tmp_path / "tiny"
    where.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", where], check=True)
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", where], check=True)


def test_a_full_file_system_fails_its_callers_and_recovers(tiny: Path) -> None:
    async def fill(store: Store) -> list[str]:
        kept: list[str] = []
        while len(kept) < 200:
            key = f"/pods/a/{len(kept)}"
            write = store.put(key, lambda _: b"x" * 30_000, expected=0)
            (result,) = await asyncio.gather(write, return_exceptions=True)
            if isinstance(result, CommitFailed):
                assert "full" in str(result)
                return sorted(kept)
            kept.append(key)
        raise AssertionError("two megabytes held six")

    async def main() -> None:
        store = await Store.open(tiny / "store.db")
        ballast = tiny / "ballast"
        ballast.write_bytes(b"x" * 500_000)
        watch = store.watch("/pods/", 0)
        kept = await fill(store)
        assert [entry.key for entry in store.list("/pods/").entries] == kept
        seen: list[str] = []
        while len(seen) < len(kept):
            seen += [event.key for event in await watch.next()]
        assert sorted(seen) == kept
        ballast.unlink()
        more = await store.put("/pods/b/after", lambda _: b"x" * 30_000, expected=0)
        assert [event.revision for event in await watch.next()] == [more.revision]
        await store.close()
        store = await Store.open(tiny / "store.db")
        assert [entry.key for entry in store.list("/pods/").entries] == [*kept, "/pods/b/after"]
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 30))
