"""What `get` shows of kinds that make Pods."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age, human_duration, parse_time
from minipod.api.printers.simple import AGE, NAME, NONE, age_cell
from minipod.api.selectors import SelectorError, selector_text

Object = dict[str, Any]

_CONTAINERS = Column("Containers", description="Names of the containers.", priority=1)
_IMAGES = Column("Images", description="Images of the containers.", priority=1)
_SELECTOR = Column("Selector", description="Which Pods are its own.", priority=1)
_POD_PARTS = (_CONTAINERS, _IMAGES)

DEPLOYMENT_COLUMNS = (
    NAME,
    Column("Ready", description="How many Pods are ready, of how many wanted."),
    Column("Up-to-date", description="How many Pods are of the current template."),
    Column("Available", description="How many Pods have been ready for long enough."),
    AGE,
    *_POD_PARTS,
    _SELECTOR,
)
REPLICA_SET_COLUMNS = (
    NAME,
    Column("Desired", type="integer", description="How many Pods are wanted."),
    Column("Current", type="integer", description="How many Pods there are."),
    Column("Ready", type="integer", description="How many Pods are ready."),
    AGE,
    *_POD_PARTS,
    _SELECTOR,
)
STATEFUL_SET_COLUMNS = (
    NAME,
    Column("Ready", description="How many Pods are ready, of how many wanted."),
    AGE,
    *_POD_PARTS,
)
DAEMON_SET_COLUMNS = (
    NAME,
    Column("Desired", type="integer", description="On how many nodes a Pod is wanted."),
    Column("Current", type="integer", description="On how many of them there is one."),
    Column("Ready", type="integer", description="How many Pods are ready."),
    Column("Up-to-date", type="integer", description="How many Pods are of the current template."),
    Column("Available", type="integer", description="How many have been ready for long enough."),
    Column("Node Selector", description="Which nodes get a Pod."),
    AGE,
    *_POD_PARTS,
    _SELECTOR,
)
CONTROLLER_REVISION_COLUMNS = (
    NAME,
    Column("Controller", description="What it is a revision of."),
    Column("Revision", description="The number of the revision."),
    AGE,
)
JOB_COLUMNS = (
    NAME,
    Column("Status", description="What the Job has come to."),
    Column("Completions", description="How many Pods have succeeded, of how many wanted."),
    Column("Duration", description="Time from its start to its completion, or to now."),
    AGE,
    *_POD_PARTS,
    _SELECTOR,
)
CRON_JOB_COLUMNS = (
    NAME,
    Column("Schedule", description="When Jobs are made, in cron's notation."),
    Column("Timezone", description="The time zone of the schedule."),
    Column("Suspend", type="boolean", description="Whether no Jobs are made for now."),
    Column("Active", type="integer", description="How many Jobs are running."),
    Column("Last Schedule", description="Time since a Job was made last."),
    AGE,
    *_POD_PARTS,
    _SELECTOR,
)
POD_TEMPLATE_COLUMNS = (
    NAME,
    Column("Containers", description="Names of the containers."),
    Column("Images", description="Images of the containers."),
    Column("Pod Labels", description="Labels of the Pods."),
)
_JOB_CONDITIONS = (
    ("Suspended", "Suspended"),
    ("FailureTarget", "FailureTarget"),
    ("SuccessCriteriaMet", "SuccessCriteriaMet"),
)


def deployment_cells(deployment: Object, now: datetime) -> list[Any]:
    """Return the cells of a Deployment's row."""
    spec, status = deployment.get("spec") or {}, deployment.get("status") or {}
    return [
        deployment["metadata"].get("name", ""),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        status.get("updatedReplicas") or 0,
        status.get("availableReplicas") or 0,
        age_cell(deployment, now),
        *container_cells(_pod_spec(spec)),
        selector_cell(spec.get("selector")),
    ]


def replica_set_cells(replica_set: Object, now: datetime) -> list[Any]:
    """Return the cells of a ReplicaSet's or ReplicationController's row."""
    spec, status = replica_set.get("spec") or {}, replica_set.get("status") or {}
    return [
        replica_set["metadata"].get("name", ""),
        spec.get("replicas") or 0,
        status.get("replicas") or 0,
        status.get("readyReplicas") or 0,
        age_cell(replica_set, now),
        *container_cells(_pod_spec(spec)),
        selector_cell(spec.get("selector")),
    ]


def stateful_set_cells(stateful_set: Object, now: datetime) -> list[Any]:
    """Return the cells of a StatefulSet's row."""
    spec, status = stateful_set.get("spec") or {}, stateful_set.get("status") or {}
    return [
        stateful_set["metadata"].get("name", ""),
        f"{status.get('readyReplicas') or 0}/{spec.get('replicas') or 0}",
        age_cell(stateful_set, now),
        *container_cells(_pod_spec(spec)),
    ]


