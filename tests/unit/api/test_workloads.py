"""Kinds that make Pods: what they are by default, what is refused of them, what is shown."""

from copy import deepcopy
from datetime import UTC, datetime

import pytest

from minipod.api import cron, kinds, validation, warnings
from minipod.api.columns import table
from minipod.api.defaults import apply_defaults
from minipod.api.validation.job_policies import count_indexes
from tests.unit.api.objects import container, texts

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
LABELS = {"app": "web"}
SELECTOR = {"matchLabels": LABELS}


def template(**spec):
    return {"metadata": {"labels": dict(LABELS)}, "spec": {"containers": [container()], **spec}}


def made(resource, name="x", **spec):
    """An object as it lies in the store, made of a spec as it was typed."""
    kind = kinds.by_resource(resource)
    metadata = {"name": name, "namespace": "default", "uid": "0b7a", "generation": 1}
    metadata |= {"resourceVersion": "1", "creationTimestamp": "2026-01-01T11:59:00Z"}
    obj = {"metadata": metadata, "spec": deepcopy(spec)}
    apply_defaults(kind, obj)
    kind.hooks.prepare_create(obj)
    return obj


def refused(resource, name="x", **spec):
    kind = kinds.by_resource(resource)
    return texts(validation.validate_create(kind, made(resource, name, **spec)))


def refused_change(resource, before, **after):
    kind = kinds.by_resource(resource)
    old = made(resource, **before)
    new = deepcopy(old)
    new["spec"].update(deepcopy(after))
    apply_defaults(kind, new)
    kind.hooks.prepare_update(new, old)
    return texts(validation.validate_update(kind, new, old))


def refused_status(resource, spec, status, before=None):
    kind = kinds.by_resource(resource)
    old = {**made(resource, **spec), "status": before or {}}
    return texts(validation.validate_status_update(kind, {**old, "status": status}, old))


def cells(resource, obj):
    return table(kinds.by_resource(resource), [obj], True, NOW)["rows"][0]["cells"]


WEB = {"selector": SELECTOR, "template": template()}
ONCE = {"template": template(restartPolicy="Never")}


@pytest.mark.parametrize(
    ("resource", "spec", "expected"),
    [
        (
            "deployments.apps",
            WEB,
            {
                "replicas": 1,
                "strategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"},
                },
                "revisionHistoryLimit": 10,
                "progressDeadlineSeconds": 600,
            },
        ),
        ("deployments.apps", {**WEB, "strategy": {"type": "Recreate"}, "replicas": 0}, {
            "replicas": 0, "strategy": {"type": "Recreate"},
        }),
        ("replicasets.apps", WEB, {"replicas": 1}),
        (
            "statefulsets.apps",
            WEB,
            {
                "replicas": 1,
                "podManagementPolicy": "OrderedReady",
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"partition": 0, "maxUnavailable": 1},
                },
                "persistentVolumeClaimRetentionPolicy": {
                    "whenDeleted": "Retain",
                    "whenScaled": "Retain",
                },
                "revisionHistoryLimit": 10,
            },
        ),
        (
            "daemonsets.apps",
            WEB,
            {
                "updateStrategy": {
                    "type": "RollingUpdate",
                    "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1},
                },
                "revisionHistoryLimit": 10,
            },
        ),
        ("replicationcontrollers", {"template": template()}, {"selector": LABELS, "replicas": 1}),
        (
            "jobs.batch",
            ONCE,
            {
                "completions": 1,
                "parallelism": 1,
                "backoffLimit": 6,
                "completionMode": "NonIndexed",
                "suspend": False,
                "podReplacementPolicy": "TerminatingOrFailed",
            },
        ),
        ("jobs.batch", {**ONCE, "parallelism": 2}, {"parallelism": 2, "completions": None}),
        ("jobs.batch", {**ONCE, "completions": 3}, {"parallelism": 1, "completions": 3}),
        (
            "cronjobs.batch",
            {"schedule": "@daily", "jobTemplate": {"spec": ONCE}},
            {
                "concurrencyPolicy": "Allow",
                "suspend": False,
                "successfulJobsHistoryLimit": 3,
                "failedJobsHistoryLimit": 1,
            },
        ),
    ],
)  # fmt: skip
def test_defaults(resource, spec, expected):
    found = made(resource, **spec)["spec"]
    assert {name: found.get(name) for name in expected} == expected
    assert not refused(resource, **spec)


def test_a_template_is_defaulted_less_than_a_pod():
    spec = made("deployments.apps", **WEB)["spec"]["template"]["spec"]
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert not {"enableServiceLinks", "serviceAccountName", "tolerations", "priority"} & spec.keys()


