"""DefaultStorageClass, StorageObjectInUseProtection and PersistentVolumeClaimResize (plugin/pkg/admission/storage)."""

from collections.abc import Callable, Iterable
from fractions import Fraction

from minipod.api import quantity
from minipod.api.printers.storage import is_default_class
from minipod.client import Object

CLAIM_FINALIZER = "kubernetes.io/pvc-protection"
VOLUME_FINALIZER = "kubernetes.io/pv-protection"
_LEGACY_CLASS = "volume.beta.kubernetes.io/storage-class"


def admit_claim(claim: Object, classes: Iterable[Object]) -> None:
    """Give a new claim that names no class the default one, and protect it, in place."""
    spec, metadata = claim["spec"], claim["metadata"]
    named = _LEGACY_CLASS in (metadata.get("annotations") or {})
    if spec.get("storageClassName") is None and not named:
        default = find_default_class(classes)
        if default:
            spec["storageClassName"] = default
    _protect(claim, CLAIM_FINALIZER)


def admit_volume(volume: Object) -> None:
    """Protect a new volume, in place."""
    _protect(volume, VOLUME_FINALIZER)


def _protect(obj: Object, finalizer: str) -> None:
    finalizers = obj["metadata"].setdefault("finalizers", [])
    if finalizer not in finalizers:
        finalizers.append(finalizer)


def find_default_class(classes: Iterable[Object]) -> str:
    """Return the name of the default class: the newest of several, then the first by name."""
    defaults = [each["metadata"] for each in classes if is_default_class(each)]
    if not defaults:
        return ""
    newest = max(each.get("creationTimestamp") or "" for each in defaults)
    names = [each["name"] for each in defaults if (each.get("creationTimestamp") or "") == newest]
    return str(min(names))


def find_resize_problem(
    new: Object, old: Object, find_class: Callable[[str], Object | None]
) -> str:
    """Return why a claim cannot be made larger, "" when it can, or is not."""
    before, after = _size(old), _size(new)
    if after is None or before is None or after <= before:
        return ""
    if (old.get("status") or {}).get("phase") != "Bound":
        return "Only bound persistent volume claims can be expanded"
    name = (old.get("spec") or {}).get("storageClassName") or ""
    found = find_class(name) if name else None
    if found is None or not found.get("allowVolumeExpansion"):
        return (
            "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc "
            "must support resize"
        )
    return ""


def _size(claim: Object) -> Fraction | None:
    spec = claim.get("spec") or {}
    amount = ((spec.get("resources") or {}).get("requests") or {}).get("storage")
    return None if amount is None else quantity.parse(amount)
