from datetime import UTC, datetime, timedelta

import pytest

from minipod.api import kinds
from minipod.api.columns import table
from minipod.api.kind import Kind
from minipod.api.printers.durations import age, human_duration
from tests.unit.api.objects import POD, container, pod

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
S, M, H, D, Y = 1, 60, 3600, 86400, 365 * 86400


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (-1, "0s"),
        (-5, "<invalid>"),
        (59.9, "59s"),
        (119, "119s"),
        (120, "2m"),
        (125, "2m5s"),
        (9 * M + 59, "9m59s"),
        (10 * M + 5, "10m"),
        (179 * M, "179m"),
        (3 * H, "3h"),
        (3 * H + 5 * M, "3h5m"),
        (8 * H + 5 * M, "8h"),
        (47 * H, "47h"),
        (48 * H, "2d"),
        (50 * H, "2d2h"),
        (8 * D + H, "8d"),
        (729 * D, "729d"),
        (2 * Y, "2y"),
        (2 * Y + 3 * D, "2y3d"),
        (9 * Y, "9y"),
    ],
)
def test_durations(seconds, text):
    assert human_duration(timedelta(seconds=seconds)) == text


def test_ages():
    assert age("2026-01-01T11:59:30Z", NOW) == "30s"
    assert age("2026-01-01T11:59:30.250000Z", NOW) == "29s"
    assert age(None, NOW) == "<unknown>"


def row(status, spec=None, **metadata):
    """Return (READY, STATUS, RESTARTS) of a Pod."""
    made = pod(**(spec or {}))
    made["metadata"].update(metadata)
    made["status"] = status
    return tuple(table(POD, [made], False, NOW)["rows"][0]["cells"][1:4])


def status_of(name="main", **fields):
    return {"name": name, "ready": False, "restartCount": 0, **fields}


RUNNING = {"running": {"startedAt": "2026-01-01T11:00:00Z"}}
CRASH = {"waiting": {"reason": "CrashLoopBackOff"}}
LAST = {"terminated": {"exitCode": 1, "finishedAt": "2026-01-01T11:59:50Z"}}
TWO_INIT = {"initContainers": [container("i1"), container("i2")]}
SIDECAR = {"initContainers": [container("side", restartPolicy="Always")]}
READY = [{"type": "Ready", "status": "True"}, {"type": "Initialized", "status": "True"}]


def done(reason="Completed", code=0, **more):
    return {"terminated": {"exitCode": code, "reason": reason, **more}}


