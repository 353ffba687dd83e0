"""PersistentVolumes and claims (pkg/apis/core/v1/defaults.go, pkg/registry/core)."""

from typing import Any

from minipod.api import deprecations
from minipod.api.hooks.templates import fill
from minipod.api.kind import Hooks
from minipod.api.printers import storage as printers
from minipod.api.validation import persistent_volumes, volume_claims

Object = dict[str, Any]

_SOURCE_DEFAULTS: dict[str, Object] = {
    "azureDisk": {
        "cachingMode": "ReadWrite",
        "fsType": "ext4",
        "kind": "Shared",
        "readOnly": False,
    },
    "hostPath": {"type": ""},
    "iscsi": {"iscsiInterface": "default"},
    "rbd": {"keyring": "/etc/ceph/keyring", "pool": "rbd", "user": "admin"},
    "scaleIO": {"fsType": "xfs", "storageMode": "ThinProvisioned"},
}
_LOST_SOURCES = {
    "cephfs": "deprecated in v1.28, non-functional in v1.31+",
    "photonPersistentDisk": "deprecated in v1.11, non-functional in v1.16+",
    "scaleIO": "deprecated in v1.16, non-functional in v1.22+",
    "storageos": "deprecated in v1.22, non-functional in v1.25+",
    "glusterfs": "deprecated in v1.25, non-functional in v1.26+",
    "rbd": "deprecated in v1.28, non-functional in v1.31+",
}
_RECYCLED = (
    "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended "
    "approach is to use dynamic provisioning."
)
_KNOWN_SOURCES = (
    ("", "PersistentVolumeClaim"),
    ("snapshot.storage.k8s.io", "VolumeSnapshot"),
)


def _default_volume(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    fill(spec, {"persistentVolumeReclaimPolicy": "Retain"})
    spec.setdefault("volumeMode", "Filesystem")
    for source, values in _SOURCE_DEFAULTS.items():
        if spec.get(source) is not None:
            fill(spec[source], values)
    _default_phase(volume)


def _default_claim(claim: Object) -> None:
    claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
    _default_phase(claim)


def _default_phase(obj: Object) -> None:
    fill(fill(obj, {"status": {}})["status"], {"phase": "Pending"})


def _prepare_claim_create(claim: Object) -> None:
    _complete_sources(claim["spec"], {})


def _prepare_claim_update(new: Object, old: Object) -> None:
    for claim in (new, old):
        _complete_sources(claim["spec"], old["spec"])


def _complete_sources(spec: Object, before: Object) -> None:
    """`dataSource` and `dataSourceRef` say the same, where one is enough (KEP-1495).

    Unless a claim had it before, what upstream does not know in `dataSource` is dropped, and so is a reference to
    another namespace, which it does not allow by default.
    """
    had = before.get("dataSource") is not None or before.get("dataSourceRef") is not None
    if (spec.get("dataSourceRef") or {}).get("namespace") and not before.get("dataSourceRef"):
        spec.pop("dataSourceRef")
    one, other = spec.get("dataSource"), spec.get("dataSourceRef")
    if one is not None and other is None:
        if not had and (one.get("apiGroup") or "", one.get("kind")) not in _KNOWN_SOURCES:
            spec.pop("dataSource")
        else:
            spec["dataSourceRef"] = dict(one)
    elif one is None and other is not None and not other.get("namespace"):
        spec["dataSource"] = {name: value for name, value in other.items() if name != "namespace"}


def _prepare_volume_status(new: Object, _old: Object) -> None:
    """Without a phase a volume is none."""
    fill(fill(new, {"status": {}})["status"], {"phase": "Pending"})


def _volume_warnings(volume: Object) -> list[str]:
    spec = volume["spec"]
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or ()
    recycled = spec.get("persistentVolumeReclaimPolicy") == "Recycle"
    at = "spec.nodeAffinity.required.nodeSelectorTerms"
    return [
        *deprecations.of_annotations(volume, deprecations.STORAGE_ANNOTATIONS),
        *([_RECYCLED] if recycled else []),
        *deprecations.of_node_terms(terms, at),
        *(
            f"spec.{'storageOS' if name == 'storageos' else name}: {why}"
            for name, why in _LOST_SOURCES.items()
            if spec.get(name) is not None
        ),
    ]


def _claim_warnings(claim: Object) -> list[str]:
    name = "volume.beta.kubernetes.io/storage-class"
    named = {name: deprecations.STORAGE_ANNOTATIONS[name]}
    return [
        *deprecations.of_annotations(claim, named),
        *deprecations.of_claim_spec(claim["spec"], "spec"),
    ]


PERSISTENT_VOLUME = Hooks(
    defaults=_default_volume,
    prepare_status_update=_prepare_volume_status,
    validate_create=persistent_volumes.validate_volume,
    validate_update=persistent_volumes.validate_volume_update,
    validate_status_update=persistent_volumes.validate_volume_status,
    warnings=_volume_warnings,
    update_warnings=lambda new, _old: _volume_warnings(new),
    columns=printers.VOLUME_COLUMNS,
    cells=printers.volume_cells,
)
PERSISTENT_VOLUME_CLAIM = Hooks(
    defaults=_default_claim,
    prepare_create=_prepare_claim_create,
    prepare_update=_prepare_claim_update,
    prepare_status_update=_prepare_volume_status,
    validate_create=volume_claims.validate_claim,
    validate_update=volume_claims.validate_claim_update,
    validate_status_update=volume_claims.validate_claim_status,
    warnings=_claim_warnings,
    update_warnings=lambda new, _old: _claim_warnings(new),
    columns=printers.CLAIM_COLUMNS,
    cells=printers.claim_cells,
)
