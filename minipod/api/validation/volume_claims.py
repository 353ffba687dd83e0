"""PersistentVolumeClaims, and claims to be (pkg/apis/core/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import equality, names, quantity
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.persistent_volumes import VOLUME_MODES, access_modes
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.values import optional_one_of

Object = dict[str, Any]

_CLASS = "volume.beta.kubernetes.io/storage-class"
_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
    "claims"
)
_RESIZE_STATUSES = (
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
)


def validate_claim(claim: Object) -> list[Cause]:
    """Return what is wrong with a new PersistentVolumeClaim."""
    return list(validate_claim_spec(claim.get("spec") or {}, "spec"))


def validate_claim_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a PersistentVolumeClaim: little changes once it is made."""
    return list(_claim_update(new, old))


def validate_claim_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of a PersistentVolumeClaim."""
    return list(_status(new.get("status") or {}))


def validate_claim_spec(spec: Object, path: str, *, any_group: bool = False) -> Iterator[Cause]:
    """Check the spec of a claim, or of a claim to be. `any_group` lets stand what an older version let pass."""
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes", "at least 1 access mode is required")
    yield from validate_label_selector(spec.get("selector"), f"{path}.selector")
    yield from access_modes(spec, path)
    amount = _request(spec)
    if amount is None:
        yield required(f"{path}.resources[storage]")
    elif quantity.parse(amount) <= 0:
        shown = quantity.canonical(amount)
        yield invalid(f"{path}.resources[storage]", shown, "must be greater than zero")
    yield from _class_name(spec, "storageClassName", path)
    yield from optional_one_of(spec.get("volumeMode"), VOLUME_MODES, f"{path}.volumeMode")
    yield from _data_sources(spec, path, any_group)
    yield from _class_name(spec, "volumeAttributesClassName", path)


def _class_name(spec: Object, field: str, path: str) -> Iterator[Cause]:
    name = spec.get(field)
    if name:
        yield from causes_of(names.dns1123_subdomain(name), f"{path}.{field}", name)


def _data_sources(spec: Object, path: str, any_group: bool) -> Iterator[Cause]:
    one, other = spec.get("dataSource"), spec.get("dataSourceRef")
    for name in ("dataSource", "dataSourceRef"):
        if spec.get(name) is not None:
            yield from _data_source(spec[name], f"{path}.{name}", any_group)
    namespace = (other or {}).get("namespace")
    if namespace:
        at = f"{path}.dataSourceRef.namespace"
        yield from causes_of(names.dns1123_label(namespace), at, namespace)
    if one is None or other is None:
        return
    if namespace:
        why = "may not be specified when dataSourceRef.namespace is specified"
        yield invalid(path, {}, why)
    elif any(one.get(name) != other.get(name) for name in ("apiGroup", "kind", "name")):
        yield invalid(path, {}, "must match dataSourceRef")


def _data_source(source: Object, path: str, any_group: bool) -> Iterator[Cause]:
    for name in ("name", "kind"):
        if not source.get(name):
            yield required(f"{path}.{name}")
    group, kind = source.get("apiGroup") or "", source.get("kind") or ""
    if not group and kind != "PersistentVolumeClaim":
        why = "must be 'PersistentVolumeClaim' when referencing the default apiGroup"
        yield invalid(path, kind, why)
    elif group and not any_group:
        yield from causes_of(names.dns1123_subdomain(group), f"{path}.apiGroup", group)


def _claim_update(new: Object, old: Object) -> Iterator[Cause]:
    spec, before, status = new["spec"], old["spec"], old.get("status") or {}
    sources = (before.get("dataSource") or {}, before.get("dataSourceRef") or {})
    any_group = any(each.get("apiGroup") is not None for each in sources)
    yield from validate_claim_spec(spec, "spec", any_group=any_group)
    yield from _class_annotation(new, old)
    changed = equality.differences(_kept(new, old), before, "spec")
    if changed:
        listed = "\n".join(f"changed: {each}" for each in changed)
        yield forbidden("spec", f"{_FIXED}\n{listed}")
    after, was = (quantity.parse(_request(each) or 0) for each in (spec, before))
    has = quantity.parse((status.get("capacity") or {}).get("storage") or 0)
    if after < was and after <= has:
        why = "field can not be less than status.capacity"
        yield forbidden("spec.resources.requests.storage", why)
    yield from immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    name, at = spec.get("volumeAttributesClassName"), "spec.volumeAttributesClassName"
    changes = name != before.get("volumeAttributesClassName")
    if changes and not name and status.get("currentVolumeAttributesClassName") is not None:
        what = "nil" if name is None else "empty string"
        why = (
            f"update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil"
        )
        yield forbidden(at, why)


def _class_annotation(new: Object, old: Object) -> Iterator[Cause]:
    """Check that the annotation that once named the class stays, unless it moves into the field."""
    after, before = ((each["metadata"].get("annotations") or {}).get(_CLASS) for each in (new, old))
    named, was = (each["spec"].get("storageClassName") for each in (new, old))
    moves = before is not None and was is None and named == before and after in (None, before)
    if not moves and (after or "") != (before or ""):
        yield invalid(f"metadata.annotations.{_CLASS}", after or "", "field is immutable")


def _kept(new: Object, old: Object) -> Object:
    """Return a claim's new spec with what may change of it as it was."""
    spec, before = dict(new["spec"]), old["spec"]
    if not before.get("volumeName"):
        spec["volumeName"] = before.get("volumeName")  # the binder fills it in
    annotated = (old["metadata"].get("annotations") or {}).get(_CLASS)
    name = spec.get("storageClassName")
    if before.get("storageClassName") is None and annotated in (None, name):
        spec["storageClassName"] = None  # a default class may come late (KEP-3333)
    if (old.get("status") or {}).get("phase") == "Bound":
        resources = spec.get("resources") or {}
        if resources.get("requests"):
            storage = {"storage": _request(before)}
            spec["resources"] = {**resources, "requests": {**resources["requests"], **storage}}
        spec["volumeAttributesClassName"] = before.get("volumeAttributesClassName")
    return spec


def _status(status: Object) -> Iterator[Cause]:
    yield from _amounts(status, "capacity")
    path = "status.allocatedResourceStatuses"
    for key, value in (status.get("allocatedResourceStatuses") or {}).items():
        yield from _resource_key(key, path)
        if value not in _RESIZE_STATUSES:
            yield not_supported(path, key, _RESIZE_STATUSES)
    for key in status.get("allocatedResources") or ():
        yield from _resource_key(key, "status.allocatedResources")
    yield from _amounts(status, "allocatedResources")


def _amounts(status: Object, field: str) -> Iterator[Cause]:
    for name, amount in (status.get(field) or {}).items():
        if quantity.value(amount) < 0:
            why = "must be a valid resource quantity"
            yield invalid(f"status.{field}[{name}]", quantity.value(amount), why)


def _resource_key(key: str, path: str) -> Iterator[Cause]:
    problems = names.qualified_name(key)
    yield from causes_of(problems, path, key)
    if not problems and "/" not in key and key != "storage":
        yield not_supported(path, key, ("storage",))


def _request(spec: Object) -> Any:
    return ((spec.get("resources") or {}).get("requests") or {}).get("storage")
