"""Which log file a request for a container's log means. Pure, with the kubelet's refusals."""

from collections.abc import Mapping

from minipod.api.errors import StatusError, bad_request, status_error
from minipod.client import Object
from minipod.clock import parse_time
from minipod.node.logs import LogOptions


def parse_options(query: Mapping[str, str], now: float) -> LogOptions:
    """Return the options of a containerLogs request. Raises BadRequest."""
    try:
        since = ""
        if query.get("sinceTime"):
            since = stamp(parse_time(query["sinceTime"]))
        elif query.get("sinceSeconds"):
            since = stamp(now - int(query["sinceSeconds"]))
        tail = int(query["tailLines"]) if query.get("tailLines") else None
        limit = int(query["limitBytes"]) if query.get("limitBytes") else None
    except ValueError as error:
        raise bad_request(f"invalid log options: {error}") from None
    return LogOptions(
        follow=is_set(query, "follow"),
        tail=tail,
        since=since,
        timestamps=is_set(query, "timestamps"),
        limit_bytes=limit,
    )


def is_set(query: Mapping[str, str], name: str) -> bool:
    """Whether a flag of the query is given and true ("?follow", "?follow=1", "?follow=true")."""
    return query.get(name, "false").lower() not in ("false", "0", "f")


def stamp(seconds: float) -> str:
    """Return an instant as CRI log lines have it: UTC, nanoseconds."""
    from datetime import UTC, datetime

    moment = datetime.fromtimestamp(seconds, UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def find_attempt(pod: Object, status: Object, name: str, previous: bool) -> int:
    """Return the attempt whose log is meant. Raises StatusError when there is none yet."""
    found = _container_status(status, name)
    pod_name = pod["metadata"]["name"]
    if found is None:
        raise bad_request(f'container "{name}" in pod "{pod_name}" is not available')
    state, last = found.get("state") or {}, found.get("lastState") or {}
    count = int(found.get("restartCount", 0))
    if previous:
        if "terminated" not in last:
            raise bad_request(
                f'previous terminated container "{name}" in pod "{pod_name}" not found'
            )
        return count if "waiting" in state else max(count - 1, 0)
    if "running" in state or "terminated" in state or "terminated" in last:
        return count
    reason = (state.get("waiting") or {}).get("reason", "ContainerCreating")
    raise bad_request(f'container "{name}" in pod "{pod_name}" is waiting to start: {reason}')


def _container_status(status: Object, name: str) -> Object | None:
    for group in ("containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"):
        for each in status.get(group) or ():
            if each["name"] == name:
                found: Object = each
                return found
    return None


def pod_not_found(name: str) -> StatusError:
    """404: this node has no such Pod."""
    return status_error(404, "NotFound", f'pods "{name}" not found')


def container_not_running(name: str, pod: str) -> StatusError:
    """404: the container cannot be entered."""
    return status_error(
        404, "NotFound", f'container "{name}" of pod "{pod}" is not running; see: minipod get pods'
    )
