"""A connection that is made ahead: an upgrade uses up one of its own, and should not wait for it."""

import asyncio
import contextlib
from pathlib import Path

from minipod.clock import call_off

REFILL_SECONDS = 0.05  # after one was taken: by then whoever took it has begun
Connected = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class SpareConnection:
    """One connection to a Unix socket, ready for the next who needs one of its own. The first makes it himself."""

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._spare: Connected | None = None
        self._refilling: asyncio.Task[None] | None = None

    async def take(self) -> Connected:
        """Return a connection that is the caller's to close. Raises OSError."""
        spare, self._spare = self._spare, None
        if self._refilling is None or self._refilling.done():
            self._refilling = asyncio.create_task(self._refill())
        if spare and not _has_ended(spare):
            return spare
        return await self._connect()

    async def close(self) -> None:
        """Give up what is spare. Repeatable."""
        await call_off(self._refilling)
        if self._spare:
            self._spare[1].close()
            self._spare = None

    async def _refill(self) -> None:
        await asyncio.sleep(REFILL_SECONDS)
        with contextlib.suppress(OSError):  # the next one will be told
            self._spare = await self._connect()

    async def _connect(self) -> Connected:
        return await asyncio.open_unix_connection(self._path, limit=self._limit)


def _has_ended(spare: Connected) -> bool:
    """Whether the other side has closed it. What is left of it is closed then."""
    reader, writer = spare
    ended = reader.at_eof() or writer.is_closing()
    if ended:
        writer.close()
    return ended
