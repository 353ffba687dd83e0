"""A Pod's life: phases, restart policies, init containers, sidecars, termination."""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator

import pytest

from minipod.node.translate import container_id
from tests.e2e.instance import Instance, wait_readable, wait_until
from tests.e2e.leftovers import pod_cgroups
from tests.e2e.pods import (
    IDLE,
    container,
    container_pid,
    inside,
    inspect,
    pod,
    status_of,
    wait_gone,
    wait_phase,
    wait_pod,
)


def _delete(instance: Instance, *names: str) -> None:
    instance.run("delete", "pod", *names, "--now", "--ignore-not-found")


def test_a_pod_runs_shows_its_columns_and_its_log(shared: Instance) -> None:
    shared.apply(
        pod("runs", "echo hello from the pod; exec sleep 3600"), options=("--until-ready",)
    )
    header, row = shared.out("get", "pods", "runs").splitlines()
    assert header.split() == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert row.split()[:4] == ["runs", "1/1", "Running", "0"]
    wait_until(lambda: shared.out("logs", "runs") == "hello from the pod\n", "the log line")
    [link] = shared.layout.container_logs.glob("runs_default_c0-*.log")
    assert link.read_text().endswith(" stdout F hello from the pod\n")
    conditions = {c["type"]: c["status"] for c in shared.get("pod", "runs")["status"]["conditions"]}
    for condition in ("PodScheduled", "Initialized", "ContainersReady", "Ready"):
        assert conditions[condition] == "True"
    _delete(shared, "runs")


def test_events_tell_the_kubelets_story(shared: Instance) -> None:
    shared.apply(pod("story"), options=("--until-ready",))
    wait_until(lambda: "Started" in shared.out("events", "--for", "pod/story"), "the events")
    events = shared.out("events", "--for", "pod/story")
    for reason in ("Scheduled", "Pulled", "Created", "Started"):
        assert reason in events, events
    assert "Successfully assigned default/story to " in events
    _delete(shared, "story")


@pytest.mark.parametrize(
    ("policy", "command", "phase", "code"),
    [
        ("Never", "exit 0", "Succeeded", 0),
        ("Never", "exit 3", "Failed", 3),
        ("OnFailure", "exit 0", "Succeeded", 0),
    ],
)
def test_a_pod_that_ends_has_the_phase_its_policy_gives(
    shared: Instance, policy: str, command: str, phase: str, code: int
) -> None:
    shared.apply(pod("ends", command, restartPolicy=policy))
    ended = wait_phase(shared, "ends", phase)
    terminated = status_of(ended, "c0")["state"]["terminated"]
    assert terminated["exitCode"] == code
    assert terminated["reason"] == ("Completed" if code == 0 else "Error")
    assert status_of(ended, "c0")["restartCount"] == 0
    _delete(shared, "ends")


def test_on_failure_restarts_until_it_succeeds(shared: Instance) -> None:
    command = "n=$(cat /data/n 2>/dev/null || echo 0); echo $((n+1)) > /data/n; [ $n -ge 2 ]"
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    shared.apply(
        pod(
            "retries",
            container("c0", command, **mount),
            restartPolicy="OnFailure",
            volumes=[{"name": "data", "emptyDir": {}}],
        )
    )
    ended = wait_phase(shared, "retries", "Succeeded")
    assert status_of(ended, "c0")["restartCount"] == 2
    _delete(shared, "retries")


def test_a_crash_loop_backs_off_and_says_so(shared: Instance) -> None:
    shared.apply(pod("crashes", "echo once more; exit 7"))

    def backing_off(found: dict) -> bool:
        return (
            status_of(found, "c0")["state"].get("waiting", {}).get("reason") == "CrashLoopBackOff"
        )

    found = wait_pod(
        shared,
        "crashes",
        lambda p: p["status"].get("containerStatuses") and backing_off(p),
        "back-off",
    )
    status = status_of(found, "c0")
    assert (
        "restarting failed container=c0 pod=crashes_default("
        in status["state"]["waiting"]["message"]
    )
    assert status["lastState"]["terminated"]["exitCode"] == 7
    assert found["status"]["phase"] == "Running"
    wait_pod(shared, "crashes", lambda p: status_of(p, "c0")["restartCount"] >= 2, "two restarts")
    assert "once more" in shared.out("logs", "crashes", "--previous")
    assert "BackOff" in shared.out("events", "--for", "pod/crashes")
    _delete(shared, "crashes")