def test_a_job_finds_its_pods_by_its_own_name_and_uid():
    job = made("jobs.batch", "once", **ONCE)
    labels = job["spec"]["template"]["metadata"]["labels"]
    assert labels["job-name"] == labels["batch.kubernetes.io/job-name"] == "once"
    assert job["spec"]["selector"] == {
        "matchLabels": {"batch.kubernetes.io/controller-uid": "0b7a"}
    }
    assert job["metadata"]["labels"]["app"] == "web"


@pytest.mark.parametrize(
    ("resource", "spec", "expected"),
    [
        (
            "deployments.apps",
            {"template": template()},
            [
                "spec.selector: Required value",
                'spec.template.metadata.labels: Invalid value: {"app":"web"}: `selector` does not match template '
                "`labels`",
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "selector": {}},
            ["spec.selector: Invalid value: {}: empty selector is invalid for deployment"],
        ),
        (
            "deployments.apps",
            {**WEB, "selector": {"matchLabels": {"app": "db"}}},
            [
                'spec.template.metadata.labels: Invalid value: {"app":"web"}: '
                "`selector` does not match template `labels`"
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "template": template(restartPolicy="Never")},
            [
                'spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: '
                '"Always"'
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "strategy": {"rollingUpdate": {"maxSurge": 0, "maxUnavailable": "0%"}}},
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "0%": may not be 0 when '
                "`maxSurge` is 0"
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "strategy": {"rollingUpdate": {"maxUnavailable": "101%"}}},
            [
                'spec.strategy.rollingUpdate.maxUnavailable: Invalid value: "101%": must not be '
                "greater than 100%"
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "strategy": {"rollingUpdate": {"maxSurge": "many"}}},
            [
                'spec.strategy.rollingUpdate.maxSurge: Invalid value: "many": a valid percent string '
                "must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used "
                "for validation is '[0-9]+%')"
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "strategy": {"type": "Recreate", "rollingUpdate": {}}},
            [
                "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is "
                "'Recreate'"
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "progressDeadlineSeconds": 5, "minReadySeconds": 5},
            [
                "spec.progressDeadlineSeconds: Invalid value: 5: must be greater than minReadySeconds"
            ],
        ),
        (
            "deployments.apps",
            {**WEB, "replicas": -1, "template": template(containers=[])},
            [
                "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
                "spec.template.spec.containers: Required value",
            ],
        ),
        (
            "replicasets.apps",
            {**WEB, "template": template(activeDeadlineSeconds=5)},
            [
                "spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in "
                "ReplicaSet is not Supported"
            ],
        ),
        (
            "statefulsets.apps",
            {**WEB, "updateStrategy": {"type": "OnDelete", "rollingUpdate": {"partition": 1}}},
            [
                'spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only '
                "allowed for updateStrategy 'RollingUpdate'"
            ],
        ),
        (
            "daemonsets.apps",
            {**WEB, "updateStrategy": {"rollingUpdate": {"maxSurge": 1}}},
            [
                "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when "
                "maxUnavailable is non-zero"
            ],
        ),
        (
            "jobs.batch",
            {"template": template()},
            [
                'spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"'
            ],
        ),
        (
            "jobs.batch",
            {**ONCE, "completionMode": "Indexed", "completions": None, "parallelism": 1},
            ["spec.completions: Required value: when completion mode is Indexed"],
        ),
        (
            "jobs.batch",
            {**ONCE, "backoffLimitPerIndex": 1},
            ["spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode"],
        ),
        (
            "jobs.batch",
            {
                **ONCE,
                "podFailurePolicy": {
                    "rules": [
                        {
                            "action": "FailJob",
                            "onExitCodes": {
                                "operator": "In",
                                "values": [2, 1],
                                "containerName": "y",
                            },
                        }
                    ]
                },
            },
            [
                'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "y": must be '
                "one of the container or initContainer names in the pod template",
                "spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1]: must be "
                "ordered",
            ],
        ),
        (
            "cronjobs.batch",
            {"schedule": "* * * *", "jobTemplate": {"spec": ONCE}},
            [
                'spec.schedule: Invalid value: "* * * *": expected exactly 5 fields, found 4: [* * * *]'
            ],
        ),
        (
            "cronjobs.batch",
            {"schedule": "TZ=UTC 0 * * * *", "jobTemplate": {"spec": ONCE}},
            [
                'spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in '
                "schedule, use timeZone field instead"
            ],
        ),
        (
            "cronjobs.batch",
            {"schedule": "@daily", "timeZone": "Mars/Base", "jobTemplate": {"spec": ONCE}},
            ['spec.timeZone: Invalid value: "Mars/Base": unknown time zone Mars/Base'],
        ),
    ],
)
def test_what_is_refused(resource, spec, expected):
    assert refused(resource, **spec) == expected


