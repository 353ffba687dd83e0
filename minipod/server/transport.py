"""The API without a socket: what the daemon's own parts call.

The same verbs, admission and validation as over HTTP; bodies are copied on the way in and decoded afresh on the way
out, so that nobody shares an object with the server. What watches deliver is decoded once for all who follow a kind.
"""

from collections import OrderedDict
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
        self._decoder = _Decoder()
        self._told: dict[str, int] = {}  # the newest early revision, by user

    async def call(self, request: Request) -> Object:
        """Perform one request and return its object. Raises StatusError.

        It sees everything that its user was told early.
        """
        if told := self._told.get(request.user):
            await self._resources.settled(told)
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
        """Yield changes until the watch's time is up or the server stops. Raises StatusError.

        Their objects are shared by all who watch, and lack managedFields, which nobody who follows changes looks at.
        """
        watch = self._resources.watch(request)
        try:
            while (changes := await watch.next()) is not None:
                for change in changes:
                    if change.early:
                        self._told[request.user] = change.early
                    obj = self._decoder.object(change.value)
                    yield WatchEvent(change.type, obj, early=bool(change.early))
        finally:
            watch.stop()


class _Decoder:
    """Decodes a version once for all watches, which get the same bytes of it. What it returns must not be changed."""

    def __init__(self, size: int = 32) -> None:
        self._size = size
        self._decoded: OrderedDict[int, tuple[bytes, Object]] = OrderedDict()

    def object(self, value: bytes) -> Object:
        """Return the object of these very bytes, which it holds on to so that their address stays theirs."""
        found = self._decoded.get(id(value))
        if found is not None:
            return found[1]
        made: Object = wire.decode(value)
        made.get("metadata", {}).pop("managedFields", None)
        self._decoded[id(value)] = value, made
        if len(self._decoded) > self._size:
            self._decoded.popitem(last=False)
        return made


def _copied(body: Any) -> Any:
    try:
        return wire.copy(body)
    except ValueError as error:
        raise internal_error(f"the body is not plain data: {error}") from error
