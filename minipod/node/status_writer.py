"""Pod statuses on their way to the API: never awaited by a sync, the newest wins, written only if it changed.

Conditions are written one by one: those that others have set are theirs, and stay as they are whenever they come.

At most one write per Pod is under way. A status that only tells of progress waits a moment, because a better one is
usually about to follow; one that tells of something finished goes at once.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from minipod import fault
from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.node.conditions import DISRUPTION, OURS

logger = logging.getLogger(__name__)

PATIENCE = 0.1  # seconds that a status of mere progress waits
_RETRY = 1.0
_MERGED_LISTS = ("hostIPs", "podIPs")


@dataclass
class _Slot:
    namespace: str
    name: str
    written: Object  # as the API is known to have it
    wanted: Object
    task: asyncio.Task[None] | None = None
    hurry: asyncio.Event = field(default_factory=asyncio.Event)
    problem: str = ""  # why the last write failed: told of once


class StatusWriter:
    """Writes statuses through pods/status."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._slots: dict[str, _Slot] = {}

    def get(self, uid: str) -> Object | None:
        """Return the newest status given, written or not."""
        slot = self._slots.get(uid)
        return slot.wanted if slot else None

    def set(self, pod: Object, status: Object, *, urgent: bool) -> None:
        """Take a Pod's newest status."""
        metadata = pod["metadata"]
        slot = self._slots.get(metadata["uid"])
        if slot is None:
            slot = _Slot(metadata["namespace"], metadata["name"], pod.get("status") or {}, {})
            self._slots[metadata["uid"]] = slot
        slot.wanted = status
        if slot.written == status:
            return
        if urgent:
            slot.hurry.set()
        self._begin(metadata["uid"], slot)

    def _begin(self, uid: str, slot: _Slot) -> None:
        if slot.task is None or slot.task.done():
            slot.task = asyncio.create_task(self._write(uid, slot), name=f"status of {slot.name}")

    def correct(self, uid: str, found: Object, *, at_once: bool) -> None:
        """Take notice of what the API has: a condition of ours that another has turned is turned back, now or later."""
        slot = self._slots.get(uid)
        if slot is None or (slot.task and not slot.task.done()):
            return
        ours, theirs = _verdicts(slot.written), _verdicts(found)
        if ours == theirs:
            return
        slot.written = {**slot.written, "conditions": found.get("conditions") or []}
        if at_once:
            self._begin(uid, slot)

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone."""
        self._slots.pop(uid, None)

    async def flush(self, uid: str) -> None:
        """Wait until the Pod's newest status is written, or cannot be."""
        while (slot := self._slots.get(uid)) and slot.task and not slot.task.done():
            slot.hurry.set()
            await asyncio.wait({slot.task})

    async def flush_all(self) -> None:
        """Wait until everything is written."""
        await asyncio.gather(*(self.flush(uid) for uid in list(self._slots)))

    async def stop(self) -> None:
        """Write what is still waiting, for at most a second."""
        tasks = {slot.task for slot in self._slots.values() if slot.task and not slot.task.done()}
        for slot in self._slots.values():
            slot.hurry.set()
        if tasks:
            await asyncio.wait(tasks, timeout=1)
        await call_off(*tasks)

    async def _write(self, uid: str, slot: _Slot) -> None:
        if not slot.hurry.is_set():
            timer = self._clock.call_at(self._clock.now() + PATIENCE, slot.hurry.set)
            await slot.hurry.wait()
            timer.cancel()
        while slot.wanted != slot.written:
            slot.hurry.clear()
            status = slot.wanted
            if not await self._patch(uid, slot, status):
                return
            fault.point("node.status.written")

    async def _patch(self, uid: str, slot: _Slot, status: Object) -> bool:
        """Write one status; False when there is nothing to write to any more. A failure that may pass is waited out."""
        changes = make_patch(slot.written, status)
        if not changes:  # only others' conditions are new
            slot.written = status
            return True
        patch = {"metadata": {"uid": uid}, "status": changes}
        try:
            await self._client.patch(
                *("pods", slot.namespace, slot.name, patch),
                patch_type="strategic",
                subresource="status",
            )
        except StatusError as error:
            if error.code in (404, 409):
                return False  # gone, or another Pod of the same name
            if slot.problem != str(error):
                logger.warning('pod "%s/%s": writing status: %s', slot.namespace, slot.name, error)
            slot.problem = str(error)
            await self._pause()
            return True
        slot.written, slot.problem = status, ""
        return True

    async def _pause(self) -> None:
        wake = asyncio.Event()
        self._clock.call_at(self._clock.now() + _RETRY, wake.set)
        await wake.wait()


def _verdicts(status: Object) -> dict[str, str]:
    """Return what our own conditions say."""
    known = status.get("conditions") or ()
    return {each["type"]: each["status"] for each in known if each["type"] in OURS}


def make_patch(old: Object, new: Object) -> Object:
    """Return the strategic merge patch from one status to another: what others may write too is left out."""
    patch: Object = {}
    for key in dict.fromkeys((*old, *new)):
        before, after = old.get(key), new.get(key)
        if key == "conditions":
            patch |= _condition_changes(before or (), after or ())
        elif after != before:
            patch[key] = _replacing(key, after)
    return patch


def _replacing(key: str, value: Any) -> Any:
    """Return what sets a member whole, where a strategic merge patch would merge it with what is there."""
    if key in _MERGED_LISTS and value:
        return [{"$patch": "replace"}, *value]
    return {"$patch": "replace", **value} if isinstance(value, dict) else value


def _condition_changes(before: Sequence[Object], after: Sequence[Object]) -> Object:
    """Return the changes of our own conditions, and the order of all if there are any."""
    known = {each["type"]: each for each in before}
    wanted = {each["type"]: each for each in after}
    changes: list[Object] = [
        dict.fromkeys(known.get(name, ())) | each
        for name, each in wanted.items()
        if (name in OURS or name == DISRUPTION) and known.get(name) != each
    ]
    changes += [
        {"type": name, "$patch": "delete"} for name in known if name in OURS and name not in wanted
    ]
    if not changes:
        return {}
    order = [{"type": name} for name in wanted]
    return {"conditions": changes, "$setElementOrder/conditions": order}
