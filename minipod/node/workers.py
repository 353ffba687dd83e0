"""One worker per Pod UID: at most one step of a Pod's life runs at a time, and the newest wish wins.

A Pod moves through three phases, forward only:

    sync         make what runs equal what is asked for, again and again
    terminating  end its containers (deleted, finished by itself, or said to be finished by another, as the garbage
                 collector of Pods does); a shorter grace arriving meanwhile takes effect
    terminated   give back what it held on the host; then, if it was deleted, remove the object

While a step runs, updates collapse into one pending slot that keeps the newest Pod. A kill is not an update: it moves
the phase, and no update can move it back. A worker without work has no task and costs nothing.
"""

import asyncio
import logging
from dataclasses import dataclass, field
from typing import Literal, Protocol

from minipod.client import Object
from minipod.clock import Clock, Timer, call_off
from minipod.node.pods import deletion_grace, is_deleted, is_finished, uid_of

logger = logging.getLogger(__name__)

Phase = Literal["sync", "terminating", "terminated"]

RETRY_FIRST = 0.5  # seconds after a step that failed, doubling ...
RETRY_LAST = 10.0  # ... up to this


@dataclass(frozen=True)
class Outcome:
    """What a sync came to: `finished` when all containers have ended for good, `retry_at` to be called again."""

    finished: bool = False
    failed: bool = False  # call again soon, less and less often
    retry_at: float | None = None


@dataclass
class Work:
    """What a running step may know of its worker; `pod` is the newest Pod."""

    pod: Object
    phase: Phase = "sync"
    grace: float | None = None  # seconds; None: the Pod's own
    gone: bool = False  # the API has no such object any more
    grace_changed: asyncio.Event = field(default_factory=asyncio.Event)
    killed: asyncio.Event = field(default_factory=asyncio.Event)  # set when a sync should stop

    @property
    def uid(self) -> str:
        """The Pod's UID."""
        return uid_of(self.pod)

    @property
    def stopping(self) -> bool:
        """Whether a sync should stop early, between two of its steps."""
        return self.phase != "sync"


class PodSteps(Protocol):
    """The three steps of a Pod's life. Each is re-entrant: interrupted and called again, it converges."""

    async def sync(self, work: Work) -> Outcome:
        """Bring the Pod closer to its spec."""

    async def terminate(self, work: Work) -> Outcome:
        """End the Pod's containers and sandbox."""

    async def finish(self, work: Work) -> Outcome:
        """Give back everything the Pod held; remove the object if it was deleted."""


@dataclass
class _Worker:
    work: Work
    pending: bool = False
    task: asyncio.Task[None] | None = None
    timer: Timer | None = None
    failures: int = 0
    successor: Object | None = None  # the same Pod, come back: its binding had been lost


