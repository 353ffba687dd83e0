from typing import Any

import pytest

from minipod.client import Object
from minipod.node.actions import PodActions, compute_pod_actions, compute_termination_order
from minipod.node.backoff import Backoffs
from minipod.node.observed import ObservedContainer, ObservedPod
from minipod.node.probes import ProbeResult
from minipod.node.restart import is_restarting_all

from .pod_builders import NOTHING, NOW, attempt, container, make_pod, sandbox, seen, sidecar


def decide(pod: Object, observed: ObservedPod, **options: Any) -> PodActions:
    return compute_pod_actions(pod, observed, NOW, options.pop("backoff", Backoffs()), **options)


def names(actions: PodActions) -> list[str]:
    return [each.name for each in actions.starts]


def test_a_new_pod_gets_a_sandbox_and_its_containers() -> None:
    actions = decide(make_pod(container("a"), container("b")), NOTHING)
    assert (actions.create_sandbox, actions.sandbox_attempt, actions.kill_pod) == (True, 0, False)
    assert [(each.name, each.kind, each.attempt) for each in actions.starts] == [
        ("a", "app", 0),
        ("b", "app", 0),
    ]


def test_a_new_pod_with_init_containers_starts_the_first_alone() -> None:
    actions = decide(make_pod(inits=(container("one"), container("two"))), NOTHING)
    assert actions.create_sandbox
    assert names(actions) == ["one"]


def test_a_running_pod_is_left_alone() -> None:
    assert decide(make_pod(), seen(attempt("app"))) == PodActions()


DEAD = (sandbox(ready=False),)


@pytest.mark.parametrize(
    ("policy", "exit_codes", "wanted", "finished"),
    [
        ("Always", {"a": 0, "b": 1}, ["a", "b"], False),
        ("Always", {"a": None, "b": None}, ["a", "b"], False),
        ("OnFailure", {"a": 0, "b": 1}, ["b"], False),
        ("OnFailure", {"a": 0, "b": None}, ["b"], False),
        ("OnFailure", {"a": 0, "b": 0}, [], True),
        ("Never", {"a": 0, "b": None}, [], True),
        ("Never", {"a": None, "b": None}, [], True),
    ],
)
def test_a_dead_sandbox_is_made_anew_as_policy_allows(
    policy: str, exit_codes: dict[str, int | None], wanted: list[str], finished: bool
) -> None:
    pod = make_pod(container("a"), container("b"), policy=policy)
    observed = seen(*(attempt(n, code) for n, code in exit_codes.items()), sandboxes=DEAD)
    actions = decide(pod, observed)
    assert (names(actions), actions.finished, actions.kill_pod) == (wanted, finished, True)
    if not finished:
        assert (actions.create_sandbox, actions.sandbox_attempt) == (True, 1)
        assert actions.kill_reason == "SandboxChanged"
        assert {each.attempt for each in actions.starts} == {1}


def test_a_sandbox_that_died_before_any_container_is_made_anew_even_under_never() -> None:
    actions = decide(make_pod(policy="Never"), seen(sandboxes=DEAD))
    assert (actions.create_sandbox, names(actions)) == (True, ["app"])


def test_a_new_sandbox_starts_with_the_first_init_container_again() -> None:
    pod = make_pod(inits=(container("one"), container("two")))
    observed = seen(attempt("one", 0), attempt("two", 0), attempt("app"), sandboxes=DEAD)
    assert names(decide(pod, observed)) == ["one"]
    again = seen(
        attempt("one", 0), attempt("two", 0), attempt("app", 137), sandboxes=(sandbox(1), *DEAD)
    )
    assert names(decide(pod, again)) == ["one"]


RUNNING_STATUS = {"name": "app", "restartCount": 2, "state": {"running": {}}, "lastState": {}}


def test_after_a_reboot_the_status_tells_what_ran() -> None:
    pod = make_pod(policy="Always")
    pod["status"] = {"containerStatuses": [RUNNING_STATUS]}
    actions = decide(pod, NOTHING)
    assert actions.create_sandbox
    assert [each.attempt for each in actions.starts] == [3]
    pod["spec"]["restartPolicy"] = "Never"
    assert decide(pod, NOTHING).finished


