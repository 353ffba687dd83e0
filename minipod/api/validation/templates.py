"""Selectors and Pod templates, as the kinds that make Pods have them; ReplicationController and PodTemplate."""

from collections.abc import Iterator
from typing import Any

from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.selectors import from_object
from minipod.api.shown import labels
from minipod.api.validation.numbers import bounded, counts
from minipod.api.validation.pod import validate_pod_template
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.values import non_negative

Object = dict[str, Any]


def validate_selector(spec: Object, empty: str, path: str) -> Iterator[Cause]:
    """Check the selector of a controller: there, well formed, and not empty (`empty` says so)."""
    selector, at = spec.get("selector"), f"{path}.selector"
    if selector is None:
        yield required(at)
        return
    yield from validate_label_selector(selector, at)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid(at, {}, empty)


def matches_template(spec: Object) -> bool | None:
    """Whether a controller selects the Pods of its own template; None when its selector cannot be understood.

    No selector selects nothing; there is nothing to contradict in an empty one.
    """
    selector = spec.get("selector")
    if selector is None:
        return False
    if any(validate_label_selector(selector, "")):
        return None
    return from_object(selector).matches(template_labels(spec))


def template_labels(spec: Object) -> Object:
    """Return the labels of a controller's Pods."""
    found: Object = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return found


def validate_running_template(spec: Object, owner: str, path: str) -> Iterator[Cause]:
    """Check the template of a controller whose Pods run until they are deleted."""
    template = spec.get("template")
    if matches_template(spec) is False:
        yield mismatch(spec, path)
    yield from validate_pod_template(template, path)
    yield from always_running(template, owner, path)


def mismatch(spec: Object, path: str) -> Cause:
    """Return that a controller does not select the Pods of its own template."""
    why = "`selector` does not match template `labels`"
    return invalid(f"{path}.metadata.labels", labels(template_labels(spec)), why)


def always_running(template: Object | None, owner: str, path: str) -> Iterator[Cause]:
    """Check that a template's Pods are restarted always and have no deadline."""
    spec = (template or {}).get("spec") or {}
    if spec.get("restartPolicy") != "Always":
        policy = spec.get("restartPolicy") or ""
        yield not_supported(f"{path}.spec.restartPolicy", policy, ("Always",))
    if spec.get("activeDeadlineSeconds") is not None:
        why = f"activeDeadlineSeconds in {owner} is not Supported"
        yield forbidden(f"{path}.spec.activeDeadlineSeconds", why)


def validate_replication_controller(controller: Object) -> list[Cause]:
    """Return what is wrong with a ReplicationController."""
    return list(_controller(controller.get("spec") or {}))


def validate_replication_controller_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a ReplicationController."""
    return validate_replication_controller(new)


def validate_replication_controller_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the numbers of a ReplicationController."""
    return list(validate_replica_status(new.get("status") or {}))


def validate_replica_status(status: Object) -> Iterator[Cause]:
    """Check the numbers of a ReplicaSet or ReplicationController."""
    parts = ("fullyLabeledReplicas", "readyReplicas", "availableReplicas")
    names = ("replicas", *parts, "observedGeneration", "terminatingReplicas")
    yield from counts(status, names, "status")
    yield from bounded(status, parts, "replicas", "status")
    why = "cannot be greater than readyReplicas"
    yield from bounded(status, ("availableReplicas",), "readyReplicas", "status", why)


def _controller(spec: Object) -> Iterator[Cause]:
    yield from non_negative(spec.get("minReadySeconds"), "spec.minReadySeconds")
    selector, path = spec.get("selector") or {}, "spec.template"
    if not selector:
        yield required("spec.selector")
    yield from non_negative(spec.get("replicas"), "spec.replicas")
    template = spec.get("template")
    if template is None:
        yield required(path)
        return
    found = template_labels(spec)
    if any(found.get(key) != value for key, value in selector.items()):
        yield mismatch(spec, path)
    yield from validate_pod_template(template, path)
    yield from always_running(template, "ReplicationController", path)


def validate_template_object(template: Object) -> list[Cause]:
    """Return what is wrong with a PodTemplate."""
    return list(validate_pod_template(template.get("template"), "template"))


def validate_template_object_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a PodTemplate."""
    return validate_template_object(new)
