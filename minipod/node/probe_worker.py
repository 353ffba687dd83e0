"""One probe of one running container: when it runs, and what its results add up to (kubelet prober/worker.go).

A worker lives as long as its container's attempt. It never overlaps itself: a tick that comes while a run is under
way is kept, and the next run begins as soon as that one ends. Ticks keep their pace however long a run takes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from minipod.client import Object
from minipod.clock import Clock, Timer
from minipod.node.probe_actions import Outcome
from minipod.node.probes import ProbeKind


@dataclass(frozen=True)
class Watched:
    """What a worker probes: which container, since when, and how it is to be done."""

    uid: str
    container_id: str
    name: str
    kind: ProbeKind
    probe: Object
    started_at: float


@dataclass(frozen=True)
class WorkerCalls:
    """What a worker asks of its surroundings."""

    run: Callable[[Watched], Awaitable[Outcome]]
    may_run: Callable[[Watched], bool]  # the startup probe holds back the other two
    tell: Callable[[Watched, Outcome], None]  # every outcome, for Events
    publish: Callable[[Watched, bool], None]  # a result that has met its threshold


class ProbeWorker:
    """Runs one probe, again and again."""

    def __init__(self, watched: Watched, clock: Clock, calls: WorkerCalls) -> None:
        self.watched = watched
        self._clock = clock
        self._calls = calls
        self._timer: Timer | None = None
        self._due = 0.0
        self._task: asyncio.Task[None] | None = None
        self._missed = False
        self._last: bool | None = None
        self._run_length = 0
        self.stopped = False

    def start(self, delay: float) -> None:
        """Begin, once the initial delay has passed; `delay` seconds later if that is later."""
        watched = self.watched
        initial = watched.started_at + float(watched.probe.get("initialDelaySeconds") or 0)
        self._schedule(max(initial, self._clock.now()) + delay)

    def trigger(self) -> None:
        """Run now, beside the ordinary ticks."""
        if self.stopped or self._clock.now() < self.watched.started_at + float(
            self.watched.probe.get("initialDelaySeconds") or 0
        ):
            return
        if self._task:
            self._missed = True
        else:
            self._begin()

    def stop(self) -> None:
        """Run no more; what is under way is abandoned. Repeatable."""
        self.stopped = True
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()

    def _schedule(self, when: float) -> None:
        self._due = when
        self._timer = self._clock.call_at(when, self._tick)

    def _tick(self) -> None:
        period = float(self.watched.probe.get("periodSeconds") or 10)
        late = self._clock.now() - self._due
        self._schedule(self._due + period * (1 + max(0.0, late) // period))
        self.trigger()

    def _begin(self) -> None:
        if self._calls.may_run(self.watched):
            self._task = asyncio.create_task(self._run(), name=f"probe {self.watched.name}")

    async def _run(self) -> None:
        outcome = await self._calls.run(self.watched)
        self._task = None
        if self.stopped:
            return
        self._take(outcome)
        if self._missed and not self.stopped:
            self._missed = False
            self._begin()

    def _take(self, outcome: Outcome) -> None:
        """Count a result. One that is unknown counts for nothing."""
        self._calls.tell(self.watched, outcome)
        if outcome.result == "unknown":
            return
        good = outcome.result != "failure"
        self._run_length = self._run_length + 1 if good == self._last else 1
        self._last = good
        name, default = ("successThreshold", 1) if good else ("failureThreshold", 3)
        if self._run_length < (self.watched.probe.get(name) or default):
            return
        if not good and self.watched.kind != "readiness":
            self.stop_quietly()  # the container is about to be replaced, and the probe with it
        self._calls.publish(self.watched, good)

    def stop_quietly(self) -> None:
        """Run no more, without abandoning the run that calls this."""
        self.stopped = True
        if self._timer:
            self._timer.cancel()
