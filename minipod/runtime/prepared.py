"""A container on the daemon's side while it prepares itself in the shim, and the trace of what was done."""

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Protocol

from minipod.runtime.codec import from_plain
from minipod.runtime.operations import Step, TracedStep
from minipod.runtime.protocol import Message
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.shim_connection import Answer
from minipod.runtime.spec import ContainerSpec, ContainerStatus


class _Runtime(Protocol):
    """What a prepared container needs of the runtime."""

    def release_container(self, container_id: str) -> None:
        """Let a prepared container go on to its program."""

    def keep_spec(self, spec: ContainerSpec) -> None:
        """Remember a running container's spec."""

    async def stop_container(self, container_id: str, grace_seconds: float) -> ContainerStatus:
        """End a container."""

    async def remove_container(self, container_id: str) -> None:
        """Remove what there is of a container."""


class PreparedContainer:
    """A container that waits for its turn (`service.PreparedContainer`)."""

    def __init__(
        self,
        runtime: _Runtime,
        spec: ContainerSpec,
        steps: Sequence[Step],
        answer: "asyncio.Future[Answer]",
    ) -> None:
        self._runtime, self._spec, self._steps, self._answer = runtime, spec, steps, answer

    @property
    def has_failed(self) -> bool:
        """Whether the shim has answered, or gone: before its release a container has nothing good to tell."""
        return self._answer.done()

    async def start(self) -> tuple[ContainerStatus, list[TracedStep]]:
        """Have its program executed. RuntimeFailure as `start_container`; of one that never began nothing is left."""
        self._runtime.release_container(self._spec.id)
        try:
            answer = await self._answer
        except RuntimeFailure as failure:
            if failure.reason != "StartError":  # which is kept, as one that has ended
                await self._remove()
            raise
        self._runtime.keep_spec(self._spec)
        return from_plain(ContainerStatus, answer["status"]), trace_of(self._steps, answer.result)

    async def abandon(self) -> None:
        """End it before its program ran: nothing is left of it."""
        with contextlib.suppress(RuntimeFailure):
            await self._runtime.stop_container(self._spec.id, 0)
        with contextlib.suppress(RuntimeFailure):
            await self._answer
        await self._remove()

    async def _remove(self) -> None:
        with contextlib.suppress(RuntimeFailure):  # the shim is gone: its successor tells of it
            await self._runtime.remove_container(self._spec.id)


def trace_of(steps: Sequence[Step], result: Message) -> list[TracedStep]:
    """Return what the shim did of a plan, by its times."""
    sent = [step for step in steps if step.where != "daemon"]
    return [TracedStep(sent[index], start, took) for index, start, took in result["times"]]