def test_what_has_ended_for_good_is_not_run_again_when_the_runtime_forgot_it() -> None:
    pod = make_pod(container("a"), container("app"), policy="OnFailure")
    ended = {"name": "a", "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}
    pod["status"] = {"containerStatuses": [ended, RUNNING_STATUS]}
    assert names(decide(pod, NOTHING)) == ["app"]
    in_new_sandbox = seen(attempt("app", number=3, sandbox_id="s1"), sandboxes=(sandbox(1),))
    assert names(decide(pod, in_new_sandbox)) == []


@pytest.mark.parametrize(
    ("policy", "exit_code", "restarted"),
    [
        ("Always", 0, True),
        ("Always", 1, True),
        ("OnFailure", 0, False),
        ("OnFailure", 1, True),
        ("Never", 0, False),
        ("Never", 1, False),
    ],
)
def test_an_ended_container_is_restarted_by_policy(
    policy: str, exit_code: int, restarted: bool
) -> None:
    actions = decide(make_pod(policy=policy), seen(attempt("app", exit_code, 4)))
    assert (names(actions), actions.finished) == (["app"] if restarted else [], not restarted)
    assert actions.kill_pod is not restarted
    if restarted:
        assert (actions.starts[0].attempt, actions.starts[0].previous_end) == (5, NOW)


@pytest.mark.parametrize(
    ("own", "exit_code", "restarted"),
    [
        ({"restartPolicy": "OnFailure"}, 1, True),
        ({"restartPolicy": "OnFailure"}, 0, False),
        ({"restartPolicy": "Never"}, 1, False),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
                ],
            },
            42,
            True,
        ),
        (
            {
                "restartPolicy": "Never",
                "restartPolicyRules": [
                    {"action": "Restart", "exitCodes": {"operator": "NotIn", "values": [42]}}
                ],
            },
            42,
            False,
        ),
    ],
)
def test_a_containers_own_policy_and_rules_win(
    own: Object, exit_code: int, restarted: bool
) -> None:
    pod = make_pod(container("app", **own), container("other"), policy="Never")
    actions = decide(pod, seen(attempt("app", exit_code), attempt("other")))
    assert names(actions) == (["app"] if restarted else [])


def test_the_pod_goes_on_while_any_container_runs() -> None:
    pod = make_pod(container("a"), container("b"), policy="Never")
    assert decide(pod, seen(attempt("a", 1), attempt("b"))) == PodActions()


# ---- init containers ----

INITS = (container("one"), container("two"))


@pytest.mark.parametrize(
    ("ran", "wanted"),
    [
        ({}, ["one"]),
        ({"one": None}, []),
        ({"one": 0}, ["two"]),
        ({"one": 1}, ["one"]),
        ({"one": 0, "two": None}, []),
        ({"one": 0, "two": 1}, ["two"]),
        ({"one": 0, "two": 0}, ["app"]),
        ({"two": 0}, ["app"]),  # the first one's end has been forgotten
        ({"one": 0, "two": 0, "app": None}, []),
        ({"app": None}, []),
        ({"app": 1}, ["app"]),
    ],
)
def test_init_containers_run_one_after_another(
    ran: dict[str, int | None], wanted: list[str]
) -> None:
    observed = seen(*(attempt(name, code) for name, code in ran.items()))
    actions = decide(make_pod(inits=INITS), observed)
    assert names(actions) == wanted
    assert not actions.kill_pod


@pytest.mark.parametrize(
    ("policy", "ends"), [("Always", False), ("OnFailure", False), ("Never", True)]
)
def test_a_failed_init_container_ends_the_pod_under_never_alone(policy: str, ends: bool) -> None:
    actions = decide(make_pod(inits=INITS, policy=policy), seen(attempt("one", 1)))
    assert (actions.finished, names(actions)) == (ends, [] if ends else ["one"])


SIDECARS = (sidecar("log"), container("prepare"), sidecar("proxy"))


