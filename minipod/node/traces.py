"""The steps that really ran for each Pod, kept in its directory so that the next daemon can show them as well.

On a start's way there is one append to a list. What is kept is put into words and written by a thread, a moment later
when the starts of other Pods may be over, and held in memory only until then.
"""

import asyncio
import contextlib
import json
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from minipod.client import Object
from minipod.runtime.codec import traced_to_json
from minipod.runtime.operations import TracedStep

LIMIT = 2000  # steps kept of one Pod
PATIENCE = 1.0  # seconds before what is new is written
FILE = "trace.json"


@dataclass(frozen=True)
class _Section:
    """The steps of one call."""

    title: str
    time: float
    steps: Sequence[TracedStep]

    def to_json(self) -> Object:
        begin = min((each.start_us for each in self.steps), default=0)
        steps = [traced_to_json(each, begin) for each in self.steps]
        return {"title": self.title, "time": self.time, "begin_us": begin, "steps": steps}


class Traces:
    """Traces by Pod UID. Writing is left to a thread and never awaited by a start."""

    def __init__(self, directory_of: Callable[[str], Path]) -> None:
        self._directory_of = directory_of
        self._waiting: dict[str, asyncio.Event] = {}  # saves that wait; set to go on at once
        self._unsaved: dict[str, list[_Section]] = {}
        self._saving: dict[str, asyncio.Task[None]] = {}
        self._ended: dict[str, bytes] = {}  # of Pods whose directories are gone, compressed

    def add(self, uid: str, title: str, time: float, steps: Sequence[TracedStep]) -> None:
        """Keep the steps of one call; the oldest calls go when there are too many."""
        self._unsaved.setdefault(uid, []).append(_Section(title, time, steps))

    def get(self, uid: str) -> list[Object]:
        """Return a Pod's trace, of an earlier daemon's too."""
        if ended := self._ended.get(uid):
            found: list[Object] = json.loads(zlib.decompress(ended))
            return found
        return _join(self._directory_of(uid) / FILE, self._unsaved.get(uid, ()))

    def save(self, uid: str) -> None:
        """Write what is new, in the background."""
        if uid in self._unsaved and uid not in self._saving:
            self._saving[uid] = asyncio.create_task(self._save(uid), name="trace")

    async def _save(self, uid: str) -> None:
        path = self._directory_of(uid) / FILE
        try:
            await self._wait(uid)
            while sections := self._unsaved.get(uid):
                count = len(sections)
                if not await asyncio.to_thread(_write, path, sections[:count]):
                    return
                del sections[:count]
        finally:
            self._saving.pop(uid, None)
            if not self._unsaved.get(uid):
                self._unsaved.pop(uid, None)

    async def _wait(self, uid: str) -> None:
        hurry = self._waiting[uid] = asyncio.Event()
        try:
            async with asyncio.timeout(PATIENCE):
                await hurry.wait()
        except TimeoutError:
            pass
        finally:
            del self._waiting[uid]

    async def flush(self) -> None:
        """Write at once what is still to be written."""
        await asyncio.sleep(0)  # a save that was just begun waits by now
        for hurry in self._waiting.values():
            hurry.set()
        if saving := list(self._saving.values()):
            await asyncio.wait(saving)

    async def settle(self, uid: str) -> None:
        """Take the trace out of a Pod's directory, which is about to go: nothing is written there after this."""
        if task := self._saving.get(uid):
            if uid in self._waiting:
                task.cancel()
            await asyncio.wait({task})
        fresh = self._unsaved.pop(uid, ())
        if sections := _join(self._directory_of(uid) / FILE, fresh):
            self._ended[uid] = zlib.compress(json.dumps(sections).encode(), 1)

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone."""
        self._unsaved.pop(uid, None)
        self._ended.pop(uid, None)


def _join(path: Path, fresh: Sequence[_Section]) -> list[Object]:
    """Return the sections of a trace's file with newer ones, the oldest left out when they are too many."""
    sections: list[Object] = []
    with contextlib.suppress(OSError, ValueError):
        sections = json.loads(path.read_bytes())
    known = {(each["title"], each.get("begin_us")) for each in sections}
    made = (each.to_json() for each in fresh)  # some may be in the file by now
    sections += [each for each in made if (each["title"], each["begin_us"]) not in known]
    while sum(len(each["steps"]) for each in sections) > LIMIT:
        sections.pop(0)
    return sections


def _write(path: Path, sections: Sequence[_Section]) -> bool:
    """Add to a trace's file, whole or not at all; return whether there was room for it."""
    fresh = path.with_suffix(".new")
    try:
        fresh.write_text(json.dumps(_join(path, sections)))
        fresh.replace(path)
    except OSError:
        return False
    return True
