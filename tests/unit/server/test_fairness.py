"""Taking turns: one user's flood waits behind itself, and nobody waits for ever."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from minipod.api.errors import StatusError
from minipod.server.fairness import FairQueue, LongRunning

from .harness import CONFIG_MAPS, Api, serve


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(scene(), 10))  # type: ignore[arg-type]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_users_take_turns_and_each_keeps_its_own_order() -> None:
    async def scene() -> None:
        queue, served, gate = FairQueue(seats=1), [], asyncio.Event()

        async def ask(user: str, number: int) -> None:
            async with queue.seat(user):
                served.append(f"{user}{number}")
                await gate.wait()

        flood = [asyncio.create_task(ask("a", number)) for number in range(5)]
        await settle()
        others = [asyncio.create_task(ask(user, 0)) for user in "bc"]
        await settle()
        assert served == ["a0"]
        gate.set()
        await asyncio.gather(*flood, *others)
        assert served == ["a0", "a1", "b0", "c0", "a2", "a3", "a4"]

    play(scene)


def test_places_come_back_whatever_happens_to_their_holders() -> None:
    async def scene() -> None:
        queue = FairQueue(seats=2)

        async def fail() -> None:
            async with queue.seat("a"):
                raise ZeroDivisionError

        async def hold(held: asyncio.Event) -> None:
            async with queue.seat("a"):
                held.set()
                await asyncio.Event().wait()

        for _ in range(5):
            with pytest.raises(ZeroDivisionError):
                await fail()
        events = [asyncio.Event() for _ in range(4)]
        tasks = [asyncio.create_task(hold(event)) for event in events]
        await settle()
        assert [event.is_set() for event in events] == [True, True, False, False]
        tasks[2].cancel()  # while it waits
        tasks[0].cancel()  # while it holds
        await settle()
        assert events[3].is_set()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        async with queue.seat("b"), queue.seat("b"):
            pass

    play(scene)


def test_a_place_given_to_somebody_who_leaves_in_that_moment_is_not_lost() -> None:
    async def scene() -> None:
        queue, gate = FairQueue(seats=1), asyncio.Event()

        async def hold() -> None:
            async with queue.seat("a"):
                await gate.wait()

        async def wait() -> None:
            async with queue.seat("b"):
                pass

        holder = asyncio.create_task(hold())
        await settle()
        waiter = asyncio.create_task(wait())
        await settle()
        gate.set()
        await asyncio.sleep(0)  # the holder goes on: the place is the waiter's now
        waiter.cancel()
        await asyncio.gather(holder, waiter, return_exceptions=True)
        async with asyncio.timeout(1), queue.seat("c"):
            pass

    play(scene)


def test_who_has_too_many_waiting_or_waits_too_long_is_sent_away() -> None:
    async def scene() -> None:
        reasons: list[str] = []
        queue = FairQueue(seats=1, queue_limit=1, patience=0.01, on_reject=reasons.append)
        async with queue.seat("a"):
            waiting = asyncio.create_task(queue.seat("a").__aenter__())
            await settle()
            with pytest.raises(StatusError) as refused:
                await queue.seat("a").__aenter__()
            assert refused.value.code == 429
            assert refused.value.status["details"] == {"retryAfterSeconds": 1}
            with pytest.raises(StatusError, match="too many requests, please try again later"):
                await waiting
        assert reasons == ["queue-full", "time-out"]
        async with queue.seat("b"):
            pass

    play(scene)


def test_what_lasts_is_bounded_in_all_and_for_each_user() -> None:
    held = LongRunning("watches", 5)
    with held.hold("a"), held.hold("a"), held.hold("a"), held.hold("a"):
        with pytest.raises(StatusError, match='user "a" has 4 watches open'), held.hold("a"):
            pass
        with held.hold("b"), pytest.raises(StatusError, match="5 watches are open"), held.hold("c"):
            pass
        with held.hold("c"):
            pass


def test_a_slow_senders_body_holds_no_place(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        api.server._oversight.places._free = 1

        async def slowly() -> object:
            yield b'{"metadata":'
            await asyncio.wait_for(done.wait(), 5)
            yield b'{"name":"slow"}}'

        done = asyncio.Event()
        sending = asyncio.create_task(
            api.session.post(
                f"http://api{CONFIG_MAPS}",
                data=slowly(),
                headers={"Content-Type": "application/json"},
            )
        )
        assert (await api("GET", CONFIG_MAPS)).status == 200
        done.set()
        async with await sending as answer:
            assert answer.status == 201

    serve(tmp_path, body)


def test_requests_are_counted(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api("GET", f"{CONFIG_MAPS}/missing")
        async with api.watch(f"{CONFIG_MAPS}?watch=1"):
            text = (await api("GET", "/metrics")).body.decode()
        labels = 'group="",resource="configmaps",subresource="",verb="{}",version="v1"'
        assert f'apiserver_request_total{{code="404",{labels.format("get")}}} 1.0' in text
        assert f"apiserver_request_duration_seconds_count{{{labels.format('get')}}} 1.0" in text
        assert (
            'apiserver_longrunning_requests{resource="configmaps",subresource="",verb="watch"} 1.0'
            in text
        )

    serve(tmp_path, body)
