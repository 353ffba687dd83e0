"""When a probe runs and what its results add up to, with a fake clock: the sequences of kubelet prober/worker.go."""

import asyncio
from typing import Any

from minipod.node.probe_actions import Outcome
from minipod.node.probe_worker import ProbeWorker, Watched, WorkerCalls
from tests.fakes.clock import FakeClock

GOOD, BAD = Outcome("success"), Outcome("failure", "no")


class Scene:
    """One worker, the times of its runs, and what it has published."""

    def __init__(self, kind: Any = "liveness", **probe: Any) -> None:
        self.clock = FakeClock()
        self.began = self.clock.now()
        self.outcomes: list[Outcome] = []
        self.runs: list[float] = []
        self.published: list[bool] = []
        self.told: list[str] = []
        self.held: asyncio.Event | None = None
        self.allowed = True
        calls = WorkerCalls(
            self.run,
            lambda _: self.allowed,
            lambda _, outcome: self.told.append(outcome.result),
            lambda _, good: self.published.append(good),
        )
        watched = Watched("u", "c", "app", kind, probe, self.began)
        self.worker = ProbeWorker(watched, self.clock, calls)

    async def run(self, watched: Watched) -> Outcome:
        self.runs.append(self.clock.now() - self.began)
        if self.held:
            await self.held.wait()
        return self.outcomes.pop(0) if self.outcomes else GOOD

    async def pass_time(self, seconds: float, step: float = 0.5) -> None:
        for _ in range(round(seconds / step)):
            self.clock.advance(step)
            for _ in range(4):
                await asyncio.sleep(0)


def play(scene: Scene, seconds: float, delay: float = 0) -> None:
    async def whole() -> None:
        scene.worker.start(delay)
        await scene.pass_time(seconds)
        scene.worker.stop()

    asyncio.run(whole())


def test_the_first_run_waits_for_the_initial_delay_then_keeps_the_period() -> None:
    scene = Scene(initialDelaySeconds=5, periodSeconds=3)
    play(scene, 15)
    assert scene.runs == [5, 8, 11, 14]


def test_jitter_moves_the_whole_sequence() -> None:
    scene = Scene(periodSeconds=3)
    play(scene, 8, delay=1.5)
    assert scene.runs == [1.5, 4.5, 7.5]


def test_a_failure_counts_only_when_repeated_and_then_the_worker_is_done() -> None:
    scene = Scene(periodSeconds=1, failureThreshold=3)
    scene.outcomes = [BAD, BAD, GOOD, BAD, BAD, BAD, BAD]
    play(scene, 20)
    assert scene.published == [True, False]
    assert len(scene.runs) == 6


def test_readiness_goes_on_after_failing_and_needs_its_successes_in_a_row() -> None:
    scene = Scene("readiness", periodSeconds=1, failureThreshold=1, successThreshold=2)
    scene.outcomes = [BAD, GOOD, BAD, GOOD, GOOD]
    play(scene, 4.5)
    assert scene.published == [False, False, True]


def test_what_could_not_be_run_counts_for_nothing() -> None:
    scene = Scene(periodSeconds=1, failureThreshold=2)
    scene.outcomes = [BAD, Outcome("unknown"), BAD]
    play(scene, 3)
    assert scene.told == ["failure", "unknown", "failure"]
    assert scene.published == [False]


def test_a_run_never_overlaps_itself_and_the_missed_one_follows_at_once() -> None:
    scene = Scene(periodSeconds=2)

    async def whole() -> None:
        scene.held = asyncio.Event()
        scene.worker.start(0)
        await scene.pass_time(7)  # due at 0.5 (the fake clock's first step), 2, 4 and 6
        assert len(scene.runs) == 1
        held, scene.held = scene.held, None
        held.set()
        for _ in range(4):
            await asyncio.sleep(0)
        assert scene.runs == [0.5, 7]
        await scene.pass_time(1)
        assert scene.runs == [0.5, 7, 8]
        scene.worker.stop()

    asyncio.run(whole())


def test_held_back_it_ticks_without_running() -> None:
    scene = Scene(periodSeconds=1)

    async def whole() -> None:
        scene.allowed = False
        scene.worker.start(0)
        await scene.pass_time(3)
        assert scene.runs == []
        scene.allowed = True
        await scene.pass_time(1)
        assert scene.runs == [4]
        scene.worker.stop()

    asyncio.run(whole())


def test_after_a_pause_of_the_host_it_does_not_catch_up() -> None:
    scene = Scene(periodSeconds=1)

    async def whole() -> None:
        scene.worker.start(0)
        await scene.pass_time(100, step=100)
        await scene.pass_time(2)
        assert scene.runs == [100, 101, 102]
        scene.worker.stop()

    asyncio.run(whole())
