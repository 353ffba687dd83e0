"""Hypothesis drives concurrent writers against a model: linearizable, and watches replay what happened."""

import asyncio
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from minipod.store import CommitFailed, Compacted, Conflict, Event, Limits, Store

KEYS = st.sampled_from(["/pods/a/x", "/pods/a/y", "/pods/b/x", "/nodes/n"])
# a write: key, whether it deletes, and how stale the revision it expects is
WRITES = st.lists(st.tuples(KEYS, st.booleans(), st.integers(0, 2)), min_size=1, max_size=6)
LIMITS = Limits(ring_events=6)


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.directory = tempfile.TemporaryDirectory(prefix="mpstore")
        self.path = Path(self.directory.name) / "store.db"
        self.store = self.run(Store.open(self.path, LIMITS))
        self.model: dict[str, tuple[int, bytes]] = {}
        self.history: list[tuple[int, str, str, bytes]] = []
        self.revision = 0
        self.watch = self.store.watch("/", 0)
        self.seen: list[Event] = []

    def run(self, work):  # type: ignore[no-untyped-def]
        return self.loop.run_until_complete(asyncio.wait_for(work, 10))

    @rule(writes=WRITES)
    def write_concurrently(self, writes: list[tuple[str, bool, int]]) -> None:
        async def one(key: str, deletes: bool, stale: int) -> tuple[int, str, bool, int]:
            known = self.store.get(key)
            expected = max((known.revision if known else 0) - stale, 0)
            if deletes and not expected:
                return 0, key, deletes, expected
            act = self.store.delete if deletes else self.store.put
            entry = await act(key, lambda r: f"{key}={r}".encode(), expected=expected)
            return entry.revision, key, deletes, expected

        async def all_of_them() -> list[object]:
            return await asyncio.gather(*(one(*write) for write in writes), return_exceptions=True)

        won = []
        for result in self.run(all_of_them()):
            if isinstance(result, BaseException):
                assert isinstance(result, Conflict)
            elif result[0]:
                won.append(result)
        # linearizable: taken in the order of their revisions, every answer is what a single writer would get
        for revision, key, deletes, expected in sorted(won):
            assert revision > self.revision
            assert self.model.get(key, (0, b""))[0] == expected
            self.record(revision, key, deletes)

    def record(self, revision: int, key: str, deletes: bool) -> None:
        value = f"{key}={revision}".encode()
        kind = "DELETED" if deletes else "MODIFIED" if key in self.model else "ADDED"
        if deletes:
            del self.model[key]
        else:
            self.model[key] = revision, value
        self.history.append((revision, kind, key, value))
        self.revision = revision

    @rule()
    def fail_a_batch(self) -> None:
        connection = self.store._database._connection
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchall()
        try:
            self.run(self.store.put("/pods/big", lambda _: b"x" * 200_000, expected=0))
        except CommitFailed:
            connection.execute("PRAGMA max_page_count = 1000000").fetchall()
        else:
            raise AssertionError("a full disk took a write")

    @rule()
    def read_the_watch(self) -> None:
        async def drain() -> None:
            while found := await self.watch.next(timeout=0):
                self.seen += found

        self.run(drain())
        assert as_history(self.seen) == self.history

    @rule(back=st.integers(0, 12))
    def replay_equals_list(self, back: int) -> None:
        since = max(self.revision - back, self.store.compacted)
        try:
            before = {e.key: e.value for e in self.store.list("/pods/", at=since or 0).entries}
        except Compacted:
            return
        if not since:
            before = {}

        async def replay() -> list[Event]:
            watch, found = self.store.watch("/", since), []
            while events := await watch.next(timeout=0):
                found += events
            return found

        events = self.run(replay())
        assert as_history(events) == [change for change in self.history if change[0] > since]
        for event in events:
            if event.key.startswith("/pods/"):
                before.pop(event.key, None)
                if not event.deleted:
                    before[event.key] = event.value
        assert before == {e.key: e.value for e in self.store.list("/pods/").entries}

    @rule()
    def restart(self) -> None:
        self.read_the_watch()
        self.run(self.store.close())
        self.store = self.run(Store.open(self.path, LIMITS))
        self.watch = self.store.watch("/", self.revision)

    @rule()
    def compact(self) -> None:
        self.read_the_watch()
        self.store.compact(self.revision - 3)

    @invariant()
    def list_is_the_model(self) -> None:
        listed = [e for prefix in ("/nodes/", "/pods/") for e in self.store.list(prefix).entries]
        assert [(e.key, e.revision, e.value) for e in listed] == [
            (key, *self.model[key]) for key in sorted(self.model)
        ]

    def teardown(self) -> None:
        self.run(self.store.close())
        self.loop.run_until_complete(self.loop.shutdown_default_executor())
        self.loop.close()
        self.directory.cleanup()


def as_history(events: list[Event]) -> list[tuple[int, str, str, bytes]]:
    return [(event.revision, event.type, event.key, event.value) for event in events]


StoreMachine.TestCase.settings = settings(max_examples=25, stateful_step_count=20, deadline=None)
TestHistory = StoreMachine.TestCase
