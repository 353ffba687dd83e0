"""What was acknowledged survives kill -9, wherever it strikes."""

import asyncio
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from minipod.store import Store

_CHILD = """
import asyncio, os, sys
from pathlib import Path
from minipod.store import Limits, Store

async def write(store, writer):
    key, revision = f"/pods/w/{writer}", 0
    for number in range(400):
        value = f"{writer}:{number}:" + "x" * 500
        entry = await store.put(key, lambda _: value.encode(), expected=revision)
        revision = entry.revision
        os.write(1, f"{writer} {number} {revision}\\n".encode())

async def main():
    limits = Limits(keep_revisions=60, compaction_interval=3600)
    store = await Store.open(Path(sys.argv[1]), limits)
    await asyncio.gather(*(write(store, writer) for writer in range(4)))

asyncio.run(main())
"""


def acknowledged(child: "subprocess.Popen[bytes]", lines: int | None) -> dict[int, tuple[int, int]]:
    """Read the child's acknowledgements, killing it after `lines` of them (None: it kills itself)."""
    newest: dict[int, tuple[int, int]] = {}
    assert child.stdout is not None
    for count, line in enumerate(child.stdout):
        writer, number, revision = map(int, line.split())
        newest[writer] = number, revision
        if count == lines:
            child.send_signal(signal.SIGKILL)
    child.stdout.close()
    assert child.wait(30) == -signal.SIGKILL
    return newest


def check(path: Path, newest: dict[int, tuple[int, int]]) -> None:
    """The store holds what was acknowledged or, for each writer, the one write that was under way."""

    async def main() -> None:
        store = await Store.open(path)
        for writer, (number, revision) in newest.items():
            entry = store.get(f"/pods/w/{writer}")
            assert entry is not None
            stored = int(entry.value.split(b":")[1])
            assert number <= stored <= number + 1
            assert entry.revision >= revision
            assert (entry.revision == revision) == (stored == number)
        revisions = [entry.revision for entry in store.list("/pods/").entries]
        assert store.revision == max(revisions, default=0)
        await store.put("/pods/w/after", lambda _: b"", expected=0)
        await store.close()

    asyncio.run(main())


def start(path: Path, fault: str = "") -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _CHILD, str(path)]
    environment = os.environ | {"MINIPOD_FAULT": fault}
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=environment)


@pytest.mark.parametrize(
    "fault",
    [
        "store.created@1",
        "store.before-commit@1",
        "store.before-commit@37",
        "store.after-commit@1",
        "store.after-commit@37",
        "store.compaction@1",
    ],
)
def test_killed_at_a_fault_point(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "store.db"
    check(path, acknowledged(start(path, fault), None))


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "store.db"
    check(path, acknowledged(start(path), random.Random(seed).randrange(1500)))
