"""Connections to a sandbox's own loopback: what port-forward needs, without a process in the sandbox."""

import asyncio
import contextlib
import os
import select
import socket
from collections.abc import Iterator

from minipod.linux.network_namespace import open_socket
from minipod.linux.process import pidfd_open

_LOOPBACKS = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


async def dial(port: int, pid: int, cgroup: str) -> socket.socket:
    """Return a connection to `port` on the loopback of a sandbox: IPv4, and where that fails IPv6.

    `pid` is a process of the sandbox's, in its `cgroup`; 0 stands for the host's own network. Raises ConnectionError,
    with what both families said.
    """
    said: list[str] = []
    for family, address in _LOOPBACKS:
        try:
            return await _connect(_open(family, pid, cgroup), address, port)
        except OSError as error:
            if isinstance(error, ProcessLookupError):
                raise ConnectionError(
                    "the pod's network is gone: its sandbox does not run any more"
                ) from None
            reason = os.strerror(error.errno).lower() if error.errno else str(error)
            host = f"[{address}]" if ":" in address else address
            said.append(
                f"dial tcp{'4' if family == socket.AF_INET else '6'} {host}:{port}: connect: {reason}"
            )
    raise ConnectionError(
        f"failed to connect to localhost:{port} inside the pod's network namespace, "
        f"IPv4: {said[0]} IPv6: {said[1]}"
    )


def _open(family: int, pid: int, cgroup: str) -> socket.socket:
    if not pid:
        return socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    with _process(pid, cgroup) as namespace:
        return open_socket(namespace, family)


async def _connect(made: socket.socket, address: str, port: int) -> socket.socket:
    made.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_connect(made, (address, port))
    except BaseException:
        made.close()
        raise
    return made


@contextlib.contextmanager
def _process(pid: int, cgroup: str) -> Iterator[int]:
    """Yield a pidfd of a process that is known to be in `cgroup`: its number may have gone to another one meanwhile."""
    pidfd = pidfd_open(pid)
    try:
        with open(f"/proc/{pid}/cgroup") as file:
            paths = [line.rstrip("\n").partition(":")[2].partition(":")[2] for line in file]
        poll = select.poll()
        poll.register(pidfd, select.POLLIN)
        if poll.poll(0) or not any(f"{path}/".startswith(f"/{cgroup}/") for path in paths):
            raise ProcessLookupError(pid)
        yield pidfd
    finally:
        os.close(pidfd)
