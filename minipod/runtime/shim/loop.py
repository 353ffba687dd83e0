"""The shim's event loop: epoll, timers, signals. Single-threaded.

Bulk descriptors (containers' output) sit in an epoll of their own inside the main one, and only a few of them are
served per turn: control traffic never waits behind a flood, and the kernel's ready list, which moves a served
descriptor to its end, shares the turns fairly among floods. What takes long is cut into works, one of which is done in
each turn, when all else has been served.
"""

import contextlib
import heapq
import os
import select
import signal
import time
import traceback
from collections import deque
from collections.abc import Callable

BULK_PER_TURN = 2
Handler = Callable[[int], None]  # given the epoll event mask


class Timer:
    """A call that is due at `when` (CLOCK_MONOTONIC seconds)."""

    __slots__ = ("callback", "when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback: Callable[[], None] | None = callback

    def cancel(self) -> None:
        """Never call it. Repeatable."""
        self.callback = None

    def __lt__(self, other: "Timer") -> bool:
        return self.when < other.when


class Loop:
    """Calls handlers when descriptors are ready, timers are due or signals have come."""

    def __init__(self) -> None:
        self._main = select.epoll()
        self._bulk = select.epoll()
        self._main.register(self._bulk.fileno(), select.EPOLLIN)
        self._handlers: dict[int, Handler] = {}
        self._bulk_handlers: dict[int, Handler] = {}
        self._timers: list[Timer] = []
        self._works: deque[Callable[[], None]] = deque()
        self._signals: dict[int, Callable[[], None]] = {}
        self._wake_read, self._wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.running = True

    def start_signals(self, handlers: dict[int, Callable[[], None]]) -> None:
        """Call `handlers` from the loop, never from within other code."""
        self._signals = handlers
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in handlers:
            signal.signal(number, lambda *_: None)
        self.watch(self._wake_read, select.EPOLLIN, self._on_signal)

    def watch(self, descriptor: int, events: int, handler: Handler) -> None:
        """Call `handler` when `descriptor` is ready; watched already, change what for."""
        if descriptor in self._handlers:
            self._main.modify(descriptor, events)
        else:
            self._main.register(descriptor, events)
        self._handlers[descriptor] = handler

    def watch_bulk(self, descriptor: int, handler: Handler) -> None:
        """Call `handler` in fair turns when `descriptor` can be read or has hung up."""
        self._bulk.register(descriptor, select.EPOLLIN)
        self._bulk_handlers[descriptor] = handler

    def unwatch(self, descriptor: int) -> None:
        """Forget a descriptor, before it is closed. Repeatable."""
        if self._handlers.pop(descriptor, None):
            self._main.unregister(descriptor)
        if self._bulk_handlers.pop(descriptor, None):
            self._bulk.unregister(descriptor)

    def call_later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once after `seconds`."""
        return self.call_at(time.monotonic() + seconds, callback)

    def call_at(self, when: float, callback: Callable[[], None]) -> Timer:
        """Call `callback` once at `when` (CLOCK_MONOTONIC)."""
        timer = Timer(when, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def work(self, callback: Callable[[], None], *, next_: bool = False) -> None:
        """Call `callback` in a turn to come, behind all works that wait already, or as the next of them."""
        if next_:
            self._works.appendleft(callback)
        else:
            self._works.append(callback)

    def run(self) -> None:
        """Turn until `running` is false. A handler's exception is reported and the loop goes on."""
        while self.running:
            for descriptor, events in self._main.poll(self._timeout()):
                if descriptor == self._bulk.fileno():
                    self._serve_bulk()
                elif handler := self._handlers.get(descriptor):
                    guarded(handler, events)
            self._run_timers()
            if self._works:
                guarded(self._works.popleft())

    def _serve_bulk(self) -> None:
        for descriptor, events in self._bulk.poll(0, BULK_PER_TURN):
            if handler := self._bulk_handlers.get(descriptor):
                guarded(handler, events)

    def _timeout(self) -> float | None:
        while self._timers and self._timers[0].callback is None:
            heapq.heappop(self._timers)
        if self._works:
            return 0.0
        return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else None

    def _run_timers(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            timer = heapq.heappop(self._timers)
            if timer.callback:
                guarded(timer.callback)

    def _on_signal(self, _events: int) -> None:
        for number in set(os.read(self._wake_read, 4096)):
            if handler := self._signals.get(number):
                handler()


def report(problem: str) -> None:
    """Say something on standard error, a file: that its disk is full must not end the shim, and every container."""
    with contextlib.suppress(OSError):
        os.write(2, f"minipod shim: {problem}\n".encode())


def guarded(callback: Callable[..., None], *arguments: object) -> None:
    """Call, and report what it raises to standard error: one bad turn must not end every container."""
    try:
        callback(*arguments)
    except Exception:  # noqa: BLE001
        report(traceback.format_exc())
