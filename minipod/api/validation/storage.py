"""storage.k8s.io/v1 (pkg/apis/storage/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import (
    Cause,
    duplicate,
    forbidden,
    invalid,
    not_supported,
    required,
    too_long,
)
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.numbers import counts
from minipod.api.validation.persistent_volumes import validate_inline_volume
from minipod.api.validation.scheduling import validate_label_selector
from minipod.api.validation.values import INT32_MAX, csi_driver_name, in_range, repeats

Object = dict[str, Any]

_RECLAIM_POLICIES = ("Delete", "Retain")
_BINDING_MODES = ("Immediate", "WaitForFirstConsumer")
_PARAMETERS_LIMIT, _PARAMETERS_SIZE = 512, 256 * 1024
_NODE_ID_LENGTH = 256
_METADATA_SIZE, _ERROR_SIZE = 256 * 1024, 1024
_LIFECYCLES = ("Persistent", "Ephemeral")
_SHORTEST_PERIOD = 10
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 2**32
_GROUP_POLICIES = ("File", "None", "ReadWriteOnceWithFSType")


def validate_storage_class(storage_class: Object) -> list[Cause]:
    """Return what is wrong with a StorageClass."""
    return list(_storage_class(storage_class))


def validate_storage_class_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a StorageClass: what it provides stays."""
    causes = validate_storage_class(new)
    causes += immutable(new.get("parameters"), old.get("parameters"), "parameters")
    for name in ("provisioner", "reclaimPolicy", "volumeBindingMode"):
        causes += immutable(new.get(name) or "", old.get(name) or "", name)
    return causes


def _storage_class(storage_class: Object) -> Iterator[Cause]:
    provisioner = storage_class.get("provisioner") or ""
    if not provisioner:
        yield required("provisioner")
    else:
        lower = provisioner.lower()
        yield from causes_of(names.qualified_name(lower), "provisioner", lower)
    yield from _parameters(storage_class.get("parameters") or {}, True)
    policy = storage_class.get("reclaimPolicy")
    if policy and policy not in _RECLAIM_POLICIES:
        yield not_supported("reclaimPolicy", policy, _RECLAIM_POLICIES)
    mode = storage_class.get("volumeBindingMode")
    if mode is None:
        yield required("volumeBindingMode")
    elif mode not in _BINDING_MODES:
        yield not_supported("volumeBindingMode", mode, _BINDING_MODES)
    seen: list[dict[str, set[str]]] = [{}]  # upstream takes a term of nothing for one seen before
    for index, term in enumerate(storage_class.get("allowedTopologies") or ()):
        at = f"allowedTopologies[{index}].matchLabelExpressions"
        yield from _topology(term, at)
        found = {
            each.get("key") or "": set(each.get("values") or ())
            for each in term.get("matchLabelExpressions") or ()
        }
        if found in seen:
            yield duplicate(at, "")
        seen.append(found)


def _parameters(parameters: Object, may_be_empty: bool) -> Iterator[Cause]:
    if not parameters and not may_be_empty:
        yield required("parameters", "must contain at least one key/value pair")
    if len(parameters) > _PARAMETERS_LIMIT:
        yield too_long("parameters", _PARAMETERS_LIMIT)
        return
    if "" in parameters:
        yield invalid("parameters", "", "field can not be empty.")
    size = sum(len(key) + len(value or "") for key, value in parameters.items())
    if size > _PARAMETERS_SIZE:
        yield too_long("parameters", _PARAMETERS_SIZE)