@pytest.mark.parametrize(
    ("resource", "before", "after", "expected"),
    [
        ("deployments.apps", WEB, {"replicas": 5, "template": template(hostNetwork=True)}, []),
        (
            "deployments.apps",
            WEB,
            {"selector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]}},
            [
                'spec.selector: Invalid value: {"matchExpressions":[{"key":"app","operator":"Exists"}]}'
                ": field is immutable"
            ],
        ),
        ("statefulsets.apps", WEB, {"replicas": 3, "revisionHistoryLimit": 1}, []),
        (
            "statefulsets.apps",
            WEB,
            {"serviceName": "other"},
            [
                "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', "
                "'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', "
                "'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
            ],
        ),
        ("jobs.batch", ONCE, {"parallelism": 0, "suspend": True, "backoffLimit": 1}, []),
        (
            "jobs.batch",
            ONCE,
            {"completions": 2},
            ["spec.completions: Invalid value: 2: field is immutable"],
        ),
        (
            "jobs.batch",
            {**ONCE, "completionMode": "Indexed", "completions": 3, "parallelism": 3},
            {"completions": 4},
            [
                "spec.completions: Invalid value: 4: can only be modified in tandem with "
                "spec.parallelism"
            ],
        ),
        (
            "jobs.batch",
            {**ONCE, "completionMode": "Indexed", "completions": 3, "parallelism": 3},
            {"completions": 4, "parallelism": 4},
            [],
        ),
    ],
)
def test_what_may_change(resource, before, after, expected):
    assert refused_change(resource, before, **after) == expected


def test_the_pods_of_a_job_are_fixed_but_for_their_place_before_it_starts():
    change = deepcopy(made("jobs.batch", **ONCE)["spec"]["template"])
    change["spec"]["nodeSelector"] = {"disk": "ssd"}
    [cause] = refused_change("jobs.batch", ONCE, template=change)
    assert cause.startswith("spec.template: Invalid value: ")
    assert cause.endswith(": field is immutable")
    assert refused_change("jobs.batch", {**ONCE, "suspend": True}, template=change) == []
    change["spec"]["containers"][0]["image"] = "other"
    assert refused_change("jobs.batch", {**ONCE, "suspend": True}, template=change)


def test_changes_of_annotations_and_templates_are_counted():
    deployments, daemons = (
        kinds.by_resource(f"{each}.apps") for each in ("deployments", "daemonsets")
    )
    old = made("deployments.apps", **WEB)
    new = deepcopy(old)
    new["metadata"]["annotations"] = {"a": "b"}
    deployments.hooks.prepare_update(new, old)
    assert new["metadata"]["generation"] == 2
    old = made("daemonsets.apps", **WEB)
    new = deepcopy(old)
    key = "deprecated.daemonset.template.generation"
    assert old["metadata"]["annotations"][key] == "1"
    del new["metadata"]["annotations"]
    new["spec"]["template"]["spec"]["hostNetwork"] = True
    daemons.hooks.prepare_update(new, old)
    assert new["metadata"]["annotations"][key] == "2"


@pytest.mark.parametrize(
    ("resource", "status", "before", "expected"),
    [
        ("deployments.apps", {"replicas": 3, "readyReplicas": 2, "availableReplicas": 2}, {}, []),
        (
            "deployments.apps",
            {"replicas": 1, "readyReplicas": 2, "availableReplicas": 3},
            {},
            [
                "status.readyReplicas: Invalid value: 2: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than status.replicas",
                "status.availableReplicas: Invalid value: 3: cannot be greater than readyReplicas",
            ],
        ),
        (
            "statefulsets.apps",
            {"replicas": 0},
            {"collisionCount": 2},
            ["status.collisionCount: Invalid value: 0: cannot be decremented"],
        ),
        (
            "daemonsets.apps",
            {"numberReady": -1},
            {},
            ["status.numberReady: Invalid value: -1: must be greater than or equal to 0"],
        ),
    ],
)
def test_status(resource, status, before, expected):
    assert refused_status(resource, WEB, status, before) == expected


def test_a_job_that_is_over_stays_over():
    done = {
        "startTime": "2026-01-01T11:00:00Z",
        "completionTime": "2026-01-01T11:01:00Z",
        "succeeded": 1,
        "conditions": [
            {"type": "SuccessCriteriaMet", "status": "True"},
            {"type": "Complete", "status": "True"},
        ],
    }
    assert refused_status("jobs.batch", ONCE, done) == []
    assert refused_status("jobs.batch", ONCE, {**done, "conditions": []}, done) == [
        'status.completionTime: Invalid value: "2026-01-01T11:01:00Z": cannot set completionTime '
        "when there is no Complete=True condition",
        "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
        "status.conditions: Invalid value: cannot disable the SuccessCriteriaMet=True condition",
    ]


@pytest.mark.parametrize(
    ("resource", "spec", "status", "expected"),
    [
        (
            "deployments.apps",
            {**WEB, "replicas": 3},
            {"readyReplicas": 1, "updatedReplicas": 3, "availableReplicas": 1},
            ["x", "1/3", 3, 1, "60s", "main", "busybox:1", "app=web"],
        ),
        (
            "replicasets.apps",
            {**WEB, "replicas": 2},
            {"replicas": 2, "readyReplicas": 1},
            ["x", 2, 2, 1, "60s", "main", "busybox:1", "app=web"],
        ),
        ("statefulsets.apps", WEB, {}, ["x", "0/1", "60s", "main", "busybox:1"]),
        (
            "daemonsets.apps",
            {**WEB, "template": template(nodeSelector={"b": "2", "a": "1"})},
            {"desiredNumberScheduled": 1, "numberReady": 1},
            ["x", 1, 0, 1, 0, 0, "a=1,b=2", "60s", "main", "busybox:1", "app=web"],
        ),
        (
            "jobs.batch",
            ONCE,
            {"startTime": "2026-01-01T11:59:30Z", "active": 1},
            ["x", "Running", "0/1", "30s", "60s", "main", "busybox:1"],
        ),
        (
            "jobs.batch",
            {**ONCE, "parallelism": 3},
            {"conditions": [{"type": "Failed", "status": "True"}]},
            ["x", "Failed", "0/1 of 3", "", "60s", "main", "busybox:1"],
        ),
        (
            "cronjobs.batch",
            {"schedule": "*/5 * * * *", "jobTemplate": {"spec": ONCE}},
            {"active": [{}], "lastScheduleTime": "2026-01-01T11:55:00Z"},
            ["x", "*/5 * * * *", "<none>", "False", 1, "5m", "60s", "main", "busybox:1", "<none>"],
        ),
    ],
)
def test_rows(resource, spec, status, expected):
    found = cells(resource, {**made(resource, **spec), "status": status})
    assert found[: len(expected)] == expected


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("*/5 0-3,22 1 jan-mar mon", ""),
        ("@every 1h30m", ""),
        ("0 0 1 1 ?", ""),
        ("60 * * * *", "end of range (60) above maximum (59): 60"),
        ("* * * * 7", "end of range (7) above maximum (6): 7"),
        ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
        ("5-1 * * * *", "beginning of range (5) beyond end of range (1): 5-1"),
        ("*/0 * * * *", "step of range should be a positive number: */0"),
        ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
        ("a * * * *", 'failed to parse int from a: strconv.Atoi: parsing "a": invalid syntax'),
        ("@never", "unrecognized descriptor: @never"),
    ],
)
def test_schedules(text, error):
    if not error:
        cron.parse(text)
        return
    with pytest.raises(cron.CronError) as caught:
        cron.parse(text)
    assert str(caught.value) == error


