"""The status of a Job: its numbers, and that what has ended stays ended (validateJobStatus, KEP-4368).

Most rules look at what a change touches: an update of the spec may leave the rest of the status behind for a while.
"""

from collections.abc import Iterator
from typing import Any

from minipod.api.field import NO_VALUE, Cause, duplicate, invalid, required
from minipod.api.validation.job_policies import count_indexes, intervals
from minipod.api.validation.numbers import counts

Object = dict[str, Any]

_PATH = "status"
_CONDITIONS = "status.conditions"


class _Change:
    """A Job's status before and after."""

    def __init__(self, new: Object, old: Object) -> None:
        self.spec: Object = new.get("spec") or {}
        self.new: Object = new.get("status") or {}
        self.old: Object = old.get("status") or {}

    def touches(self, *what: str) -> bool:
        """Whether one of these fields or conditions changes ("Finished" is Complete or Failed)."""
        return any(self._of(self.new, name) != self._of(self.old, name) for name in what)

    def _of(self, status: Object, name: str) -> Any:
        if name == "Finished":
            return holds(status, "Complete") or holds(status, "Failed")
        return holds(status, name) if name[0].isupper() else status.get(name) or None


def validate_job_status_change(new: Object, old: Object) -> Iterator[Cause]:
    """Check a Job's new status against the one before."""
    change = _Change(new, old)
    status = change.new
    yield from counts(status, ("active", "succeeded", "failed", "ready", "terminating"), _PATH)
    yield from _uncounted(status.get("uncountedTerminatedPods") or {})
    yield from _contradictions(change)
    yield from _completion(change)
    yield from _conditions_before(change)
    yield from _finished(change)
    yield from _indexes(change)
    going = status.get("terminating") or 0
    if change.touches("Finished", "terminating") and going > 0 and _finished_now(status):
        why = "terminating>0 is invalid for finished job"
        yield invalid(f"{_PATH}.terminating", going, why)
    ready = status.get("ready")
    if change.touches("ready", "active") and ready is not None and ready > _active(status):
        yield invalid(f"{_PATH}.ready", ready, "cannot set more ready pods than active")
    yield from _success(change)
    yield from _undone(change)


def _uncounted(pods: Object) -> Iterator[Cause]:
    seen: set[str] = set()
    for name in ("succeeded", "failed"):
        for index, uid in enumerate(pods.get(name) or ()):
            at = f"{_PATH}.uncountedTerminatedPods.{name}[{index}]"
            if not uid:
                yield invalid(at, uid, "must not be empty")
            elif uid in seen:
                yield duplicate(at, uid)
            seen.add(uid)


def _contradictions(change: _Change) -> Iterator[Cause]:
    for other in ("Failed", "FailureTarget"):
        both = holds(change.new, "Complete") and holds(change.new, other)
        if both and change.touches("Complete", other):
            why = f"cannot set Complete=True and {other}=true conditions"
            yield invalid(_CONDITIONS, NO_VALUE, why)


def _completion(change: _Change) -> Iterator[Cause]:
    status, at = change.new, f"{_PATH}.completionTime"
    end, start, complete = (
        status.get("completionTime"),
        status.get("startTime"),
        holds(status, "Complete"),
    )
    if change.touches("Complete", "completionTime"):
        if end and not complete:
            why = "cannot set completionTime when there is no Complete=True condition"
            yield invalid(at, end, why)
        if complete and not end:
            yield required(at, "completionTime is required for Complete jobs")
    if change.touches("startTime", "completionTime") and start and end and end < start:
        yield invalid(at, end, "must be equal to or after `startTime`")


def _conditions_before(change: _Change) -> Iterator[Cause]:
    """What ends a Job is told before it ends."""
    for ended, first, touching in (
        ("Failed", "FailureTarget", ("Failed", "failedIndexes")),
        ("Complete", "SuccessCriteriaMet", ("Complete", "SuccessCriteriaMet")),
    ):
        if not change.touches(*touching):
            continue
        if holds(change.new, ended) and not holds(change.new, first):
            why = f"cannot set {ended}=True condition without the {first}=true condition"
            yield invalid(_CONDITIONS, NO_VALUE, why)


def _finished(change: _Change) -> Iterator[Cause]:
    status = change.new
    if not _finished_now(status):
        return
    if change.touches("Finished", "active") and _active(status) > 0:
        yield invalid(f"{_PATH}.active", status["active"], "active>0 is invalid for finished job")
    empty = change.spec.get("suspend") and change.spec.get("completions") == 0
    if change.touches("Finished", "startTime") and not empty and not status.get("startTime"):
        yield required(f"{_PATH}.startTime", "startTime is required for finished job")
    uncounted = status.get("uncountedTerminatedPods") or {}
    if change.touches("Finished", "uncountedTerminatedPods") and any(uncounted.values()):
        shown = {"Succeeded": uncounted.get("succeeded"), "Failed": uncounted.get("failed")}
        why = "must be empty for finished job"
        yield invalid(f"{_PATH}.uncountedTerminatedPods", shown, why)


