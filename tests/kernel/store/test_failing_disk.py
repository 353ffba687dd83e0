"""A disk whose fsync fails: what is reported as failed never comes back, what is shown or acknowledged survives.

The store runs in a process of its own over `disk.c`, which keeps what a power cut would leave beside the files.
"""

import asyncio
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from minipod.store import Store

pytestmark = pytest.mark.kernel

_WRITER = """
import asyncio, os, sys
from pathlib import Path
from minipod.store import CommitFailed, InDoubt, Store

async def main():
    store = await Store.open(Path(os.environ["DISK_FILES"], "store.db"))
    print("shown", *(entry.key.removeprefix("/pods/") for entry in store.list("/pods/").entries))
    for word in sys.argv[1:]:
        if "=" in word:  # from now on flushes fail so
            Path(os.environ["DISK_STATE"]).write_text(word.replace("=", " "))
            continue
        try:
            await store.put(f"/pods/{word}", lambda _: b"x" * 3000, expected=0)
            print(word, "stored")
        except (CommitFailed, InDoubt) as error:
            assert "disk I/O error" in str(error), error
            print(word, type(error).__name__)
    sys.stdout.flush()
    os.kill(os.getpid(), 9)

asyncio.run(main())
"""


@dataclass
class Disk:
    """A disk for one store."""

    directory: Path

    def run(self, *words: str) -> dict[str, str]:
        """Open the store, write keys (WORD) with failures between (KIND=COUNT), die; return what became of each."""
        done = subprocess.run(
            [sys.executable, "-c", _WRITER, *words],
            env={
                **os.environ,
                "LD_PRELOAD": str(self.directory / "disk.so"),
                "DISK_FILES": str(self.directory / "files"),
                "DISK_COPY": str(self.directory / "copy"),
                "DISK_STATE": str(self.directory / "state"),
            },
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert done.returncode == -9, done.stderr
        return dict(line.partition(" ")[::2] for line in done.stdout.splitlines())

    def cut_power(self) -> set[str]:
        """Return the keys in what a power cut leaves."""

        async def main() -> set[str]:
            store = await Store.open(self.directory / "copy" / "store.db")
            found = {entry.key.removeprefix("/pods/") for entry in store.list("/pods/").entries}
            await store.close()
            return found

        return asyncio.run(main())


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    """An empty disk without a fault."""
    for name in ("files", "copy"):
        (tmp_path / name).mkdir()
    source = Path(__file__).with_name("disk.c")
    command = ["gcc", "-shared", "-fPIC", "-o", f"{tmp_path}/disk.so", f"{source}", "-ldl"]
    subprocess.run(command, check=True)
    return Disk(tmp_path)


@pytest.mark.parametrize("kind", ["late", "lost"])
def test_a_write_reported_as_failed_is_not_there_after_a_power_cut(disk: Disk, kind: str) -> None:
    done = disk.run("before", f"{kind}=1", "failed")
    assert done == {"shown": "", "before": "stored", "failed": "CommitFailed"}
    assert disk.cut_power() == {"before"}


@pytest.mark.parametrize("kind", ["late", "lost"])
def test_what_is_acknowledged_after_a_failure_survives_a_power_cut(disk: Disk, kind: str) -> None:
    done = disk.run("before", f"{kind}=1", "failed", "after", "last")
    assert [done[word] for word in ("failed", "after", "last")] == [
        "CommitFailed",
        "stored",
        "stored",
    ]
    assert disk.cut_power() == {"before", "after", "last"}


@pytest.mark.parametrize("kind", ["late", "lost"])
def test_while_a_write_is_in_doubt_nothing_else_is_written(disk: Disk, kind: str) -> None:
    done = disk.run("before", f"{kind}=4", "doubtful", "refused", "again", "after")
    assert [done[word] for word in ("doubtful", "refused", "again", "after")] == [
        "InDoubt",
        "CommitFailed",
        "CommitFailed",
        "stored",
    ]
    assert disk.cut_power() == {"before", "after"}


@pytest.mark.parametrize("kind", ["late", "lost"])
def test_what_a_restarted_store_shows_survives_a_power_cut(disk: Disk, kind: str) -> None:
    assert disk.run("before", f"{kind}=9", "doubtful")["doubtful"] == "InDoubt"
    (disk.directory / "state").unlink()
    shown = disk.run()["shown"].split()
    assert "before" in shown
    assert disk.cut_power() == set(shown)
