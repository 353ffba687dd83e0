"""The steps that really ran for each Pod, kept in its directory so that the next daemon can show them as well."""

import asyncio
import contextlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from minipod.client import Object
from minipod.runtime.spec import TracedStep

LIMIT = 2000  # steps kept of one Pod
FILE = "trace.json"


class Traces:
    """Traces by Pod UID. Writing is left to a thread and never awaited by a start."""

    def __init__(self, directory_of: Callable[[str], Path]) -> None:
        self._directory_of = directory_of
        self._sections: dict[str, list[Object]] = {}
        self._unsaved: set[str] = set()
        self._saving: dict[str, asyncio.Task[None]] = {}

    def add(self, uid: str, title: str, time: float, steps: Sequence[TracedStep]) -> None:
        """Keep the steps of one call; the oldest calls go when there are too many."""
        sections = self._sections.setdefault(uid, self._load(uid))
        sections.append({"title": title, "time": time, "steps": [asdict(each) for each in steps]})
        while sum(len(each["steps"]) for each in sections) > LIMIT:
            sections.pop(0)
        self._unsaved.add(uid)

    def get(self, uid: str) -> list[Object]:
        """Return a Pod's trace, of an earlier daemon's too."""
        return self._sections.get(uid) or self._load(uid)

    def save(self, uid: str) -> None:
        """Write what is new, in the background."""
        if uid in self._unsaved and uid not in self._saving:
            self._unsaved.discard(uid)
            sections = list(self._sections[uid])
            path = self._directory_of(uid) / FILE
            task = asyncio.create_task(asyncio.to_thread(_write, path, sections))
            self._saving[uid] = task
            task.add_done_callback(lambda _: self._saving.pop(uid, None))

    async def settle(self, uid: str) -> None:
        """Wait for a write that is under way: nothing is written into a Pod's directory after this."""
        self._unsaved.discard(uid)
        if task := self._saving.get(uid):
            await asyncio.wait({task})

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone."""
        self._sections.pop(uid, None)
        self._unsaved.discard(uid)

    def _load(self, uid: str) -> list[Object]:
        try:
            found: list[Object] = json.loads((self._directory_of(uid) / FILE).read_bytes())
        except (OSError, ValueError):
            return []
        return found


def _write(path: Path, sections: list[Object]) -> None:
    """Write a trace, whole or not at all; a full disk costs the trace alone."""
    fresh = path.with_suffix(".new")
    with contextlib.suppress(OSError):
        fresh.write_text(json.dumps(sections))
        fresh.replace(path)
