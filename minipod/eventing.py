"""Events: what happened to an object, in words that kubectl shows. Never awaited, never in the way.

`record` only queues. One task writes, some milliseconds later, so that a Pod's start is not slowed by its own report.
Repeats of an Event raise its count instead of making another one (client-go's event correlator does the same).
The queue is bounded: when the API cannot keep up the oldest Events are lost, as upstream's are.
"""

import asyncio
import logging
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Literal

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, call_off, format_time

logger = logging.getLogger(__name__)

EventType = Literal["Normal", "Warning"]

MESSAGE_LIMIT = 1024  # characters, as upstream's validation has it
_QUEUE_LIMIT = 5000
_REMEMBERED = 4096  # Events whose repeats are counted
_DELAY = 0.05  # seconds between the first queued Event and its being written
_PACE = 0.004  # ... and between two: when many Pods start at once their starts come first
_Key = tuple[str, ...]


@dataclass
class _Written:
    """An Event that exists, and how often it happened."""

    namespace: str
    name: str
    count: int


@dataclass(frozen=True)
class _Occurrence:
    """One thing that happened, not yet written."""

    reference: Object
    type: EventType
    reason: str
    message: str
    time: float

    @property
    def key(self) -> _Key:
        ref = self.reference
        where = (ref.get("uid", ""), ref["name"], ref.get("fieldPath", ""))
        return (*where, self.type, self.reason, self.message)


def make_reference(obj: Object, field_path: str = "") -> Object:
    """Return the ObjectReference of an object, optionally to a part of it ("spec.containers{app}")."""
    metadata = obj["metadata"]
    reference: Object = {
        "kind": obj.get("kind", "Pod"),
        "apiVersion": obj.get("apiVersion", "v1"),
        "name": metadata["name"],
        "uid": metadata.get("uid", metadata["name"]),
    }
    if metadata.get("namespace"):
        reference["namespace"] = metadata["namespace"]
    if metadata.get("resourceVersion"):
        reference["resourceVersion"] = metadata["resourceVersion"]
    if field_path:
        reference["fieldPath"] = field_path
    return reference


def event_name(name: str, nanoseconds: int) -> str:
    """Return the name of an Event about an object: in the order of names, Events are in the order of time."""
    return f"{name[:236]}.{nanoseconds:x}"


class Recorder:
    """Writes the Events of one component."""

    def __init__(self, client: Client, clock: Clock, component: str, host: str = "") -> None:
        self._client = client
        self._clock = clock
        self._source = {"component": component, **({"host": host} if host else {})}
        self._queue: deque[_Occurrence] = deque(maxlen=_QUEUE_LIMIT)
        self._written: OrderedDict[_Key, _Written] = OrderedDict()
        self._task: asyncio.Task[None] | None = None
        self._hurried = False
        self._last_stamp = 0

    def record(
        self, obj: Object, kind: EventType, reason: str, message: str, field_path: str = ""
    ) -> None:
        """Queue an Event about `obj`."""
        message = message if len(message) <= MESSAGE_LIMIT else message[: MESSAGE_LIMIT - 3] + "..."
        reference = make_reference(obj, field_path)
        self._queue.append(_Occurrence(reference, kind, reason, message, self._clock.now()))
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._drain(), name="events")

    async def flush(self) -> None:
        """Wait until everything queued is written."""
        while self._task and not self._task.done():
            await self._task

    async def stop(self) -> None:
        """Write what is queued, for at most a second, then end."""
        self._hurried = True
        if self._task:
            await asyncio.wait({self._task}, timeout=1)
            await call_off(self._task)

    async def _drain(self) -> None:
        await asyncio.sleep(_DELAY)
        while self._queue:
            occurrence = self._queue.popleft()
            try:
                await self._write(occurrence)
            except StatusError as error:
                self._complain(occurrence, error)
            if not self._hurried:
                await asyncio.sleep(_PACE)

    def _complain(self, occurrence: _Occurrence, error: StatusError) -> None:
        """A namespace that is being deleted takes no more Events: nothing to say then."""
        level = logging.DEBUG if error.code in (403, 404) else logging.WARNING
        logger.log(
            level, 'event "%s" of "%s": %s', occurrence.reason, occurrence.reference["name"], error
        )

    async def _write(self, occurrence: _Occurrence) -> None:
        known = self._written.get(occurrence.key)
        if known and await self._count(known, occurrence):
            self._written.move_to_end(occurrence.key)
            return
        metadata = await self._create(occurrence)
        self._written[occurrence.key] = _Written(metadata["namespace"], metadata["name"], 1)
        if len(self._written) > _REMEMBERED:
            self._written.popitem(last=False)

    async def _create(self, occurrence: _Occurrence) -> Object:
        """Write an Event and return its metadata; another's that happened at the same moment has the name before."""
        while True:
            event = self._make(occurrence)
            metadata: Object = event["metadata"]
            try:
                await self._client.create("events", metadata["namespace"], event)
            except StatusError as error:
                if error.reason != "AlreadyExists":
                    raise
            else:
                return metadata

    async def _count(self, known: _Written, occurrence: _Occurrence) -> bool:
        """Raise the count of an Event; False when it has gone meanwhile."""
        patch = {"count": known.count + 1, "lastTimestamp": format_time(occurrence.time)}
        try:
            await self._client.patch("events", known.namespace, known.name, patch)
        except StatusError as error:
            if error.code != 404:
                raise
            return False
        known.count += 1
        return True

    def _make(self, occurrence: _Occurrence) -> dict[str, Any]:
        reference = occurrence.reference
        time = format_time(occurrence.time)
        self._last_stamp = max(self._last_stamp + 1, int(occurrence.time * 1e9))
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {
                "name": event_name(reference["name"], self._last_stamp),
                "namespace": reference.get("namespace") or "default",
            },
            "involvedObject": reference,
            "type": occurrence.type,
            "reason": occurrence.reason,
            "message": occurrence.message,
            "source": self._source,
            "reportingComponent": self._source["component"],
            "reportingInstance": self._source.get("host", ""),
            "firstTimestamp": time,
            "lastTimestamp": time,
            "count": 1,
        }
