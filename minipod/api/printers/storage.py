"""What `get` shows of storage."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.simple import AGE, NAME, age_cell, row

Object = dict[str, Any]

_UNSET = "<unset>"
_SHORT_MODES = {
    "ReadWriteOnce": "RWO",
    "ReadOnlyMany": "ROX",
    "ReadWriteMany": "RWX",
    "ReadWriteOncePod": "RWOP",
}
_DEFAULT_CLASS = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)
_DEFAULT_ATTRIBUTES = "volumeattributesclass.alpha.kubernetes.io/is-default-class"
_CLASS = Column("StorageClass", description="The class that it is of.")
_ATTRIBUTES = Column("VolumeAttributesClass", description="The class of what can change of it.")
_MODES = Column("Access Modes", description="In which ways it may be used.")
_VOLUME_MODE = Column("VolumeMode", description="A filesystem, or a block device.", priority=1)

VOLUME_COLUMNS = (
    NAME,
    Column("Capacity", description="How much it holds."),
    _MODES,
    Column("Reclaim Policy", description="What becomes of it without its claim."),
    Column("Status", description="What it is doing."),
    Column("Claim", description="Whose it is."),
    _CLASS,
    _ATTRIBUTES,
    Column("Reason", description="Why it failed."),
    AGE,
    _VOLUME_MODE,
)
CLAIM_COLUMNS = (
    NAME,
    Column("Status", description="What it is doing."),
    Column("Volume", description="The volume that it has."),
    Column("Capacity", description="How much that holds."),
    _MODES,
    _CLASS,
    _ATTRIBUTES,
    AGE,
    _VOLUME_MODE,
)
STORAGE_CLASS_COLUMNS = (
    NAME,
    Column("Provisioner", description="What makes its volumes."),
    Column("ReclaimPolicy", description="What becomes of volumes without their claims."),
    Column("VolumeBindingMode", description="When claims get their volumes."),
    Column("AllowVolumeExpansion", description="Whether volumes can be made larger."),
    AGE,
)
ATTACHMENT_COLUMNS = (
    NAME,
    Column("Attacher", description="What attaches the volume.", format="name"),
    Column("PV", description="The volume."),
    Column("Node", description="The node that it is attached to."),
    Column("Attached", type="boolean", description="Whether it is."),
    AGE,
)
DRIVER_COLUMNS = (
    NAME,
    Column("AttachRequired", type="boolean", description="Whether its volumes are attached first."),
    Column("PodInfoOnMount", type="boolean", description="Whether it is told of the Pod."),
    Column("StorageCapacity", type="boolean", description="Whether it tells of its capacity."),
    Column("TokenRequests", description="Audiences of the tokens that it wants."),
    Column(
        "RequiresRepublish", type="boolean", description="Whether it is called again and again."
    ),
    Column("Modes", description="Which volumes it provides."),
    AGE,
)
NODE_COLUMNS = (
    NAME,
    Column("Drivers", type="integer", description="How many CSI drivers the node has."),
    AGE,
)
CAPACITY_COLUMNS = (
    NAME,
    Column("StorageClassName", description="The class that it is of."),
    Column("Capacity", description="How much there is."),
)
ATTRIBUTES_CLASS_COLUMNS = (
    NAME,
    Column("DriverName", description="The CSI driver that knows the parameters."),
    AGE,
)


def volume_cells(volume: Object, now: datetime) -> list[Any]:
    """Return the cells of a PersistentVolume's row."""
    spec, status = volume.get("spec") or {}, volume.get("status") or {}
    claim = spec.get("claimRef")
    return [
        volume["metadata"].get("name", ""),
        (spec.get("capacity") or {}).get("storage", ""),
        _modes(spec),
        spec.get("persistentVolumeReclaimPolicy") or "",
        _phase(volume, status),
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _class(volume),
        spec.get("volumeAttributesClassName") or _UNSET,
        status.get("reason") or "",
        age_cell(volume, now),
        spec.get("volumeMode") or _UNSET,
    ]


