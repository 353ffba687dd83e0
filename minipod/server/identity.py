"""Who is calling: over the Unix socket the kernel says (SO_PEERCRED, unix(7)), over TLS the caller's credentials do."""

import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

_UCRED = struct.Struct("iII")  # pid, uid, gid
AUTHENTICATED = "system:authenticated"
UNAUTHENTICATED = "system:unauthenticated"
MASTERS = "system:masters"


@dataclass(frozen=True, slots=True)
class Identity:
    """A user and its groups, as authorization sees them (user.Info). `extra` is what else is known of it."""

    user: str
    groups: tuple[str, ...]
    uid: str = ""
    extra: Mapping[str, tuple[str, ...]] = field(default_factory=dict, hash=False)


ADMIN = Identity("system:admin", (MASTERS, AUTHENTICATED))
ANONYMOUS = Identity("system:anonymous", (UNAUTHENTICATED,))


def peer_uid(connection: socket.socket) -> int:
    """Return the user ID of the process that connected."""
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(credentials)[1])


def identify(connection: socket.socket | None, administrators: frozenset[int]) -> Identity | None:
    """Return the identity behind a Unix socket; None for anybody who is not an administrator of this host."""
    if connection is None or connection.family != socket.AF_UNIX:
        return None
    return ADMIN if peer_uid(connection) in administrators else None
