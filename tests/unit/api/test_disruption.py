"""PodDisruptionBudgets: how many Pods are expected, how many may go, and what is said of it."""

from typing import Any

import pytest

from minipod.api import disruption
from minipod.api.disruption import Counts, compute_expected, compute_failed, compute_status
from minipod.client import Object

NOW, LATER = "2026-01-01T00:00:00Z", "2026-01-01T00:01:00Z"


def budget(status: Object | None = None, **spec: Any) -> Object:
    selector = {"matchLabels": {"app": "web"}}
    metadata = {"name": "b", "namespace": "default", "generation": 2}
    return {"metadata": metadata, "spec": {"selector": selector, **spec}, "status": status or {}}


@pytest.mark.parametrize(
    ("spec", "pods", "scale", "expected"),
    [
        ({"minAvailable": 2}, 3, 0, (3, 2)),
        ({"minAvailable": 2}, 0, 0, (0, 2)),
        ({"minAvailable": "50%"}, 1, 3, (3, 2)),
        ({"minAvailable": "0%"}, 1, 3, (3, 0)),
        ({"maxUnavailable": 1}, 1, 3, (3, 2)),
        ({"maxUnavailable": 5}, 1, 3, (3, 0)),
        ({"maxUnavailable": "30%"}, 1, 10, (10, 7)),
        ({"maxUnavailable": "31%"}, 1, 10, (10, 6)),
        ({"maxUnavailable": 1}, 1, 0, (0, 0)),
        ({}, 3, 3, (0, 0)),
    ],
)
def test_how_many_pods_are_expected(spec: Object, pods: int, scale: int, expected: Any) -> None:
    assert compute_expected(budget(**spec), pods, scale) == expected


@pytest.mark.parametrize(
    ("counts", "allowed"), [((3, 2, 3), 1), ((3, 2, 1), 0), ((0, 0, 3), 0), ((1, 0, 1), 1)]
)
def test_how_many_may_go(counts: tuple[int, int, int], allowed: int) -> None:
    assert Counts(*counts).allowed == allowed


def test_those_that_go_or_are_about_to_are_not_healthy() -> None:
    def pod(name: str, ready: str = "True", **metadata: Any) -> Object:
        conditions = [{"type": "Ready", "status": ready}]
        return {"metadata": {"name": name, **metadata}, "status": {"conditions": conditions}}

    pods = [pod("a"), pod("b", "False"), pod("c", deletionTimestamp=NOW), pod("d"), pod("e")]
    assert disruption.count_healthy(pods, {"d": NOW}) == 2


def test_the_condition_keeps_the_time_of_its_last_change() -> None:
    status = compute_status(budget(minAvailable=1), Counts(2, 1, 2), {}, NOW)
    condition = {
        "type": "DisruptionAllowed",
        "status": "True",
        "observedGeneration": 2,
        "lastTransitionTime": NOW,
        "reason": "SufficientPods",
        "message": "",
    }
    assert status == {
        "observedGeneration": 2,
        "disruptionsAllowed": 1,
        "currentHealthy": 2,
        "desiredHealthy": 1,
        "expectedPods": 2,
        "conditions": [condition],
    }
    same = compute_status(budget(status, minAvailable=1), Counts(2, 1, 2), {}, LATER)
    assert same == status
    fewer = compute_status(budget(status, minAvailable=1), Counts(1, 1, 1), {}, LATER)
    assert fewer["conditions"] == [
        {
            **condition,
            "status": "False",
            "reason": "InsufficientPods",
            "lastTransitionTime": LATER,
        }
    ]


def test_what_cannot_be_counted_lets_nobody_go() -> None:
    before = {"disruptionsAllowed": 1, "expectedPods": 2, "observedGeneration": 1}
    status = compute_failed(budget(before), "why", NOW)
    assert (status["disruptionsAllowed"], status["expectedPods"]) == (0, 2)
    assert status["conditions"][0]["reason"] == "SyncFailed"
    assert disruption.refusal("b", status) == (
        "The disruption budget b does not allow evicting pods currently because it failed sync: why"
    )


@pytest.mark.parametrize(
    ("status", "said"),
    [
        ({"currentHealthy": 1, "desiredHealthy": 2}, "needs 2 healthy pods and has 1 currently"),
        ({"currentHealthy": 2, "desiredHealthy": 1}, "does not allow evicting pods currently"),
    ],
)
def test_why_nobody_may_go(status: Object, said: str) -> None:
    assert disruption.refusal("b", status) == f"The disruption budget b {said}"


@pytest.mark.parametrize(
    ("selector", "chosen"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
    ],
)
def test_which_pods_a_budget_is_for(selector: Object | None, chosen: bool) -> None:
    pod = {"metadata": {"labels": {"app": "web"}}}
    assert disruption.selects(budget(selector=selector), pod) is chosen


def test_a_selector_is_shown_as_upstreams_events_have_it() -> None:
    term = {"key": "tier", "operator": "In", "values": ["a", "b"]}
    selector = {"matchLabels": {"b": "2", "a": "1"}, "matchExpressions": [term]}
    assert disruption.shown_selector(selector) == (
        "&LabelSelector{MatchLabels:map[string]string{a: 1,b: 2,},MatchExpressions:[]LabelSelectorRequirement{"
        "LabelSelectorRequirement{Key:tier,Operator:In,Values:[a b],},},}"
    )
