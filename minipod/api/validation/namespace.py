"""Namespaces (pkg/apis/core/validation): the finalizers of their spec, the phase of their status."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, invalid
from minipod.api.validation.metadata import causes_of

Object = dict[str, Any]
_STANDARD = ("kubernetes", "orphan", "foregroundDeletion")
_UNQUALIFIED = "name is neither a standard finalizer name nor is it fully qualified"


def validate_namespace(namespace: Object) -> list[Cause]:
    """Return what is wrong with a namespace."""
    finalizers = (namespace.get("spec") or {}).get("finalizers") or ()
    return [cause for each in finalizers for cause in _finalizer(each, "spec.finalizers")]


def validate_namespace_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a namespace."""
    return validate_namespace(new)


def validate_finalize(namespace: Object) -> list[Cause]:
    """Return what is wrong with a namespace's finalizers as its `finalize` is given them."""
    finalizers = (namespace.get("spec") or {}).get("finalizers") or ()
    return [
        cause
        for index, each in enumerate(finalizers)
        for cause in _finalizer(each, f"spec.finalizers[{index}]")
    ]


def validate_namespace_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with a namespace's status: its phase says whether it goes."""
    going = bool(new["metadata"].get("deletionTimestamp"))
    phase, wanted = (new.get("status") or {}).get("phase") or "", "Active"
    if going:
        wanted = "Terminating"
    if phase == wanted:
        return []
    why = f"may only be '{wanted}' if `deletionTimestamp` is {'not ' if going else ''}empty"
    return [invalid("status.Phase", phase, why)]


def _finalizer(name: str, path: str) -> Iterator[Cause]:
    yield from causes_of(names.qualified_name(name), path, name)
    if "/" not in name and name not in _STANDARD:
        yield invalid(path, name, _UNQUALIFIED)
