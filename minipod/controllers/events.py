"""Events are kept for an hour, as upstream keeps them, and removed soon after."""

import asyncio
import logging

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, Timer, call_off, parse_time

logger = logging.getLogger(__name__)

TTL = 3600.0  # seconds (kube-apiserver --event-ttl)
_SHORTEST_PAUSE = 60.0  # seconds between two sweeps


class EventExpiry:
    """Removes old Events. Sleeps until the oldest one's time has come."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin with a sweep in a minute: starting has more urgent things to do."""
        self._set_timer(self._clock.now() + _SHORTEST_PAUSE)

    async def stop(self) -> None:
        """End."""
        await call_off(self._timer, self._task)

    async def wait_idle(self) -> None:
        """Wait until no sweep is under way."""
        if self._task:
            await self._task

    def _set_timer(self, when: float) -> None:
        self._timer = self._clock.call_at(when, self._begin)

    def _begin(self) -> None:
        self._task = asyncio.create_task(self._sweep(), name="event expiry")

    async def _sweep(self) -> None:
        now = self._clock.now()
        oldest = now
        try:
            oldest = await self._remove_older(now - TTL)
        except StatusError as error:
            logger.warning("removing old events: %s; trying again", error)
        self._set_timer(max(oldest + TTL, self._clock.now() + _SHORTEST_PAUSE))

    async def _remove_older(self, limit: float) -> float:
        """Remove Events last seen before `limit`; return when the oldest remaining one was seen."""
        oldest = self._clock.now()
        for event in (await self._client.list("events")).items:
            seen = _last_seen(event)
            if seen > limit:
                oldest = min(oldest, seen)
                continue
            metadata = event["metadata"]
            try:
                await self._client.delete("events", metadata["namespace"], metadata["name"])
            except StatusError as error:
                if error.code != 404:
                    raise
        return oldest


def _last_seen(event: Object) -> float:
    series = event.get("series") or {}
    times = (
        series.get("lastObservedTime"),
        event.get("lastTimestamp"),
        event.get("eventTime"),
        event["metadata"].get("creationTimestamp"),
    )
    return next((parse_time(each) for each in times if each), 0.0)
