"""Jobs (pkg/apis/batch/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api.field import Cause, invalid, not_supported, required, too_long
from minipod.api.selectors import SelectorError, from_object
from minipod.api.validation.job_policies import validate_failure_policy, validate_success_policy
from minipod.api.validation.job_status import validate_job_status_change
from minipod.api.validation.metadata import immutable
from minipod.api.validation.pod import validate_pod_template
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.templates import MISMATCH, matches_template, template_labels
from minipod.api.validation.values import domain_prefixed_path, non_negative

Object = dict[str, Any]

_MANY_COMPLETIONS = 100_000
_MANY_PARALLEL = 100_000
_PER_INDEX_LIMIT = 10_000
_PER_INDEX_TEXT = (
    f"must be less than or equal to {_PER_INDEX_LIMIT} when completions are above {_MANY_COMPLETIONS} "
    "and used with backoff limit per index"
)
_NOT_INDEXED = "requires indexed completion mode"
_LABELS = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid")
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def validate_job(job: Object) -> list[Cause]:
    """Return what is wrong with a Job."""
    return list(_job(job))


def validate_job_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a Job: what it runs, and how it counts, stays as it is."""
    return [*_job(new), *_changes(new, old)]


def validate_job_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of a Job."""
    return list(validate_job_status_change(new, old))


def _job(job: Object) -> Iterator[Cause]:
    spec = job.get("spec") or {}
    yield from _generated_selector(job, spec)
    yield from validate_job_spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
        yield invalid("spec.template.metadata.labels", template_labels(spec), MISMATCH)
        return
    yield from validate_label_selector(selector, "spec.selector")
    if matches_template(spec) is False:
        yield invalid("spec.template.metadata.labels", template_labels(spec), MISMATCH)


def _generated_selector(job: Object, spec: Object) -> Iterator[Cause]:
    """Check that the labels by which a Job finds its Pods are the ones that were made for it."""
    if spec.get("manualSelector") or spec.get("selector") is None:
        return
    metadata, at = job["metadata"], "spec.template.metadata.labels"
    uid, name = metadata.get("uid") or "", metadata.get("name") or ""
    expected = {
        "controller-uid": uid,
        "job-name": name,
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": name,
    }
    labels = template_labels(spec)
    for key, value in expected.items():
        if key not in labels:
            yield required(at, f"must be '{value}'")
        elif labels[key] != value:
            yield invalid(at, labels, f"must be '{value}'")
    try:
        matches = from_object(spec["selector"]).matches(expected)
    except (SelectorError, KeyError):
        return
    if not matches:
        yield invalid("spec.selector", spec["selector"], "`selector` not auto-generated")


def validate_job_spec(spec: Object, path: str) -> Iterator[Cause]:
    """Check what a Job and a CronJob's template have in common."""
    for name in (
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ):
        yield from non_negative(spec.get(name), f"{path}.{name}")
    yield from _per_index(spec, path)
    manager = spec.get("managedBy")
    if manager is not None:
        yield from domain_prefixed_path(manager, f"{path}.managedBy")
        if len(manager) > 63:
            yield too_long(f"{path}.managedBy", 63)
    yield from _mode(spec, path)
    if spec.get("podFailurePolicy") is not None:
        yield from validate_failure_policy(spec, f"{path}.podFailurePolicy")
    if spec.get("successPolicy") is not None:
        yield from validate_success_policy(spec, f"{path}.successPolicy")
    replacement = spec.get("podReplacementPolicy")
    if replacement is not None:
        supported: tuple[str, ...] = ("Failed", "TerminatingOrFailed")
        if spec.get("podFailurePolicy") is not None:
            supported = ("Failed",)
        if replacement not in supported:
            yield not_supported(f"{path}.podReplacementPolicy", replacement, supported)
    yield from validate_pod_template(spec.get("template"), f"{path}.template")
    yield from _restart_policy(spec, f"{path}.template.spec.restartPolicy")