def _topology(term: Object, path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, each in enumerate(term.get("matchLabelExpressions") or ()):
        at, key, values = f"{path}[{index}]", each.get("key") or "", each.get("values") or []
        if not values:
            yield required(f"{at}.values")
        for number in sorted(repeats(values)):
            yield duplicate(f"{at}.values[{number}]", values[number])
        yield from causes_of(names.qualified_name(key), f"{at}.key", key)
        if key in seen:
            yield duplicate(f"{at}.key", key)
        seen.add(key)


def validate_attachment(attachment: Object) -> list[Cause]:
    """Return what is wrong with a VolumeAttachment."""
    return list(_attachment(attachment.get("spec") or {}, "spec"))


def validate_attachment_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a VolumeAttachment: its spec stays."""
    return [*validate_attachment(new), *immutable(new.get("spec"), old.get("spec"), "spec")]


def validate_attachment_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with what became of a VolumeAttachment."""
    status, path = new.get("status") or {}, "status"
    metadata = status.get("attachmentMetadata") or {}
    size = sum(len(key) + len(value or "") for key, value in metadata.items())
    causes = (
        [too_long(f"{path}.attachmentMetadata", _METADATA_SIZE)] if size > _METADATA_SIZE else []
    )
    for name in ("attachError", "detachError"):
        found = status.get(name) or {}
        if len(found.get("message") or "") > _ERROR_SIZE:
            causes.append(too_long(f"{path}.{name}.message", _METADATA_SIZE))
        if found.get("errorCode") is not None:
            causes += in_range(found["errorCode"], 0, INT32_MAX, f"{path}.{name}.errorCode")
    return causes


def _attachment(spec: Object, path: str) -> Iterator[Cause]:
    yield from csi_driver_name(spec.get("attacher") or "", f"{path}.attacher")
    source, at = spec.get("source") or {}, f"{path}.source"
    name, inline = source.get("persistentVolumeName"), source.get("inlineVolumeSpec")
    why = "must specify exactly one of inlineVolumeSpec and persistentVolumeName"
    if name is None and inline is None:
        yield required(at, why)
    elif name is not None and inline is not None:
        yield forbidden(at, why)
    elif name is not None:
        at = f"{at}.persistentVolumeName"
        if not name:
            yield required(at, "must specify non empty persistentVolumeName")
        yield from causes_of(names.dns1123_subdomain(name), at, name)
    else:
        yield from validate_inline_volume(inline or {}, f"{at}.inlineVolumeSpec")
    node = spec.get("nodeName") or ""
    yield from causes_of(names.dns1123_subdomain(node), f"{path}.nodeName", node)


def validate_driver(driver: Object) -> list[Cause]:
    """Return what is wrong with a CSIDriver."""
    return list(_csi_driver(driver))


def validate_driver_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a CSIDriver: some of what it can do stays."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    fixed = {
        "spec.attachedRequired": "attachRequired",
        "spec.volumeLifecycleModes": "volumeLifecycleModes",
    }
    causes = [
        cause
        for path, name in fixed.items()
        for cause in immutable(spec.get(name), before.get(name), path)
    ]
    return [*_csi_driver(new), *causes]


def _csi_driver(driver: Object) -> Iterator[Cause]:
    spec = driver.get("spec") or {}
    for name in ("attachRequired", "podInfoOnMount", "storageCapacity"):
        if spec.get(name) is None:
            yield required(f"spec.{name}")
    policy = spec.get("fsGroupPolicy")
    if policy is not None and policy not in _GROUP_POLICIES:
        yield not_supported("spec.fsGroupPolicy", policy, _GROUP_POLICIES)
    tokens = spec.get("tokenRequests") or []
    yield from _token_requests(tokens, "spec.tokenRequests")
    for mode in spec.get("volumeLifecycleModes") or ():
        if mode not in _LIFECYCLES:
            yield not_supported("spec.volumeLifecycleModes", mode, _LIFECYCLES)
    period = spec.get("nodeAllocatableUpdatePeriodSeconds")
    if period is not None and period < _SHORTEST_PERIOD:
        why = f"must be greater than or equal to {_SHORTEST_PERIOD} seconds"
        yield invalid("spec.nodeAllocatableUpdatePeriodSeconds", period, why)
    hidden = spec.get("serviceAccountTokenInSecrets")
    if hidden is not None and not tokens:
        why = "serviceAccountTokenInSecrets is set but no tokenRequests are specified"
        yield invalid("spec.serviceAccountTokenInSecrets", hidden, why)


