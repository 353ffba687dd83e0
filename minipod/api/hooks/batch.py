"""batch/v1 (pkg/apis/batch/v1/defaults.go, pkg/registry/batch)."""

from typing import Any

from minipod.api.hooks.templates import fill, name_warnings
from minipod.api.kind import Hooks
from minipod.api.pod_defaults import default_pod_template
from minipod.api.pod_warnings import compute_warnings
from minipod.api.printers import workloads
from minipod.api.validation import cron_jobs, jobs

Object = dict[str, Any]

_MANY = 2**31 - 1
_JOB_SPEC = "spec.jobTemplate.spec"
_TOO_MANY_INDEXES = (
    "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, "
    "Kubernetes might not be able to track completedIndexes when a big number of indexes fail"
)
# The path is upstream's, doubled.
_ZONE_IN_SCHEDULE = (
    "cannot use TZ or CRON_TZ in spec.spec.schedule, use timeZone instead, see "
    "https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
)


def _default_job(job: Object) -> None:
    spec = job.setdefault("spec", {})
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    limit = _MANY if spec.get("backoffLimitPerIndex") is not None else 6
    failure = spec.get("podFailurePolicy")
    fill(
        spec,
        {
            "parallelism": 1,
            "backoffLimit": limit,
            "suspend": False,
            "manualSelector": False,
        },
    )
    spec.setdefault("completionMode", "NonIndexed")
    replaced = "TerminatingOrFailed" if failure is None else "Failed"
    spec.setdefault("podReplacementPolicy", replaced)
    for rule in (failure or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            fill(condition, {"status": "True"})
    template = spec.setdefault("template", {})
    default_pod_template(template)
    _default_labels(job)


def _default_labels(job: Object) -> None:
    """A Job without labels has its Pods', the very same ones, so that those made for the Pods are the Job's too."""
    labels = (job["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = labels


def _default_cron_job(cron_job: Object) -> None:
    spec = cron_job.setdefault("spec", {})
    fill(
        spec,
        {
            "concurrencyPolicy": "Allow",
            "suspend": False,
            "successfulJobsHistoryLimit": 3,
            "failedJobsHistoryLimit": 1,
        },
    )
    job = spec.setdefault("jobTemplate", {}).setdefault("spec", {})
    default_pod_template(job.setdefault("template", {}))


def _prepare_job_create(job: Object) -> None:
    """Label a Job's Pods so that it finds its own, unless it says how it does."""
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector"):
        return
    uid, name = metadata["uid"], metadata.get("name") or ""
    template = spec["template"].setdefault("metadata", {})
    made = {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
        "controller-uid": uid,
        "job-name": name,
    }
    given = template.get("labels")
    template["labels"] = {**made, **(given or {})}
    if given and metadata.get("labels") is given:
        metadata["labels"] = dict(template["labels"])
    selector = spec["selector"] = spec.get("selector") or {}
    labels = selector["matchLabels"] = dict(selector.get("matchLabels") or {})
    labels.setdefault("batch.kubernetes.io/controller-uid", uid)
    _default_labels(job)


def _job_warnings(job: Object) -> list[str]:
    return [*name_warnings(job), *_spec_warnings(job["spec"], "spec")]


def _job_change_warnings(new: Object, old: Object) -> list[str]:
    return _spec_warnings(new["spec"], "spec") if new["spec"] != old["spec"] else []


def _cron_job_warnings(cron_job: Object) -> list[str]:
    spec = (cron_job["spec"].get("jobTemplate") or {}).get("spec") or {}
    return [*name_warnings(cron_job), *_spec_warnings(spec, _JOB_SPEC)]


def _cron_job_change_warnings(new: Object, old: Object) -> list[str]:
    spec = (new["spec"].get("jobTemplate") or {}).get("spec") or {}
    found = _spec_warnings(spec, _JOB_SPEC) if new["spec"] != old["spec"] else []
    if "TZ" in (new["spec"].get("schedule") or ""):
        found.append(_ZONE_IN_SCHEDULE)
    return found


def _spec_warnings(spec: Object, path: str) -> list[str]:
    """Return what is odd about the spec of a Job, or of one to be."""
    indexed = spec.get("completionMode") == "Indexed"
    many = (spec.get("completions") or 0) > 100_000 and (spec.get("parallelism") or 0) > 10_000
    found = [f"{path}: {_TOO_MANY_INDEXES}"] if indexed and many else []
    return found + compute_warnings(spec.get("template") or {}, f"{path}.template")


def _job_fields(job: Object) -> dict[str, str]:
    return {"status.successful": str((job.get("status") or {}).get("succeeded") or 0)}


JOB = Hooks(
    defaults=_default_job,
    prepare_create=_prepare_job_create,
    validate_create=jobs.validate_job,
    validate_update=jobs.validate_job_update,
    validate_status_update=jobs.validate_job_status,
    fields=_job_fields,
    warnings=_job_warnings,
    update_warnings=_job_change_warnings,
    columns=workloads.JOB_COLUMNS,
    cells=workloads.job_cells,
)
CRON_JOB = Hooks(
    defaults=_default_cron_job,
    validate_create=cron_jobs.validate_cron_job,
    validate_update=cron_jobs.validate_cron_job_update,
    warnings=_cron_job_warnings,
    update_warnings=_cron_job_change_warnings,
    columns=workloads.CRON_JOB_COLUMNS,
    cells=workloads.cron_job_cells,
)
