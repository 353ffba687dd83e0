"""Times as people read them: ages like kubectl's, RFC 3339 in and RFC 1123 out."""

from datetime import UTC, datetime

UNKNOWN = "<unknown>"


def parse(text: str | None) -> datetime | None:
    """Return an RFC 3339 time, or None when there is none or it is unreadable."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        return None


def age(text: str | None, now: datetime | None = None) -> str:
    """Return how long ago an RFC 3339 time was: `5s`, `3m20s`, `2d4h`; `<unknown>` without one."""
    begin = parse(text)
    if begin is None:
        return UNKNOWN
    return duration(((now or datetime.now(UTC)) - begin).total_seconds())


def duration(seconds: float) -> str:
    """Return a duration with about two significant parts, as kubectl shortens it."""
    total = int(seconds)
    if total < -1:
        return "<invalid>"
    total = max(total, 0)
    minutes, hours, days = total // 60, total // 3600, total // 86400
    if total < 120:
        return f"{total}s"
    if minutes < 10:
        return _two(minutes, "m", total % 60, "s")
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return _two(hours, "h", minutes % 60, "m")
    if hours < 48:
        return f"{hours}h"
    if hours < 192:
        return _two(days, "d", hours % 24, "h")
    if days < 365 * 2:
        return f"{days}d"
    if days < 365 * 8:
        return _two(days // 365, "y", days % 365, "d")
    return f"{days // 365}y"


def _two(large: int, unit: str, small: int, small_unit: str) -> str:
    return f"{large}{unit}{small}{small_unit}" if small else f"{large}{unit}"


def rfc1123(text: str | None) -> str:
    """Return an RFC 3339 time as `Mon, 02 Jan 2006 15:04:05 +0000` in the local zone."""
    found = parse(text)
    if found is None:
        return "Mon, 01 Jan 0001 00:00:00 +0000"
    return found.astimezone().strftime("%a, %d %b %Y %H:%M:%S %z")
