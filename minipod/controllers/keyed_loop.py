"""One task per key: what a change of one object leads to, done again when it changed meanwhile, and after a failure."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from minipod.api.errors import StatusError
from minipod.clock import Clock, Timer

logger = logging.getLogger(__name__)

FIRST, LONGEST = 1.0, 60.0  # seconds after a failure: twice as long each time
Key = tuple[str, str]  # namespace, name


class _Appointment(NamedTuple):
    when: float
    timer: Timer


class KeyedLoop:
    """Calls `sync(namespace, name)` for every key that is looked at, never twice at a time for one key.

    A key whose sync fails is tried again, and told of once for each reason: the API's refusals in a line, anything else
    (a defect of ours) with where it is. That it is gone (404) is no failure.
    """

    def __init__(
        self, clock: Clock, what: str, sync: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._what = what
        self._sync = sync
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
        self._later: dict[Key, _Appointment] = {}
        self._failed: dict[Key, tuple[float, str]] = {}  # how long each waits, and why
        self._stopped = False

    def look(self, namespace: str, name: str) -> None:
        """Have a key synced soon."""
        key = (namespace, name)
        if self._stopped:
            return
        if key in self._tasks:
            self._again.add(key)
            return
        task = asyncio.create_task(self._run(key), name=f"{self._what} {namespace}/{name}")
        self._tasks[key] = task

    def look_later(self, namespace: str, name: str, seconds: float) -> None:
        """Have a key synced after some time; what is to be looked at earlier already asks again then."""
        key, when = (namespace, name), self._clock.now() + seconds
        before = self._later.get(key)
        if self._stopped or (before and before.when <= when):
            return
        if before:
            before.timer.cancel()
        self._later[key] = _Appointment(when, self._clock.call_at(when, lambda: self._come(key)))

    def _come(self, key: Key) -> None:
        del self._later[key]
        self.look(*key)

    async def wait_idle(self) -> None:
        """Wait until nothing is being synced."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self) -> None:
        """End what is under way."""
        self._stopped = True
        for appointment in self._later.values():
            appointment.timer.cancel()
        self._later.clear()
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, key: Key) -> None:
        try:
            self._again.add(key)
            while key in self._again:
                self._again.discard(key)
                await self._sync(*key)
                self._failed.pop(key, None)
        except StatusError as error:
            if error.code == 404:
                self._failed.pop(key, None)
            elif self._fail(key, str(error)):
                logger.warning('%s "%s/%s": %s; trying again', self._what, *key, error)
        except Exception as error:
            if self._fail(key, repr(error)):
                logger.exception('%s "%s/%s": %r; trying again', self._what, *key, error)
        finally:
            self._again.discard(key)
            del self._tasks[key]

    def _fail(self, key: Key, why: str) -> bool:
        """Have a key tried again; return whether its failure is another than before."""
        pause, before = self._failed.get(key, (0.0, ""))
        pause = min(2 * pause, LONGEST) or FIRST
        if key in self._again:  # it changed meanwhile: what failed may be over
            pause = FIRST
        self._failed[key] = pause, why
        self.look_later(*key, pause)
        return why != before