@pytest.mark.parametrize(
    ("ran", "wanted"),
    [
        ({}, ["log"]),
        ({"log": None}, ["prepare"]),
        ({"log": 1}, ["log"]),
        ({"log": None, "prepare": None}, []),
        ({"log": 0, "prepare": None}, ["log"]),
        ({"log": None, "prepare": 0}, ["proxy"]),
        ({"log": 3, "prepare": 0}, ["log", "proxy"]),
        ({"log": None, "prepare": 1}, ["prepare"]),
        ({"log": 3, "prepare": 1}, ["log", "prepare"]),
        ({"log": None, "prepare": 0, "proxy": None}, ["app"]),
        ({"log": None, "prepare": 0, "proxy": 1}, ["proxy"]),
        ({"log": None, "prepare": 0, "proxy": None, "app": None}, []),
        ({"log": 0, "prepare": 0, "proxy": 137, "app": None}, ["log", "proxy"]),
        ({"app": None}, ["log", "proxy"]),
    ],
)
def test_sidecars_start_in_order_and_are_kept_running(
    ran: dict[str, int | None], wanted: list[str]
) -> None:
    observed = seen(*(attempt(name, code) for name, code in ran.items()))
    actions = decide(make_pod(inits=SIDECARS, policy="OnFailure"), observed)
    assert names(actions) == wanted
    assert not actions.finished


@pytest.mark.parametrize(("policy", "code"), [("Never", 0), ("Never", 1), ("OnFailure", 0)])
def test_sidecars_end_once_the_app_containers_are_done(policy: str, code: int) -> None:
    observed = seen(
        attempt("log"), attempt("prepare", 0), attempt("proxy", 1), attempt("app", code)
    )
    actions = decide(make_pod(inits=SIDECARS, policy=policy), observed)
    assert (actions.finished, actions.kill_pod, names(actions)) == (True, True, [])


def test_a_sidecar_whose_startup_probe_has_not_succeeded_holds_up_the_rest() -> None:
    pod, observed = make_pod(inits=SIDECARS), seen(attempt("log"))
    assert names(decide(pod, observed, probes={"log-0": ProbeResult(started=False)})) == []
    failed = decide(pod, observed, probes={"log-0": ProbeResult(started=False, failed="startup")})
    assert names(failed) == ["log"]
    assert [(each.message, each.reason) for each in failed.kills] == [
        ("Init container log failed startup probe", "StartupProbe")
    ]


def test_containers_end_before_sidecars_and_these_in_reverse_order() -> None:
    pod = make_pod(container("a"), container("b"), inits=SIDECARS)
    assert compute_termination_order(pod) == (("prepare", "a", "b"), ("proxy",), ("log",))


# ---- kills ----


def test_a_changed_image_restarts_its_container_whatever_the_policy() -> None:
    pod = make_pod(container("app", image="busybox:2"), container("b"), policy="Never")
    actions = decide(pod, seen(attempt("app"), attempt("b")))
    assert [(each.container_id, each.message) for each in actions.kills] == [
        ("app-0", "Container app definition changed, will be restarted")
    ]
    assert [(each.name, each.attempt) for each in actions.starts] == [("app", 1)]


@pytest.mark.parametrize(("policy", "restarted"), [("Always", True), ("Never", False)])
def test_a_failed_liveness_probe_ends_the_container(policy: str, restarted: bool) -> None:
    pod = make_pod(container("app"), container("b"), policy=policy)
    probes = {"app-0": ProbeResult(failed="liveness")}
    actions = decide(pod, seen(attempt("app"), attempt("b")), probes=probes)
    suffix = ", will be restarted" if restarted else ""
    assert [(each.message, each.reason) for each in actions.kills] == [
        (f"Container app failed liveness probe{suffix}", "LivenessProbe")
    ]
    assert names(actions) == (["app"] if restarted else [])


# ---- back-off ----


def test_the_first_restart_is_at_once_the_next_waits() -> None:
    pod, backoff = make_pod(), Backoffs()
    first = decide(pod, seen(attempt("app", 1)), backoff=backoff).starts[0]
    assert first.previous_end == NOW
    backoff.restarted("u1", "app", first.hash, first.previous_end, NOW)
    actions = decide(pod, seen(attempt("app", 1, 1)), backoff=backoff)
    assert actions.starts == ()
    assert not actions.finished
    assert [(each.reason, each.message, each.until) for each in actions.holds] == [
        (
            "CrashLoopBackOff",
            "back-off 10s restarting failed container=app pod=web_default(u1)",
            NOW + 10,
        )
    ]
    assert actions.retry_at == NOW + 10
    later = compute_pod_actions(pod, seen(attempt("app", 1, 1)), NOW + 10, backoff)
    assert names(later) == ["app"]


