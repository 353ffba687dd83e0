"""Ages, as kubectl writes them (apimachinery's duration.HumanDuration)."""

from datetime import datetime, timedelta

UNKNOWN = "<unknown>"


def parse_time(text: str | None) -> datetime | None:
    """Return a metav1.Time or MicroTime, None for one that is not set."""
    return datetime.fromisoformat(text.replace("Z", "+00:00")) if text else None


def age(text: str | None, now: datetime) -> str:
    """Return how long ago a timestamp was: `5m12s`; `<unknown>` when it is not set."""
    moment = parse_time(text)
    return UNKNOWN if moment is None else human_duration(now - moment)


def human_duration(elapsed: timedelta) -> str:
    """Return a duration in two units at most: the shorter it is, the more precisely."""
    seconds = int(elapsed.total_seconds())
    if seconds < 0:
        # Clocks of different machines may be a second apart.
        return "0s" if seconds == -1 else "<invalid>"
    if seconds < 120:
        return f"{seconds}s"
    minutes = seconds // 60
    if minutes < 10:
        return _pair(minutes, "m", seconds % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    hours = minutes // 60
    if hours < 8:
        return _pair(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    return _days(hours)


def _days(hours: int) -> str:
    days = hours // 24
    if days < 8:
        return _pair(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _pair(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _pair(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"
