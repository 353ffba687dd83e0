"""ObjectMeta: names, labels, annotations, finalizers, owners (apimachinery's api/validation)."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, required, too_long
from minipod.api.kind import Kind

Object = dict[str, Any]

ANNOTATIONS_LIMIT = 256 * 1024
_STANDARD_FINALIZERS = frozenset(("kubernetes", "orphan", "foregroundDeletion"))
_IMMUTABLE = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
)


def validate_metadata(kind: Kind, obj: Object) -> Iterator[Cause]:
    """Check the metadata of any object, by its kind's name rule."""
    metadata = obj["metadata"]
    yield from _names(kind, metadata)
    yield from _namespace(kind, metadata)
    yield from validate_labels(metadata.get("labels"), "metadata.labels")
    yield from validate_annotations(metadata.get("annotations"), "metadata.annotations")
    yield from _owners(metadata.get("ownerReferences") or [], "metadata.ownerReferences")
    yield from _finalizers(metadata.get("finalizers") or [], "metadata.finalizers")


def validate_metadata_update(new: Object, old: Object) -> Iterator[Cause]:
    """Check that nothing changes that never may, and that no finalizer comes late."""
    after, before = new["metadata"], old["metadata"]
    if before.get("deletionTimestamp"):
        known = before.get("finalizers") or ()
        late = [each for each in after.get("finalizers") or () if each not in known]
        if late:
            listed = ", ".join(json.dumps(each) for each in late)
            yield forbidden(
                "metadata.finalizers",
                "no new finalizers can be added if the object is being deleted, found new finalizers "
                f"[]string{{{listed}}}",
            )
    for name in _IMMUTABLE:
        if after.get(name) != before.get(name):
            yield invalid(f"metadata.{name}", after.get(name), "field is immutable")


def validate_version(new: Object) -> Iterator[Cause]:
    """Check that an update says of which version it is the next (the server fills it in where clients may not)."""
    if not new["metadata"].get("resourceVersion"):
        yield invalid("metadata.resourceVersion", "", "must be specified for an update")


def validate_labels(labels: Mapping[str, str] | None, path: str) -> Iterator[Cause]:
    """Check the keys and values of a label map."""
    for key, value in (labels or {}).items():
        yield from causes_of(names.qualified_name(key), path, key)
        yield from causes_of(names.label_value(value), path, value)


def validate_annotations(annotations: Mapping[str, str] | None, path: str) -> Iterator[Cause]:
    """Check the keys of an annotation map (in lower case: any case is allowed), and its size."""
    total = 0
    for key, value in (annotations or {}).items():
        yield from causes_of(names.qualified_name(key.lower()), path, key)
        total += len(key.encode()) + len(value.encode())
    if total > ANNOTATIONS_LIMIT:
        yield too_long(path, ANNOTATIONS_LIMIT)


def causes_of(problems: Iterable[str], path: str, value: Any) -> Iterator[Cause]:
    """Turn what `names` says about a value into causes."""
    for each in problems:
        yield invalid(path, value, each)


def immutable(new: Any, old: Any, path: str) -> Iterator[Cause]:
    """Check that a value does not change."""
    if new != old:
        yield invalid(path, new, "field is immutable")


def _names(kind: Kind, metadata: Object) -> Iterator[Cause]:
    prefix = metadata.get("generateName")
    if prefix:
        problems = names.object_name(kind.name_rule, prefix, prefix=True)
        yield from causes_of(problems, "metadata.generateName", prefix)
    name = metadata.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    yield from causes_of(names.object_name(kind.name_rule, name), "metadata.name", name)


def _namespace(kind: Kind, metadata: Object) -> Iterator[Cause]:
    namespace = metadata.get("namespace") or ""
    path = "metadata.namespace"
    if not kind.namespaced:
        if namespace:
            yield forbidden(path, "not allowed on this type")
    elif not namespace:
        yield required(path)
    else:
        yield from causes_of(names.dns1123_label(namespace), path, namespace)


def _owners(owners: list[Object], path: str) -> Iterator[Cause]:
    controllers = []
    for index, owner in enumerate(owners):
        at = f"{path}[{index}]"
        api_version = owner.get("apiVersion") or ""
        if not api_version.rpartition("/")[2]:
            yield invalid(f"{at}.apiVersion", api_version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                yield invalid(f"{at}.{name}", "", "must not be empty")
        if (api_version, owner.get("kind")) == ("v1", "Event"):
            yield invalid(at, owner, "/v1, Kind=Event is disallowed from being an owner")
        if owner.get("controller"):
            controllers.append(owner.get("name"))
    if len(controllers) > 1:
        yield invalid(
            path,
            owners,
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{controllers[0]} and {controllers[1]}",
        )


def _finalizers(finalizers: list[str], path: str) -> Iterator[Cause]:
    for index, finalizer in enumerate(finalizers):
        at = f"{path}[{index}]"
        yield from causes_of(names.qualified_name(finalizer), at, finalizer)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(at, finalizer, why)
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        why = "finalizer orphan and finalizer foregroundDeletion cannot be both set"
        yield invalid(path, finalizers, why)
