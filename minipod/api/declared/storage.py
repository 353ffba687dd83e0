"""Kinds of storage: volumes and claims (core), and what provides and attaches them (storage.k8s.io)."""

from minipod.api.kind import Kind, Subresource, hooks_in

_STATUS_VERBS = ("get", "patch", "update")
_VOLUMES = "minipod.api.hooks.volumes"
_STORAGE = "minipod.api.hooks.storage"
_V1 = "io.k8s.api.storage.v1"

PERSISTENT_VOLUME = Kind(
    group="",
    version="v1",
    kind="PersistentVolume",
    plural="persistentvolumes",
    short_names=("pv",),
    namespaced=False,
    subresources=(Subresource("status", "PersistentVolume", _STATUS_VERBS),),
    schema_name="io.k8s.api.core.v1.PersistentVolume",
    has_status=True,
    hooks=hooks_in(_VOLUMES, "PERSISTENT_VOLUME"),
)
PERSISTENT_VOLUME_CLAIM = Kind(
    group="",
    version="v1",
    kind="PersistentVolumeClaim",
    plural="persistentvolumeclaims",
    short_names=("pvc",),
    subresources=(Subresource("status", "PersistentVolumeClaim", _STATUS_VERBS),),
    schema_name="io.k8s.api.core.v1.PersistentVolumeClaim",
    has_status=True,
    hooks=hooks_in(_VOLUMES, "PERSISTENT_VOLUME_CLAIM"),
)
STORAGE_CLASS = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="StorageClass",
    plural="storageclasses",
    short_names=("sc",),
    namespaced=False,
    schema_name=f"{_V1}.StorageClass",
    hooks=hooks_in(_STORAGE, "STORAGE_CLASS"),
)
VOLUME_ATTACHMENT = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="VolumeAttachment",
    plural="volumeattachments",
    namespaced=False,
    subresources=(Subresource("status", "VolumeAttachment", _STATUS_VERBS),),
    schema_name=f"{_V1}.VolumeAttachment",
    has_status=True,
    zero_status={"attached": False},
    unconditional_update=False,
    hooks=hooks_in(_STORAGE, "VOLUME_ATTACHMENT"),
)
CSI_DRIVER = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSIDriver",
    plural="csidrivers",
    namespaced=False,
    schema_name=f"{_V1}.CSIDriver",
    unconditional_update=False,
    generation=True,
    hooks=hooks_in(_STORAGE, "CSI_DRIVER"),
)
CSI_NODE = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSINode",
    plural="csinodes",
    namespaced=False,
    schema_name=f"{_V1}.CSINode",
    unconditional_update=False,
    hooks=hooks_in(_STORAGE, "CSI_NODE"),
)
CSI_STORAGE_CAPACITY = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="CSIStorageCapacity",
    plural="csistoragecapacities",
    schema_name=f"{_V1}.CSIStorageCapacity",
    unconditional_update=False,
    hooks=hooks_in(_STORAGE, "CSI_STORAGE_CAPACITY"),
)
VOLUME_ATTRIBUTES_CLASS = Kind(
    group="storage.k8s.io",
    version="v1",
    kind="VolumeAttributesClass",
    plural="volumeattributesclasses",
    short_names=("vac",),
    namespaced=False,
    schema_name=f"{_V1}.VolumeAttributesClass",
    hooks=hooks_in(_STORAGE, "VOLUME_ATTRIBUTES_CLASS"),
)

STORAGE = (
    PERSISTENT_VOLUME,
    PERSISTENT_VOLUME_CLAIM,
    STORAGE_CLASS,
    VOLUME_ATTACHMENT,
    CSI_DRIVER,
    CSI_NODE,
    CSI_STORAGE_CAPACITY,
    VOLUME_ATTRIBUTES_CLASS,
)
