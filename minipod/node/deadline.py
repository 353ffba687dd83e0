"""activeDeadlineSeconds: how long a Pod may be active on its node. Pure."""

from minipod.client import Object
from minipod.clock import parse_time

REASON = "DeadlineExceeded"
MESSAGE = "Pod was active on the node longer than the specified deadline"


def compute_deadline(pod: Object, status: Object | None = None) -> float | None:
    """Return when the Pod's time is up (seconds since the epoch), None without a deadline or before it has started."""
    seconds = pod["spec"].get("activeDeadlineSeconds")
    started = (status if status is not None else pod.get("status") or {}).get("startTime")
    if seconds is None or not started:
        return None
    return parse_time(started) + float(seconds)
