"""storage.k8s.io/v1 (pkg/apis/storage/v1/defaults.go)."""

from typing import Any

from minipod.api.hooks.templates import fill
from minipod.api.kind import Hooks
from minipod.api.printers import storage as printers
from minipod.api.validation import storage

Object = dict[str, Any]


def _default_storage_class(storage_class: Object) -> None:
    fill(storage_class, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


def _default_driver(driver: Object) -> None:
    spec = driver.setdefault("spec", {})
    fill(
        spec,
        {
            "attachRequired": True,
            "podInfoOnMount": False,
            "storageCapacity": False,
            "fsGroupPolicy": "ReadWriteOnceWithFSType",
            "requiresRepublish": False,
            "seLinuxMount": False,
        },
    )
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


STORAGE_CLASS = Hooks(
    defaults=_default_storage_class,
    validate_create=storage.validate_storage_class,
    validate_update=storage.validate_storage_class_update,
    columns=printers.STORAGE_CLASS_COLUMNS,
    cells=printers.storage_class_cells,
)
VOLUME_ATTACHMENT = Hooks(
    validate_create=storage.validate_attachment,
    validate_update=storage.validate_attachment_update,
    columns=printers.ATTACHMENT_COLUMNS,
    cells=printers.attachment_cells,
)
CSI_DRIVER = Hooks(
    defaults=_default_driver,
    validate_create=storage.validate_driver,
    validate_update=storage.validate_driver_update,
    columns=printers.DRIVER_COLUMNS,
    cells=printers.driver_cells,
)
CSI_NODE = Hooks(
    validate_create=storage.validate_node,
    validate_update=storage.validate_node_update,
    columns=printers.NODE_COLUMNS,
    cells=printers.node_cells,
)
CSI_STORAGE_CAPACITY = Hooks(
    validate_create=storage.validate_capacity,
    validate_update=storage.validate_capacity_update,
    columns=printers.CAPACITY_COLUMNS,
    cells=printers.capacity_cells,
)
VOLUME_ATTRIBUTES_CLASS = Hooks(
    validate_create=storage.validate_attributes_class,
    validate_update=storage.validate_attributes_class_update,
    columns=printers.ATTRIBUTES_CLASS_COLUMNS,
    cells=printers.attributes_class_cells,
)
