"""PersistentVolumes (pkg/apis/core/validation). Their claims are in `volume_claims`."""

from collections.abc import Iterator
from posixpath import normpath
from typing import Any

from minipod.api import equality, names, quantity
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.shown import struct
from minipod.api.validation.metadata import causes_of, immutable
from minipod.api.validation.scheduling import validate_node_selector
from minipod.api.validation.values import optional_one_of
from minipod.api.validation.volume_sources import SOURCES, validate_source

Object = dict[str, Any]

ACCESS_MODES = ("ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod")
VOLUME_MODES = ("Block", "Filesystem")
_RECLAIM_POLICIES = ("Delete", "Recycle", "Retain")
_INLINE = "may not be specified in the context of inline volumes"
_GENERAL = {
    "beta.kubernetes.io/arch": "kubernetes.io/arch",
    "beta.kubernetes.io/instance-type": "node.kubernetes.io/instance-type",
    "beta.kubernetes.io/os": "kubernetes.io/os",
    "failure-domain.beta.kubernetes.io/region": "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone": "topology.kubernetes.io/zone",
}
_MOUNT_OPTIONS = "volume.beta.kubernetes.io/mount-options"
# Sources to which the annotation may be given; upstream's list.
_MOUNTED_WITH_OPTIONS = frozenset(
    (
        "awsElasticBlockStore",
        "azureDisk",
        "azureFile",
        "cephfs",
        "cinder",
        "gcePersistentDisk",
        "glusterfs",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "quobyte",
        "rbd",
        "vsphereVolume",
    )
)


def validate_volume(volume: Object) -> list[Cause]:
    """Return what is wrong with a PersistentVolume."""
    name = volume["metadata"].get("name") or ""
    return [*_volume(volume.get("spec") or {}, name, "spec"), *_mount_options(volume)]


def validate_volume_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a PersistentVolume: it stays the same piece of storage."""
    spec, before = new["spec"], old["spec"]
    return [*validate_volume(new), *_changes(spec, before)]


def validate_volume_status(_new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with the status of a PersistentVolume: nothing is asked of it."""
    return []


def _changes(spec: Object, before: Object) -> Iterator[Cause]:
    after, was = ({name: each.get(name) for name in SOURCES} for each in (spec, before))
    at = "controllerExpandSecretRef"
    if after["csi"] and was["csi"] and was["csi"].get(at) is None:  # may be told later
        after["csi"] = {name: each for name, each in after["csi"].items() if name != at}
    changed = equality.differences(after, was, "spec")
    if changed:
        listed = "\n".join(f"changed: {each}" for each in changed)
        why = f"spec.persistentvolumesource is immutable after creation\n{listed}"
        yield forbidden("spec.persistentvolumesource", why)
    yield from immutable(spec.get("volumeMode"), before.get("volumeMode"), "volumeMode")
    if before.get("nodeAffinity") is not None:
        yield from _same_affinity(spec.get("nodeAffinity"), before["nodeAffinity"])
    name = "volumeAttributesClassName"
    if before.get(name) is not None and spec.get(name) is None:
        yield forbidden(f"spec.{name}", "update from non-nil value to nil is forbidden")


def _same_affinity(after: Object | None, before: Object) -> Iterator[Cause]:
    """Check that a volume stays where it is; labels that were renamed may be named anew."""
    if not equality.equal(_renamed(after), _renamed(before)):
        why = "field is immutable, except for updating from beta label to GA"
        yield invalid("nodeAffinity", _affinity_shown(after), why)


def _renamed(affinity: Any) -> Any:
    if isinstance(affinity, list):
        return [_renamed(each) for each in affinity]
    if not isinstance(affinity, dict):
        return _GENERAL.get(affinity, affinity) if isinstance(affinity, str) else affinity
    return {name: each if name == "values" else _renamed(each) for name, each in affinity.items()}


def _affinity_shown(affinity: Object | None) -> Object | None:
    wanted = (affinity or {}).get("required")
    terms = None if wanted is None else wanted.get("nodeSelectorTerms")
    shown = None if terms is None else [_shown(each) for each in terms]
    found = None if wanted is None else {"NodeSelectorTerms": shown}
    return None if affinity is None else {"Required": found}


def _shown(term: Object) -> Object:
    def listed(field: str) -> list[Object | None] | None:
        given = term.get(field)
        if given is None:
            return None
        whole = ({"key": "", "operator": "", **each} for each in given)
        return [struct(each, "Key", "Operator", "Values") for each in whole]

    return {"MatchExpressions": listed("matchExpressions"), "MatchFields": listed("matchFields")}


