"""Who is calling: the kernel says, through SO_PEERCRED (unix(7))."""

import socket
import struct
from dataclasses import dataclass

_UCRED = struct.Struct("iII")  # pid, uid, gid


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and its groups, as authorization sees them."""

    user: str
    groups: tuple[str, ...]


ADMIN = Identity("system:admin", ("system:masters", "system:authenticated"))


def peer_uid(connection: socket.socket) -> int:
    """Return the user ID of the process that connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def identify(connection: socket.socket | None, administrators: frozenset[int]) -> Identity | None:
    """Return the caller's identity; None for anybody who is not an administrator of this host."""
    if connection is None or peer_uid(connection) not in administrators:
        return None
    return ADMIN
