"""A clock whose hands a test turns."""

from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class FakeTimer:
    when: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeClock:
    time: float = 1_700_000_000.0
    timers: list[FakeTimer] = field(default_factory=list)

    def now(self) -> float:
        return self.time

    def call_at(self, when: float, callback: Callable[[], None]) -> FakeTimer:
        timer = FakeTimer(when, callback)
        self.timers.append(timer)
        return timer

    def pending(self) -> list[float]:
        return sorted(each.when for each in self.timers if not each.cancelled)

    def advance(self, seconds: float) -> None:
        """Turn the hands forward and make the calls that are due, in order."""
        self.time += seconds
        due = [t for t in self.timers if not t.cancelled and t.when <= self.time]
        for timer in sorted(due, key=lambda t: t.when):
            self.timers.remove(timer)
            timer.callback()