def claim_cells(claim: Object, now: datetime) -> list[Any]:
    """Return the cells of a PersistentVolumeClaim's row."""
    spec, status = claim.get("spec") or {}, claim.get("status") or {}
    bound = bool(spec.get("volumeName"))
    return [
        claim["metadata"].get("name", ""),
        _phase(claim, status),
        spec.get("volumeName") or "",
        (status.get("capacity") or {}).get("storage", "0") if bound else "",
        _modes(status) if bound else "",
        _class(claim),
        spec.get("volumeAttributesClassName") or _UNSET,
        age_cell(claim, now),
        spec.get("volumeMode") or _UNSET,
    ]


def _phase(obj: Object, status: Object) -> str:
    return "Terminating" if obj["metadata"].get("deletionTimestamp") else status.get("phase") or ""


def _modes(part: Object) -> str:
    given = part.get("accessModes") or ()
    return ",".join(short for mode, short in _SHORT_MODES.items() if mode in given)


def _class(obj: Object) -> str:
    legacy = (obj["metadata"].get("annotations") or {}).get(
        "volume.beta.kubernetes.io/storage-class"
    )
    return legacy or (obj.get("spec") or {}).get("storageClassName") or ""


def is_default_class(storage_class: Object) -> bool:
    """Whether claims that name no class are of this one."""
    annotations = storage_class["metadata"].get("annotations") or {}
    return any(annotations.get(name) == "true" for name in _DEFAULT_CLASS)


def storage_class_cells(storage_class: Object, now: datetime) -> list[Any]:
    """Return the cells of a StorageClass's row."""
    name = storage_class["metadata"].get("name", "")
    return [
        f"{name} (default)" if is_default_class(storage_class) else name,
        storage_class.get("provisioner") or "",
        storage_class.get("reclaimPolicy") or "Delete",
        storage_class.get("volumeBindingMode") or "Immediate",
        bool(storage_class.get("allowVolumeExpansion")),
        age_cell(storage_class, now),
    ]


def attachment_cells(attachment: Object, now: datetime) -> list[Any]:
    """Return the cells of a VolumeAttachment's row."""
    spec, status = attachment.get("spec") or {}, attachment.get("status") or {}
    volume = (spec.get("source") or {}).get("persistentVolumeName") or ""
    attached = bool(status.get("attached"))
    return row(
        attachment, now, spec.get("attacher") or "", volume, spec.get("nodeName") or "", attached
    )


def driver_cells(driver: Object, now: datetime) -> list[Any]:
    """Return the cells of a CSIDriver's row."""
    spec = driver.get("spec") or {}
    audiences = [each.get("audience") or "" for each in spec.get("tokenRequests") or ()]
    flags = (spec.get(name) for name in ("attachRequired", "podInfoOnMount", "storageCapacity"))
    return row(
        driver,
        now,
        *map(bool, flags),
        ",".join(audiences) or _UNSET,
        bool(spec.get("requiresRepublish")),
        ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
    )


def node_cells(node: Object, now: datetime) -> list[Any]:
    """Return the cells of a CSINode's row."""
    return row(node, now, len((node.get("spec") or {}).get("drivers") or ()))


def capacity_cells(capacity: Object, _now: datetime) -> list[Any]:
    """Return the cells of a CSIStorageCapacity's row."""
    amount = capacity.get("capacity") or _UNSET
    return [capacity["metadata"].get("name", ""), capacity.get("storageClassName") or "", amount]


def attributes_class_cells(attributes: Object, now: datetime) -> list[Any]:
    """Return the cells of a VolumeAttributesClass's row."""
    name: str = attributes["metadata"].get("name", "")
    annotations = attributes["metadata"].get("annotations") or {}
    shown = f"{name} (default)" if annotations.get(_DEFAULT_ATTRIBUTES) == "true" else name
    return [shown, attributes.get("driverName") or "", age_cell(attributes, now)]
