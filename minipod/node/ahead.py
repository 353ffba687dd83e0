"""Containers made ready before their turn: what comes after an init container prepares itself while that one runs.

An init container is often over in a moment, and the making of a container takes longer than many of them run. What is
made ready holds a process and a cgroup, so it is given up when its turn does not come soon; and it is used only when
its spec, computed anew in its turn, is still the same.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
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

logger = logging.getLogger(__name__)

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


_Key = tuple[str, str]  # the Pod's UID, the container's name


class _Entry(NamedTuple):
    making: asyncio.Task[Ready]
    patience: Timer


class Ahead:
    """What is made ready, by Pod and container. Each is taken, or given up: nothing is left of it then.

    A container of the same name has the same ID: it is never made before the end of the one that is given up.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._entries: dict[_Key, _Entry] = {}
        self._ends: dict[_Key, asyncio.Task[None]] = {}

    def begin(self, uid: str, name: str, make: Callable[[], Coroutine[None, None, Ready]]) -> None:
        """Have a container made ready, unless there is one already."""
        key = uid, name
        if key in self._entries or key in self._ends:
            return
        task = asyncio.create_task(make(), name=f"ahead {name}")
        timer = self._clock.call_at(self._clock.now() + PATIENCE, partial(self._give_up, key))
        self._entries[key] = _Entry(task, timer)

    async def take(self, uid: str, name: str, spec: ContainerSpec) -> PreparedContainer | None:
        """Return the container if it is ready, and made from this very spec; else nothing is left of it."""
        key = uid, name
        entry = self._entries.get(key)
        ready = await _outcome(entry) if entry else None
        if self._entries.get(key) is entry and ready and _is_good(ready, spec):
            self._forget(key)
            return ready.prepared
        self._give_up(key)
        if end := self._ends.get(key):
            await asyncio.wait({end})
        return None

    async def give_up(self, uid: str) -> None:
        """Give up all that is ready of a Pod, and wait until nothing is left of it."""
        for key in [each for each in self._entries if each[0] == uid]:
            self._give_up(key)
        await asyncio.gather(*(end for key, end in self._ends.items() if key[0] == uid))

    async def stop(self) -> None:
        """Forget all: the shim ends what it holds for a daemon that goes."""
        tasks: list[asyncio.Task[Ready] | asyncio.Task[None]] = [*self._ends.values()]
        for key, entry in list(self._entries.items()):
            self._forget(key)
            entry.making.cancel()
            tasks.append(entry.making)
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, key: _Key) -> None:
        self._entries.pop(key).patience.cancel()

    def _give_up(self, key: _Key) -> None:
        """Give one up, in the background; nothing when there is none."""
        entry = self._entries.get(key)
        if entry is None:
            return
        self._forget(key)
        end = asyncio.create_task(_end(entry), name=f"giving up {key[1]}")
        self._ends[key] = end
        end.add_done_callback(lambda _end: self._ends.pop(key))


def _is_good(ready: Ready, spec: ContainerSpec) -> bool:
    return ready.spec == spec and not ready.prepared.has_failed


async def _outcome(entry: _Entry) -> Ready | None:
    """Return what the making has come to: None when it has failed. In its turn that comes up again, and is told."""
    try:
        return await asyncio.shield(entry.making)
    except (StepError, RuntimeFailure, TurnNeverCame):
        return None


async def _end(entry: _Entry) -> None:
    """Leave nothing of it; what the runtime does not answer for ends with the sandbox, or with the shim."""
    ready = await _outcome(entry)
    if ready:
        try:
            await bounded(ready.prepared.abandon())
        except RuntimeFailure as failure:
            logger.warning('giving up container "%s": %s', ready.spec.id, failure)
