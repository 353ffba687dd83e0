"""One task per key: what a change of one object leads to, done again when it changed meanwhile, and after a failure."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from minipod.api.errors import StatusError
from minipod.clock import Clock, call_off

logger = logging.getLogger(__name__)

_RETRY = 1.0  # seconds after a failure that may pass
Key = tuple[str, str]  # namespace, name


class KeyedLoop:
    """Calls `sync(namespace, name)` for every key that is looked at, never twice at a time for one key."""

    def __init__(
        self, clock: Clock, what: str, sync: Callable[[str, str], Awaitable[None]]
    ) -> None:
        self._clock = clock
        self._what = what
        self._sync = sync
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()
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
        """Have a key synced after some time."""
        self._clock.call_at(self._clock.now() + seconds, lambda: self.look(namespace, name))

    async def wait_idle(self) -> None:
        """Wait until nothing is being synced."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))

    async def stop(self) -> None:
        """End what is under way."""
        self._stopped = True
        await call_off(*self._tasks.values())

    async def _run(self, key: Key) -> None:
        try:
            self._again.add(key)
            while key in self._again:
                self._again.discard(key)
                await self._sync(*key)
        except StatusError as error:
            if error.code != 404:
                logger.warning('%s "%s/%s": %s; trying again', self._what, *key, error)
                self.look_later(*key, _RETRY)
        finally:
            self._again.discard(key)
            del self._tasks[key]
