"""A key's work: done again after a failure, ever later, and told of once."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

import pytest

from minipod.api.errors import status_error
from minipod.controllers.keyed_loop import LONGEST, KeyedLoop
from tests.fakes.clock import FakeClock


class Scene:
    """A loop whose syncs fail with what is in `failures`, one each."""

    def __init__(self, *failures: Exception) -> None:
        self.clock = FakeClock()
        self.failures, self.synced = list(failures), 0
        self.loop = KeyedLoop(self.clock, "thing", self._sync)

    async def _sync(self, namespace: str, name: str) -> None:
        self.synced += 1
        await asyncio.sleep(0)
        if self.failures:
            raise self.failures.pop(0)

    async def look(self) -> None:
        self.loop.look("default", "a")
        await self.loop.wait_idle()

    async def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        await self.loop.wait_idle()


def play(scene: Scene, steps: Callable[[Scene], Awaitable[None]]) -> None:
    async def whole() -> None:
        problems: list[object] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, it: problems.append(it))
        await steps(scene)
        await scene.loop.stop()
        assert problems == []

    asyncio.run(whole(), debug=False)


def test_a_defect_is_told_of_once_with_where_it_is_and_its_key_tried_again_ever_later(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def steps(scene: Scene) -> None:
        await scene.look()
        for count, pause in ((2, 1), (3, 2), (4, 4)):
            await scene.wait(pause - 0.5)
            assert scene.synced == count - 1
            await scene.wait(0.5)
            assert scene.synced == count
        assert scene.clock.pending() == []  # the fourth went well

    play(Scene(*[KeyError("spec") for _ in range(3)]), steps)
    [record] = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "thing \"default/a\": KeyError('spec'); trying again"
    assert record.exc_info


def test_what_the_api_refuses_is_one_line_for_each_reason(caplog: pytest.LogCaptureFixture) -> None:
    first, other = status_error(500, "InternalError", "one"), status_error(403, "Forbidden", "two")

    async def steps(scene: Scene) -> None:
        await scene.look()
        for _ in range(3):
            await scene.wait(LONGEST)
        assert scene.synced == 4

    play(Scene(first, first, other), steps)
    assert caplog.messages == [
        'thing "default/a": one; trying again',
        'thing "default/a": two; trying again',
    ]
    assert not any(record.exc_info for record in caplog.records)


def test_success_forgives(caplog: pytest.LogCaptureFixture) -> None:
    refused = status_error(500, "InternalError", "one")

    async def steps(scene: Scene) -> None:
        await scene.look()
        await scene.wait(1)
        scene.failures = [refused]
        await scene.look()
        await scene.wait(1)
        assert scene.synced == 4

    play(Scene(refused), steps)
    assert len(caplog.messages) == 2


def test_what_is_gone_is_let_be(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(scene: Scene) -> None:
        await scene.look()
        assert scene.clock.pending() == []

    play(Scene(status_error(404, "NotFound", "gone")), steps)
    assert caplog.messages == []


def test_the_pause_has_an_end() -> None:
    async def steps(scene: Scene) -> None:
        await scene.look()
        for _ in range(29):
            await scene.wait(LONGEST)
        assert scene.synced == 30

    play(Scene(*[ValueError("no") for _ in range(40)]), steps)


def test_a_change_during_a_failure_is_looked_at_soon() -> None:
    async def steps(scene: Scene) -> None:
        await scene.look()
        await scene.wait(1)
        await scene.wait(2)
        scene.loop.look("default", "a")
        await asyncio.sleep(0)
        scene.loop.look("default", "a")
        await scene.loop.wait_idle()
        assert scene.synced == 4
        await scene.wait(1)
        assert scene.synced == 5

    play(Scene(*[ValueError("no") for _ in range(4)]), steps)


def test_one_timer_for_a_key_and_that_the_first(caplog: pytest.LogCaptureFixture) -> None:
    async def steps(scene: Scene) -> None:
        now = scene.clock.now()
        for seconds in (9, 5, 7):
            scene.loop.look_later("default", "a", seconds)
        scene.loop.look_later("default", "b", 6)
        assert scene.clock.pending() == [now + 5, now + 6]
        await scene.wait(5)
        assert scene.synced == 1
        scene.loop.look_later("default", "a", 2)
        assert scene.clock.pending() == [now + 6, now + 7]
        await scene.loop.stop()
        assert scene.clock.pending() == []

    play(Scene(), steps)
