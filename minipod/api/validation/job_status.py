"""The status of a Job: numbers, and that what has ended stays ended (validateJobStatus, KEP-4368)."""

from collections.abc import Iterator
from typing import Any

from minipod.api.field import Cause, invalid, required
from minipod.api.validation.metadata import immutable
from minipod.api.validation.numbers import counts

Object = dict[str, Any]


def validate_job_status_change(new: Object, old: Object) -> Iterator[Cause]:
    """Check a Job's new status against the one before."""
    status, before = new.get("status") or {}, old.get("status") or {}
    yield from counts(status, ("active", "succeeded", "failed", "ready", "terminating"), "status")
    complete, failed = _holds(status, "Complete"), _holds(status, "Failed")
    if complete and failed:
        conditions = status["conditions"]
        yield invalid(
            "status.conditions", conditions, "cannot set Complete=True and Failed=True conditions"
        )
    for name in ("Complete", "Failed"):
        if _holds(before, name) and not _holds(status, name):
            conditions = status.get("conditions") or []
            yield invalid(
                "status.conditions", conditions, f"cannot disable the {name}=True condition"
            )
    yield from _times(new, status, before)
    for name in ("succeeded", "failed"):
        if (status.get(name) or 0) < (before.get(name) or 0) and not _elastic(new, name):
            value = status.get(name) or 0
            yield invalid(f"status.{name}", value, f"cannot decrease the {name} counter")
    completions = (new.get("spec") or {}).get("completions")
    succeeded = status.get("succeeded") or 0
    indexed = (new.get("spec") or {}).get("completionMode") == "Indexed"
    if indexed and completions is not None and succeeded > completions:
        why = "cannot be greater than completions"  # as KEP-4368 has it
        yield invalid("status.succeeded", succeeded, why)


def _times(job: Object, status: Object, before: Object) -> Iterator[Cause]:
    start, end = status.get("startTime"), status.get("completionTime")
    complete, over = _holds(status, "Complete"), _holds(status, "Failed")
    if end and not complete:
        yield invalid(
            "status.completionTime",
            end,
            "cannot set completionTime when there is no Complete=True condition",
        )
    if complete and not end:
        yield required("status.completionTime", "completionTime is required for Complete jobs")
    if start and end and end < start:
        yield invalid("status.completionTime", end, "completionTime cannot be set before startTime")
    if (complete or over) and not start:
        yield required("status.startTime", "startTime is required for finished job")
    if before.get("completionTime"):
        yield from immutable(end, before["completionTime"], "status.completionTime")
    suspended = (job.get("spec") or {}).get("suspend")
    if before.get("startTime") and start != before["startTime"] and not suspended:
        resumed = not start or _holds(before, "Suspended")
        if start is None:
            yield required("status.startTime", "startTime cannot be removed for unsuspended job")
        elif not resumed:
            yield required("status.startTime", "startTime cannot be modified for unsuspended job")


def _elastic(job: Object, name: str) -> bool:
    """Whether a Job may have been made smaller, and its successes with it."""
    spec = job.get("spec") or {}
    same = spec.get("completions") == spec.get("parallelism")
    return name == "succeeded" and spec.get("completionMode") == "Indexed" and same


def _holds(status: Object, name: str) -> bool:
    return any(
        each.get("type") == name and each.get("status") == "True"
        for each in status.get("conditions") or ()
    )
