"""What stands between a value and the disk: a seal closes every value that is written, and opens what is read.

Values in memory, and what readers and watches get, are never sealed. The store knows the form that marks a sealed
value (upstream's, `k8s:enc:`), and no cipher: those are the server's (minipod/server/encryption.py).
"""

from dataclasses import dataclass, field
from typing import Protocol

MARK = b"k8s:enc:"  # before every value that some provider has encrypted, as etcd has them upstream


class Unopened(ValueError):
    """A stored value cannot be opened; the message is the reason, without the key."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A value, and whether it would be stored otherwise now."""

    value: bytes
    stale: bool = False


class Seal(Protocol):
    """Used by the writer's thread and by replays: it must be safe to share."""

    def close(self, key: str, value: bytes) -> bytes:
        """Return what is stored of a value."""

    def open(self, key: str, stored: bytes) -> Opened:
        """Return the value that was stored. Raises Unopened."""


class NoSeal:
    """Values as they are."""

    def close(self, key: str, value: bytes) -> bytes:
        """Return the value."""
        return value

    def open(self, key: str, stored: bytes) -> Opened:
        """Return the value. Raises Unopened for one that was encrypted."""
        if stored.startswith(MARK):
            what = b":".join(stored.split(b":", 5)[2:5]).decode(errors="replace")
            raise Unopened(f'it was encrypted ("{what}"), and no key for it is configured')
        return Opened(stored)


@dataclass(frozen=True)
class Condition:
    """The keys whose values would be stored otherwise now, that no key opens, or that are damaged; and why."""

    stale: set[str] = field(default_factory=set)
    unreadable: dict[str, str] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
