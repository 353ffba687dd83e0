"""apps/v1: Deployment, ReplicaSet, StatefulSet, DaemonSet, ControllerRevision (pkg/apis/apps/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import equality, names
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.shown import label_selector, struct
from minipod.api.validation.metadata import (
    causes_of,
    immutable,
    validate_annotations,
    validate_labels,
)
from minipod.api.validation.numbers import (
    at_most_all,
    bounded,
    counts,
    int_or_percent,
    not_decremented,
    share,
)
from minipod.api.validation.pod import validate_pod_template
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.templates import (
    always_running,
    matches_template,
    mismatch,
    validate_replica_status,
    validate_running_template,
    validate_selector,
)
from minipod.api.validation.values import non_negative
from minipod.api.validation.volume_claims import validate_claim_spec

Object = dict[str, Any]

_STATEFUL_CHANGES = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)
_STATEFUL_MUTABLE = (
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)

_UNCLEAR = "invalid label selector"
_SHARES = ("MaxUnavailable", "MaxSurge")
_STATEFUL_SHARES = ("Partition", "MaxUnavailable")

# -- Deployment ------------------------------------------------------------------------------------


def validate_deployment(deployment: Object) -> list[Cause]:
    """Return what is wrong with a Deployment."""
    return list(_deployment(deployment.get("spec") or {}, "spec"))


def validate_deployment_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a Deployment: it selects the same Pods for ever."""
    return [*validate_deployment(new), *_same_selector(new, old)]


def validate_deployment_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of a Deployment."""
    return list(_deployment_status(new.get("status") or {}, old.get("status") or {}))


def _deployment(spec: Object, path: str) -> Iterator[Cause]:
    yield from non_negative(spec.get("replicas"), f"{path}.replicas")
    yield from validate_selector(spec, "empty selector is invalid for deployment", path)
    if matches_template(spec) is None:
        yield invalid(f"{path}.selector", label_selector(spec.get("selector")), _UNCLEAR)
    else:
        yield from validate_running_template(spec, "ReplicaSet", f"{path}.template")
    yield from _deployment_strategy(spec.get("strategy") or {}, f"{path}.strategy")
    yield from non_negative(spec.get("minReadySeconds"), f"{path}.minReadySeconds")
    yield from non_negative(spec.get("revisionHistoryLimit"), f"{path}.revisionHistoryLimit")
    deadline = spec.get("progressDeadlineSeconds")
    if deadline is not None:
        at = f"{path}.progressDeadlineSeconds"
        yield from non_negative(deadline, at)
        if deadline <= (spec.get("minReadySeconds") or 0):
            yield invalid(at, deadline, "must be greater than minReadySeconds")


def _deployment_strategy(strategy: Object, path: str) -> Iterator[Cause]:
    rolling, at = strategy.get("rollingUpdate"), f"{path}.rollingUpdate"
    if strategy.get("type") == "Recreate":
        if rolling is not None:
            yield forbidden(at, "may not be specified when strategy `type` is 'Recreate'")
    elif strategy.get("type") == "RollingUpdate":
        if rolling is None:
            yield required(at, "this should be defaulted and never be nil")
        else:
            yield from _rolling_deployment(rolling, at)
    else:
        yield not_supported(path, _shown(strategy, *_SHARES), ("Recreate", "RollingUpdate"))


def _rolling_deployment(rolling: Object, path: str) -> Iterator[Cause]:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    yield from int_or_percent(unavailable, f"{path}.maxUnavailable")
    yield from int_or_percent(surge, f"{path}.maxSurge")
    if not share(unavailable) and not share(surge):
        why = "may not be 0 when `maxSurge` is 0"
        yield invalid(f"{path}.maxUnavailable", unavailable, why)
    yield from at_most_all(unavailable, f"{path}.maxUnavailable")


def _deployment_status(status: Object, old: Object) -> Iterator[Cause]:
    parts = ("updatedReplicas", "readyReplicas", "availableReplicas")
    others = ("unavailableReplicas", "terminatingReplicas", "collisionCount")
    yield from counts(status, ("observedGeneration", "replicas", *parts, *others), "status")
    yield from bounded(status, parts, "replicas", "status")
    why = "cannot be greater than readyReplicas"
    yield from bounded(status, ("availableReplicas",), "readyReplicas", "status", why)
    yield from not_decremented(status, old, "collisionCount")


def _same_selector(new: Object, old: Object) -> Iterator[Cause]:
    after, before = (label_selector(each["spec"].get("selector")) for each in (new, old))
    yield from immutable(after, before, "spec.selector")


def _shown(strategy: Object, *fields: str) -> Object:
    """Return an update strategy as it prints; `fields` are those of its rollingUpdate."""
    rolling = struct(strategy.get("rollingUpdate"), *fields)
    return struct({**strategy, "rollingUpdate": rolling}, "Type", "RollingUpdate") or {}


# -- ReplicaSet ------------------------------------------------------------------------------------


def validate_replica_set(replica_set: Object) -> list[Cause]:
    """Return what is wrong with a ReplicaSet."""
    return list(_replica_set(replica_set.get("spec") or {}, "spec"))


def validate_replica_set_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ReplicaSet: it selects the same Pods for ever."""
    return [*validate_replica_set(new), *_same_selector(new, old)]


