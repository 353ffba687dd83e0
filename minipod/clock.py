"""Time as a dependency: the wall clock and its timers, so that tests turn the hands themselves.

Also the API's two ways of writing an instant (RFC 3339): whole seconds for objects, microseconds for Events.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol


class Timer(Protocol):
    """A call to come."""

    def cancel(self) -> None:
        """Call it off; nothing when it has been made."""


async def call_off(*pending: "Timer | asyncio.Future[Any] | None") -> None:
    """Cancel calls to come and tasks under way, whichever there are; return when the tasks have ended, however."""
    for each in pending:
        if each is not None:
            each.cancel()
    tasks = (each for each in pending if isinstance(each, asyncio.Future))
    await asyncio.gather(*tasks, return_exceptions=True)


class Clock(Protocol):
    """What time it is, and calls at a later one. Seconds since the epoch."""

    def now(self) -> float:
        """Return the present."""

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back once, at `when` or as soon as possible after it, on the event loop."""


class SystemClock:
    """The host's clock, and the running event loop's timers."""

    def now(self) -> float:
        """Return the present."""
        return datetime.now(UTC).timestamp()

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call back once, at `when`."""
        return asyncio.get_running_loop().call_later(max(0.0, when - self.now()), callback)


def format_time(seconds: float) -> str:
    """Return metav1.Time: "2026-01-02T03:04:05Z"."""
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def format_micro_time(seconds: float) -> str:
    """Return metav1.MicroTime: "2026-01-02T03:04:05.123456Z"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def parse_time(text: str) -> float:
    """Return the seconds since the epoch of an RFC 3339 instant; raises ValueError."""
    found = datetime.fromisoformat(text)
    if found.tzinfo is None:
        raise ValueError(f'time "{text}" has no zone')
    return found.timestamp()
