import copy
import dataclasses
from typing import Any

import pytest

from minipod.client import Object
from minipod.node.observed import ObservedPod
from minipod.node.probes import ProbeResult
from minipod.node.status import NodeFacts, Waiting, compute_pod_status

from .pod_builders import NOTHING, NOW, attempt, container, make_pod, sandbox, seen, sidecar

THEN, LATER = "1970-01-12T13:46:40Z", "1970-01-12T13:48:20Z"


def status_of(
    pod: Object, observed: ObservedPod, previous: Object | None = None, **facts: Any
) -> Object:
    return compute_pod_status(pod, observed, NOW, previous, NodeFacts(**facts))


def conditions(status: Object) -> dict[str, tuple[str, str, str]]:
    return {
        each["type"]: (each["status"], each.get("reason", ""), each.get("message", ""))
        for each in status["conditions"]
    }


def test_a_new_pod_waits_for_its_containers() -> None:
    status = status_of(make_pod(), NOTHING, host_ips=("192.0.2.1",))
    assert status["phase"] == "Pending"
    assert status["containerStatuses"] == [
        {
            "name": "app",
            "state": {"waiting": {"reason": "ContainerCreating"}},
            "lastState": {},
            "ready": False,
            "restartCount": 0,
            "image": "busybox",
            "imageID": "",
            "started": False,
        }
    ]
    assert conditions(status) == {
        "PodReadyToStartContainers": ("False", "", ""),
        "Initialized": ("True", "", ""),
        "Ready": ("False", "ContainersNotReady", "containers with unready status: [app]"),
        "ContainersReady": ("False", "ContainersNotReady", "containers with unready status: [app]"),
        "PodScheduled": ("True", "", ""),
    }
    assert (status["startTime"], status["hostIP"]) == (THEN, "192.0.2.1")
    assert (status["qosClass"], status["observedGeneration"]) == ("BestEffort", 1)
    assert "podIP" not in status


def test_a_running_pod_is_ready() -> None:
    status = status_of(make_pod(), seen(attempt("app", number=2)))
    assert status["phase"] == "Running"
    shown = status["containerStatuses"][0]
    assert shown["state"] == {"running": {"startedAt": "1970-01-12T13:45:42Z"}}
    assert (shown["ready"], shown["started"], shown["restartCount"]) == (True, True, 2)
    assert (shown["containerID"], shown["imageID"]) == ("minipod://app-2", "sha256:abc")
    assert {each[0] for each in conditions(status).values()} == {"True"}
    assert (status["podIP"], status["podIPs"]) == ("10.85.0.7", [{"ip": "10.85.0.7"}])


def test_a_container_has_the_image_that_it_was_started_with() -> None:
    pod = make_pod()
    running = seen(attempt("app"))
    former = status_of(pod, running)
    pod["spec"]["containers"][0]["image"] = "busybox:2"
    ends = status_of(pod, running, former)
    assert ends["containerStatuses"][0]["image"] == "busybox"
    anew = status_of(pod, seen(attempt("app", number=1)), ends)
    assert anew["containerStatuses"][0]["image"] == "busybox:2"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"exit_code": 0}, {"exitCode": 0, "reason": "Completed"}),
        ({"exit_code": 3}, {"exitCode": 3, "reason": "Error"}),
        ({"exit_code": 137, "reason": "OOMKilled"}, {"exitCode": 137, "reason": "OOMKilled"}),
        (
            {"exit_code": 128, "reason": "StartError", "message": "no such file"},
            {"exitCode": 128, "reason": "StartError", "message": "no such file"},
        ),
    ],
)
def test_an_ended_container_tells_how(fields: dict[str, Any], expected: Object) -> None:
    status = status_of(make_pod(policy="Never"), seen(attempt("app", **fields)))
    assert status["containerStatuses"][0]["state"]["terminated"] == {
        **expected,
        "startedAt": "1970-01-12T13:45:40Z",
        "finishedAt": THEN,
        "containerID": "minipod://app-0",
    }
    assert status["phase"] == ("Succeeded" if expected["exitCode"] == 0 else "Failed")