@pytest.mark.parametrize(
    ("status", "spec", "cells"),
    [
        ({"phase": "Pending"}, {}, ("0/1", "Pending", "0")),
        ({"phase": "Failed", "reason": "Evicted"}, {}, ("0/1", "Evicted", "0")),
        (
            {"phase": "Pending", "conditions": [{"type": "PodScheduled", "reason": "SchedulingGated"}]},
            {},
            ("0/1", "SchedulingGated", "0"),
        ),
        (
            {"phase": "Running", "containerStatuses": [status_of(ready=True, state=RUNNING)], "conditions": READY},
            {},
            ("1/1", "Running", "0"),
        ),
        (
            {"phase": "Pending", "containerStatuses": [status_of(state={"waiting": {"reason": "ContainerCreating"}})]},
            {},
            ("0/1", "ContainerCreating", "0"),
        ),
        (
            {"phase": "Running", "containerStatuses": [status_of(restartCount=3, state=CRASH, lastState=LAST)]},
            {},
            ("0/1", "CrashLoopBackOff", "3 (10s ago)"),
        ),
        (
            {"phase": "Running", "containerStatuses": [status_of(restartCount=2, ready=True, state=RUNNING)]},
            {},
            ("1/1", "Running", "2"),
        ),
        ({"phase": "Succeeded", "containerStatuses": [status_of(state=done())]}, {}, ("0/1", "Completed", "0")),
        (
            {"phase": "Failed", "containerStatuses": [status_of(state=done("Error", 1))]},
            {},
            ("0/1", "Error", "0"),
        ),
        (
            {"phase": "Failed", "containerStatuses": [status_of(state=done("OOMKilled", 137))]},
            {},
            ("0/1", "OOMKilled", "0"),
        ),
        (
            {"phase": "Failed", "containerStatuses": [status_of(state=done("", 3))]},
            {},
            ("0/1", "ExitCode:3", "0"),
        ),
        (
            {"phase": "Failed", "containerStatuses": [status_of(state=done("", 137, signal=9))]},
            {},
            ("0/1", "Signal:9", "0"),
        ),
        # one container is done, the other runs
        (
            {
                "phase": "Running",
                "conditions": READY,
                "containerStatuses": [
                    status_of("a", state=done()),
                    status_of("b", ready=True, state=RUNNING),
                ],
            },
            {"containers": [container("a"), container("b")]},
            ("1/2", "Running", "0"),
        ),
        (
            {
                "phase": "Running",
                "containerStatuses": [
                    status_of("a", state=done()),
                    status_of("b", ready=True, state=RUNNING),
                ],
            },
            {"containers": [container("a"), container("b")]},
            ("1/2", "NotReady", "0"),
        ),
        # initialization
        (
            {"phase": "Pending", "initContainerStatuses": [status_of("i1", state=RUNNING), status_of("i2")]},
            TWO_INIT,
            ("0/1", "Init:0/2", "0"),
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [status_of("i1", state=done()), status_of("i2", state=RUNNING)],
            },
            TWO_INIT,
            ("0/1", "Init:1/2", "0"),
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [status_of("i1", state={"waiting": {"reason": "PodInitializing"}})],
                "containerStatuses": [status_of(state={"waiting": {"reason": "PodInitializing"}})],
            },
            TWO_INIT,
            ("0/1", "Init:0/2", "0"),
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [status_of("i1", state=done()), status_of("i2", state=done())],
                "containerStatuses": [status_of(state={"waiting": {"reason": "PodInitializing"}})],
            },
            TWO_INIT,
            ("0/1", "PodInitializing", "0"),
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [status_of("i1", state=done("Error", 1), restartCount=1)]},
            TWO_INIT,
            ("0/1", "Init:Error", "1"),
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [status_of("i1", state=done("", 2))]},
            TWO_INIT,
            ("0/1", "Init:ExitCode:2", "0"),
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [status_of("i1", state=done("", 137, signal=9))]},
            TWO_INIT,
            ("0/1", "Init:Signal:9", "0"),
        ),
        (
            {
                "phase": "Pending",
                "initContainerStatuses": [status_of("i1", state=CRASH, restartCount=4, lastState=LAST)],
            },
            TWO_INIT,
            ("0/1", "Init:CrashLoopBackOff", "4 (10s ago)"),
        ),
        # restarts of init containers do not count once the containers run
        (
            {
                "phase": "Running",
                "conditions": READY,
                "initContainerStatuses": [status_of("i1", state=done(), restartCount=5), status_of("i2", state=done())],
                "containerStatuses": [status_of(ready=True, state=RUNNING, restartCount=1)],
            },
            TWO_INIT,
            ("1/1", "Running", "1"),
        ),
        # sidecars count like containers
        (
            {
                "phase": "Running",
                "conditions": READY,
                "initContainerStatuses": [status_of("side", state=RUNNING, started=True, ready=True, restartCount=2)],
                "containerStatuses": [status_of(ready=True, state=RUNNING, restartCount=1)],
            },
            SIDECAR,
            ("2/2", "Running", "3"),
        ),
        (
            {"phase": "Pending", "initContainerStatuses": [status_of("side", state=RUNNING, started=False)]},
            SIDECAR,
            ("0/2", "Init:0/1", "0"),
        ),
    ],
)  # fmt: skip
def test_pod_status_in_a_word(status, spec, cells):
    assert row(status, spec) == cells


def test_deletion_shows_until_the_pod_is_over():
    gone = {"deletionTimestamp": "2026-01-01T11:59:59Z"}
    running = {"phase": "Running", "containerStatuses": [status_of(ready=True, state=RUNNING)]}
    assert row(running, **gone) == ("1/1", "Terminating", "0")
    assert (
        row({"phase": "Succeeded", "containerStatuses": [status_of(state=done())]}, **gone)[1]
        == "Completed"
    )
    assert row({**running, "reason": "NodeLost"}, **gone)[1] == "Unknown"


def test_wide_columns_of_pods():
    made = pod(
        nodeName="n1", readinessGates=[{"conditionType": "a.b/c"}, {"conditionType": "a.b/d"}]
    )
    made["metadata"]["creationTimestamp"] = "2026-01-01T11:55:00Z"
    made["status"] = {
        "phase": "Running",
        "podIP": "10.0.0.1",
        "podIPs": [{"ip": "10.0.0.1"}],
        "conditions": [{"type": "a.b/c", "status": "True"}],
    }
    wide = table(POD, [made, pod()], True, NOW)
    assert [each["name"] for each in wide["columnDefinitions"]] == [
        "Name", "Ready", "Status", "Restarts", "Age", "IP", "Node", "Nominated Node", "Readiness Gates",
    ]  # fmt: skip
    assert [each["priority"] for each in wide["columnDefinitions"]] == [0] * 5 + [1] * 4
    assert wide["rows"][0]["cells"] == [
        "web",
        "0/1",
        "Running",
        "0",
        "5m",
        "10.0.0.1",
        "n1",
        "<none>",
        "1/2",
    ]
    assert wide["rows"][1]["cells"][4:] == ["<unknown>", "<none>", "<none>", "<none>", "<none>"]
    assert len(table(POD, [made], False, NOW)["columnDefinitions"]) == 5