def validate_replica_set_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of a ReplicaSet."""
    return list(validate_replica_status(new.get("status") or {}))


def _replica_set(spec: Object, path: str) -> Iterator[Cause]:
    yield from non_negative(spec.get("replicas"), f"{path}.replicas")
    yield from non_negative(spec.get("minReadySeconds"), f"{path}.minReadySeconds")
    yield from validate_selector(spec, "empty selector is invalid for deployment", path)
    if matches_template(spec) is None:
        yield invalid(f"{path}.selector", label_selector(spec.get("selector")), _UNCLEAR)
    else:
        yield from validate_running_template(spec, "ReplicaSet", f"{path}.template")


# -- StatefulSet -----------------------------------------------------------------------------------


def validate_stateful_set(stateful_set: Object) -> list[Cause]:
    """Return what is wrong with a new StatefulSet."""
    return list(_stateful_set(stateful_set.get("spec") or {}, "spec", new=True))


def validate_stateful_set_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a StatefulSet: most of its spec stays as it is.

    What never changes is not judged again, nor is the template when the old one was wrong already.
    """
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    was_fine = not any(_stateful_set(before, "spec"))
    causes = list(_stateful_set(spec, "spec", template=was_fine))
    changed = {**spec, **{name: before.get(name) for name in _STATEFUL_MUTABLE}}
    if not equality.equal(changed, before):
        causes.append(forbidden("spec", _STATEFUL_CHANGES))
    return causes


def validate_stateful_set_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of a StatefulSet."""
    return list(_stateful_status(new.get("status") or {}, old.get("status") or {}))


def _stateful_set(
    spec: Object, path: str, *, new: bool = False, template: bool = True
) -> Iterator[Cause]:
    policy = spec.get("podManagementPolicy")
    if policy not in ("OrderedReady", "Parallel"):
        why = "must be 'OrderedReady' or 'Parallel'"
        yield invalid(f"{path}.podManagementPolicy", policy, why)
    yield from _stateful_strategy(spec.get("updateStrategy") or {}, f"{path}.updateStrategy")
    yield from _retention(spec, f"{path}.persistentVolumeClaimRetentionPolicy")
    for index, claim in enumerate((spec.get("volumeClaimTemplates") or ()) if new else ()):
        at = f"{path}.volumeClaimTemplates[{index}].spec"
        yield from validate_claim_spec(claim.get("spec") or {}, at)
    for name in ("replicas", "minReadySeconds"):
        yield from non_negative(spec.get(name), f"{path}.{name}")
    start = (spec.get("ordinals") or {}).get("start")
    yield from non_negative(start, f"{path}.ordinals.start")
    service = spec.get("serviceName")
    if new and service:
        yield from causes_of(names.dns1123_label(service), f"{path}.serviceName", service)
    yield from validate_selector(spec, "empty selector is invalid for statefulset", path)
    if matches_template(spec) is None:
        yield invalid(f"{path}.selector", label_selector(spec.get("selector")), "")
    else:
        yield from _stateful_template(spec, f"{path}.template", whole=template)
    yield from always_running(spec.get("template"), "StatefulSet", f"{path}.template")


def _retention(spec: Object, path: str) -> Iterator[Cause]:
    for name, value in (spec.get("persistentVolumeClaimRetentionPolicy") or {}).items():
        if value not in ("Retain", "Delete"):
            yield not_supported(f"{path}.{name}", value, ("Retain", "Delete"))


def _stateful_template(spec: Object, path: str, *, whole: bool) -> Iterator[Cause]:
    """Check the template as its Pods will be: with the claims' volumes, named by the controller."""
    if matches_template(spec) is False:
        yield mismatch(spec, path)
    template = spec.get("template") or {}
    metadata = template.get("metadata") or {}
    if whole:
        yield from validate_pod_template(_with_claims(template, spec), path)
    yield from validate_labels(metadata.get("labels"), f"{path}.labels")
    yield from validate_annotations(metadata.get("annotations"), f"{path}.annotations")


def _with_claims(template: Object, spec: Object) -> Object:
    templates = spec.get("volumeClaimTemplates") or ()
    claims = dict.fromkeys((each.get("metadata") or {}).get("name") or "" for each in templates)
    pod = template.get("spec") or {}
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    volumes += [each for each in pod.get("volumes") or () if each.get("name") not in claims]
    return {**template, "spec": {**pod, "hostname": "", "subdomain": "", "volumes": volumes}}


