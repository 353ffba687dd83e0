"""storage.k8s.io/v1 (pkg/apis/storage/v1/defaults.go)."""

from typing import Any

from minipod.api import deprecations
from minipod.api.kind import Hooks
from minipod.api.printers import storage as printers
from minipod.api.validation import storage

Object = dict[str, Any]


_DRIVER_DEFAULTS = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "requiresRepublish": False,
    "seLinuxMount": False,
}
_TOKENS_IN_SECRETS = (
    "spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible "
    "logging of tokens in volume attributes"
)


def _default_storage_class(storage_class: Object) -> None:
    storage_class.setdefault("reclaimPolicy", "Delete")
    storage_class.setdefault("volumeBindingMode", "Immediate")


def _default_driver(driver: Object) -> None:
    spec = driver.setdefault("spec", {})
    for name, value in _DRIVER_DEFAULTS.items():
        spec.setdefault(name, value)
    if not spec.get("volumeLifecycleModes"):
        spec["volumeLifecycleModes"] = ["Persistent"]


def _class_warnings(storage_class: Object) -> list[str]:
    return [
        warning
        for index, term in enumerate(storage_class.get("allowedTopologies") or ())
        for at, each in enumerate(term.get("matchLabelExpressions") or ())
        for warning in deprecations.of_node_label(
            each.get("key") or "", f"allowedTopologies[{index}].matchLabelExpressions[{at}].key"
        )
    ]


def _prepare_driver_create(driver: Object) -> None:
    """Scheduling that waits for a driver is alpha upstream, and off."""
    (driver.get("spec") or {}).pop("preventPodSchedulingIfMissing", None)


def _driver_warnings(driver: Object) -> list[str]:
    spec = driver["spec"]
    told = spec.get("tokenRequests") and spec.get("serviceAccountTokenInSecrets") is None
    return [_TOKENS_IN_SECRETS] if told else []


def _driver_change_warnings(new: Object, old: Object) -> list[str]:
    same = new["spec"].get("tokenRequests") == old["spec"].get("tokenRequests")
    return [] if same else _driver_warnings(new)


def _capacity_warnings(capacity: Object) -> list[str]:
    topology, path = capacity.get("nodeTopology") or {}, "nodeTopology"
    return [
        *deprecations.of_requirements(topology, path),
        *(
            warning
            for label in topology.get("matchLabels") or ()
            for warning in deprecations.of_node_label(label, f"{path}.matchLabels.{label}")
        ),
    ]


STORAGE_CLASS = Hooks(
    defaults=_default_storage_class,
    validate_create=storage.validate_storage_class,
    validate_update=storage.validate_storage_class_update,
    warnings=_class_warnings,
    update_warnings=lambda new, _old: _class_warnings(new),
    columns=printers.STORAGE_CLASS_COLUMNS,
    cells=printers.storage_class_cells,
)
VOLUME_ATTACHMENT = Hooks(
    validate_create=storage.validate_attachment,
    validate_update=storage.validate_attachment_update,
    validate_status_update=storage.validate_attachment_status,
    columns=printers.ATTACHMENT_COLUMNS,
    cells=printers.attachment_cells,
)
CSI_DRIVER = Hooks(
    defaults=_default_driver,
    validate_create=storage.validate_driver,
    validate_update=storage.validate_driver_update,
    prepare_create=_prepare_driver_create,
    warnings=_driver_warnings,
    update_warnings=_driver_change_warnings,
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
    warnings=_capacity_warnings,
    update_warnings=lambda new, _old: _capacity_warnings(new),
    columns=printers.CAPACITY_COLUMNS,
    cells=printers.capacity_cells,
)
VOLUME_ATTRIBUTES_CLASS = Hooks(
    validate_create=storage.validate_attributes_class,
    validate_update=storage.validate_attributes_class_update,
    columns=printers.ATTRIBUTES_CLASS_COLUMNS,
    cells=printers.attributes_class_cells,
)
