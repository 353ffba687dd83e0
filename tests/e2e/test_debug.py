"""Ephemeral containers: added to a running Pod, seeing its processes, attached to, never restarted."""

import json
import os
from typing import Any

from tests.e2e.instance import Instance
from tests.e2e.pods import container, inspect, pod, wait_pod


def ephemeral(found: dict[str, Any], name: str) -> dict[str, Any]:
    statuses = found["status"].get("ephemeralContainerStatuses") or []
    return next((each for each in statuses if each["name"] == name), {})


def debug(instance: Instance, pod_name: str, **fields: Any) -> None:
    body = {"spec": {"ephemeralContainers": [fields]}}
    instance.run(
        *("patch", "pod", pod_name, "--subresource", "ephemeralcontainers", "-p", json.dumps(body))
    )


def test_debug_joins_the_targets_processes_and_prints_what_it_sees(shared: Instance) -> None:
    idle = container("c0", "exec sleep 98765")
    shared.apply(pod("patient", idle, container("c1")), options=("--until-ready",))
    told = shared.run(
        *("debug", "patient", "--image=busybox", "--target=c0", "--attach", "-c", "doctor"),
        *("--", "sh", "-c", "ps -o pid,args; hostname; echo done"),
    )
    assert "Targeting container" in told.stderr
    assert "1 sleep 98765" in told.stdout
    assert "patient" in told.stdout
    found = wait_pod(
        shared, "patient", lambda p: "terminated" in ephemeral(p, "doctor").get("state", {}), "end"
    )
    status = ephemeral(found, "doctor")
    assert status["state"]["terminated"]["exitCode"] == 0
    assert (status["restartCount"], status["ready"]) == (0, False)
    assert [each["ready"] for each in found["status"]["containerStatuses"]] == [True, True]
    assert "done" in shared.out("logs", "patient", "-c", "doctor")
    shared.run("delete", "pod", "patient", "--now")


def test_without_a_target_it_has_processes_of_its_own_and_the_pods_network(
    shared: Instance,
) -> None:
    shared.apply(pod("host", container("c0", "exec sleep 98765")), options=("--until-ready",))
    debug(shared, "host", name="guest", image="busybox", command=["sleep", "1000"])
    wait_pod(shared, "host", lambda p: "running" in ephemeral(p, "guest").get("state", {}), "guest")
    pids = {each["name"]: each["pid"] for each in inspect(shared, "host")["containers"]}

    def namespace(name: str, kind: str) -> str:
        return os.readlink(f"/proc/{pids[name]}/ns/{kind}")

    assert namespace("guest", "net") == namespace("c0", "net")
    assert namespace("guest", "pid") != namespace("c0", "pid")
    assert namespace("guest", "mnt") != namespace("c0", "mnt")
    assert "98765" not in shared.out("exec", "host", "-c", "guest", "--", "ps")
    shared.run("delete", "pod", "host", "--now")


def test_what_was_added_can_neither_go_nor_change(shared: Instance) -> None:
    shared.apply(pod("fixed"), options=("--until-ready",))
    debug(shared, "fixed", name="one", image="busybox", command=["sleep", "1000"])
    refused = shared.run(
        *("patch", "pod", "fixed", "--subresource", "ephemeralcontainers", "--type", "json", "-p"),
        json.dumps([{"op": "remove", "path": "/spec/ephemeralContainers/0"}]),
        check=False,
    )
    assert 'existing ephemeral containers "one" may not be removed' in refused.stderr
    body = {
        "spec": {
            "ephemeralContainers": [
                {"name": "two", "image": "busybox", "targetContainerName": "none"}
            ]
        }
    }
    refused = shared.run(
        *("patch", "pod", "fixed", "--subresource", "ephemeralcontainers", "-p", json.dumps(body)),
        check=False,
    )
    assert 'targetContainerName: Not found: "none"' in refused.stderr
    shared.run("delete", "pod", "fixed", "--now")
