"""Waiting for an object to be in some state: a list, then a watch, then another list when the watch ends early."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeVar

from minipod.cli.errors import CliError, ServerError

if TYPE_CHECKING:
    from minipod.cli.api import Api
    from minipod.cli.selection import Target

Object = dict[str, Any]
T = TypeVar("T")
FOREVER = 7 * 24 * 3600.0  # seconds; what kubectl takes for it


class TimedOut(CliError):
    """The state did not come in time."""


class Deadline:
    """A point in time some seconds from now; 0 or less means as good as never when `zero_is_forever`."""

    def __init__(self, seconds: float, *, zero_is_forever: bool = True) -> None:
        limit = FOREVER if seconds < 0 or (zero_is_forever and seconds == 0) else seconds
        self._end = time.monotonic() + limit

    def left(self) -> float:
        """Return the seconds left, a thousandth at least. Raises TimeoutError once they are over."""
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        return max(remaining, 0.001)


def wait_for(
    api: "Api",
    target: "Target",
    test: Callable[[Object | None], T | None],
    deadline: Deadline,
    *,
    since: str = "",
) -> T:
    """Return the first result of `test` that is not None, given the object's states in order (None: it is gone).

    With `since`, a resourceVersion, the states before it are not asked for. What is waited for behind others is looked
    at once, however late it has become. Raises TimedOut.
    """
    seen = False
    try:
        for state in states(api, target, deadline, since):
            seen = True
            result = test(state)
            if result is not None:
                return result
    except TimeoutError:
        if not seen and (result := test(next(states(api, target, deadline)))) is not None:
            return result
    raise TimedOut(
        f"timed out waiting for the condition on {target.resource.qualified_plural}/{target.name}"
    )


def states(
    api: "Api", target: "Target", deadline: Deadline, since: str = ""
) -> Iterator[Object | None]:
    """Yield an object's states as they come, without end. Raises TimeoutError at the deadline."""
    path = target.resource.path(target.namespace)
    query = {"fieldSelector": f"metadata.name={target.name}"}
    while True:
        if not since:
            listed = api.get_path(path, query)
            items = listed.get("items") or []
            yield items[0] if items else None
            since = listed["metadata"].get("resourceVersion", "")
        try:
            yield from _changes(api, path, {**query, "resourceVersion": since}, deadline)
        except ServerError as failed:
            if failed.code != 410 and failed.reason not in ("Expired", "Gone"):
                raise
        since = ""
        deadline.left()


def _changes(
    api: "Api", path: str, query: dict[str, str], deadline: Deadline
) -> Iterator[Object | None]:
    connection = api.connection()
    connection.set_timeout(deadline.left())
    for event in api.watch(path, query, connection=connection):
        if event["type"] == "DELETED":
            yield None
        elif event["type"] != "BOOKMARK":
            yield event["object"]
        connection.set_timeout(deadline.left())


def condition(obj: Object, kind: str) -> Object | None:
    """Return one of an object's conditions, or None. Case is ignored, as `kubectl wait` does."""
    for each in (obj.get("status") or {}).get("conditions") or []:
        if str(each.get("type", "")).lower() == kind.lower():
            return dict(each)
    return None
