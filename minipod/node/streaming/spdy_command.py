"""Channels over SPDY/3.1: one stream each, told apart by their "streamType" header.

    v4.channel.k8s.io  error carries the final Status as JSON
    v3.channel.k8s.io  error carries a failure's text; there is a stream for terminal sizes
    v2.channel.k8s.io  no terminal sizes
    channel.k8s.io     (v1, and clients that name none) as v2

Kubernetes: k8s.io/kubelet pkg/cri/streaming/remotecommand/httpstream.go.
"""

import asyncio
import contextlib
import json

from minipod.client import Object
from minipod.clock import call_off
from minipod.node.streaming.remote_command import (
    ERROR,
    FIRST_SIZE_SECONDS,
    NO_SIZE,
    RESIZE,
    STDERR,
    STDIN,
    STDOUT,
    Size,
    Take,
    Wanted,
    parse_size,
)
from minipod.node.streaming.spdy_session import Pipe, SpdySession, SpdyStream

V4, V3, V2, V1 = "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"
PROTOCOLS = (V4, V3, V2, V1)
CREATION_SECONDS = 30.0  # for the client to open its streams
_TYPES = {"stdin": STDIN, "stdout": STDOUT, "stderr": STDERR, "error": ERROR, "resize": RESIZE}


def expected_channels(wanted: Wanted, protocol: str) -> frozenset[int]:
    """Return the channels for which the client opens a stream."""
    asked = {
        STDIN: wanted.stdin,
        STDOUT: wanted.stdout,
        STDERR: wanted.stderr,
        RESIZE: wanted.tty and protocol in (V4, V3),
        ERROR: True,
    }
    return frozenset(channel for channel, is_asked in asked.items() if is_asked)


class SpdyChannels:
    """A client's end of a remote command, over SPDY. `run` serves the connection meanwhile."""

    def __init__(self, pipe: Pipe, protocol: str, wanted: Wanted, idle_seconds: float) -> None:
        self._protocol = protocol
        self._expected = expected_channels(wanted, protocol)
        self._streams: dict[int, SpdyStream] = {}
        self._complete = asyncio.Event()
        self._early_size = b""
        self._session = SpdySession(pipe, self._on_stream, idle_seconds)

    async def run(self) -> None:
        """Serve the connection until the client is gone."""
        await self._session.run()

    async def wait_complete(self) -> bool:
        """Wait for the client's streams. False when it does not open them, or goes."""
        waiting = [
            asyncio.create_task(self._complete.wait()),
            asyncio.create_task(self._session.over.wait()),
        ]
        try:
            await asyncio.wait(
                waiting, timeout=CREATION_SECONDS, return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            for task in waiting:
                task.cancel()
        return self._complete.is_set()

    async def first_size(self) -> Size:
        """Wait a little for the size of the client's terminal."""
        if RESIZE not in self._streams:
            return NO_SIZE
        with contextlib.suppress(TimeoutError):
            reading = self._streams[RESIZE].read()
            self._early_size = await asyncio.wait_for(reading, FIRST_SIZE_SECONDS)
        if size := parse_size(self._early_size):
            self._early_size = b""
        return size or NO_SIZE

    async def pump(self, take: Take) -> None:
        """Hand over input and sizes until the client is gone."""
        if self._early_size:
            await take(RESIZE, self._early_size)  # not a whole one, or more than one
        copying = [
            asyncio.create_task(_copy(self._streams[channel], channel, take))
            for channel in (STDIN, RESIZE)
            if channel in self._streams
        ]
        try:
            await self._session.over.wait()
        finally:
            await call_off(*copying)

    async def send(self, channel: int, data: bytes) -> None:
        """Send output, waiting while the client lags."""
        if channel in self._streams:
            await self._streams[channel].write(data)

    async def finish(self, status: Object) -> None:
        """Tell how the program ended, end the streams and close."""
        if self._protocol == V4:
            await self.send(ERROR, json.dumps(status).encode())
        elif status["status"] != "Success":
            await self.send(ERROR, status["message"].encode())
        for channel in (STDOUT, STDERR, ERROR, STDIN, RESIZE):
            if stream := self._streams.get(channel):
                stream.end()
        await self._session.close()

    async def close(self) -> None:
        """Close, whatever has been said."""
        await self._session.close()

    def _on_stream(self, stream: SpdyStream) -> None:
        channel = _TYPES.get(stream.headers.get("streamtype", ""))
        if channel is None or channel in self._streams:
            raise ValueError("not a stream of a remote command")
        self._streams[channel] = stream
        if self._expected <= self._streams.keys():
            self._complete.set()


async def _copy(stream: SpdyStream, channel: int, take: Take) -> None:
    while data := await stream.read():
        await take(channel, data)
    if channel == STDIN and not stream.was_reset:
        await take(channel, b"")