def test_a_program_over_its_memory_limit_is_oom_killed(shared: Instance) -> None:
    hungry = container(
        "c0",
        "dd if=/dev/zero of=/dev/shm/x bs=1M count=64",
        resources={"limits": {"memory": "16Mi"}},
    )
    hungry["command"] = ["sh", "-c", "x=0123456789abcdef; while :; do x=$x$x; done"]
    shared.apply(pod("hungry", hungry, restartPolicy="Never"))
    found = wait_phase(shared, "hungry", "Failed", 30)
    terminated = status_of(found, "c0")["state"]["terminated"]
    assert (terminated["reason"], terminated["exitCode"]) == ("OOMKilled", 137)
    _delete(shared, "hungry")


def test_init_containers_run_in_order_before_the_app(shared: Instance) -> None:
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    shared.apply(
        pod(
            "ordered",
            container("app", f"echo app >> /data/order; {IDLE}", **mount),
            initContainers=[
                container("first", "sleep 0.3; echo first >> /data/order", **mount),
                container("second", "echo second >> /data/order", **mount),
            ],
            volumes=[{"name": "data", "emptyDir": {}}],
        ),
        options=("--until-ready",),
    )
    assert inside(shared, "ordered", "cat /data/order").split() == ["first", "second", "app"]
    _delete(shared, "ordered")


def test_the_app_is_made_ready_beside_an_init_container_and_given_up_when_that_takes_long(
    shared: Instance,
) -> None:
    mount = {"volumeMounts": [{"name": "data", "mountPath": "/data"}]}
    with _watched_cgroups(shared) as seen:
        shared.apply(
            pod(
                "patient",
                container("app", f"echo app >> /data/order; {IDLE}", **mount),
                initContainers=[
                    container("slow", "until [ -e /data/go ]; do sleep 0.1; done", **mount)
                ],
                volumes=[{"name": "data", "emptyDir": {}}],
            ),
        )
        app = container_id(shared.get("pod", "patient"), "app", 0)
        wait_until(lambda: app in seen, "the app, made ready")
    wait_until(lambda: app not in _containers_cgroups(shared), "nothing left of it")
    directory = shared.layout.containers / app  # removed after its cgroup
    wait_until(lambda: not directory.exists(), "nor its directory")
    inside(shared, "patient", "touch /data/go", "slow")
    found = wait_phase(shared, "patient", "Running")
    assert status_of(found, "app")["restartCount"] == 0
    assert inside(shared, "patient", "cat /data/order", "app") == "app"
    _delete(shared, "patient")


@contextlib.contextmanager
def _watched_cgroups(instance: Instance) -> Iterator[set[str]]:
    """Gather the names of all containers that have a cgroup meanwhile: some have it for two seconds."""
    seen: set[str] = set()
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.02):
            seen.update(_containers_cgroups(instance))

    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield seen
    finally:
        done.set()
        watching.join()


def _containers_cgroups(instance: Instance) -> set[str]:
    names = set()
    for each in pod_cgroups(instance.layout.instance):
        with contextlib.suppress(FileNotFoundError):
            names.update(os.listdir(each))
    return names


def test_a_failing_init_container_with_never_fails_the_pod(shared: Instance) -> None:
    shared.apply(
        pod("stuck", initContainers=[container("bad", "exit 9")], restartPolicy="Never"),
    )
    found = wait_phase(shared, "stuck", "Failed")
    assert status_of(found, "bad")["state"]["terminated"]["exitCode"] == 9
    assert shared.out("get", "pod", "stuck", "--no-headers").split()[2] == "Init:Error"
    _delete(shared, "stuck")


def test_a_sidecar_serves_the_app_and_ends_after_it(shared: Instance) -> None:
    shared.apply(
        pod(
            "helped",
            container("app", "exit 0"),
            initContainers=[container("sidecar", restartPolicy="Always")],
            restartPolicy="Never",
        )
    )
    found = wait_phase(shared, "helped", "Succeeded")
    assert "terminated" in status_of(found, "sidecar")["state"]
    _delete(shared, "helped")