def _stateful_strategy(strategy: Object, path: str) -> Iterator[Cause]:
    rolling, at = strategy.get("rollingUpdate"), f"{path}.rollingUpdate"
    if strategy.get("type") == "OnDelete":
        if rolling is not None:
            shown = struct({"partition": 0, **rolling}, *_STATEFUL_SHARES)
            yield invalid(at, shown, "only allowed for updateStrategy 'RollingUpdate'")
    elif strategy.get("type") == "RollingUpdate":
        if rolling is not None:
            yield from _rolling_stateful_set(rolling, at)
    else:
        shown = _shown(strategy, *_STATEFUL_SHARES)
        yield invalid(path, shown, "must be 'RollingUpdate' or 'OnDelete'")


def _rolling_stateful_set(rolling: Object, path: str) -> Iterator[Cause]:
    yield from non_negative(rolling.get("partition"), f"{path}.partition")
    unavailable, at = rolling.get("maxUnavailable"), f"{path}.maxUnavailable"
    if unavailable is not None:
        yield from int_or_percent(unavailable, at)
        if not share(unavailable):
            yield invalid(at, unavailable, "cannot be 0")
        yield from at_most_all(unavailable, at)


def _stateful_status(status: Object, old: Object) -> Iterator[Cause]:
    parts = ("readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas")
    yield from counts(
        status, ("replicas", *parts, "observedGeneration", "collisionCount"), "status"
    )
    yield from bounded(status, parts, "replicas", "status")
    yield from bounded(status, ("availableReplicas",), "readyReplicas", "status")
    yield from not_decremented(status, old, "collisionCount")


# -- DaemonSet -------------------------------------------------------------------------------------


def validate_daemon_set(daemon_set: Object) -> list[Cause]:
    """Return what is wrong with a DaemonSet."""
    return list(_daemon_set(daemon_set.get("spec") or {}, "spec"))


def validate_daemon_set_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a DaemonSet: it selects the same Pods for ever."""
    return [*_same_selector(new, old), *validate_daemon_set(new)]


def validate_daemon_set_status(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with the status of a DaemonSet."""
    status = new.get("status") or {}
    counted = (
        "currentNumberScheduled",
        "numberMisscheduled",
        "desiredNumberScheduled",
        "numberReady",
        "observedGeneration",
        "updatedNumberScheduled",
        "numberAvailable",
        "numberUnavailable",
        "collisionCount",
    )
    before = old.get("status") or {}
    return [*counts(status, counted, "status"), *not_decremented(status, before, "collisionCount")]


def _daemon_set(spec: Object, path: str) -> Iterator[Cause]:
    selector, at = spec.get("selector"), f"{path}.template"
    yield from validate_label_selector(selector, f"{path}.selector")
    if matches_template(spec) is False:
        yield mismatch(spec, at)
    if selector is not None and not label_selector(selector):
        yield invalid(f"{path}.selector", {}, "empty selector is invalid for daemonset")
    yield from validate_pod_template(spec.get("template"), at)
    yield from always_running(spec.get("template"), "DaemonSet", at)
    yield from non_negative(spec.get("minReadySeconds"), f"{path}.minReadySeconds")
    yield from _daemon_strategy(spec.get("updateStrategy") or {}, f"{path}.updateStrategy")
    yield from non_negative(spec.get("revisionHistoryLimit"), f"{path}.revisionHistoryLimit")


def _daemon_strategy(strategy: Object, path: str) -> Iterator[Cause]:
    rolling, at = strategy.get("rollingUpdate"), f"{path}.rollingUpdate"
    if strategy.get("type") == "OnDelete":
        return
    if strategy.get("type") != "RollingUpdate":
        yield not_supported(path, _shown(strategy, *_SHARES), ("RollingUpdate", "OnDelete"))
    elif rolling is None:
        yield required(at)
    else:
        yield from _rolling_daemon_set(rolling, at)


def _rolling_daemon_set(rolling: Object, path: str) -> Iterator[Cause]:
    unavailable, surge = rolling.get("maxUnavailable"), rolling.get("maxSurge")
    for name in ("maxUnavailable", "maxSurge"):
        yield from int_or_percent(rolling.get(name), f"{path}.{name}")
    for name in ("maxUnavailable", "maxSurge"):
        yield from at_most_all(rolling.get(name), f"{path}.{name}")
    if share(unavailable) and share(surge):
        why = "may not be set when maxUnavailable is non-zero"
        yield invalid(f"{path}.maxSurge", surge, why)
    elif not share(unavailable) and not share(surge):
        yield required(f"{path}.maxUnavailable", "cannot be 0 when maxSurge is 0")


# -- ControllerRevision ----------------------------------------------------------------------------


def validate_controller_revision(revision: Object) -> list[Cause]:
    """Return what is wrong with a new ControllerRevision."""
    causes = [*non_negative(revision.get("revision"), "revision")]
    data = revision.get("data")
    if data is None:
        causes.append(required("data", "data is mandatory"))
    elif not isinstance(data, dict):
        causes.append(required("data", "data must be a valid JSON object"))
    return causes


def validate_controller_revision_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ControllerRevision: its data never changes."""
    numbered = non_negative(new.get("revision"), "revision")
    return [*numbered, *immutable(new.get("data"), old.get("data"), "data")]
