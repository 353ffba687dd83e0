"""ObjectMeta: names, labels, annotations, finalizers, owners (apimachinery's api/validation)."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minipod.api import equality, names
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
    """Check the metadata of a new object, by its kind's name rule."""
    yield from _any_metadata(kind, obj["metadata"], kind.name_rule)
    yield from _finalizer_names(obj["metadata"].get("finalizers") or ())


def validate_metadata_update(kind: Kind, new: Object, old: Object) -> Iterator[Cause]:
    """Check that nothing changes that never may, that an update says of which version it is the next (the server
    fills it in where clients may not), and that no finalizer comes late. A name that once was fine stays fine.
    """
    after, before = new["metadata"], old["metadata"]
    yield from _any_metadata(kind, after, "path_segment")
    if before.get("deletionTimestamp"):
        yield from _no_late_finalizers(after, before)
    if not after.get("resourceVersion"):
        yield invalid("metadata.resourceVersion", "", "must be specified for an update")
    for name in _IMMUTABLE:
        yield from immutable(after.get(name), before.get(name), f"metadata.{name}")
    yield from _finalizer_names(after.get("finalizers") or ())


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
    """Check that a value does not change in its meaning."""
    if not equality.equal(new, old, path.rpartition(".")[2]):
        yield invalid(path, new, "field is immutable")


def _any_metadata(kind: Kind, metadata: Object, name_rule: str) -> Iterator[Cause]:
    yield from _names(metadata, name_rule)
    yield from _namespace(kind, metadata)
    yield from validate_labels(metadata.get("labels"), "metadata.labels")
    yield from validate_annotations(metadata.get("annotations"), "metadata.annotations")
    yield from _owners(metadata.get("ownerReferences") or [], "metadata.ownerReferences")
    yield from _finalizers(metadata.get("finalizers") or [], "metadata.finalizers")


def _names(metadata: Object, rule: str) -> Iterator[Cause]:
    prefix = metadata.get("generateName")
    if prefix:
        problems = names.object_name(rule, prefix, prefix=True)
        yield from causes_of(problems, "metadata.generateName", prefix)
    name = metadata.get("name")
    if not name:
        yield required("metadata.name", "name or generateName is required")
        return
    yield from causes_of(names.object_name(rule, name), "metadata.name", name)


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
    """Check who owns an object. The path is the list's, whichever of them is wrong."""
    controller = ""
    for owner in owners:
        api_version = owner.get("apiVersion") or ""
        if not api_version.rpartition("/")[2]:
            yield invalid(f"{path}.apiVersion", api_version, "version must not be empty")
        for name in ("kind", "name", "uid"):
            if not owner.get(name):
                yield invalid(f"{path}.{name}", "", "must not be empty")
        if (api_version, owner.get("kind")) == ("v1", "Event"):
            yield invalid(path, owner, "/v1, Kind=Event is disallowed from being an owner")
        if not owner.get("controller"):
            continue
        found = f"{owner.get('kind')}/{owner.get('name')}"
        if controller:
            why = "Only one reference can have Controller set to true. Found "
            yield invalid(path, owners, f'{why}"true" in references for {controller} and {found}')
        controller = controller or found


def _finalizers(finalizers: list[str], path: str) -> Iterator[Cause]:
    for finalizer in finalizers:
        yield from causes_of(names.qualified_name(finalizer), path, finalizer)
    if {"orphan", "foregroundDeletion"} <= set(finalizers):
        why = "finalizer orphan and foregroundDeletion cannot be both set"
        yield invalid(path, finalizers, why)


def _finalizer_names(finalizers: Iterable[str]) -> Iterator[Cause]:
    for index, finalizer in enumerate(finalizers):
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            why = "name is neither a standard finalizer name nor is it fully qualified"
            yield invalid(f"metadata.finalizers[{index}]", finalizer, why)


def _no_late_finalizers(after: Object, before: Object) -> Iterator[Cause]:
    late = set(after.get("finalizers") or ()) - set(before.get("finalizers") or ())
    if late:
        listed = ", ".join(json.dumps(each) for each in sorted(late))
        yield forbidden(
            "metadata.finalizers",
            "no new finalizers can be added if the object is being deleted, found new finalizers "
            f"[]string{{{listed}}}",
        )