def _mount_options(volume: Object) -> Iterator[Cause]:
    spec = volume.get("spec") or {}
    if _MOUNT_OPTIONS not in (volume["metadata"].get("annotations") or {}):
        return
    if not any(spec.get(name) is not None for name in _MOUNTED_WITH_OPTIONS):
        why = "may not specify mount options for this volume type"
        yield forbidden(f"metadata.annotations.{_MOUNT_OPTIONS}", why)


def _volume(spec: Object, name: str, path: str) -> Iterator[Cause]:
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes")
    yield from access_modes(spec, path)
    yield from _capacity(spec.get("capacity"), f"{path}.capacity")
    policy, at = spec.get("persistentVolumeReclaimPolicy"), f"{path}.persistentVolumeReclaimPolicy"
    if policy and policy not in _RECLAIM_POLICIES:
        yield not_supported(at, policy, _RECLAIM_POLICIES)
    yield from _node_affinity(spec.get("nodeAffinity"), f"{path}.nodeAffinity")
    yield from validate_source(spec, name, path)
    if policy == "Recycle" and normpath((spec.get("hostPath") or {}).get("path") or ".") == "/":
        yield forbidden(at, "may not be 'recycle' for a hostPath mount of '/'")
    kind = spec.get("storageClassName")
    if kind:
        yield from causes_of(names.dns1123_subdomain(kind), f"{path}.storageClassName", kind)
    yield from optional_one_of(spec.get("volumeMode"), VOLUME_MODES, f"{path}.volumeMode")
    yield from _attributes_class(spec, path)


def validate_inline_volume(spec: Object, path: str) -> Iterator[Cause]:
    """Check what an attachment says of a volume that is no object: its CSI source, and little else."""
    for name in ("claimRef", "capacity"):
        if spec.get(name):
            yield forbidden(f"{path}.{name}", _INLINE)
    if spec.get("csi") is None:
        yield required(f"{path}.csi", "has to be specified in the context of inline volumes")
    if not spec.get("accessModes"):
        yield required(f"{path}.accessModes")
    yield from access_modes(spec, path)
    if spec.get("persistentVolumeReclaimPolicy") not in (None, "", "Retain"):
        why = "may only be Retain in the context of inline volumes"
        yield forbidden(f"{path}.persistentVolumeReclaimPolicy", why)
    if spec.get("nodeAffinity") is not None:
        yield forbidden(f"{path}.nodeAffinity", _INLINE)
    yield from validate_source(spec, "", path)
    if spec.get("storageClassName"):
        yield forbidden(f"{path}.storageClassName", _INLINE)
    if spec.get("volumeMode") not in (None, "Filesystem"):
        why = "may not specify volumeMode other than Filesystem in the context of inline volumes"
        yield forbidden(f"{path}.volumeMode", why)


def _capacity(given: Object | None, path: str) -> Iterator[Cause]:
    capacity = given or {}
    if not capacity:
        yield required(path)
    if "storage" not in capacity or len(capacity) > 1:
        shown = {name: quantity.canonical(each) for name, each in sorted(capacity.items())}
        yield not_supported(path, None if given is None else shown, ("storage",))
    for name, amount in capacity.items():
        if quantity.value(amount) < 0:
            why = "must be a valid resource quantity"
            yield invalid(f"{path}[{name}]", quantity.value(amount), why)
        if quantity.parse(amount) <= 0:
            why = "must be greater than zero"
            yield invalid(f"{path}[{name}]", quantity.canonical(amount), why)


def _attributes_class(spec: Object, path: str) -> Iterator[Cause]:
    name, at = spec.get("volumeAttributesClassName"), f"{path}.volumeAttributesClassName"
    if name is None:
        return
    if not name:
        yield required(at, "an empty string is disallowed")
    else:
        yield from causes_of(names.dns1123_subdomain(name), at, name)
    if spec.get("csi") is None:
        yield required(f"{path}.csi", "has to be specified when using volumeAttributesClassName")


def access_modes(spec: Object, path: str) -> Iterator[Cause]:
    """Check how a volume or claim is shared."""
    modes, at = spec.get("accessModes") or [], f"{path}.accessModes"
    for mode in modes:
        if mode not in ACCESS_MODES:
            yield not_supported(at, mode, ACCESS_MODES)
    known = set(modes) & set(ACCESS_MODES)
    if "ReadWriteOncePod" in known and len(known) > 1:
        yield forbidden(at, "may not use ReadWriteOncePod with other access modes")


def _node_affinity(affinity: Object | None, path: str) -> Iterator[Cause]:
    if affinity is None:
        return
    if affinity.get("required") is None:
        yield required(f"{path}.required", "must specify required node constraints")
    else:
        yield from validate_node_selector(affinity["required"], f"{path}.required")
