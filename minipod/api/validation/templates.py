"""Selectors and Pod templates, as the kinds that make Pods have them; ReplicationController and PodTemplate."""

from collections.abc import Iterator
from typing import Any

from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.selectors import SelectorError, from_object
from minipod.api.validation.numbers import bounded, counts
from minipod.api.validation.pod import validate_pod_template
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.values import non_negative

Object = dict[str, Any]

MISMATCH = "`selector` does not match template `labels`"


def validate_selector(spec: Object, empty: str, path: str) -> Iterator[Cause]:
    """Check the selector of a controller: there, well formed, and not empty (`empty` says so)."""
    selector, at = spec.get("selector"), f"{path}.selector"
    if selector is None:
        yield required(at)
        return
    yield from validate_label_selector(selector, at)
    if not selector.get("matchLabels") and not selector.get("matchExpressions"):
        yield invalid(at, selector, empty)


def matches_template(spec: Object) -> bool | None:
    """Whether a controller selects the Pods of its own template; None when its selector cannot be understood.

    Without a selector, or with an empty one, there is nothing to contradict.
    """
    selector = spec.get("selector")
    if not selector:
        return True
    try:
        return from_object(selector).matches(template_labels(spec))
    except (SelectorError, KeyError):
        return None


def template_labels(spec: Object) -> Object:
    """Return the labels of a controller's Pods."""
    labels: Object = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    return labels


def validate_running_template(spec: Object, owner: str, path: str) -> Iterator[Cause]:
    """Check the template of a controller whose Pods run until they are deleted."""
    template = spec.get("template")
    if matches_template(spec) is False:
        yield invalid(f"{path}.metadata.labels", template_labels(spec), MISMATCH)
    yield from validate_pod_template(template, path)
    yield from always_running(template, owner, path)


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
    yield from counts(status, ("replicas", *parts, "observedGeneration"), "status")
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
    labels = template_labels(spec)
    if any(labels.get(key) != value for key, value in selector.items()):
        yield invalid(f"{path}.metadata.labels", labels, MISMATCH)
    yield from validate_pod_template(template, path)
    yield from always_running(template, "ReplicationController", path)


def validate_template_object(template: Object) -> list[Cause]:
    """Return what is wrong with a PodTemplate."""
    return list(validate_pod_template(template.get("template"), "template"))


def validate_template_object_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a PodTemplate."""
    return validate_template_object(new)