def test_rows_carry_as_much_of_the_object_as_asked():
    made = pod()
    made["status"] = {"phase": "Succeeded"}
    [plain] = table(POD, [made], False, NOW)["rows"]
    assert plain["object"] == {
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": made["metadata"],
    }  # fmt: skip
    assert plain["conditions"][0]["reason"] == "Succeeded"
    assert table(POD, [made], False, NOW, "Object")["rows"][0]["object"] == made
    assert "object" not in table(POD, [made], False, NOW, "None")["rows"][0]


def cells(resource, **fields):
    kind = kinds.by_resource(resource)
    obj = {"metadata": {"name": "x", "creationTimestamp": "2026-01-01T11:00:00Z"}, **fields}
    found = table(kind, [obj], True, NOW)
    return dict(
        zip(
            (each["name"] for each in found["columnDefinitions"]),
            found["rows"][0]["cells"],
            strict=True,
        )
    )


def test_nodes():
    ready = {"conditions": [{"type": "Ready", "status": "True"}]}
    found = cells(
        "nodes",
        spec={"unschedulable": True},
        status={
            **ready,
            "addresses": [{"type": "InternalIP", "address": "10.0.0.9"}],
            "nodeInfo": {"kubeletVersion": "v1.36.0", "osImage": "Debian", "kernelVersion": "6.1"},
        },
    )
    assert found == {
        "Name": "x",
        "Status": "Ready,SchedulingDisabled",
        "Roles": "<none>",
        "Age": "60m",
        "Version": "v1.36.0",
        "Internal-IP": "10.0.0.9",
        "External-IP": "<none>",
        "OS-Image": "Debian",
        "Kernel-Version": "6.1",
        "Container-Runtime": "<unknown>",
    }
    assert cells("nodes")["Status"] == "Unknown"
    assert (
        cells("nodes", status={"conditions": [{"type": "Ready", "status": "False"}]})["Status"]
        == "NotReady"
    )
    labels = {"node-role.kubernetes.io/worker": "", "node-role.kubernetes.io/control-plane": ""}
    assert (
        cells("nodes", metadata={"name": "x", "labels": labels})["Roles"] == "control-plane,worker"
    )


def test_events():
    common = {
        "reason": "Pulled",
        "type": "Normal",
        "message": " done\n",
        "involvedObject": {"kind": "Pod", "name": "p"},
    }
    found = cells(
        "events",
        **common,
        firstTimestamp="2026-01-01T11:50:00Z",
        lastTimestamp="2026-01-01T11:59:00Z",
        count=4,
        source={"component": "kubelet", "host": "n1"},
    )
    assert found == {
        "Last Seen": "60s",
        "Type": "Normal",
        "Reason": "Pulled",
        "Object": "pod/p",
        "Subobject": "",
        "Source": "kubelet, n1",
        "Message": "done",
        "First Seen": "10m",
        "Count": 4,
        "Name": "x",
    }
    found = cells(
        "events", **common, eventTime="2026-01-01T11:59:00.000000Z", reportingComponent="sched"
    )
    assert (found["Last Seen"], found["First Seen"], found["Count"], found["Source"]) == (
        "60s",
        "60s",
        1,
        "sched",
    )
    series = {"count": 9, "lastObservedTime": "2026-01-01T11:59:59.000000Z"}
    found = cells("events", **common, eventTime="2026-01-01T11:59:00.000000Z", series=series)
    assert (found["Last Seen"], found["Count"]) == ("1s", 9)


def test_kinds_with_little_to_show():
    assert cells("namespaces", status={"phase": "Active"}) == {
        "Name": "x",
        "Status": "Active",
        "Age": "60m",
    }
    assert cells("secrets", type="Opaque", data={"a": "", "b": ""}) == {
        "Name": "x", "Type": "Opaque", "Data": 2, "Age": "60m",
    }  # fmt: skip
    assert cells("configmaps", data={"a": ""}, binaryData={"b": ""})["Data"] == 2
    assert cells("serviceaccounts") == {"Name": "x", "Age": "60m"}
    widget = Kind("example.com", "v1", "Widget", "widgets")
    [found] = table(widget, [{"metadata": {"name": "w"}}], True, NOW)["rows"]
    assert found["cells"] == ["w", ""]


def test_every_kind_declares_as_many_columns_as_it_has_cells():
    for kind in kinds.all_kinds():
        if "get" not in kind.verbs:
            continue  # a question, which nothing keeps
        whole = table(kind, [{"metadata": {}}], True, NOW)
        assert len(whole["rows"][0]["cells"]) == len(whole["columnDefinitions"])
