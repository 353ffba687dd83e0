"""Whose turn it is: containers are prepared side by side and started one after another."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import NamedTuple, TypeVar

from minipod.node.workers import Work

A = TypeVar("A")


class TurnNeverCame(Exception):
    """A container is not to be started any more: the Pod ends, or what it waited for has failed."""


async def reached(step: "asyncio.Task[A]") -> A:
    """Return what a step on the way has come to. Raises TurnNeverCame when it has failed: others tell of that."""
    if not step.done():
        await asyncio.wait({step})
    if _has_failed(step):
        raise TurnNeverCame
    return step.result()


class Way:
    """A container on its way from being asked for to running, as the one after it sees it."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.then = then  # to be called when it has been asked for
        self._passed = asyncio.get_running_loop().create_future()
        self.whole: asyncio.Future[bool] = self._passed  # its start with all that belongs to it

    def begin(self, starting: Coroutine[None, None, bool], name: str) -> "asyncio.Task[bool]":
        """Have it started."""
        self.whole = task = asyncio.create_task(starting, name=name)
        task.add_done_callback(self.let_go)
        return task

    def let_go(self, _whole: object = None) -> None:
        """It goes on to its program, or never will. Repeatable."""
        if not self._passed.done():
            self._passed.set_result(True)

    async def passed(self) -> None:
        """Wait until it has been let go to its program, or never will be."""
        await asyncio.wait({self._passed})


class Turn(NamedTuple):
    """What a container waits for: the sandbox, and the container before it.

    That one need only have been let go to its program: how that went is told later, and in order. Where it must have
    succeeded (an init container), or nothing may run before it is over (a hook), all of its start is waited for.
    `slow` is the last one before it that may take minutes: it pulls an image, or runs a hook.
    """

    own: Way
    ready: "asyncio.Task[None]"
    before: Way | None = None
    must_succeed: bool = False  # an init container that was not started holds up all others
    slow: Way | None = None

    @property
    def follows_slow(self) -> bool:
        """Whether it is the one right before that may take minutes."""
        return self.slow is not None and self.slow is self.before

    async def approach(self, work: Work) -> None:
        """Wait until the turn comes soon: nobody before it may take minutes any more. Raises TurnNeverCame."""
        if self.slow:
            await asyncio.wait({self.slow.whole})
            if work.stopping or _has_failed(self.slow.whole):
                raise TurnNeverCame

    async def come(self, work: Work) -> None:
        """Wait for the turn. Raises TurnNeverCame."""
        await asyncio.wait({self.ready})
        if self.before and not (self.must_succeed or self.follows_slow):
            await self.before.passed()
        else:
            await self.told()
        if work.stopping or _has_failed(self.ready) or self._is_held_up():
            raise TurnNeverCame

    async def told(self) -> None:
        """Wait until the one before is over with all that is to be told of it."""
        if self.before:
            await asyncio.wait({self.before.whole})

    def _is_held_up(self) -> bool:
        if self.before is None or not self.before.whole.done():
            return False
        whole = self.before.whole
        return _has_failed(whole) or (self.must_succeed and not whole.result())


def _has_failed(step: "asyncio.Future[A]") -> bool:
    return step.cancelled() or step.exception() is not None
