"""PersistentVolumes and claims (pkg/apis/core/v1/defaults.go, pkg/registry/core)."""

from typing import Any

from minipod.api.hooks.templates import fill
from minipod.api.kind import Hooks
from minipod.api.printers import storage as printers
from minipod.api.validation import persistent_volumes

Object = dict[str, Any]


def _default_volume(volume: Object) -> None:
    spec = volume.setdefault("spec", {})
    fill(spec, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
    if spec.get("hostPath") is not None:
        fill(spec["hostPath"], {"type": ""})
    _default_phase(volume)


def _default_claim(claim: Object) -> None:
    fill(claim.setdefault("spec", {}), {"volumeMode": "Filesystem"})
    _default_phase(claim)


def _default_phase(obj: Object) -> None:
    fill(fill(obj, {"status": {}})["status"], {"phase": "Pending"})


def _prepare_claim_create(claim: Object) -> None:
    """`dataSource` and `dataSourceRef` say the same, where one is enough (KEP-1495)."""
    spec = claim["spec"]
    one, other = spec.get("dataSource"), spec.get("dataSourceRef")
    if one is not None and other is None:
        spec["dataSourceRef"] = dict(one)
    elif one is None and other is not None and not other.get("namespace"):
        spec["dataSource"] = {name: value for name, value in other.items() if name != "namespace"}


def _prepare_volume_status(new: Object, _old: Object) -> None:
    """Without a phase a volume is none."""
    fill(fill(new, {"status": {}})["status"], {"phase": "Pending"})


PERSISTENT_VOLUME = Hooks(
    defaults=_default_volume,
    prepare_status_update=_prepare_volume_status,
    validate_create=persistent_volumes.validate_volume,
    validate_update=persistent_volumes.validate_volume_update,
    validate_status_update=persistent_volumes.validate_volume_status,
    columns=printers.VOLUME_COLUMNS,
    cells=printers.volume_cells,
)
PERSISTENT_VOLUME_CLAIM = Hooks(
    defaults=_default_claim,
    prepare_create=_prepare_claim_create,
    prepare_status_update=_prepare_volume_status,
    validate_create=persistent_volumes.validate_claim,
    validate_update=persistent_volumes.validate_claim_update,
    validate_status_update=persistent_volumes.validate_claim_status,
    columns=printers.CLAIM_COLUMNS,
    cells=printers.claim_cells,
)