def _restart_policy(spec: Object, path: str) -> Iterator[Cause]:
    policy = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy") or ""
    if policy in ("", "Always"):
        yield required(path, 'valid values: "OnFailure", "Never"')
    elif policy not in ("OnFailure", "Never"):
        yield not_supported(path, policy, ("OnFailure", "Never"))
    elif spec.get("podFailurePolicy") is not None and policy != "Never":
        yield invalid(path, policy, 'only "Never" is supported when podFailurePolicy is specified')


def _per_index(spec: Object, path: str) -> Iterator[Cause]:
    limit, failed = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    completions = spec.get("completions")
    if failed is not None and completions is not None and failed > completions:
        why = "must be less than or equal to completions"
        yield invalid(f"{path}.maxFailedIndexes", failed, why)
    if failed is not None and limit is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
    if limit is None or completions is None or completions <= _MANY_COMPLETIONS:
        return
    if failed is None:
        why = f"must be specified when completions is above {_MANY_COMPLETIONS}"
        yield required(f"{path}.maxFailedIndexes", why)
    for name in ("parallelism", "maxFailedIndexes"):
        if (spec.get(name) or 0) > _PER_INDEX_LIMIT:
            yield invalid(f"{path}.{name}", spec[name], _PER_INDEX_TEXT)


def _mode(spec: Object, path: str) -> Iterator[Cause]:
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        yield not_supported(f"{path}.completionMode", mode, ("Indexed", "NonIndexed"))
    if mode == "Indexed":
        if spec.get("completions") is None:
            yield required(f"{path}.completions", "when completion mode is Indexed")
        if (spec.get("parallelism") or 0) > _MANY_PARALLEL:
            why = f"must be less than or equal to {_MANY_PARALLEL} when completion mode is Indexed"
            yield invalid(f"{path}.parallelism", spec["parallelism"], why)
        return
    for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if spec.get(name) is not None:
            yield invalid(f"{path}.{name}", spec[name], _NOT_INDEXED)


def _changes(new: Object, old: Object) -> Iterator[Cause]:
    spec, before = new["spec"], old["spec"]
    yield from _completions(spec, before)
    yield from immutable(spec.get("selector"), before.get("selector"), "spec.selector")
    yield from immutable(_fixed_template(spec, old), before.get("template"), "spec.template")
    for name in (
        "completionMode",
        "podFailurePolicy",
        "backoffLimitPerIndex",
        "managedBy",
        "successPolicy",
    ):
        yield from immutable(spec.get(name), before.get(name), f"spec.{name}")


def _completions(spec: Object, before: Object) -> Iterator[Cause]:
    """An Indexed Job can be made larger or smaller, its parallelism with it."""
    after, path = spec.get("completions"), "spec.completions"
    if before.get("completionMode") != "Indexed":
        yield from immutable(after, before.get("completions"), path)
        return
    if after == before.get("completions"):
        return
    if (
        spec.get("parallelism") != after
        or before.get("parallelism") != before.get("completions")
        or after is None
    ):
        yield invalid(path, after, "can only be modified in tandem with spec.parallelism")


def _fixed_template(spec: Object, old: Object) -> Any:
    """Return the new template with all that may change put back.

    Where its Pods may run can change while a Job is suspended and was never started (KEP-2926).
    """
    template, before = spec.get("template") or {}, old["spec"].get("template") or {}
    waiting = old["spec"].get("suspend") and not (old.get("status") or {}).get("startTime")
    if not waiting:
        return template
    pod, kept = dict(template.get("spec") or {}), before.get("spec") or {}
    affinity = dict(pod.get("affinity") or {})
    node = (kept.get("affinity") or {}).get("nodeAffinity")
    affinity.pop("nodeAffinity", None)
    if node is not None:
        affinity["nodeAffinity"] = node
    for name in (*_SCHEDULING, "affinity"):
        pod.pop(name, None)
        if name in kept and name != "affinity":
            pod[name] = kept[name]
    if affinity or "affinity" in kept:
        pod["affinity"] = affinity
    metadata = {
        **{
            k: v
            for k, v in (template.get("metadata") or {}).items()
            if k not in ("labels", "annotations")
        },
        **{
            k: v
            for k, v in (before.get("metadata") or {}).items()
            if k in ("labels", "annotations")
        },
    }
    return {**template, "metadata": metadata, "spec": pod}