def test_a_schedule_is_sets_of_numbers():
    found = cron.parse("*/20 8-10 * feb mon-wed")
    assert found.minutes == {0, 20, 40}
    assert found.hours == {8, 9, 10}
    assert found.months == {2}
    assert found.weekdays == {1, 2, 3}
    assert (found.any_day, found.any_weekday) == (True, False)


def test_indexes_are_counted():
    assert count_indexes("0,2-4,7", 10) == 5
    for text, error in (("3,1", "non-increasing"), ("x", "cannot convert"), ("12", "too large")):
        with pytest.raises(ValueError, match=error):
            count_indexes(text, 10)


def test_a_kind_without_a_controller_says_so():
    for group, name in warnings.WITHOUT_CONTROLLER:
        kind = next(k for k in kinds.all_kinds() if (k.group, k.kind) == (group, name))
        found = warnings.unsupported(kind, {"metadata": {"name": "x"}})
        assert any(
            each.startswith(f"{name} accepted and stored, but not acted on") for each in found
        )


def test_what_is_not_done_for_a_pod_is_told_of_a_template():
    kind, spec = kinds.by_resource("deployments.apps"), {**WEB, "template": template()}
    spec["template"]["spec"]["securityContext"] = {"seLinuxChangePolicy": "Recursive"}
    found = warnings.of_new(kind, made("deployments.apps", "a.b", **spec))
    assert any(
        each.startswith("spec.template.spec.securityContext.seLinuxChangePolicy: ")
        for each in found
    )
    assert found[-1].startswith("metadata.name: this is used in Pod names and hostnames")
