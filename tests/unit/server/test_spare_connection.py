"""A connection that is made ahead, against a server that counts."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from minipod.server.spare_connection import SpareConnection

from .harness import until

Accepted = list[asyncio.StreamWriter]
Body = Callable[[SpareConnection, Accepted], Awaitable[None]]


def with_server(path: Path, body: Body) -> None:
    async def main() -> None:
        accepted: Accepted = []
        server = await asyncio.start_unix_server(lambda _, writer: accepted.append(writer), path)
        spare = SpareConnection(path, 1024)
        try:
            await body(spare, accepted)
        finally:
            await spare.close()
            server.close()
            for writer in accepted:
                writer.close()

    asyncio.run(asyncio.wait_for(main(), 20))


async def until_accepted(accepted: Accepted, count: int) -> None:
    await until(lambda: len(accepted) >= count)


async def carries(reader: asyncio.StreamReader, accepted: asyncio.StreamWriter) -> bool:
    accepted.write(b"word\n")
    return await reader.readline() == b"word\n"


def test_the_next_connection_is_there_already(tmp_path: Path) -> None:
    async def body(spare: SpareConnection, accepted: Accepted) -> None:
        reader, writer = await spare.take()
        await until_accepted(accepted, 1)
        assert await carries(reader, accepted[0])
        await until_accepted(accepted, 2)  # though nobody has asked for it
        second, other = await spare.take()
        assert await carries(second, accepted[1])
        writer.close()
        other.close()

    with_server(tmp_path / "socket", body)


def test_those_who_come_faster_than_it_is_made_have_their_own(tmp_path: Path) -> None:
    async def body(spare: SpareConnection, accepted: Accepted) -> None:
        taken = [await spare.take() for _ in range(5)]
        await until_accepted(accepted, 5)
        for (reader, writer), other in zip(taken, accepted, strict=True):
            assert await carries(reader, other)
            writer.close()
        await until_accepted(accepted, 6)  # and one is spare

    with_server(tmp_path / "socket", body)


def test_one_that_was_closed_meanwhile_is_not_given_to_anybody(tmp_path: Path) -> None:
    async def body(spare: SpareConnection, accepted: Accepted) -> None:
        _, first = await spare.take()
        await until_accepted(accepted, 2)
        accepted[1].close()
        await accepted[1].wait_closed()
        await asyncio.sleep(0)  # both ends are on this loop: the other hears of it in its next turn
        await asyncio.sleep(0)
        reader, second = await spare.take()
        await until_accepted(accepted, 3)
        assert await carries(reader, accepted[2])
        first.close()
        second.close()

    with_server(tmp_path / "socket", body)


def test_nobody_listens(tmp_path: Path) -> None:
    async def main() -> None:
        spare = SpareConnection(tmp_path / "none", 1024)
        for _ in range(2):
            with pytest.raises(OSError, match="No such file"):
                await spare.take()
        await spare.close()
        await spare.close()

    asyncio.run(main())