def _indexes(change: _Change) -> Iterator[Cause]:
    spec, status = change.spec, change.new
    completions: Any = spec.get("completions")
    per_index = spec.get("backoffLimitPerIndex")
    completed, failed = status.get("completedIndexes") or "", status.get("failedIndexes")
    if change.touches("completedIndexes") and completions is not None:
        yield from _malformed(completed, completions, "completedIndexes")
    touches_failed = change.old.get("failedIndexes") != failed
    counted = completions is not None and per_index is not None
    if touches_failed and failed is not None and counted:
        yield from _malformed(failed, completions, "failedIndexes")
    if change.touches("completedIndexes") and completed and spec.get("completionMode") != "Indexed":
        why = "cannot set non-empty completedIndexes when non-indexed completion mode"
        yield invalid(f"{_PATH}.completedIndexes", completed, why)
    if touches_failed and failed is not None and per_index is None:
        why = "cannot set non-null failedIndexes when backoffLimitPerIndex is null"
        yield invalid(f"{_PATH}.failedIndexes", failed, why)
    if (touches_failed or change.touches("completedIndexes")) and completions is not None:
        both = _common(completed, failed or "", completions)
        if both is not None:
            why = f"failedIndexes and completedIndexes overlap at index: {both}"
            yield invalid(f"{_PATH}.failedIndexes", failed, why)


def _malformed(text: str, completions: int, name: str) -> Iterator[Cause]:
    try:
        count_indexes(text, completions)
    except ValueError as error:
        yield invalid(f"{_PATH}.{name}", text, f"error parsing {name}: {error}")


def _common(one: str, other: str, completions: int) -> int | None:
    """Return the first index that two texts have in common."""
    pairs = (
        max(start, first)
        for start, end in intervals(one, completions)
        for first, last in intervals(other, completions)
        if start <= last and first <= end
    )
    return min(pairs, default=None)


def _success(change: _Change) -> Iterator[Cause]:
    status = change.new
    met = holds(status, "SuccessCriteriaMet")
    for other in ("Failed", "FailureTarget"):
        if met and holds(status, other):
            why = f"cannot set SuccessCriteriaMet=True and {other}=true conditions"
            yield invalid(_CONDITIONS, NO_VALUE, why)
    if change.spec.get("successPolicy") is not None and not met and holds(status, "Complete"):
        why = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True"
        yield invalid(_CONDITIONS, NO_VALUE, why)


def _undone(change: _Change) -> Iterator[Cause]:
    """Check that nothing is taken back."""
    status, before = change.new, change.old
    for name in ("Failed", "Complete", "FailureTarget"):
        if holds(before, name) and not holds(status, name):
            why = f"cannot disable the terminal {name}=True condition"
            yield invalid(_CONDITIONS, NO_VALUE, why)
    for name in ("failed", "succeeded"):
        fewer = (status.get(name) or 0) < (before.get(name) or 0)
        if fewer and not (name == "succeeded" and _elastic(change.spec)):
            value = status.get(name) or 0
            yield invalid(f"{_PATH}.{name}", value, f"cannot decrease the {name} counter")
    end, was = status.get("completionTime"), before.get("completionTime")
    if end and was and end != was:
        yield invalid(f"{_PATH}.completionTime", end, "field is immutable")
    yield from _started(change)
    if holds(before, "SuccessCriteriaMet") and not holds(status, "SuccessCriteriaMet"):
        why = "cannot disable the SuccessCriteriaMet=True condition"
        yield invalid(_CONDITIONS, NO_VALUE, why)
    late = holds(before, "Complete") and not holds(before, "SuccessCriteriaMet")
    if late and holds(status, "SuccessCriteriaMet"):
        why = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"
        yield invalid(_CONDITIONS, NO_VALUE, why)


def _started(change: _Change) -> Iterator[Cause]:
    start, was = change.new.get("startTime"), change.old.get("startTime")
    resumes = holds(change.old, "Suspended") and holds(change.new, "Suspended", "False")
    if was and start != was and not change.spec.get("suspend") and not resumes:
        why = "field is immutable for unsuspended job once set"
        yield invalid(f"{_PATH}.startTime", start, why)


def _elastic(spec: Object) -> bool:
    """Whether a Job may have been made smaller, and its successes with it."""
    same = spec.get("completions") == spec.get("parallelism")
    return spec.get("completionMode") == "Indexed" and same


def _finished_now(status: Object) -> bool:
    return holds(status, "Complete") or holds(status, "Failed")


def _active(status: Object) -> int:
    return int(status.get("active") or 0)


def holds(status: Object, name: str, value: str = "True") -> bool:
    """Whether a Job's status has a condition of that value."""
    return any(
        each.get("type") == name and each.get("status") == value
        for each in status.get("conditions") or ()
    )
