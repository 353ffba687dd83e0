"""Probes seen from outside: what they restart, what they hold back, what they say, what they leave behind."""

import json
import os
from typing import Any

from tests.e2e.instance import Instance, wait_until
from tests.e2e.pods import (
    IDLE,
    container,
    inside,
    inspect,
    pod,
    status_of,
    wait_phase,
    wait_pod,
)


def probe(*command: str, **numbers: Any) -> dict[str, Any]:
    return {"exec": {"command": list(command)}, "periodSeconds": 1, **numbers}


def events(instance: Instance, name: str) -> list[tuple[str, str]]:
    found = instance.get("events", "--field-selector", f"involvedObject.name={name}")["items"]
    return [(each["reason"], each["message"]) for each in found]


def condition(found: dict[str, Any], name: str) -> dict[str, Any]:
    return next(each for each in found["status"]["conditions"] if each["type"] == name)


def test_a_failed_liveness_probe_restarts_the_container_in_upstreams_words(
    shared: Instance,
) -> None:
    command = f"touch /tmp/healthy; {IDLE}"
    live = container("c0", command, livenessProbe=probe("cat", "/tmp/healthy", failureThreshold=2))
    shared.apply(pod("lively", live), options=("--until-ready",))
    before = status_of(shared.get("pod", "lively"), "c0")
    address = shared.get("pod", "lively")["status"]["podIP"]
    inside(shared, "lively", "rm /tmp/healthy")
    after = wait_pod(shared, "lively", lambda p: status_of(p, "c0")["restartCount"] == 1, "restart")
    assert after["status"]["phase"] == "Running"
    assert after["status"]["podIP"] == address
    status = status_of(after, "c0")
    assert status["containerID"] != before["containerID"]
    assert status["lastState"]["terminated"]["containerID"] == before["containerID"]
    wait_pod(shared, "lively", lambda p: status_of(p, "c0")["ready"], "ready again")
    told = events(shared, "lively")
    missing = "cat: can't open '/tmp/healthy': No such file or directory\n"
    assert ("Unhealthy", f"Liveness probe failed: {missing}") in told
    assert ("Killing", "Container c0 failed liveness probe, will be restarted") in told
    shared.run("delete", "pod", "lively", "--now")


def test_readiness_over_http_turns_the_conditions_and_restarts_nothing(shared: Instance) -> None:
    ready = {
        "httpGet": {"path": "/ready", "port": "web"},
        "periodSeconds": 1,
        "failureThreshold": 1,
    }
    server = container(
        "c0",
        "mkdir /www; exec httpd -f -p 8080 -h /www",
        readinessProbe=ready,
        ports=[{"name": "web", "containerPort": 8080}],
    )
    shared.apply(pod("webby", server))
    found = wait_phase(shared, "webby", "Running")
    wait_until(
        lambda: (
            ("Unhealthy", "Readiness probe failed: HTTP probe failed with statuscode: 404")
            in events(shared, "webby")
        ),
        "the probe's event",
    )
    found = shared.get("pod", "webby")
    for name in ("Ready", "ContainersReady"):
        told = condition(found, name)
        assert (told["status"], told["reason"]) == ("False", "ContainersNotReady")
        assert told["message"] == "containers with unready status: [c0]"
    assert status_of(found, "c0")["started"] is True
    inside(shared, "webby", "echo yes > /www/ready")
    wait_pod(shared, "webby", lambda p: condition(p, "Ready")["status"] == "True", "ready")
    inside(shared, "webby", "rm /www/ready")
    found = wait_pod(
        shared, "webby", lambda p: condition(p, "Ready")["status"] == "False", "not ready"
    )
    assert status_of(found, "c0")["restartCount"] == 0
    shared.run("delete", "pod", "webby", "--now")


def test_a_startup_probe_holds_back_the_others_and_the_next_init_container(
    shared: Instance,
) -> None:
    """The sidecar counts as started only once its port answers; until then the app does not exist."""
    sidecar = container(
        "side",
        "while [ ! -e /tmp/go ]; do sleep 0.1; done; exec httpd -f -p 9000 -h /tmp",
        restartPolicy="Always",
        startupProbe={"tcpSocket": {"port": 9000}, "periodSeconds": 1, "failureThreshold": 100},
        livenessProbe=probe("false", failureThreshold=1),
    )
    shared.apply(pod("held", initContainers=[sidecar]))
    wait_until(
        lambda: any("Startup probe failed: dial tcp" in m for _, m in events(shared, "held")),
        "the startup probe's first failure",
    )
    found = shared.get("pod", "held")
    assert status_of(found, "side")["started"] is False
    assert status_of(found, "side")["restartCount"] == 0  # the liveness probe would have killed it
    assert status_of(found, "c0")["state"]["waiting"]["reason"] == "PodInitializing"
    assert condition(found, "Initialized")["message"] == (
        "containers with incomplete status: [side]"
    )
    assert [c["name"] for c in inspect(shared, "held")["containers"]] == ["side"]
    inside(shared, "held", "touch /tmp/go", "side")
    wait_pod(shared, "held", lambda p: "running" in status_of(p, "c0")["state"], "the app runs")
    wait_pod(shared, "held", lambda p: status_of(p, "side")["restartCount"] >= 1, "liveness speaks")
    shared.run("delete", "pod", "held", "--now")


