"""How long a container that keeps ending waits for its next start.

The kubelet's rule: the first restart comes at once, the next after `base` seconds, then twice as long each time up to
`limit`; after running for twice the limit (10 minutes) all is forgiven. The wait counts from the container's end.
An image change starts anew: the container's hash is part of the key.
"""

from dataclasses import dataclass
from typing import Protocol

FORGIVEN_AFTER = 2  # times the limit


@dataclass(frozen=True)
class BackoffSettings:
    """Seconds."""

    base: float = 10.0
    limit: float = 300.0


@dataclass(frozen=True)
class Penalty:
    """A container's present delay, and when its last counted start was."""

    delay: float
    updated: float


@dataclass(frozen=True)
class Wait:
    """A start that must wait until `until` (seconds since the epoch); `delay` is the whole wait."""

    delay: float
    until: float


def compute_wait(
    penalty: Penalty | None, finished: float, now: float, settings: BackoffSettings
) -> Wait | None:
    """Return the wait of a container that ended at `finished`, or None when it may start."""
    if penalty is None or _is_forgiven(penalty, finished, settings):
        return None
    until = finished + penalty.delay
    return Wait(penalty.delay, until) if now < until else None


def compute_penalty(
    penalty: Penalty | None, finished: float, now: float, settings: BackoffSettings
) -> Penalty:
    """Return the delay that holds after the restart which happens now."""
    if penalty is None or _is_forgiven(penalty, finished, settings):
        return Penalty(settings.base, now)
    return Penalty(min(penalty.delay * 2, settings.limit), now)


def _is_forgiven(penalty: Penalty, finished: float, settings: BackoffSettings) -> bool:
    return finished - penalty.updated > FORGIVEN_AFTER * settings.limit


class BackoffView(Protocol):
    """What deciding needs to know: reading alone."""

    def wait(self, uid: str, name: str, hash_: str, finished: float, now: float) -> Wait | None:
        """Return the wait of a container that ended at `finished`, or None when it may start."""


class Backoffs:
    """The penalties of all containers of a node. Lost with the daemon, as the kubelet's are."""

    def __init__(self, settings: BackoffSettings | None = None) -> None:
        self.settings = settings or BackoffSettings()
        self._penalties: dict[tuple[str, str, str], Penalty] = {}

    def wait(self, uid: str, name: str, hash_: str, finished: float, now: float) -> Wait | None:
        """Return the wait of a container that ended at `finished`, or None when it may start."""
        penalty = self._penalties.get((uid, name, hash_))
        return compute_wait(penalty, finished, now, self.settings)

    def restarted(self, uid: str, name: str, hash_: str, finished: float, now: float) -> None:
        """Count a restart that is made now of a container that ended at `finished`."""
        key = (uid, name, hash_)
        self._penalties[key] = compute_penalty(
            self._penalties.get(key), finished, now, self.settings
        )

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone."""
        for key in [key for key in self._penalties if key[0] == uid]:
            del self._penalties[key]


def format_duration(seconds: float) -> str:
    """Return a duration as Go prints it: "10s", "1m20s", "2.5s"."""
    if 0 < seconds < 1:
        return f"{_plain(seconds * 1000)}ms"
    minutes, rest = divmod(seconds, 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{hours}h" if hours else ""
    shown += f"{minutes}m" if hours or minutes else ""
    return f"{shown}{_plain(rest)}s"


def _plain(number: float) -> str:
    return f"{number:.3f}".rstrip("0").rstrip(".")
