"""Containers made ready before their turn: what comes after an init container prepares itself while that one runs.

An init container is often over in a moment, and the making of a container takes longer than many of them run. What is
made ready holds a process and a cgroup, so it is given up when its turn does not come soon; and it is used only when
its spec, computed anew in its turn, is still the same.
"""

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import NamedTuple

from minipod.client import Object
from minipod.clock import Clock, Timer
from minipod.node.actions import Start, compute_start
from minipod.node.bounded import bounded
from minipod.node.errors import StepError
from minipod.node.observed import ObservedPod
from minipod.node.pods import shares_mounts
from minipod.node.turns import TurnNeverCame
from minipod.runtime.service import PreparedContainer, RuntimeFailure
from minipod.runtime.spec import ContainerSpec

PATIENCE = 2.0  # seconds that a container is held ready: a shim that is to be replaced waits for it


def compute_ahead(pod: Object, observed: ObservedPod, starts: Sequence[Start]) -> tuple[Start, ...]:
    """Return the containers whose turn comes when the last of `starts`, an init container, has succeeded.

    Only at their first attempts, and only where nobody can see what is prepared: not in a PID namespace that is shared,
    nor where containers pass mounts on to each other. Pure.
    """
    spec = pod["spec"]
    if not starts or starts[-1].kind != "init" or starts[-1].attempt:
        return ()
    if spec.get("shareProcessNamespace") or spec.get("hostPID"):
        return ()
    inits = [each["name"] for each in spec["initContainers"]]
    after = inits[inits.index(starts[-1].name) + 1 :][:1]
    following = after or [each["name"] for each in spec["containers"]]
    containers = [*spec["initContainers"], *spec["containers"]]
    if any(shares_mounts(each) for each in containers):
        return ()
    wanted = [compute_start(pod, observed, name) for name in following]
    return tuple(each for each in wanted if not each.attempt)


class Ready(NamedTuple):
    """A container that waits for its turn, and what it was made from."""

    spec: ContainerSpec
    prepared: PreparedContainer


class _Entry(NamedTuple):
    making: asyncio.Task[Ready]
    patience: Timer


class Ahead:
    """What is made ready, by Pod and container. Each is taken, or given up: nothing is left of it then."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[str, dict[str, _Entry]] = {}
        self._ends: set[asyncio.Task[None]] = set()

    def begin(self, uid: str, name: str, making: Coroutine[None, None, Ready]) -> None:
        """Have a container made ready, in place of one that was before."""
        self._drop(uid, name)
        task = asyncio.create_task(making, name=f"ahead {name}")
        timer = self._clock.call_at(self._clock.now() + PATIENCE, partial(self._drop, uid, name))
        self._entries.setdefault(uid, {})[name] = _Entry(task, timer)

    async def take(self, uid: str, name: str, spec: ContainerSpec) -> PreparedContainer | None:
        """Return the container if it is ready, and made from this very spec; else nothing is left of it."""
        entry = self._pop(uid, name)
        ready = await _outcome(entry) if entry else None
        if ready is None:
            return None
        if ready.spec == spec and not ready.prepared.has_failed:
            return ready.prepared
        await bounded(ready.prepared.abandon())
        return None

    async def give_up(self, uid: str) -> None:
        """Give up all that is ready of a Pod, and wait until nothing is left of it. RuntimeFailure."""
        entries = [self._pop(uid, name) for name in list(self._entries.get(uid, ()))]
        await asyncio.gather(*(_end(each) for each in entries if each), *self._ends)

    async def stop(self) -> None:
        """Forget all: the shim ends what it holds for a daemon that goes."""
        for uid in list(self._entries):
            for name in list(self._entries[uid]):
                if entry := self._pop(uid, name):
                    entry.making.cancel()
                    await asyncio.gather(entry.making, return_exceptions=True)
        await asyncio.gather(*self._ends, return_exceptions=True)

    def _pop(self, uid: str, name: str) -> _Entry | None:
        of_pod = self._entries.get(uid, {})
        entry = of_pod.pop(name, None)
        if not of_pod:
            self._entries.pop(uid, None)
        if entry:
            entry.patience.cancel()
        return entry

    def _drop(self, uid: str, name: str) -> None:
        """Give one up, in the background."""
        if entry := self._pop(uid, name):
            task = asyncio.create_task(_end(entry), name=f"giving up {name}")
            self._ends.add(task)
            task.add_done_callback(self._ends.discard)


async def _outcome(entry: _Entry) -> Ready | None:
    """Return what the making has come to: None when it has failed. In its turn that comes up again, and is told."""
    try:
        return await asyncio.shield(entry.making)
    except (StepError, RuntimeFailure, TurnNeverCame):
        return None


async def _end(entry: _Entry) -> None:
    ready = await _outcome(entry)
    if ready:
        await bounded(ready.prepared.abandon())
