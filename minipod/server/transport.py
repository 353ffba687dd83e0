"""The API without a socket: what the daemon's own parts call.

The same verbs, admission and validation as over HTTP; bodies are copied on the way in and decoded afresh on the way
out, so that nobody shares an object with the server.
"""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from minipod.api.errors import StatusError, internal_error
from minipod.client import Object, Request, WatchEvent
from minipod.server import wire
from minipod.server.resources import Resources


class InProcessTransport:
    """Implements `minipod.client.Transport`."""

    def __init__(self, resources: Resources) -> None:
        self._resources = resources

    async def call(self, request: Request) -> Object:
        """Perform one request and return its object. Raises StatusError."""
        if request.body is not None:
            request = replace(request, body=_copied(request.body))
        try:
            answer = await self._resources.perform(request)
        except StatusError:
            raise
        except Exception as error:  # a caller of the API never sees anything but a Status
            raise internal_error(f"{type(error).__name__}: {error}") from error
        made: Object = wire.decode(answer.value)
        return made

    async def watch(self, request: Request) -> AsyncIterator[WatchEvent]:
        """Yield changes until the watch's time is up or the server stops. Raises StatusError."""
        watch = self._resources.watch(request)
        try:
            while (changes := await watch.next()) is not None:
                for change in changes:
                    yield WatchEvent(change.type, wire.decode(change.value))
        finally:
            watch.stop()


def _copied(body: Any) -> Any:
    try:
        return wire.copy(body)
    except ValueError as error:
        raise internal_error(f"the body is not plain data: {error}") from error