def daemon_set_cells(daemon_set: Object, now: datetime) -> list[Any]:
    """Return the cells of a DaemonSet's row."""
    spec, status = daemon_set.get("spec") or {}, daemon_set.get("status") or {}
    numbers = (
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    )
    return [
        daemon_set["metadata"].get("name", ""),
        *(status.get(name) or 0 for name in numbers),
        labels_cell(_pod_spec(spec).get("nodeSelector")),
        age_cell(daemon_set, now),
        *container_cells(_pod_spec(spec)),
        selector_cell(spec.get("selector")),
    ]


def controller_revision_cells(revision: Object, now: datetime) -> list[Any]:
    """Return the cells of a ControllerRevision's row."""
    metadata = revision["metadata"]
    owners = [each for each in metadata.get("ownerReferences") or () if each.get("controller")]
    controller = _owner_text(owners[0]) if owners else NONE
    name = metadata.get("name", "")
    return [name, controller, revision.get("revision") or 0, age_cell(revision, now)]


def _owner_text(owner: Object) -> str:
    group = (owner.get("apiVersion") or "").rpartition("/")[0]
    kind = (owner.get("kind") or "").lower()
    return f"{kind}.{group}/{owner.get('name')}" if group else f"{kind}/{owner.get('name')}"


def job_cells(job: Object, now: datetime) -> list[Any]:
    """Return the cells of a Job's row."""
    spec, status = job.get("spec") or {}, job.get("status") or {}
    return [
        job["metadata"].get("name", ""),
        _job_status(job),
        _completions(spec, status),
        _job_duration(status, now),
        age_cell(job, now),
        *container_cells(_pod_spec(spec)),
        selector_cell(spec.get("selector")),
    ]


def _job_status(job: Object) -> str:
    conditions = (job.get("status") or {}).get("conditions") or ()
    holding = {each.get("type") for each in conditions if each.get("status") == "True"}
    for name in ("Complete", "Failed"):
        if name in holding:
            return name
    if job["metadata"].get("deletionTimestamp"):
        return "Terminating"
    return next((word for name, word in _JOB_CONDITIONS if name in holding), "Running")


def _completions(spec: Object, status: Object) -> str:
    succeeded, parallelism = status.get("succeeded") or 0, spec.get("parallelism") or 0
    if spec.get("completions") is not None:
        return f"{succeeded}/{spec['completions']}"
    return f"{succeeded}/1 of {parallelism}" if parallelism > 1 else f"{succeeded}/1"


def _job_duration(status: Object, now: datetime) -> str:
    start, end = parse_time(status.get("startTime")), parse_time(status.get("completionTime"))
    return "" if start is None else human_duration((end or now) - start)


def cron_job_cells(cron_job: Object, now: datetime) -> list[Any]:
    """Return the cells of a CronJob's row."""
    spec, status = cron_job.get("spec") or {}, cron_job.get("status") or {}
    template = ((spec.get("jobTemplate") or {}).get("spec")) or {}
    last = status.get("lastScheduleTime")
    suspend = spec.get("suspend")
    return [
        cron_job["metadata"].get("name", ""),
        spec.get("schedule") or "",
        spec.get("timeZone") or NONE,
        "<unset>" if suspend is None else str(bool(suspend)),
        len(status.get("active") or ()),
        age(last, now) if last else NONE,
        age_cell(cron_job, now),
        *container_cells(_pod_spec(template)),
        selector_cell(template.get("selector")),
    ]


def pod_template_cells(template: Object, _now: datetime) -> list[Any]:
    """Return the cells of a PodTemplate's row."""
    inner = template.get("template") or {}
    labels = labels_cell((inner.get("metadata") or {}).get("labels"))
    return [template["metadata"].get("name", ""), *container_cells(_pod_spec(template)), labels]


def container_cells(spec: Object) -> tuple[str, str]:
    """Return the names and the images of a Pod's containers."""
    containers = spec.get("containers") or ()
    names = ",".join(each.get("name") or "" for each in containers)
    return names, ",".join(each.get("image") or "" for each in containers)


def selector_cell(selector: Object | None) -> str:
    """Return a selector (a LabelSelector, or a map of labels) as text."""
    try:
        return selector_text(selector) or NONE
    except SelectorError:
        return "<error>"


def labels_cell(labels: Object | None) -> str:
    """Return a map of labels as text."""
    return ",".join(f"{key}={value}" for key, value in sorted((labels or {}).items())) or NONE


def _pod_spec(spec: Object) -> Object:
    found: Object = (spec.get("template") or {}).get("spec") or {}
    return found
