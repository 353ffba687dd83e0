"""postStart and preStop from outside: what waits for them, what they cost, what happens when they fail."""

import time
from pathlib import Path
from typing import Any

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import IDLE, container, inside, inspect, pod, status_of, wait_gone, wait_pod
from tests.e2e.test_probes import events

NOTED = "trap 'echo term >> /data/log; exit 0' TERM; while :; do sleep 0.1; done"
MOUNT = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}


def shell(script: str) -> dict[str, Any]:
    return {"exec": {"command": ["sh", "-c", script]}}


def on(directory: Path) -> list[dict[str, Any]]:
    return [{"name": "data", "hostPath": {"path": str(directory)}}]


def test_a_later_container_waits_for_post_start(shared: Instance) -> None:
    hook = shell("until [ -e /tmp/go ]; do sleep 0.1; done; echo hook > /tmp/hook")
    first = container("c0", lifecycle={"postStart": hook})
    shared.apply(pod("hooked", first, container("c1")))
    wait_until(lambda: _running(shared, "hooked") == ["c0"], "the first container")
    for _ in range(5):  # each look takes a command's time; the second container would have come
        assert _running(shared, "hooked") == ["c0"]
    found = wait_pod(shared, "hooked", lambda p: p["status"].get("podIP"), "word of its beginning")
    assert status_of(found, "c0")["state"] == {"waiting": {"reason": "ContainerCreating"}}
    assert (found["status"]["phase"], status_of(found, "c0")["ready"]) == ("Pending", False)
    pid = next(c["pid"] for c in inspect(shared, "hooked")["containers"] if c["name"] == "c0")
    Path(f"/proc/{pid}/root/tmp/go").touch()
    wait_pod(shared, "hooked", lambda p: status_of(p, "c1")["ready"], "the second container")
    assert inside(shared, "hooked", "cat /tmp/hook", "c0") == "hook"
    shared.run("delete", "pod", "hooked", "--now")


def _running(instance: Instance, name: str) -> list[str]:
    if instance.run("get", "pod", name, check=False).returncode:
        return []
    containers = inspect(instance, name)["containers"]
    return [each["name"] for each in containers if each["state"] == "running"]


def test_a_failing_post_start_kills_its_container_and_says_why(shared: Instance) -> None:
    hook = shell("echo secret; echo reason >&2; exit 7")
    shared.apply(pod("doomed", container("c0", lifecycle={"postStart": hook})))
    found = wait_pod(
        shared,
        "doomed",
        lambda p: p["status"].get("containerStatuses") and status_of(p, "c0")["restartCount"] >= 1,
        "a restart",
    )
    told = events(shared, "doomed")
    assert ("FailedPostStartHook", "PostStartHook failed") in told
    assert ("Killing", "FailedPostStartHook") in told
    assert "secret" not in str(told)
    assert "terminated" in status_of(found, "c0")["lastState"]
    wait_pod(
        shared,
        "doomed",
        lambda p: (
            status_of(p, "c0")["state"].get("waiting", {}).get("reason")
            in ("PostStartHookError", "CrashLoopBackOff")
        ),
        "its reason",
    )
    shared.run("delete", "pod", "doomed", "--now")


def test_pre_stop_comes_before_the_signal_and_its_failure_is_told(
    shared: Instance, tmp_path: Path
) -> None:
    hook = shell("sleep 0.5; echo hook >> /data/log; exit 1")
    shared.apply(
        pod(
            "polite",
            container("c0", NOTED, lifecycle={"preStop": hook}, **MOUNT),
            volumes=on(tmp_path),
        ),
        options=("--until-ready",),
    )
    shared.run("delete", "pod", "polite")
    assert (tmp_path / "log").read_text() == "hook\nterm\n"
    assert ("FailedPreStopHook", "PreStopHook failed") in events(shared, "polite")


def test_pre_stop_counts_against_the_grace_period(shared: Instance, tmp_path: Path) -> None:
    """A hook without end is cut off by the grace; the signal still comes, with two seconds to heed it."""
    shared.apply(
        pod(
            "endless",
            container("c0", NOTED, lifecycle={"preStop": shell("sleep 1000")}, **MOUNT),
            volumes=on(tmp_path),
            terminationGracePeriodSeconds=2,
        ),
        options=("--until-ready",),
    )
    began = time.monotonic()
    shared.run("delete", "pod", "endless", "--wait=false")
    wait_gone(shared, "endless")
    assert 2 <= time.monotonic() - began < 10
    assert (tmp_path / "log").read_text() == "term\n"


def test_without_grace_no_hook_runs_and_sleep_and_http_do(shared: Instance, tmp_path: Path) -> None:
    server = container(
        "server",
        "mkdir /www; (httpd -f -vv -p 8080 -h /www 2>> /data/requests) & " + IDLE,
        restartPolicy="Always",
        startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 30},
        **MOUNT,
    )
    hooks = {
        "postStart": {"httpGet": {"port": 8080, "path": "/started"}},
        "preStop": {"sleep": {"seconds": 1}},
    }
    shared.apply(
        pod(
            "asks",
            container("c0", NOTED, lifecycle=hooks, **MOUNT),
            initContainers=[server],
            volumes=on(tmp_path),
        ),
        options=("--until-ready",),
    )
    wait_until(lambda: "/started" in (tmp_path / "requests").read_text(), "the hook's request")
    began = time.monotonic()
    shared.run("delete", "pod", "asks")
    assert time.monotonic() - began >= 1
    hook = container("c0", NOTED, lifecycle={"preStop": shell("echo hook >> /data/log")}, **MOUNT)
    (tmp_path / "log").unlink()
    shared.apply(
        pod("hasty", hook, volumes=on(tmp_path), terminationGracePeriodSeconds=0),
        options=("--until-ready",),
    )
    shared.run("delete", "pod", "hasty")
    wait_until((tmp_path / "log").exists, "the end of the container")
    assert (tmp_path / "log").read_text() == "term\n"


def test_a_stop_signal_of_the_specs_own(shared: Instance, tmp_path: Path) -> None:
    script = "trap 'echo usr1 > /data/log; exit 0' USR1; while :; do sleep 0.1; done"
    shared.apply(
        pod(
            "signalled",
            container("c0", script, lifecycle={"stopSignal": "SIGUSR1"}, **MOUNT),
            volumes=on(tmp_path),
            os={"name": "linux"},
        ),
        options=("--until-ready",),
    )
    assert status_of(shared.get("pod", "signalled"), "c0")["stopSignal"] == "SIGUSR1"
    shared.run("delete", "pod", "signalled")
    assert (tmp_path / "log").read_text() == "usr1\n"


def test_a_pre_stop_that_ends_its_container_has_not_failed(shared: Instance) -> None:
    """As `nginx -s quit` does, faster than it ends itself."""
    quick = "trap 'exit 0' TERM; while :; do sleep 0.01; done"
    hook = {"preStop": {"exec": {"command": ["sh", "-c", "kill -TERM 1; sleep 10"]}}}
    failing = {"preStop": {"exec": {"command": ["sh", "-c", "kill -KILL $$"]}}}
    shared.apply(
        pod("quits", container("c0", quick, lifecycle=hook)),
        pod("fails", container("c0", quick, lifecycle=failing)),
        options=("--until-ready",),
    )
    began = time.monotonic()
    shared.run("delete", "pod", "quits", "fails")
    assert time.monotonic() - began < 5
    wait_until(
        lambda: "FailedPreStopHook" in shared.out("events", "--for", "pod/fails"), "the Event"
    )
    assert "FailedPreStopHook" not in shared.out("events", "--for", "pod/quits")
