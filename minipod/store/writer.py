"""The one writer: a thread that commits everything queued as one transaction (group commit).

While one transaction waits for the disk, submissions pile up; the next transaction takes them all. A lone write
waits for nobody. Results go back to the event loop in the order of commits.
"""

import asyncio
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from minipod.store.database import Database, Row
from minipod.store.errors import InDoubt

BATCH_LIMIT = 1000  # rows in one transaction: bounds what one failure takes with it
_COMPACTION_STEP = (
    500  # revisions in one transaction: a commit never waits long behind a compaction
)


@dataclass(frozen=True, slots=True)
class _Compaction:
    since: int
    until: int


@dataclass(frozen=True, slots=True)
class _Stop:
    pass


_Job = Row | _Compaction | _Stop
Committed = Callable[[Sequence[Row]], None]
Failed = Callable[[Sequence[Row], Exception], None]


class Writer:
    """Owns the database's write side. `committed` and `failed` are called in the event loop, in commit order."""

    def __init__(self, database: Database, committed: Committed, failed: Failed) -> None:
        self._database = database
        self._committed = committed
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._jobs: queue.SimpleQueue[_Job] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="store-writer", daemon=True)
        self._thread.start()

    def submit(self, row: Row) -> None:
        """Queue one row. Exactly one of `committed` and `failed` will name it."""
        self._jobs.put(row)

    def compact(self, since: int, until: int) -> None:
        """Queue a compaction of (since, until]; a failed one is made up for by the next."""
        self._jobs.put(_Compaction(since, until))

    async def stop(self) -> None:
        """Commit what is queued, then end the thread."""
        self._jobs.put(_Stop())
        await asyncio.to_thread(self._thread.join)

    def _run(self) -> None:
        carried: _Job | None = None
        while True:
            job = carried or self._jobs.get()
            carried = None
            if isinstance(job, _Stop):
                return
            if isinstance(job, _Compaction):
                self._compact(job)
                continue
            batch, carried = self._gather(job)
            self._commit(batch)

    def _gather(self, first: Row) -> tuple[list[Row], _Job | None]:
        """Take what is queued behind `first`, up to the first job of another kind."""
        batch = [first]
        while len(batch) < BATCH_LIMIT:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if not isinstance(job, Row):
                return batch, job
            batch.append(job)
        return batch, None

    def _commit(self, batch: list[Row]) -> None:
        try:
            self._database.append(batch)
        except (sqlite3.Error, OSError, InDoubt) as error:
            self._loop.call_soon_threadsafe(self._failed, batch, error)
        else:
            self._loop.call_soon_threadsafe(self._committed, batch)

    def _compact(self, job: _Compaction) -> None:
        for since in range(job.since, job.until, _COMPACTION_STEP):
            try:
                self._database.compact(since, min(since + _COMPACTION_STEP, job.until))
            except (sqlite3.Error, OSError):
                return
