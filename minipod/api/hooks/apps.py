"""apps/v1 (pkg/apis/apps/v1/defaults.go, pkg/registry/apps)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import deprecations
from minipod.api.hooks.templates import (
    change_warnings,
    fill,
    template_warnings,
    workload_warnings,
)
from minipod.api.kind import Hooks
from minipod.api.pod_defaults import default_pod_template
from minipod.api.printers import workloads
from minipod.api.validation import apps

Object = dict[str, Any]

_GENERATION = "deprecated.daemonset.template.generation"


def _default_deployment(deployment: Object) -> None:
    spec = deployment.setdefault("spec", {})
    strategy = fill(spec.setdefault("strategy", {}), {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = fill(strategy, {"rollingUpdate": {}})["rollingUpdate"]
        fill(rolling, {"maxUnavailable": "25%", "maxSurge": "25%"})
    fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    default_pod_template(spec.setdefault("template", {}))


def _default_replica_set(replica_set: Object) -> None:
    spec = fill(replica_set.setdefault("spec", {}), {"replicas": 1})
    default_pod_template(spec.setdefault("template", {}))


def _default_stateful_set(stateful_set: Object) -> None:
    spec = stateful_set.setdefault("spec", {})
    strategy = spec.setdefault("updateStrategy", {})
    if not strategy.get("type"):
        fill(fill(strategy, {"type": "RollingUpdate"}), {"rollingUpdate": {}})
    if strategy["type"] == "RollingUpdate" and strategy.get("rollingUpdate") is not None:
        fill(strategy["rollingUpdate"], {"partition": 0, "maxUnavailable": 1})
    retention = fill(spec, {"persistentVolumeClaimRetentionPolicy": {}})
    fill(
        retention["persistentVolumeClaimRetentionPolicy"],
        {"whenDeleted": "Retain", "whenScaled": "Retain"},
    )
    fill(spec, {"podManagementPolicy": "OrderedReady", "replicas": 1, "revisionHistoryLimit": 10})
    default_pod_template(spec.setdefault("template", {}))
    for claim in spec.get("volumeClaimTemplates") or ():
        fill(claim, {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "status": {}})
        claim.setdefault("spec", {}).setdefault("volumeMode", "Filesystem")
        fill(claim["status"], {"phase": "Pending"})


def _default_daemon_set(daemon_set: Object) -> None:
    spec = daemon_set.setdefault("spec", {})
    strategy = fill(spec.setdefault("updateStrategy", {}), {"type": "RollingUpdate"})
    if strategy["type"] == "RollingUpdate":
        rolling = fill(strategy, {"rollingUpdate": {}})["rollingUpdate"]
        fill(rolling, {"maxUnavailable": 1, "maxSurge": 0})
    fill(spec, {"revisionHistoryLimit": 10})
    default_pod_template(spec.setdefault("template", {}))


def _default_controller_revision(revision: Object) -> None:
    fill(revision, {"revision": 0})


def _prepare_deployment_update(new: Object, old: Object) -> None:
    """Annotations reach the ReplicaSets of a Deployment: a change of them is a change to be observed."""
    metadata, before = new["metadata"], old["metadata"]
    if metadata.get("annotations", {}) != before.get("annotations", {}):
        metadata["generation"] = before.get("generation", 0) + 1


def _prepare_daemon_set_create(daemon_set: Object) -> None:
    metadata = daemon_set["metadata"]
    given = str((metadata.get("annotations") or {}).get(_GENERATION, ""))
    count = int(given) if given.isdigit() and int(given) > 0 else 1
    metadata["annotations"] = {_GENERATION: str(count), **(metadata.get("annotations") or {})}
    metadata["annotations"][_GENERATION] = str(count)


def _prepare_daemon_set_update(new: Object, old: Object) -> None:
    """The annotation counts the changes of the template; nobody else writes it."""
    before = (old["metadata"].get("annotations") or {}).get(_GENERATION, "1")
    changed = new["spec"].get("template") != old["spec"].get("template")
    count = str(int(before) + 1) if changed else before
    metadata = new["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), _GENERATION: count}


def _stateful_set_warnings(stateful_set: Object) -> list[str]:
    return [*template_warnings(stateful_set), *_spec_warnings(stateful_set, "")]


def _stateful_set_changes(new: Object, old: Object) -> list[str]:
    return [*change_warnings(new, old), *_spec_warnings(new, ".Spec")]


def _spec_warnings(stateful_set: Object, below: str) -> Iterator[str]:
    """Warn of claims and numbers; upstream's paths of the claims differ between create and update."""
    spec = stateful_set["spec"]
    for index, claim in enumerate(spec.get("volumeClaimTemplates") or ()):
        path = f"spec.volumeClaimTemplates[{index}]{below}"
        yield from deprecations.of_claim_spec(claim.get("spec") or {}, path)
    if spec["revisionHistoryLimit"] < 0:
        yield (
            "spec.revisionHistoryLimit: a negative value retains all historical revisions; "
            "a value >= 0 is recommended"
        )


def _replica_set_fields(replica_set: Object) -> dict[str, str]:
    return {"status.replicas": str((replica_set.get("status") or {}).get("replicas") or 0)}


DEPLOYMENT = Hooks(
    defaults=_default_deployment,
    prepare_update=_prepare_deployment_update,
    validate_create=apps.validate_deployment,
    validate_update=apps.validate_deployment_update,
    validate_status_update=apps.validate_deployment_status,
    warnings=workload_warnings,
    update_warnings=change_warnings,
    columns=workloads.DEPLOYMENT_COLUMNS,
    cells=workloads.deployment_cells,
)
REPLICA_SET = Hooks(
    defaults=_default_replica_set,
    validate_create=apps.validate_replica_set,
    validate_update=apps.validate_replica_set_update,
    validate_status_update=apps.validate_replica_set_status,
    fields=_replica_set_fields,
    warnings=workload_warnings,
    update_warnings=change_warnings,
    columns=workloads.REPLICA_SET_COLUMNS,
    cells=workloads.replica_set_cells,
)
STATEFUL_SET = Hooks(
    defaults=_default_stateful_set,
    validate_create=apps.validate_stateful_set,
    validate_update=apps.validate_stateful_set_update,
    validate_status_update=apps.validate_stateful_set_status,
    warnings=_stateful_set_warnings,
    update_warnings=_stateful_set_changes,
    columns=workloads.STATEFUL_SET_COLUMNS,
    cells=workloads.stateful_set_cells,
)
DAEMON_SET = Hooks(
    defaults=_default_daemon_set,
    prepare_create=_prepare_daemon_set_create,
    prepare_update=_prepare_daemon_set_update,
    validate_create=apps.validate_daemon_set,
    validate_update=apps.validate_daemon_set_update,
    validate_status_update=apps.validate_daemon_set_status,
    warnings=template_warnings,
    update_warnings=change_warnings,
    columns=workloads.DAEMON_SET_COLUMNS,
    cells=workloads.daemon_set_cells,
)
CONTROLLER_REVISION = Hooks(
    defaults=_default_controller_revision,
    validate_create=apps.validate_controller_revision,
    validate_update=apps.validate_controller_revision_update,
    columns=workloads.CONTROLLER_REVISION_COLUMNS,
    cells=workloads.controller_revision_cells,
)
