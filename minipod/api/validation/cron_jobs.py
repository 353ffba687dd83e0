"""CronJobs (pkg/apis/batch/validation)."""

import zoneinfo
from collections.abc import Iterator
from typing import Any

from minipod.api.cron import CronError, parse
from minipod.api.field import Cause, invalid, not_supported, required
from minipod.api.validation.jobs import validate_job_spec
from minipod.api.validation.values import non_negative

Object = dict[str, Any]

_NAME_LIMIT = 52  # a Job's name is the CronJob's and eleven characters more
_POLICIES = ("Allow", "Forbid", "Replace")
_TWO_ZONES = "cannot use both timeZone field and TZ or CRON_TZ in schedule"
_ZONE_IN_SCHEDULE = "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"


def validate_cron_job(cron_job: Object) -> list[Cause]:
    """Return what is wrong with a CronJob."""
    name = cron_job["metadata"].get("name") or ""
    why = f"must be no more than {_NAME_LIMIT} characters"
    causes = [invalid("metadata.name", name, why)] if len(name) > _NAME_LIMIT else []
    return [*_spec(cron_job.get("spec") or {}, {}, "spec"), *causes]


def validate_cron_job_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a CronJob."""
    return list(_spec(new.get("spec") or {}, old.get("spec") or {}, "spec"))


def _spec(spec: Object, before: Object, path: str) -> Iterator[Cause]:
    """Check a spec; a time zone that was taken once, or one in the schedule, may stay."""
    had_zone = "TZ" in (before.get("schedule") or "")
    yield from _schedule(spec, had_zone, f"{path}.schedule")
    yield from non_negative(spec.get("startingDeadlineSeconds"), f"{path}.startingDeadlineSeconds")
    if spec.get("timeZone") not in (None, before.get("timeZone")):
        yield from _time_zone(spec["timeZone"], f"{path}.timeZone")
    policy = spec.get("concurrencyPolicy") or ""
    if not policy:
        yield required(f"{path}.concurrencyPolicy")
    elif policy not in _POLICIES:
        yield not_supported(f"{path}.concurrencyPolicy", policy, _POLICIES)
    yield from _job_template(spec.get("jobTemplate") or {}, f"{path}.jobTemplate.spec")
    for name in ("successfulJobsHistoryLimit", "failedJobsHistoryLimit"):
        yield from non_negative(spec.get(name), f"{path}.{name}")


def _schedule(spec: Object, had_zone: bool, path: str) -> Iterator[Cause]:
    schedule = spec.get("schedule") or ""
    if not schedule:
        yield required(path)
        return
    if "TZ" not in schedule:
        try:
            parse(schedule)
        except CronError as error:
            yield invalid(path, schedule, str(error))
    elif not had_zone:
        yield invalid(path, schedule, _ZONE_IN_SCHEDULE)
    elif spec.get("timeZone") is not None:
        yield invalid(path, schedule, _TWO_ZONES)


def _time_zone(zone: str, path: str) -> Iterator[Cause]:
    if not zone:
        yield invalid(path, zone, "timeZone must be nil or non-empty string")
    elif zone.lower() == "local":
        why = "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"
        yield invalid(path, zone, why)
    if zone not in ("", "Local") and not _is_zone(zone):
        yield invalid(path, zone, f"unknown time zone {zone}")


def _is_zone(zone: str) -> bool:
    try:
        zoneinfo.ZoneInfo(zone)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True


def _job_template(template: Object, path: str) -> Iterator[Cause]:
    spec = template.get("spec") or {}
    yield from validate_job_spec(spec, path)
    if spec.get("selector") is not None:
        yield invalid(f"{path}.selector", spec["selector"], "`selector` will be auto-generated")
    if spec.get("manualSelector"):
        yield not_supported(f"{path}.manualSelector", True, ("nil", "false"))
