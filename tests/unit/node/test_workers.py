"""One worker per Pod: newest wins, a kill is never overwritten, failures are retried ever later."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

from minipod.node.workers import Outcome, PodWorkers, Work
from tests.fakes.clock import FakeClock
from tests.unit.node.pods import make_pod


class Steps:
    """Steps that record what they were called with, and do what a test wants."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, str]] = []
        self.outcomes: list[Outcome] = []
        self.gate: asyncio.Event | None = None
        self.entered = asyncio.Event()

    async def _step(self, name: str, work: Work) -> Outcome:
        self.calls.append((name, work.pod["metadata"].get("labels", {}).get("v", "")))
        self.entered.set()
        if self.gate:
            await self.gate.wait()
        return self.outcomes.pop(0) if self.outcomes else Outcome()

    async def sync(self, work: Work) -> Outcome:
        return await self._step("sync", work)

    async def terminate(self, work: Work) -> Outcome:
        return await self._step("terminate", work)

    async def finish(self, work: Work) -> Outcome:
        return await self._step("finish", work)


def version(value: str, **metadata: Any) -> dict[str, Any]:
    pod = make_pod()
    pod["metadata"] |= {"labels": {"v": value}, **metadata}
    return pod


def deleted(value: str, grace: int = 30) -> dict[str, Any]:
    return version(
        value, deletionTimestamp="2026-01-01T00:00:00Z", deletionGracePeriodSeconds=grace
    )


Scene = Callable[[PodWorkers, Steps, FakeClock], Coroutine[Any, Any, None]]


def play(scene: Scene) -> None:
    async def whole() -> None:
        clock, steps = FakeClock(), Steps()
        workers = PodWorkers(steps, clock)
        await scene(workers, steps, clock)
        await workers.stop()

    asyncio.run(whole())


def test_updates_during_a_step_collapse_into_the_newest():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        steps.gate = asyncio.Event()
        workers.update(version("1"))
        await steps.entered.wait()
        for value in ("2", "3", "4"):
            workers.update(version(value))
        steps.gate.set()
        await workers.wait_idle()
        assert steps.calls == [("sync", "1"), ("sync", "4")]

    play(scene)


def test_a_kill_is_not_overwritten_by_an_update():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        steps.gate = asyncio.Event()
        workers.update(version("1"))
        await steps.entered.wait()
        workers.update(deleted("2"))
        workers.update(version("3"))
        steps.gate.set()
        await workers.wait_idle()
        assert [name for name, _ in steps.calls] == ["sync", "terminate", "finish"]

    play(scene)


def test_a_grace_only_becomes_shorter():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        steps.gate = asyncio.Event()
        workers.update(version("1"))
        await steps.entered.wait()
        for grace in (20, 5, 60):
            workers.update(deleted("2", grace))
        work = workers.get("uid-web")
        assert work is not None
        assert work.grace == 5
        assert work.stopping
        steps.gate.set()

    play(scene)


def test_failures_are_retried_ever_later_and_forgotten_on_success():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        steps.outcomes = [Outcome(failed=True)] * 7
        workers.update(version("1"))
        waits = []
        for _ in range(7):
            await workers.wait_idle()
            waits.append(clock.pending()[0] - clock.now())
            clock.advance(waits[-1])
        await workers.wait_idle()
        assert waits == [0.5, 1, 2, 4, 8, 10, 10]
        assert clock.pending() == []

    play(scene)


def test_a_step_that_raises_is_a_failure_like_any_other():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        async def broken(work: Work) -> Outcome:
            raise ZeroDivisionError

        steps.sync = broken  # type: ignore[method-assign]
        workers.update(version("1"))
        await workers.wait_idle()
        assert len(clock.pending()) == 1

    play(scene)


def test_a_finished_sync_leads_to_the_end_of_the_pod_but_keeps_its_worker():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        steps.outcomes = [Outcome(finished=True)]
        workers.update(version("1"))
        await workers.wait_idle()
        assert [name for name, _ in steps.calls] == ["sync", "terminate", "finish"]
        assert "uid-web" in workers
        workers.update(deleted("2"))
        await workers.wait_idle()
        assert steps.calls[-1] == ("finish", "2")

    play(scene)


def test_a_worker_goes_when_its_object_has_gone():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        workers.update(version("1"))
        await workers.wait_idle()
        workers.remove(deleted("1", 0))
        await workers.wait_idle()
        assert [name for name, _ in steps.calls] == ["sync", "terminate", "finish"]
        assert "uid-web" not in workers

    play(scene)


def test_a_pod_that_returns_under_another_uid_has_its_own_worker():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        workers.update(version("1"))
        workers.remove(version("1"))
        workers.update(version("new", uid="uid-other"))
        await workers.wait_idle()
        assert ("sync", "new") in steps.calls
        assert "uid-other" in workers
        assert "uid-web" not in workers

    play(scene)


def test_a_pod_that_comes_back_after_its_binding_was_lost_begins_anew():
    async def scene(workers: PodWorkers, steps: Steps, clock: FakeClock) -> None:
        workers.update(version("1"))
        await workers.wait_idle()
        steps.gate = asyncio.Event()
        workers.remove(version("1"))
        workers.update(version("2"))
        steps.gate.set()
        await workers.wait_idle()
        names = [name for name, _ in steps.calls]
        assert names == ["sync", "terminate", "finish", "sync"]
        assert steps.calls[-1] == ("sync", "2")

    play(scene)
