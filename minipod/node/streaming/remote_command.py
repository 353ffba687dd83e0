"""A program's streams against a client's channels: exec and attach, whatever protocol carries them.

A client that does not read holds the program up, and a program that does not read its client: nothing piles up here.
Kubernetes: k8s.io/kubelet pkg/cri/streaming/remotecommand.
"""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Protocol

from minipod.client import Object
from minipod.clock import call_off
from minipod.node.streaming.statuses import exit_status, failure
from minipod.runtime.service import RuntimeFailure, Streams

logger = logging.getLogger(__name__)

STDIN, STDOUT, STDERR, ERROR, RESIZE = 0, 1, 2, 3, 4
SIZES_LIMIT = 1024  # bytes of terminal sizes that are kept until one is whole
# How long a program with a terminal waits for the size of its client's: it comes right behind the upgrade, if at all.
FIRST_SIZE_SECONDS = 0.25
Size = tuple[int, int]  # columns, rows
NO_SIZE: Size = (0, 0)
Take = Callable[[int, bytes], Awaitable[None]]  # channel, data; b"" is the channel's end


@dataclass(frozen=True)
class Wanted:
    """Which streams the client asked for."""

    stdin: bool
    stdout: bool
    stderr: bool
    tty: bool


class Channels(Protocol):
    """A client's end of a remote command."""

    async def first_size(self) -> Size:
        """Wait a little for the size of the client's terminal; NO_SIZE when it does not tell.

        A program looks at its terminal's size once, at its start. Upstream sets it some time after that; here the
        program is started with it.
        """

    async def pump(self, take: Take) -> None:
        """Hand over what comes on STDIN and RESIZE until the client is gone."""

    async def send(self, channel: int, data: bytes) -> None:
        """Send output, waiting while the client lags. Raises ConnectionError when it is gone."""

    async def finish(self, status: Object) -> None:
        """Tell how the program ended, and close."""


async def serve(
    channels: Channels, streams: Streams, wanted: Wanted, *, wait_for_exit: bool
) -> None:
    """Carry the streams until the program has ended or the client has gone; then say how it ended.

    A client that vanishes takes its descriptors along: the program reads the end of its input, can write no more
    (SIGPIPE), and its terminal hangs up (SIGHUP). One that heeds none of this lives on, as it does upstream.
    """
    program = _Program(streams, wanted)
    incoming = asyncio.create_task(channels.pump(program.take))
    outgoing = asyncio.create_task(program.run(channels, wait_for_exit))
    try:
        await asyncio.wait({incoming, outgoing}, return_when=asyncio.FIRST_COMPLETED)
        if outgoing.done():
            await channels.finish(outgoing.result())
        else:
            incoming.result()
    except (ConnectionError, RuntimeError) as error:
        logger.debug("stream ended: %s", error)
    finally:
        # a task of its own: the client's leaving cancels this one, at this very moment as well
        await asyncio.shield(asyncio.create_task(_end(streams, incoming, outgoing)))


async def _end(streams: Streams, *copying: asyncio.Task[object]) -> None:
    await call_off(*copying)
    await streams.hang_up()


class _Program:
    """One program's end of the streams."""

    def __init__(self, streams: Streams, wanted: Wanted) -> None:
        self._streams, self._wanted = streams, wanted
        self._sizes = ""  # of a terminal, not yet whole

    async def run(self, channels: Channels, wait_for_exit: bool) -> Object:
        """Send what the program says; return how it ended."""
        wanted = self._wanted
        try:
            while (chunk := await self._streams.read()) is not None:
                stream, data = chunk
                channel, asked = (
                    (STDOUT, wanted.stdout) if stream == "stdout" else (STDERR, wanted.stderr)
                )
                if asked:
                    await channels.send(channel, data)
            return exit_status(await self._streams.wait() if wait_for_exit else 0)
        except RuntimeFailure as lost:
            return failure(f"error executing command in container: {lost}")

    async def take(self, channel: int, data: bytes) -> None:
        """Pass input and terminal sizes on to the program."""
        try:
            if channel == STDIN and self._wanted.stdin:
                await (self._streams.write(data) if data else self._streams.close_stdin())
            elif channel == RESIZE and self._wanted.tty:
                await self._resize(data)
        except BrokenPipeError:
            logger.debug("nobody reads this input any more")

    async def _resize(self, data: bytes) -> None:
        """Take sizes as they come: JSON objects one behind the other, on SPDY cut anywhere."""
        self._sizes = (self._sizes + data.decode("utf-8", "replace"))[-SIZES_LIMIT:]
        whole, brace, self._sizes = self._sizes.rpartition("}")
        newest = f"{whole.rpartition('{')[2]}{brace}"
        if not brace:
            return
        if size := parse_size(f"{{{newest}".encode()):
            await self._streams.resize(*size)


def parse_size(data: bytes) -> Size | None:
    """Return (columns, rows) of {"Width": columns, "Height": rows}."""
    try:
        size = json.loads(data)
        return int(size["Width"]), int(size["Height"])
    except (ValueError, KeyError, TypeError):
        logger.debug("terminal size %r is none", data[:80])
        return None
