import asyncio

from minipod.clock import call_off
from tests.fakes.clock import FakeClock


def test_what_is_called_off_has_ended() -> None:
    """Timers, tasks and what there is not, in any order; a task may take its time and end as it likes."""
    clock, told = FakeClock(), []

    async def work(name: str, last: Exception | None = None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            told.append(name)
            if last:
                raise last

    async def run() -> None:
        timer = clock.call_at(clock.now() + 1, lambda: told.append("timer"))
        tasks = [
            asyncio.create_task(work("quiet")),
            asyncio.create_task(work("loud", OSError("no"))),
        ]
        await asyncio.sleep(0)
        await call_off(None, timer, *tasks, None)
        assert all(each.done() for each in tasks)
        await call_off(timer, *tasks)  # repeatable
        await call_off()

    asyncio.run(run())
    assert (sorted(told), clock.pending()) == (["loud", "quiet"], [])
