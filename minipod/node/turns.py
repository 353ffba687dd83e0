"""Whose turn it is: containers are prepared side by side and started one after another."""

import asyncio
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from minipod.node.workers import Work

A = TypeVar("A")


class TurnNeverCame(Exception):
    """A container is not to be started any more: the Pod ends, or what it waited for has failed."""


async def reached(step: "asyncio.Task[A]") -> A:
    """Return what a step on the way has come to. Raises TurnNeverCame when it has failed: others tell of that."""
    await asyncio.wait({step})
    if step.cancelled() or step.exception() is not None:
        raise TurnNeverCame
    return step.result()


class Turn(NamedTuple):
    """What a container waits for: the sandbox, or the start of the container before it."""

    before: "asyncio.Task[None] | asyncio.Task[bool]"
    must_succeed: bool = False  # an init container that was not started holds up all others
    slow: bool = False  # it may take minutes: it pulls an image, or runs a hook
    then: Callable[[], None] = lambda: (
        None
    )  # to be called when the one whose turn it is has been let go

    async def come(self, work: Work) -> None:
        """Wait for the turn. Raises TurnNeverCame."""
        await asyncio.wait({self.before})
        failed = self.before.cancelled() or self.before.exception() is not None
        if work.stopping or failed or (self.must_succeed and self.before.result() is False):
            raise TurnNeverCame