def test_containers_share_what_a_pod_may_have_of_termination_messages() -> None:
    said = {"message": "ä" * 2048}
    apps = [attempt(f"c{index}", exit_code=0, **said) for index in range(4)]
    apps.append(attempt("c0", number=1))
    made = make_pod(*(container(f"c{index}") for index in range(4)), inits=(container("i"),))
    status = status_of(made, seen(*apps))
    whole = "ä" * (12288 // 5 // 2)  # 2457 bytes, which end within a character
    shown = status["containerStatuses"]
    assert [each["state"]["terminated"]["message"] for each in shown[1:]] == [whole] * 3
    assert shown[0]["lastState"]["terminated"]["message"] == whole
    assert apps[0].message == said["message"]


def test_a_pod_that_was_rejected_by_an_earlier_daemon_still_tells_nothing_of_containers() -> None:
    first = status_of(make_pod(), NOTHING, failure=("OutOfcpu", "no room"))
    assert "containerStatuses" not in first
    assert status_of(make_pod(), NOTHING, first, terminal=True) == first


def test_a_crash_loop_shows_the_back_off_and_the_last_end() -> None:
    waiting = {"app": Waiting("CrashLoopBackOff", "back-off 10s restarting failed container=app")}
    status = status_of(make_pod(), seen(attempt("app", 1, 3)), waiting=waiting)
    shown = status["containerStatuses"][0]
    assert shown["state"] == {
        "waiting": {
            "reason": "CrashLoopBackOff",
            "message": "back-off 10s restarting failed container=app",
        }
    }
    assert shown["lastState"]["terminated"]["exitCode"] == 1
    assert (shown["restartCount"], status["phase"]) == (3, "Running")


@pytest.mark.parametrize("reason", ["ErrImageNeverPull", "CreateContainerConfigError"])
def test_a_container_that_cannot_be_made_says_why(reason: str) -> None:
    status = status_of(make_pod(), seen(), waiting={"app": Waiting(reason, "because")})
    assert status["containerStatuses"][0]["state"] == {
        "waiting": {"reason": reason, "message": "because"}
    }
    assert status["phase"] == "Pending"


def test_an_old_failure_does_not_hide_a_running_container() -> None:
    status = status_of(make_pod(), seen(attempt("app")), waiting={"app": Waiting("ErrImagePull")})
    assert "running" in status["containerStatuses"][0]["state"]


def test_the_last_end_is_kept_after_the_restart() -> None:
    both = seen(attempt("app", 1, 0), attempt("app", None, 1))
    first = status_of(make_pod(), both)
    assert (
        first["containerStatuses"][0]["lastState"]["terminated"]["containerID"] == "minipod://app-0"
    )
    forgotten = status_of(make_pod(), seen(attempt("app", None, 1)), first)
    assert forgotten == first
    ended = status_of(make_pod(), seen(attempt("app", 1, 0)))
    assert (
        status_of(make_pod(), seen(attempt("app", None, 1)), ended)["containerStatuses"]
        == (first["containerStatuses"])
    )


def test_restart_counts_never_go_back() -> None:
    before = status_of(make_pod(), seen(attempt("app", number=5)))
    lost = status_of(make_pod(), NOTHING, before)
    shown = lost["containerStatuses"][0]
    assert shown["restartCount"] == 5
    assert shown["lastState"]["terminated"]["reason"] == "ContainerStatusUnknown"
    assert shown["lastState"]["terminated"]["exitCode"] == 137
    assert lost["phase"] == "Running"
    again = status_of(make_pod(), seen(attempt("app", number=0)), lost)
    assert again["containerStatuses"][0]["restartCount"] == 5


def test_a_lost_pod_that_may_not_restart_has_failed() -> None:
    pod = make_pod(policy="Never")
    before = status_of(pod, seen(attempt("app")))
    assert status_of(pod, NOTHING, before)["phase"] == "Failed"


def test_what_is_forgotten_by_the_runtime_stays_ended() -> None:
    pod = make_pod(policy="Never")
    before = status_of(pod, seen(attempt("app", 0)))
    after = status_of(pod, NOTHING, before, terminal=True)
    assert after["containerStatuses"] == before["containerStatuses"]
    assert after["phase"] == "Succeeded"


INITS = (container("one"), container("two"))


@pytest.mark.parametrize(
    ("ran", "phase", "initialized"),
    [
        ({}, "Pending", "containers with incomplete status: [one two]"),
        ({"one": None}, "Pending", "containers with incomplete status: [one two]"),
        ({"one": 0}, "Pending", "containers with incomplete status: [two]"),
        ({"one": 0, "two": 1}, "Pending", "containers with incomplete status: [two]"),
        ({"one": 0, "two": 0}, "Pending", ""),
        ({"one": 0, "two": 0, "app": None}, "Running", ""),
        ({"one": 0, "two": 0, "app": 0}, "Running", ""),
    ],
)
def test_initialization_shows_in_phase_and_condition(
    ran: dict[str, int | None], phase: str, initialized: str
) -> None:
    observed = seen(*(attempt(name, code) for name, code in ran.items()))
    status = status_of(make_pod(inits=INITS), observed)
    assert status["phase"] == phase
    expected = (
        ("False", "ContainersNotInitialized", initialized) if initialized else ("True", "", "")
    )
    assert conditions(status)["Initialized"] == expected
    if "app" not in ran:
        assert status["containerStatuses"][0]["state"] == {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize(
    ("policy", "phase"), [("Always", "Pending"), ("OnFailure", "Pending"), ("Never", "Failed")]
)
def test_a_failed_init_container_fails_the_pod_under_never_alone(policy: str, phase: str) -> None:
    status = status_of(make_pod(inits=INITS, policy=policy), seen(attempt("one", 1)))
    assert status["phase"] == phase


def test_an_init_container_that_is_done_is_ready_and_not_started() -> None:
    status = status_of(make_pod(inits=INITS), seen(attempt("one", 0), attempt("two")))
    one, two = status["initContainerStatuses"]
    assert (one["ready"], one["started"]) == (True, False)
    assert (two["ready"], two["started"]) == (False, True)


SIDECARS = (sidecar("log"),)


@pytest.mark.parametrize(
    ("ran", "policy", "phase", "ready"),
    [
        ({"log": None}, "Always", "Pending", "[app]"),
        ({"log": None, "app": None}, "Always", "Running", ""),
        ({"log": 1, "app": None}, "Always", "Running", "[log]"),
        ({"log": None, "app": 0}, "Never", "Running", "[app]"),
        ({"log": 0, "app": 0}, "Never", "Succeeded", "PodCompleted"),
        ({"log": 137, "app": 0}, "Never", "Succeeded", "PodCompleted"),
        ({"log": 0, "app": 1}, "Never", "Failed", "PodFailed"),
    ],
)
def test_sidecars_count_for_readiness_not_for_the_result(
    ran: dict[str, int | None], policy: str, phase: str, ready: str
) -> None:
    observed = seen(*(attempt(name, code) for name, code in ran.items()))
    status = status_of(make_pod(inits=SIDECARS, policy=policy), observed)
    assert status["phase"] == phase
    assert ready in " ".join(conditions(status)["ContainersReady"])
    assert (conditions(status)["ContainersReady"][0] == "True") is (ready == "")


@pytest.mark.parametrize(
    ("codes", "policy", "phase"),
    [
        ((None, 1), "Never", "Running"),
        ((0, 0), "Never", "Succeeded"),
        ((0, 1), "Never", "Failed"),
        ((0, 1), "OnFailure", "Running"),
        ((0, 0), "OnFailure", "Succeeded"),
        ((0, 0), "Always", "Running"),
    ],
)
def test_phases_of_several_containers(
    codes: tuple[int | None, ...], policy: str, phase: str
) -> None:
    pod = make_pod(container("a"), container("b"), policy=policy)
    observed = seen(*(attempt(name, code) for name, code in zip("ab", codes, strict=True)))
    assert status_of(pod, observed)["phase"] == phase


@pytest.mark.parametrize(("code", "phase"), [(0, "Succeeded"), (143, "Failed")])
def test_the_work_being_over_ends_the_phase_under_always_as_well(code: int, phase: str) -> None:
    assert status_of(make_pod(), seen(attempt("app", code)), terminal=True)["phase"] == phase


def test_a_pod_that_was_deleted_before_it_ran_has_failed() -> None:
    assert status_of(make_pod(), NOTHING, terminal=True)["phase"] == "Failed"


def test_a_final_phase_is_final() -> None:
    before = {"phase": "Failed", "reason": "Evicted", "message": "no room"}
    status = status_of(make_pod(), seen(attempt("app")), before)
    assert (status["phase"], status["reason"], status["message"]) == (
        "Failed",
        "Evicted",
        "no room",
    )


def test_the_deadline_fails_the_pod() -> None:
    pod = make_pod(activeDeadlineSeconds=60)
    started = "1970-01-12T13:45:40Z"
    status = status_of(pod, seen(attempt("app")), {"startTime": started})
    assert (status["phase"], status["reason"]) == ("Failed", "DeadlineExceeded")
    assert status["message"] == "Pod was active on the node longer than the specified deadline"
    assert status["startTime"] == started


def test_a_node_can_fail_a_pod() -> None:
    status = status_of(make_pod(), NOTHING, failure=("Evicted", "the node was low on memory"))
    assert (status["phase"], status["reason"]) == ("Failed", "Evicted")


def test_transition_times_move_only_with_the_status() -> None:
    first = status_of(make_pod(), NOTHING)
    second = compute_pod_status(make_pod(), seen(attempt("app")), NOW + 100, first)
    third = compute_pod_status(make_pod(), seen(attempt("app")), NOW + 200, second)
    times = {each["type"]: each["lastTransitionTime"] for each in second["conditions"]}
    assert (times["PodScheduled"], times["Ready"]) == (THEN, LATER)
    assert third == second


def test_others_conditions_and_readiness_gates_are_kept() -> None:
    pod = make_pod(readinessGates=[{"conditionType": "x/open"}, {"conditionType": "x/none"}])
    gate = {"type": "x/open", "status": "False", "lastTransitionTime": THEN}
    status = status_of(pod, seen(attempt("app")), {"conditions": [gate]})
    assert status["conditions"][0] == gate
    assert conditions(status)["ContainersReady"][0] == "True"
    assert conditions(status)["Ready"] == (
        "False",
        "ReadinessGatesNotReady",
        'the status of pod readiness gate "x/open" is not "True", but False, '
        'corresponding condition of pod readiness gate "x/none" does not exist.',
    )


def test_probe_results_decide_readiness() -> None:
    probes = {"app-0": ProbeResult(ready=False)}
    shown = status_of(make_pod(), seen(attempt("app")), probes=probes)["containerStatuses"][0]
    assert (shown["started"], shown["ready"]) == (True, False)
    probes = {"app-0": ProbeResult(started=False)}
    shown = status_of(make_pod(), seen(attempt("app")), probes=probes)["containerStatuses"][0]
    assert (shown["started"], shown["ready"]) == (False, False)


def test_a_host_network_pod_has_the_hosts_address() -> None:
    observed = ObservedPod((dataclasses.replace(sandbox(), address=""),))
    status = status_of(make_pod(hostNetwork=True), observed, host_ips=("192.0.2.1",))
    assert (status["podIP"], status["hostIPs"]) == ("192.0.2.1", [{"ip": "192.0.2.1"}])


def test_the_address_is_kept_while_the_sandbox_is_remade() -> None:
    before = status_of(make_pod(), seen(attempt("app")))
    assert status_of(make_pod(), NOTHING, before)["podIP"] == "10.85.0.7"


def test_the_inputs_are_not_changed() -> None:
    pod, observed = make_pod(inits=SIDECARS), seen(attempt("log"), attempt("app", 1))
    before = status_of(pod, observed)
    copies = copy.deepcopy((pod, before))
    status_of(pod, NOTHING, before, terminal=True)
    status_of(pod, observed, before, waiting={"app": Waiting("CrashLoopBackOff", "x")})
    assert (pod, before) == copies
