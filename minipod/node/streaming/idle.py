"""Ends a connection on which nothing has come or gone for long (the kubelet's --streaming-connection-idle-timeout)."""

import asyncio
from collections.abc import Callable


class IdleTimeout:
    """Calls `on_idle` once `seconds` have passed since the last `touch`. 0 seconds: never."""

    def __init__(self, seconds: float, on_idle: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._seconds, self._on_idle = seconds, on_idle
        self._touched = self._loop.time()
        self._timer: asyncio.TimerHandle | None = None
        if seconds > 0:
            self._timer = self._loop.call_later(seconds, self._look)

    def touch(self) -> None:
        """Note that something came or went."""
        self._touched = self._loop.time()

    def cancel(self) -> None:
        """Never call it. Repeatable."""
        if self._timer:
            self._timer.cancel()

    def _look(self) -> None:
        left = self._touched + self._seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._on_idle()
