"""Connections that are forwarded to a Pod: which end may end when."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

from minipod.node.streaming import port_forward
from minipod.node.streaming.port_forward import Forwarder


class FakeStream:
    """A client's end: what it sends is put in, what it gets is written down."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.got = bytearray()
        self.ended = asyncio.Event()

    async def read(self) -> bytes:
        return await self.sent.get()

    async def write(self, data: bytes) -> None:
        self.got += data

    def end(self) -> None:
        self.ended.set()


class LostStream(FakeStream):
    """A client that is gone."""

    async def read(self) -> bytes:
        raise ConnectionError("gone")


Program = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def forwarded(client: FakeStream, program: Program) -> str:
    """Forward a client to a program; return what went wrong."""
    ours, theirs = socket.socketpair()

    async def dial(_port: int) -> socket.socket:
        return ours

    reader, writer = await asyncio.open_connection(sock=theirs)

    async def run() -> None:
        await program(reader, writer)
        writer.close()

    running = asyncio.create_task(run())
    try:
        return await asyncio.wait_for(Forwarder("pod", "uid", dial).forward(80, client), 10)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        writer.close()
        await writer.wait_closed()


def test_a_client_that_ends_its_direction_hears_the_program_out() -> None:
    async def late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.read()  # to the end
        writer.write(asked.upper())

    async def main() -> None:
        client = FakeStream()
        client.sent.put_nowait(b"hello")
        client.sent.put_nowait(b"")
        assert await forwarded(client, late) == ""
        assert (client.got, client.ended.is_set()) == (b"HELLO", True)

    asyncio.run(main())


def test_a_program_that_ends_first_ends_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    """kubectl up to 1.31 does not end its direction before it is told that all is over."""
    monkeypatch.setattr(port_forward, "LINGER_SECONDS", 0.0)

    async def early(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"bye")

    async def main() -> None:
        client = FakeStream()
        assert await forwarded(client, early) == ""
        assert (client.got, client.ended.is_set()) == (b"bye", True)

    asyncio.run(main())


def test_a_client_that_is_gone_ends_the_connection() -> None:
    async def waiting(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async def main() -> None:
        assert await forwarded(LostStream(), waiting) == ""

    asyncio.run(main())
