"""When a Pod has all that it will ever have."""

from typing import Any

import pytest

from minipod.cli.readiness import compute_waiting

Object = dict[str, Any]
RUNS = {"name": "web", "ready": True, "state": {"running": {}}}
UNREADY = {"name": "web", "ready": False, "state": {"running": {}}}
DONE = {"name": "job", "ready": False, "state": {"terminated": {"exitCode": 0}}}
BROKEN = {"name": "job", "ready": False, "state": {"terminated": {"exitCode": 3}}}

WHY = {"exitCode": 128, "reason": "StartError", "message": "no such file"}
UNSTARTED = {"name": "job", "ready": False, "state": {"terminated": WHY}}


def _pod(policy: str, *statuses: Object) -> Object:
    spec = {"restartPolicy": policy, "containers": [{"name": "web"}, {"name": "job"}]}
    condition = {"type": "Ready", "status": "False", "message": "containers with unready status"}
    status = {"phase": "Running", "conditions": [condition], "containerStatuses": list(statuses)}
    return {"metadata": {"name": "p"}, "spec": spec, "status": status}


def test_a_pod_that_is_being_deleted_is_not_ready() -> None:
    ready = _pod("Always", RUNS)
    ready["status"]["conditions"][0]["status"] = "True"
    assert compute_waiting(ready) == ""
    ready["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    assert compute_waiting(ready) == "it is being deleted"


@pytest.mark.parametrize(
    ("pod", "waits"),
    [
        (_pod("Never", RUNS, DONE), ""),
        (_pod("OnFailure", RUNS, DONE), ""),
        (_pod("Always", RUNS, DONE), "containers with unready status"),
        (_pod("Never", UNREADY, DONE), 'container "web": running, not ready yet'),
        (_pod("Never", RUNS, BROKEN), 'container "job": Error, exit code 3'),
        (
            _pod("Never", RUNS, UNSTARTED),
            'container "job": StartError, exit code 128: no such file',
        ),
        (_pod("Never", RUNS), "containers with unready status"),
    ],
)
def test_what_has_ended_well_is_waited_for_no_longer(pod: Object, waits: str) -> None:
    assert compute_waiting(pod) == waits