def _token_requests(requests: list[Object], path: str) -> Iterator[Cause]:
    audiences: list[str] = []
    for index, each in enumerate(requests):
        at, audience = f"{path}[{index}]", each.get("audience") or ""
        if audience in audiences:
            yield duplicate(f"{at}.audience", audience)
            continue
        audiences.append(audience)
        seconds = each.get("expirationSeconds")
        if seconds is not None and seconds < _SHORTEST_TOKEN:
            why = "may not specify a duration less than 10 minutes"
            yield invalid(f"{at}.expirationSeconds", seconds, why)
        if seconds is not None and seconds > _LONGEST_TOKEN:
            why = "may not specify a duration larger than 2^32 seconds"
            yield invalid(f"{at}.expirationSeconds", seconds, why)


def validate_node(node: Object) -> list[Cause]:
    """Return what is wrong with a CSINode."""
    return list(_node((node.get("spec") or {}).get("drivers") or [], "spec.drivers"))


def validate_node_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a CSINode: a driver's entry comes and goes, and never changes."""
    causes = validate_node(new)
    before = {each.get("name"): each for each in (old.get("spec") or {}).get("drivers") or ()}
    for each in (new.get("spec") or {}).get("drivers") or ():
        known = before.get(each.get("name"))
        fixed = ("nodeID", "topologyKeys")
        if known is not None and any(known.get(name) != each.get(name) for name in fixed):
            causes.append(invalid("spec.drivers", each, "field is immutable"))
    return causes


def _node(drivers: list[Object], path: str) -> Iterator[Cause]:
    seen: set[str] = set()
    for index, driver in enumerate(drivers):
        at, name, node = f"{path}[{index}]", driver.get("name") or "", driver.get("nodeID") or ""
        yield from csi_driver_name(name, f"{at}.name")
        if not node:
            yield required(f"{at}.nodeID")
        if len(node) > _NODE_ID_LENGTH:
            yield invalid(f"{at}.nodeID", node, f"must be {_NODE_ID_LENGTH} characters or less")
        count = (driver.get("allocatable") or {}).get("count")
        yield from counts({"count": count}, ("count",), f"{at}.allocatable")
        if name in seen:
            yield duplicate(f"{at}.name", name)
        seen.add(name)
        keys = driver.get("topologyKeys") or []
        again = repeats(keys)
        for number, key in enumerate(keys):
            if not key:
                yield required(at)
            if number in again:
                yield duplicate(at, key)
            yield from causes_of(names.qualified_name(key), at, key)


def validate_capacity(capacity: Object) -> list[Cause]:
    """Return what is wrong with a CSIStorageCapacity."""
    return list(_capacity(capacity))


def validate_capacity_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a CSIStorageCapacity: only the amounts change."""
    fixed = [
        cause
        for name, empty in (("nodeTopology", None), ("storageClassName", ""))
        for cause in immutable(new.get(name, empty), old.get(name, empty), name)
    ]
    return [*_capacity(new), *fixed]


def _capacity(capacity: Object) -> Iterator[Cause]:
    name = capacity.get("storageClassName") or ""
    yield from causes_of(names.dns1123_subdomain(name), "storageClassName", name)
    if capacity.get("nodeTopology") is not None:
        yield from validate_label_selector(capacity["nodeTopology"], "nodeTopology")
    amount = capacity.get("capacity")
    if amount is not None and quantity.parse(amount) < 0:
        shown = quantity.canonical(amount)
        yield invalid("capacity", shown, "must be greater than or equal to 0")


def validate_attributes_class(attributes: Object) -> list[Cause]:
    """Return what is wrong with a VolumeAttributesClass."""
    driver = (attributes.get("driverName") or "").lower()
    named = causes_of(names.qualified_name(driver), "driverName", driver)
    return [
        *(named if driver else [required("driverName")]),
        *_parameters(attributes.get("parameters") or {}, False),
    ]


def validate_attributes_class_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a VolumeAttributesClass: it says the same for ever."""
    causes = [
        forbidden(name, f"updates to {name} are forbidden.")
        for name in ("driverName", "parameters")
        if new.get(name) != old.get(name)
    ]
    return [*causes, *validate_attributes_class(new)]
