"""Jobs (pkg/apis/batch/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import equality, names
from minipod.api.field import Cause, invalid, not_supported, required, too_long
from minipod.api.selectors import from_object
from minipod.api.shown import label_selector, labels
from minipod.api.validation.job_policies import validate_failure_policy, validate_success_policy
from minipod.api.validation.job_status import holds, validate_job_status_change
from minipod.api.validation.metadata import immutable
from minipod.api.validation.pod import validate_pod_template
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.templates import matches_template, mismatch, template_labels
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
_SCHEDULING = ("nodeSelector", "tolerations", "schedulingGates")


def validate_job(job: Object) -> list[Cause]:
    """Return what is wrong with a new Job."""
    spec = job.get("spec") or {}
    return [*_generated_selector(job, spec), *_spec(spec), *_last_hostname(job, spec)]


def validate_job_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a Job: what it runs, and how it counts, stays as it is."""
    return [*validate_job(new), *_changes(new, old)]


def validate_job_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of a Job."""
    return list(validate_job_status_change(new, old))


def _spec(spec: Object) -> Iterator[Cause]:
    yield from validate_job_spec(spec, "spec")
    selector = spec.get("selector")
    if selector is None:
        yield required("spec.selector")
    else:
        yield from validate_label_selector(selector, "spec.selector")
    if matches_template(spec) is False:
        yield mismatch(spec, "spec.template")


def _last_hostname(job: Object, spec: Object) -> Iterator[Cause]:
    """The Pods of an Indexed Job are named after it and their indexes."""
    completions, name = spec.get("completions") or 0, job["metadata"].get("name") or ""
    hostname = f"{name}-{completions - 1}"
    if (
        spec.get("completionMode") == "Indexed"
        and completions > 0
        and names.dns1123_label(hostname)
    ):
        why = f"will not able to create pod with invalid DNS label: {hostname}"
        yield invalid("metadata.name", name, why)


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
    found = template_labels(spec)
    for key, value in expected.items():
        if key not in found:
            yield required(f"{at}[{key}]", f"must be '{value}'")
        elif found[key] != value:
            yield invalid(f"{at}[{key}]", labels(found), f"must be '{value}'")
    selector = spec["selector"]
    understood = not any(validate_label_selector(selector, ""))
    if understood and not from_object(selector).matches(expected):
        yield invalid("spec.selector", label_selector(selector), "`selector` not auto-generated")


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
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        yield required(f"{path}.backoffLimitPerIndex", "when maxFailedIndexes is specified")
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


def _mode(spec: Object, path: str) -> Iterator[Cause]:
    mode = spec.get("completionMode")
    if mode is not None and mode not in ("NonIndexed", "Indexed"):
        yield not_supported(f"{path}.completionMode", mode, ("NonIndexed", "Indexed"))
    if mode == "Indexed":
        yield from _indexed(spec, path)
    elif mode in (None, "NonIndexed"):
        for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
            if spec.get(name) is not None:
                yield invalid(f"{path}.{name}", spec[name], _NOT_INDEXED)


def _indexed(spec: Object, path: str) -> Iterator[Cause]:
    completions, failed = spec.get("completions"), spec.get("maxFailedIndexes")
    if completions is None:
        yield required(f"{path}.completions", "when completion mode is Indexed")
    if (spec.get("parallelism") or 0) > _MANY_PARALLEL:
        why = f"must be less than or equal to {_MANY_PARALLEL} when completion mode is Indexed"
        yield invalid(f"{path}.parallelism", spec["parallelism"], why)
    at = f"{path}.maxFailedIndexes"
    if failed is not None and completions is not None and failed > completions:
        yield invalid(at, failed, "must be less than or equal to completions")
    if failed is not None and failed > _MANY_COMPLETIONS:
        yield invalid(at, failed, f"must be less than or equal to {_MANY_COMPLETIONS}")
    if (completions or 0) <= _MANY_COMPLETIONS or spec.get("backoffLimitPerIndex") is None:
        return
    if failed is None:
        yield required(at, f"must be specified when completions is above {_MANY_COMPLETIONS}")
    for name in ("parallelism", "maxFailedIndexes"):
        if (spec.get(name) or 0) > _PER_INDEX_LIMIT:
            yield invalid(f"{path}.{name}", spec[name], _PER_INDEX_TEXT)


def _changes(new: Object, old: Object) -> Iterator[Cause]:
    spec, before = new["spec"], old["spec"]
    yield from _completions(spec, before)
    after, was = (label_selector(each.get("selector")) for each in (spec, before))
    yield from immutable(after, was, "spec.selector")
    yield from _template_change(spec, old)
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
    after, was, path = spec.get("completions"), before.get("completions"), "spec.completions"
    if spec.get("completionMode") != "Indexed":
        yield from immutable(after, was, path)
    elif after not in (None, was) and after != spec.get("parallelism"):
        yield invalid(path, after, "can only be modified in tandem with spec.parallelism")


def _template_change(spec: Object, old: Object) -> Iterator[Cause]:
    """Check that a Job's Pods stay the same.

    While it is suspended and none of them runs, where they may run can change, and what they may use (KEP-2926).
    """
    template, before = spec.get("template") or {}, old["spec"].get("template") or {}
    status = old.get("status") or {}
    idle = not status.get("startTime") or holds(status, "Suspended")
    if old["spec"].get("suspend") and idle and not status.get("active"):
        after, was = (_fixed(each.get("spec") or {}) for each in (template, before))
        if not equality.equal(after, was):
            yield invalid("spec.template.spec", template.get("spec") or {}, "field is immutable")
    else:
        yield from immutable(template, before, "spec.template")


def _fixed(pod: Object) -> Object:
    """Return what of a Pod's spec never changes."""
    kept = {name: each for name, each in pod.items() if name not in _SCHEDULING}
    affinity = {k: v for k, v in (kept.pop("affinity", None) or {}).items() if k != "nodeAffinity"}
    for name in ("containers", "initContainers"):
        kept[name] = [{**each, "resources": None} for each in kept.get(name) or ()]
    return {**kept, **({"affinity": affinity} if affinity else {})}
