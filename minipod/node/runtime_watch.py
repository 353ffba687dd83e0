"""Whether the runtime answers: a shim that hangs is as good as none (kubelet updateRuntimeUp).

One that is gone is told of by its own event; this is about one that is there and says nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable

from minipod.clock import Clock, Timer, call_off
from minipod.runtime.service import Runtime, RuntimeFailure

PERIOD = 5.0  # seconds between two questions (kubelet runtimeStatusUpdate)
PATIENCE = 30.0  # seconds without an answer (kubelet maxWaitForContainerRuntime)


class RuntimeWatch:
    """Asks the runtime whether it is there, one question at a time; `back` when it answers after `silent`."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        silent: Callable[[], None],
        back: Callable[[], Awaitable[None]],
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._tell_silent = silent
        self._tell_back = back
        self._silent = False
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to ask."""
        self._timer = self._clock.call_at(self._clock.now() + PERIOD, self._begin)

    async def stop(self) -> None:
        """End."""
        await call_off(self._timer, self._task)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._ask(), name="runtime watch")

    async def _ask(self) -> None:
        late = self._clock.call_at(self._clock.now() + PATIENCE, self._give_up)
        try:
            await self._runtime.ping()
            if self._silent:
                await self._tell_back()
                self._silent = False
        except RuntimeFailure:
            pass  # it is gone: when it is back, the node is told
        finally:
            late.cancel()
        self.start()

    def _give_up(self) -> None:
        self._silent = True
        self._tell_silent()
