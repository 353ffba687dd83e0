"""PersistentVolumes and their claims (pkg/apis/core/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.scheduling import validate_label_selector, validate_node_selector
from minipod.api.validation.values import no_backsteps, optional_one_of
from minipod.api.validation.volumes import HOST_PATH_TYPES

Object = dict[str, Any]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
SOURCES = (
    "awsElasticBlockStore",
    "azureDisk",
    "azureFile",
    "cephfs",
    "cinder",
    "csi",
    "fc",
    "flexVolume",
    "flocker",
    "gcePersistentDisk",
    "glusterfs",
    "hostPath",
    "iscsi",
    "local",
    "nfs",
    "photonPersistentDisk",
    "portworxVolume",
    "quobyte",
    "rbd",
    "scaleIO",
    "storageos",
    "vsphereVolume",
)
_REQUIRED = {
    "csi": ("driver", "volumeHandle"),
    "iscsi": ("targetPortal", "iqn"),
    "local": ("path",),
    "nfs": ("server", "path"),
    "hostPath": ("path",),
}
_CLAIM_FIXED = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound "
    "claims"
)
_SHRUNK = "field can not be less than status.capacity"

# -- PersistentVolume ------------------------------------------------------------------------------


def validate_volume(volume: Object) -> list[Cause]:
    """Return what is wrong with a PersistentVolume."""
    return list(_volume(volume.get("spec") or {}, "spec"))


def validate_volume_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a PersistentVolume: it stays the same piece of storage."""
    spec, before = new["spec"], old["spec"]
    causes = validate_volume(new)
    if any(spec.get(name) != before.get(name) for name in SOURCES):
        why = "spec.persistentvolumesource is immutable after creation"
        causes.append(forbidden("spec.persistentvolumesource", why))
    causes += immutable(spec.get("volumeMode"), before.get("volumeMode"), "spec.volumeMode")
    if before.get("nodeAffinity") is not None:
        after = spec.get("nodeAffinity")
        causes += immutable(after, before["nodeAffinity"], "spec.nodeAffinity")
    return causes


def validate_volume_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of a PersistentVolume."""
    if not new["metadata"].get("resourceVersion"):
        return [required("metadata.resourceVersion")]
    return []


def _volume(spec: Object, path: str) -> Iterator[Cause]:
    yield from _modes(spec.get("accessModes") or [], f"{path}.accessModes", "")
    capacity, at = spec.get("capacity") or {}, f"{path}.capacity"
    if not capacity:
        yield required(at)
    if "storage" not in capacity or len(capacity) > 1:
        yield not_supported(at, capacity, ("storage",))
    for name, amount in capacity.items():
        if quantity.parse(amount) <= 0:
            yield invalid(f"{at}[{name}]", amount, "must be greater than zero")
    policy = spec.get("persistentVolumeReclaimPolicy")
    if policy and policy not in _RECLAIM_POLICIES:
        yield not_supported(f"{path}.persistentVolumeReclaimPolicy", policy, _RECLAIM_POLICIES)
    yield from _node_affinity(spec.get("nodeAffinity"), f"{path}.nodeAffinity")
    yield from _source(spec, path)
    name = spec.get("storageClassName")
    if name:
        yield from causes_of(names.dns1123_subdomain(name), f"{path}.storageClassName", name)
    yield from optional_one_of(spec.get("volumeMode"), VOLUME_MODES, f"{path}.volumeMode")
    if spec.get("volumeAttributesClassName") == "":
        why = "an empty string is disallowed"
        yield required(f"{path}.volumeAttributesClassName", why)


def _modes(modes: list[str], path: str, empty: str) -> Iterator[Cause]:
    if not modes:
        yield required(path, empty)
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield not_supported(path, mode, ACCESS_MODES)
    if "ReadWriteOncePod" in modes and len(set(modes)) > 1:
        yield forbidden(path, "may not use ReadWriteOncePod with other access modes")


def _node_affinity(affinity: Object | None, path: str) -> Iterator[Cause]:
    if affinity is None:
        return
    if affinity.get("required") is None:
        yield required(f"{path}.required", "must specify required node constraints")
    else:
        yield from validate_node_selector(affinity["required"], f"{path}.required")


def _source(spec: Object, path: str) -> Iterator[Cause]:
    given = [name for name in SOURCES if spec.get(name) is not None]
    if not given:
        yield required(path, "must specify a volume type")
        return
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    name = given[0]
    source, at = spec[name], f"{path}.{name}"
    for field in _REQUIRED.get(name, ()):
        if not source.get(field):
            yield required(f"{at}.{field}")
    if name in ("hostPath", "local"):
        yield from no_backsteps(source.get("path") or "", f"{at}.path")
    if name == "hostPath":
        yield from optional_one_of(source.get("type"), HOST_PATH_TYPES, f"{at}.type")
        if source.get("path") == "/" and spec.get("persistentVolumeReclaimPolicy") == "Recycle":
            why = "may not be 'recycle' for a hostPath mount of '/'"
            yield forbidden(f"{path}.persistentVolumeReclaimPolicy", why)
    if name == "local" and spec.get("nodeAffinity") is None:
        yield required("metadata.annotations", "Local volume requires node affinity")


# -- PersistentVolumeClaim -------------------------------------------------------------------------


def validate_claim(claim: Object) -> list[Cause]:
    """Return what is wrong with a PersistentVolumeClaim."""
    return list(validate_claim_spec(claim.get("spec") or {}, "spec"))


def validate_claim_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a PersistentVolumeClaim: little changes once it is made."""
    spec, before = new["spec"], old["spec"]
    causes = validate_claim(new)
    bound = (old.get("status") or {}).get("phase") == "Bound"
    if _fixed(spec, before, bound) != _fixed(before, before, bound):
        causes.append(forbidden("spec", _CLAIM_FIXED))
    after, was = _requested(spec), _requested(before)
    if after is not None and was is not None and after < was:
        have = ((old.get("status") or {}).get("capacity") or {}).get("storage")
        if have is None or after <= quantity.parse(have):
            causes.append(forbidden("spec.resources.requests.storage", _SHRUNK))
    causes += immutable(spec.get("volumeMode"), before.get("volumeMode"), "spec.volumeMode")
    return causes


