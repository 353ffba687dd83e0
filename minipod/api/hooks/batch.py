"""batch/v1 (pkg/apis/batch/v1/defaults.go, pkg/registry/batch)."""

from typing import Any

from minipod.api.hooks.templates import fill, name_warnings
from minipod.api.kind import Hooks
from minipod.api.pod_defaults import default_pod_template
from minipod.api.printers import workloads
from minipod.api.validation import cron_jobs, jobs

Object = dict[str, Any]

_MANY = 2**31 - 1


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
            "completionMode": "NonIndexed",
            "suspend": False,
            "manualSelector": False,
            "podReplacementPolicy": "TerminatingOrFailed" if failure is None else "Failed",
        },
    )
    for rule in (failure or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            fill(condition, {"status": "True"})
    template = spec.setdefault("template", {})
    default_pod_template(template)
    _default_labels(job)


def _default_labels(job: Object) -> None:
    """A Job without labels has its Pods'."""
    labels = (job["spec"]["template"].get("metadata") or {}).get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


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
    template["labels"] = {**made, **(template.get("labels") or {})}
    selector = spec["selector"] = spec.get("selector") or {}
    labels = selector["matchLabels"] = dict(selector.get("matchLabels") or {})
    labels.setdefault("batch.kubernetes.io/controller-uid", uid)
    _default_labels(job)


def _job_fields(job: Object) -> dict[str, str]:
    return {"status.successful": str((job.get("status") or {}).get("succeeded") or 0)}


JOB = Hooks(
    defaults=_default_job,
    prepare_create=_prepare_job_create,
    validate_create=jobs.validate_job,
    validate_update=jobs.validate_job_update,
    validate_status_update=jobs.validate_job_status,
    fields=_job_fields,
    warnings=name_warnings,
    columns=workloads.JOB_COLUMNS,
    cells=workloads.job_cells,
)
CRON_JOB = Hooks(
    defaults=_default_cron_job,
    validate_create=cron_jobs.validate_cron_job,
    validate_update=cron_jobs.validate_cron_job_update,
    warnings=name_warnings,
    columns=workloads.CRON_JOB_COLUMNS,
    cells=workloads.cron_job_cells,
)
