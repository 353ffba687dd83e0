"""The daemon's connection to its shim, against a shim that is not well."""

import asyncio
import contextlib
import socket
from pathlib import Path

from minipod.paths import layout
from minipod.runtime.shim_link import ShimLink


def test_a_connection_that_is_given_up_before_the_shim_has_answered_is_closed(
    tmp_path: Path,
) -> None:
    place = layout(tmp_path)
    place.run.mkdir(parents=True)

    async def give_up(shim: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        opening = asyncio.ensure_future(ShimLink(place, lambda message: None).open(spawn=False))
        peer, _ = await loop.sock_accept(shim)
        with peer:
            assert await loop.sock_recv(peer, 1 << 16)  # the question that is never answered
            opening.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await opening
            assert await asyncio.wait_for(loop.sock_recv(peer, 1), 5) == b""

    with socket.socket(socket.AF_UNIX) as shim:
        shim.bind(str(place.shim_socket))
        shim.listen()
        shim.setblocking(False)
        asyncio.run(give_up(shim))