class PodWorkers:
    """All workers of a node."""

    def __init__(self, steps: PodSteps, clock: Clock) -> None:
        self._steps = steps
        self._clock = clock
        self._workers: dict[str, _Worker] = {}
        self._stopped = False

    def update(self, pod: Object) -> None:
        """Take the newest version of a Pod."""
        uid = uid_of(pod)
        worker = self._workers.get(uid)
        if worker is None:
            worker = self._workers[uid] = _Worker(Work(pod))
        if worker.work.gone:
            worker.successor = pod  # once all that was made of it is undone
            return
        worker.work.pod = pod
        if is_deleted(pod):
            self._kill(worker, deletion_grace(pod))
        elif is_finished(
            pod
        ):  # by an earlier daemon, which runs nothing twice, or by whoever says so
            self._kill(worker, None)
        self._wake(worker)

    def keep(self, pod: Object) -> None:
        """Take a version of a Pod whose status alone is new: no work, unless another has said that it is finished."""
        worker = self._workers.get(uid_of(pod))
        if worker:
            worker.work.pod = pod
            if is_finished(pod) and worker.work.phase == "sync":
                self._kill(worker, None)
                self._wake(worker)

    def remove(self, pod: Object) -> None:
        """Take notice that the object is gone from the API: whatever still runs is ended."""
        uid = uid_of(pod)
        worker = self._workers.get(uid)
        if worker is None:
            worker = self._workers[uid] = _Worker(Work(pod))
        worker.work.gone, worker.successor = True, None
        self._kill(worker, deletion_grace(pod) if is_deleted(pod) else None)
        self._wake(worker)

    def kill(self, uid: str, grace: float) -> None:
        """End a Pod that was not deleted (evicted)."""
        worker = self._workers.get(uid)
        if worker:
            self._kill(worker, grace)
            self._wake(worker)

    def wake(self, uid: str) -> None:
        """Look again at a Pod: something happened to it on the host."""
        worker = self._workers.get(uid)
        if worker:
            self._wake(worker)

    def wake_all(self) -> None:
        """Look again at every Pod."""
        for worker in list(self._workers.values()):
            self._wake(worker)

    def get(self, uid: str) -> Work | None:
        """Return a Pod's state of work."""
        worker = self._workers.get(uid)
        return worker.work if worker else None

    def __contains__(self, uid: str) -> bool:
        return uid in self._workers

    def works(self) -> list[Work]:
        """Return all Pods' states of work."""
        return [worker.work for worker in self._workers.values()]

    async def stop(self) -> None:
        """Abandon all work where it stands. The next daemon converges from there."""
        self._stopped = True
        workers = self._workers.values()
        await call_off(*(each.timer for each in workers), *(each.task for each in workers))

    async def wait_idle(self) -> None:
        """Wait until no step runs and none is pending."""
        while tasks := [w.task for w in self._workers.values() if w.task and not w.task.done()]:
            await asyncio.wait(tasks)

    def _kill(self, worker: _Worker, grace: float | None) -> None:
        work = worker.work
        if work.phase == "sync":
            work.phase = "terminating"
        work.killed.set()
        if grace is not None and (work.grace is None or grace < work.grace):
            work.grace = grace
            work.grace_changed.set()

    def _wake(self, worker: _Worker) -> None:
        if self._stopped:
            return
        worker.pending = True
        if worker.task is None or worker.task.done():
            name = f"pod {worker.work.pod['metadata']['name']}"
            worker.task = asyncio.create_task(self._drain(worker), name=name)

    async def _drain(self, worker: _Worker) -> None:
        while worker.pending:
            worker.pending = False
            if worker.timer:
                worker.timer.cancel()
                worker.timer = None
            outcome = await self._step(worker)
            self._follow_up(worker, outcome)

    async def _step(self, worker: _Worker) -> Outcome:
        work = worker.work
        step = {
            "sync": self._steps.sync,
            "terminating": self._steps.terminate,
            "terminated": self._steps.finish,
        }[work.phase]
        worker_phase = work.phase
        try:
            outcome = await step(work)
        except Exception:
            logger.exception('pod "%s": %s', work.pod["metadata"]["name"], worker_phase)
            return Outcome(failed=True)
        if not outcome.failed:
            self._advance(worker, worker_phase, outcome)
        return outcome

    def _advance(self, worker: _Worker, ran: Phase, outcome: Outcome) -> None:
        work = worker.work
        if ran == "sync" and outcome.finished and work.phase == "sync":
            work.phase = "terminating"
            worker.pending = True
        elif ran == "sync" and work.phase == "terminating":
            worker.pending = True  # killed while it was syncing
        elif ran == "terminating":
            work.phase = "terminated"
            worker.pending = True
        elif ran == "terminated" and work.gone:
            self._workers.pop(work.uid, None)
            if worker.successor is not None:
                self.update(worker.successor)

    def _follow_up(self, worker: _Worker, outcome: Outcome) -> None:
        worker.failures = worker.failures + 1 if outcome.failed else 0
        if worker.pending or worker.work.uid not in self._workers:
            return
        when = outcome.retry_at
        if outcome.failed:
            delay = min(RETRY_FIRST * 2 ** (worker.failures - 1), RETRY_LAST)
            retry = self._clock.now() + delay
            when = min(when, retry) if when else retry
        if when is not None:
            worker.timer = self._clock.call_at(when, lambda: self._wake(worker))