def validate_claim_status(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of a PersistentVolumeClaim."""
    status = new.get("status") or {}
    causes = [
        invalid(f"status.capacity[{name}]", amount, "must be greater than or equal to 0")
        for name, amount in (status.get("capacity") or {}).items()
        if quantity.parse(amount) < 0
    ]
    if not new["metadata"].get("resourceVersion"):
        causes.append(required("metadata.resourceVersion"))
    return causes


def validate_claim_spec(spec: Object, path: str) -> Iterator[Cause]:
    """Check the spec of a claim, or of a claim to be."""
    if spec.get("selector") is not None:
        yield from validate_label_selector(spec["selector"], f"{path}.selector")
    why = "at least 1 access mode is required"
    yield from _modes(spec.get("accessModes") or [], f"{path}.accessModes", why)
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    if amount is None:
        yield required(f"{path}.resources[storage]")
    elif quantity.parse(amount) <= 0:
        yield invalid(f"{path}.resources[storage]", amount, "must be greater than zero")
    name = spec.get("storageClassName")
    if name:
        yield from causes_of(names.dns1123_subdomain(name), f"{path}.storageClassName", name)
    yield from optional_one_of(spec.get("volumeMode"), VOLUME_MODES, f"{path}.volumeMode")
    for name in ("dataSource", "dataSourceRef"):
        if spec.get(name) is not None:
            yield from _data_source(spec[name], f"{path}.{name}")
    one, other = spec.get("dataSource"), spec.get("dataSourceRef")
    if one is not None and other is not None and one != other and not other.get("namespace"):
        yield invalid(path, f"{path}.dataSource", "must match dataSourceRef")


def _data_source(source: Object, path: str) -> Iterator[Cause]:
    for name in ("name", "kind"):
        if not source.get(name):
            yield required(f"{path}.{name}")
    group = source.get("apiGroup") or ""
    if not group and source.get("kind") != "PersistentVolumeClaim":
        yield invalid(
            path,
            source.get("kind") or "",
            "must be 'PersistentVolumeClaim' when referencing the default apiGroup",
        )
    elif group:
        yield from causes_of(names.dns1123_subdomain(group), f"{path}.apiGroup", group)


def _fixed(spec: Object, before: Object, bound: bool) -> Object:
    """Return what of a claim's spec may not change, with what may as it was."""
    kept = {name: value for name, value in spec.items() if value not in (None, [], {})}
    if not before.get("volumeName"):
        kept.pop("volumeName", None)  # the binder fills it in
    if before.get("storageClassName") is None:
        kept.pop("storageClassName", None)  # a default class may come late (KEP-3333)
    kept.pop("volumeAttributesClassName", None)
    resources = dict(kept.pop("resources", None) or {})
    if bound or (spec.get("volumeName") and before.get("volumeName")):
        resources["requests"] = (before.get("resources") or {}).get("requests")
    return {**kept, "resources": resources}


def _requested(spec: Object) -> Any:
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return None if amount is None else quantity.parse(amount)
