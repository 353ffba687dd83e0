"""ReplicationController and PodTemplate, and what all kinds with Pod templates share."""

from typing import Any

from minipod.api import names
from minipod.api.kind import Hooks
from minipod.api.pod_defaults import default_pod_template
from minipod.api.pod_warnings import compute_warnings
from minipod.api.printers import workloads
from minipod.api.validation import templates
from minipod.api.warnings import part_at

Object = dict[str, Any]


def fill(obj: Object, values: Object) -> Object:
    """Set what is missing, empty text included, in place; return the object."""
    for name, value in values.items():
        if obj.get(name) in (None, ""):
            obj[name] = value
    return obj


def template_warnings(obj: Object, path: str = "spec.template") -> list[str]:
    """Return what is odd about the Pods of an object that makes them from the template at `path`."""
    return compute_warnings(part_at(obj, path), path)


def change_warnings(new: Object, old: Object) -> list[str]:
    """Return the same for a change of such an object: its name was told of when it was made."""
    return template_warnings(new) if new.get("spec") != old.get("spec") else []


def workload_warnings(obj: Object) -> list[str]:
    """Return what is odd about a new object that names its Pods after itself."""
    return [*name_warnings(obj), *template_warnings(obj)]


def name_warnings(obj: Object) -> list[str]:
    """Return what is odd about a name that is no DNS label: Pods are named after it."""
    problems = names.dns1123_label(obj["metadata"].get("name") or "a")
    if not problems:
        return []
    return [
        "metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; "
        f"a DNS label is recommended: [{' '.join(problems)}]"
    ]


def _default_replication_controller(controller: Object) -> None:
    """Labels and selector follow from the template's labels where they are not given."""
    spec = fill(controller.setdefault("spec", {}), {"replicas": 1})
    template = spec.get("template")
    if template is None:
        return
    default_pod_template(template)
    labels = (template.get("metadata") or {}).get("labels")
    if labels:
        if not spec.get("selector"):
            spec["selector"] = dict(labels)
        if not controller["metadata"].get("labels"):
            controller["metadata"]["labels"] = dict(labels)


def _default_template(template: Object) -> None:
    default_pod_template(template.setdefault("template", {}))


def _replication_controller_fields(controller: Object) -> dict[str, str]:
    return {"status.replicas": str((controller.get("status") or {}).get("replicas") or 0)}


REPLICATION_CONTROLLER = Hooks(
    defaults=_default_replication_controller,
    validate_create=templates.validate_replication_controller,
    validate_update=templates.validate_replication_controller_update,
    validate_status_update=templates.validate_replication_controller_status,
    fields=_replication_controller_fields,
    warnings=workload_warnings,
    update_warnings=change_warnings,
    columns=workloads.REPLICA_SET_COLUMNS,
    cells=workloads.replica_set_cells,
)
POD_TEMPLATE = Hooks(
    defaults=_default_template,
    warnings=lambda obj: template_warnings(obj, "template"),
    validate_create=templates.validate_template_object,
    validate_update=templates.validate_template_object_update,
    columns=workloads.POD_TEMPLATE_COLUMNS,
    cells=workloads.pod_template_cells,
)