def test_a_new_image_is_not_held_back() -> None:
    pod, backoff = make_pod(container("app", image="fixed")), Backoffs()
    backoff.restarted("u1", "app", attempt("app").hash, NOW, NOW)
    assert names(decide(pod, seen(attempt("app", 1)), backoff=backoff)) == ["app"]


def test_others_start_while_one_is_held_back() -> None:
    pod, backoff = make_pod(container("a"), container("b")), Backoffs()
    backoff.restarted("u1", "a", attempt("a").hash, NOW, NOW)
    actions = decide(pod, seen(attempt("a", 1), attempt("b", 1)), backoff=backoff)
    assert (names(actions), [each.name for each in actions.holds]) == (["b"], ["a"])


# ---- the end ----


def test_a_deleted_or_finished_pod_starts_nothing() -> None:
    deleted = make_pod()
    deleted["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    finished = make_pod()
    finished["status"] = {"phase": "Succeeded"}
    for pod in (deleted, finished):
        for observed in (NOTHING, seen(attempt("app", 1))):
            actions = decide(pod, observed)
            assert (actions.kill_pod, actions.finished, actions.starts) == (True, True, ())


def test_the_deadline_ends_the_pod() -> None:
    pod = make_pod(activeDeadlineSeconds=60)
    pod["status"] = {"startTime": "1970-01-12T13:46:00Z"}  # 999960
    early = compute_pod_actions(pod, seen(attempt("app")), NOW + 19, Backoffs())
    assert (early.finished, early.retry_at) == (False, 1_000_020.0)
    late = compute_pod_actions(pod, seen(attempt("app")), NOW + 20, Backoffs())
    assert (late.finished, late.kill_reason) == (True, "DeadlineExceeded")


RESTART_ALL = {
    "restartPolicy": "Never",
    "restartPolicyRules": [
        {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [88]}}
    ],
}


def test_one_containers_exit_can_restart_them_all() -> None:
    pod = make_pod(
        container("a"), container("w", **RESTART_ALL), inits=(container("i"),), policy="Never"
    )

    def past(name: str, code: int | None = None) -> ObservedContainer:
        return attempt(name, code, created_at=NOW - 90, finished_at=NOW - 70)

    before = [past("i", 0), past("a"), past("w", 88)]
    actions = decide(pod, seen(*before))
    assert (actions.kill_pod, actions.create_sandbox, actions.starts) == (False, False, ())
    assert [(each.name, each.reason) for each in actions.kills] == [("a", "RestartAllContainers")]
    assert is_restarting_all(pod, seen(*before))
    before = [past("i", 0), past("a", 137), past("w", 88)]
    assert names(decide(pod, seen(*before))) == ["i"]
    after = [*before, attempt("i", 0, 1)]
    assert names(decide(pod, seen(*after))) == ["a", "w"]
    after.append(attempt("a", number=1))
    assert names(decide(pod, seen(*after))) == ["w"]
    assert is_restarting_all(pod, seen(*after))
    after.append(attempt("w", number=1))
    assert not is_restarting_all(pod, seen(*after))
    assert (decide(pod, seen(*after)).kills, decide(pod, seen(*after)).starts) == ((), ())
    ended = [*before, attempt("i", 0, 1), attempt("a", 0, 1), attempt("w", 1, 1)]
    assert decide(pod, seen(*ended)).finished


def test_a_sandbox_that_dies_meanwhile_gets_everybody_again() -> None:
    pod = make_pod(container("a"), container("w", **RESTART_ALL), policy="Never")
    both = (sandbox(1), sandbox(0, ready=False))
    before = [attempt("a", 137), attempt("w", 88)]
    assert names(decide(pod, seen(*before, sandboxes=both))) == ["a", "w"]
