"""Kinds that make Pods: apps/v1, batch/v1, and the core group's ReplicationController and PodTemplate."""

from minipod.api.kind import Kind, Scale, Subresource, hooks_in

STATUS_VERBS = ("get", "patch", "update")


def _status(kind: str) -> Subresource:
    return Subresource("status", kind, STATUS_VERBS)


_SCALE = Subresource("scale", "Scale", STATUS_VERBS, "autoscaling", "v1")
_APPS = "minipod.api.hooks.apps"
_BATCH = "minipod.api.hooks.batch"
_TEMPLATES = "minipod.api.hooks.templates"

REPLICATION_CONTROLLER = Kind(
    group="",
    version="v1",
    kind="ReplicationController",
    plural="replicationcontrollers",
    short_names=("rc",),
    categories=("all",),
    subresources=(_SCALE, _status("ReplicationController")),
    schema_name="io.k8s.api.core.v1.ReplicationController",
    has_status=True,
    zero_status={"replicas": 0},
    generation=True,
    orphans_dependents=True,
    scale=Scale(),
    hooks=hooks_in(_TEMPLATES, "REPLICATION_CONTROLLER"),
)
POD_TEMPLATE = Kind(
    group="",
    version="v1",
    kind="PodTemplate",
    plural="podtemplates",
    schema_name="io.k8s.api.core.v1.PodTemplate",
    hooks=hooks_in(_TEMPLATES, "POD_TEMPLATE"),
)
DEPLOYMENT = Kind(
    group="apps",
    version="v1",
    kind="Deployment",
    plural="deployments",
    short_names=("deploy",),
    categories=("all",),
    subresources=(_SCALE, _status("Deployment")),
    schema_name="io.k8s.api.apps.v1.Deployment",
    has_status=True,
    generation=True,
    scale=Scale(),
    hooks=hooks_in(_APPS, "DEPLOYMENT"),
)
REPLICA_SET = Kind(
    group="apps",
    version="v1",
    kind="ReplicaSet",
    plural="replicasets",
    short_names=("rs",),
    categories=("all",),
    subresources=(_SCALE, _status("ReplicaSet")),
    schema_name="io.k8s.api.apps.v1.ReplicaSet",
    has_status=True,
    zero_status={"replicas": 0},
    generation=True,
    scale=Scale(),
    hooks=hooks_in(_APPS, "REPLICA_SET"),
)
STATEFUL_SET = Kind(
    group="apps",
    version="v1",
    kind="StatefulSet",
    plural="statefulsets",
    short_names=("sts",),
    categories=("all",),
    subresources=(_SCALE, _status("StatefulSet")),
    schema_name="io.k8s.api.apps.v1.StatefulSet",
    has_status=True,
    zero_status={"replicas": 0, "availableReplicas": 0},
    generation=True,
    name_rule="dns1123_label",
    scale=Scale(),
    hooks=hooks_in(_APPS, "STATEFUL_SET"),
)
DAEMON_SET = Kind(
    group="apps",
    version="v1",
    kind="DaemonSet",
    plural="daemonsets",
    short_names=("ds",),
    categories=("all",),
    subresources=(_status("DaemonSet"),),
    schema_name="io.k8s.api.apps.v1.DaemonSet",
    has_status=True,
    zero_status={
        "currentNumberScheduled": 0,
        "numberMisscheduled": 0,
        "desiredNumberScheduled": 0,
        "numberReady": 0,
    },
    generation=True,
    hooks=hooks_in(_APPS, "DAEMON_SET"),
)
CONTROLLER_REVISION = Kind(
    group="apps",
    version="v1",
    kind="ControllerRevision",
    plural="controllerrevisions",
    schema_name="io.k8s.api.apps.v1.ControllerRevision",
    hooks=hooks_in(_APPS, "CONTROLLER_REVISION"),
)
JOB = Kind(
    group="batch",
    version="v1",
    kind="Job",
    plural="jobs",
    categories=("all",),
    subresources=(_status("Job"),),
    schema_name="io.k8s.api.batch.v1.Job",
    has_status=True,
    generation=True,
    orphans_dependents=True,
    hooks=hooks_in(_BATCH, "JOB"),
)
CRON_JOB = Kind(
    group="batch",
    version="v1",
    kind="CronJob",
    plural="cronjobs",
    short_names=("cj",),
    categories=("all",),
    subresources=(_status("CronJob"),),
    schema_name="io.k8s.api.batch.v1.CronJob",
    has_status=True,
    generation=True,
    hooks=hooks_in(_BATCH, "CRON_JOB"),
)

WORKLOADS = (
    REPLICATION_CONTROLLER,
    POD_TEMPLATE,
    DEPLOYMENT,
    REPLICA_SET,
    STATEFUL_SET,
    DAEMON_SET,
    CONTROLLER_REVISION,
    JOB,
    CRON_JOB,
)