def test_a_probe_that_lasts_too_long_is_killed_with_everything_it_started(
    shared: Instance,
) -> None:
    slow = ("sh", "-c", "sleep 4711 & sleep 4712")
    shared.apply(pod("slow", container("c0", readinessProbe=probe(*slow, timeoutSeconds=1))))
    message = f'Readiness probe failed: command timed out: "{" ".join(slow)}" timed out after 1s'
    wait_until(lambda: ("Unhealthy", message) in events(shared, "slow"), "the time-out's event")

    def lefts() -> int:
        return sum(f"sleep\x00{n}" in text for text in _command_lines() for n in (4711, 4712))

    shared.run("delete", "pod", "slow", "--now")
    wait_until(lambda: lefts() == 0, "nothing of the probe is left")


def _command_lines() -> list[str]:
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline") as file:
                    found.append(file.read())
            except OSError:
                continue
    return found


def test_a_probes_own_grace_period_replaces_the_pods(shared: Instance) -> None:
    deaf = "trap '' TERM; while :; do sleep 0.2; done"
    live = probe("false", failureThreshold=1, terminationGracePeriodSeconds=1)
    shared.apply(
        pod("deaf", container("c0", deaf, livenessProbe=live), terminationGracePeriodSeconds=300)
    )
    found = wait_pod(shared, "deaf", lambda p: _restarts(p) >= 1, "killed long before 300 s")
    assert status_of(found, "c0")["lastState"]["terminated"]["exitCode"] == 137
    shared.run("delete", "pod", "deaf", "--grace-period=0", "--force")


def _restarts(found: dict[str, Any]) -> int:
    statuses = found["status"].get("containerStatuses")
    return statuses[0]["restartCount"] if statuses else 0


def test_with_restart_policy_never_a_failed_probe_ends_the_container_for_good(
    shared: Instance,
) -> None:
    polite = "trap 'exit 3' TERM; while :; do sleep 0.1; done"
    live = container("c0", polite, livenessProbe=probe("false", failureThreshold=1))
    shared.apply(pod("once", live, container("other"), restartPolicy="Never"))
    found = wait_pod(
        shared,
        "once",
        lambda p: _state(p, "c0").get("terminated", {}).get("exitCode") == 3,
        "the end of c0",
    )
    assert found["status"]["phase"] == "Running"
    assert ("Killing", "Container c0 failed liveness probe") in events(shared, "once")
    shared.run("delete", "pod", "once", "--now")


def _state(found: dict[str, Any], name: str) -> dict[str, Any]:
    state = status_of(found, name)["state"] if found["status"].get("containerStatuses") else {}
    return dict(state)


def test_what_was_ready_stays_ready_over_a_daemons_death(fresh: Instance) -> None:
    """Its next probe is an hour away, and would fail: nothing may flap meanwhile (KEP-4781)."""
    hourly = {"periodSeconds": 3600, "failureThreshold": 1}
    probes = {
        "readinessProbe": probe("test", "-e", "/tmp/well", **hourly),
        "startupProbe": probe("test", "-e", "/tmp/well", **hourly),
    }
    command = f"touch /tmp/well; {IDLE}"
    fresh.apply(pod("stays", container("c0", command, **probes)), options=("--until-ready",))
    inside(fresh, "stays", "rm /tmp/well")
    before = fresh.get("pod", "stays")
    fresh.kill_daemon()
    fresh.up()
    wait_until(lambda: fresh.run("get", "nodes", check=False).returncode == 0, "the API")
    fresh.run("label", "pod", "stays", "looked=at")
    found = wait_pod(
        fresh, "stays", lambda p: p["metadata"].get("labels"), "a sync of the new daemon"
    )
    assert status_of(found, "c0") == status_of(before, "c0")
    assert condition(found, "Ready") == condition(before, "Ready")
    assert condition(found, "Ready")["status"] == "True"
    fresh.run("delete", "pod", "stays", "--now")


def test_a_readiness_gate_is_opened_by_another(shared: Instance) -> None:
    gate = "example.com/open"
    shared.apply(pod("gated", container("c0", IDLE), readinessGates=[{"conditionType": gate}]))

    def holds(name: str) -> dict[str, Any]:
        return wait_pod(shared, "gated", lambda p: condition(p, name)["status"] == "True", name)

    wait_phase(shared, "gated", "Running")
    found = holds("ContainersReady")
    assert condition(found, "Ready")["reason"] == "ReadinessGatesNotReady"
    said = {"status": {"conditions": [{"type": gate, "status": "True"}]}}
    patch = ("--subresource", "status", "-p", json.dumps(said))
    shared.run("patch", "pod", "gated", *patch)
    assert condition(holds("Ready"), gate)["status"] == "True"
    shared.run("delete", "pod", "gated", "--now")