def test_a_program_that_ignores_sigterm_is_killed_after_its_grace(shared: Instance) -> None:
    stubborn = pod("stubborn", "trap '' TERM; while :; do sleep 1; done")
    stubborn["spec"]["terminationGracePeriodSeconds"] = 1
    shared.apply(stubborn, options=("--until-ready",))
    shared.run("delete", "pod", "stubborn", timeout=15)
    assert shared.run("get", "pod", "stubborn", check=False).returncode == 1


def test_until_ready_waits_for_an_image_that_was_changed(shared: Instance) -> None:
    shared.run("image", "tag", "busybox", "changed:1")
    slow = pod("changes", "trap '' TERM; while :; do sleep 1; done")
    slow["spec"]["terminationGracePeriodSeconds"] = 1
    shared.apply(slow, options=("--until-ready",))
    slow["spec"]["containers"][0]["image"] = "changed:1"
    shared.apply(slow, options=("--until-ready",))
    shown = status_of(shared.get("pod", "changes"), "c0")
    assert (shown["image"], shown["restartCount"]) == ("changed:1", 1)
    shared.run("delete", "pod", "changes", "--now")
    shared.run("image", "remove", "changed:1")


def test_a_pod_that_another_calls_failed_is_ended_and_stays_to_be_seen(shared: Instance) -> None:
    script = "trap 'exit 5' TERM; while :; do sleep 0.1; done"
    shared.apply(pod("judged", script), options=("--until-ready",))
    pidfd = os.pidfd_open(container_pid(shared, "judged"))
    status = {"phase": "Failed", "reason": "Judged", "message": "by another"}
    patch = json.dumps({"status": status})
    shared.run("patch", "pod", "judged", "--subresource=status", "--type=merge", "-p", patch)
    wait_readable(pidfd)
    os.close(pidfd)
    found = wait_pod(
        shared, "judged", lambda p: "terminated" in status_of(p, "c0")["state"], "its exit code"
    )
    assert status_of(found, "c0")["state"]["terminated"]["exitCode"] == 5
    assert {key: found["status"][key] for key in status} == status
    wait_until(lambda: not inspect(shared, "judged")["containers"], "its containers' removal")
    _delete(shared, "judged")


def test_force_deletion_removes_the_object_at_once_and_the_processes_soon(shared: Instance) -> None:
    shared.apply(
        pod("forced", "trap '' TERM; while :; do sleep 1; done"), options=("--until-ready",)
    )
    shared.run("delete", "pod", "forced", "--force", "--grace-period=0")
    wait_gone(shared, "forced", 2)


def test_a_killed_pause_is_remade_with_an_event(shared: Instance) -> None:
    shared.apply(pod("paused"), options=("--until-ready",))
    before = shared.get("pod", "paused")
    pause = inspect(shared, "paused")["sandboxes"][0]["pid"]
    os.kill(pause, signal.SIGKILL)
    found = wait_pod(
        shared,
        "paused",
        lambda p: (
            status_of(p, "c0")["restartCount"] == 1 and "running" in status_of(p, "c0")["state"]
        ),
        "a restart",
    )
    assert status_of(found, "c0")["containerID"] != status_of(before, "c0")["containerID"]
    assert "SandboxChanged" in shared.out("events", "--for", "pod/paused")
    _delete(shared, "paused")


def test_all_containers_are_restarted_in_the_sandbox_that_they_have(shared: Instance) -> None:
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    once = "[ -e /v/once ] || { until [ -e /v/go ]; do sleep 0.1; done; touch /v/once; exit 42; }"
    mounts = [{"name": "v", "mountPath": "/v"}]
    asking = container("c0", f"{once}; {IDLE}", volumeMounts=mounts, restartPolicyRules=[rule])
    asking["restartPolicy"] = "Never"
    volumes = [{"name": "v", "emptyDir": {}}]
    made = pod("afresh", asking, container("c1"), restartPolicy="Never", volumes=volumes)
    shared.apply(made, options=("--until-ready",))
    sandbox = [each["id"] for each in inspect(shared, "afresh")["sandboxes"]]
    inside(shared, "afresh", "touch /v/go", "c0")
    found = wait_pod(
        shared,
        "afresh",
        lambda p: [each["restartCount"] for each in p["status"]["containerStatuses"]] == [1, 1],
        "both again",
    )
    assert [each["id"] for each in inspect(shared, "afresh")["sandboxes"]] == sandbox
    told = {"type": "AllContainersRestarting", "status": "False"}
    assert any(told.items() <= each.items() for each in found["status"]["conditions"])
    _delete(shared, "afresh")
