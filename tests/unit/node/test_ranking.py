"""Who has to go first when the node is short of something, and what is said of it."""

from typing import Any

import pytest

from minipod.client import Object
from minipod.node.pressure import Level, parse_thresholds
from minipod.node.ranking import Shortage, Use, compute_message, find_shortage, may_go, rank
from tests.unit.node.pods import container, make_pod

MIB = 1 << 20


def asking(name: str, memory: str = "", priority: int | None = None, **spec: Any) -> Object:
    resources = {"resources": {"requests": {"memory": memory}}} if memory else {}
    given = {} if priority is None else {"priority": priority}
    return make_pod(name, container("app", **resources), **given, **spec)


def order(resource: str, *used: tuple[Object, int | None]) -> list[str]:
    uses = {pod["metadata"]["uid"]: Use(use) for pod, use in used if use is not None}
    ranked = rank([pod for pod, _ in used], resource, uses)
    return [each["metadata"]["name"] for each in ranked]


def test_who_exceeds_its_requests_goes_first_however_important() -> None:
    modest, greedy = asking("modest", "64Mi", priority=0), asking("greedy", "1Mi", priority=1000)
    assert order("memory", (modest, 64 * MIB), (greedy, 2 * MIB)) == ["greedy", "modest"]


def test_of_those_the_least_important_goes_first() -> None:
    important, other = asking("important", priority=10), asking("other")
    assert order("memory", (important, 99 * MIB), (other, MIB)) == ["other", "important"]


def test_of_equals_who_exceeds_the_most_goes_first() -> None:
    large, small, asked = asking("large"), asking("small"), asking("asked", "90Mi")
    used = (small, 5 * MIB), (asked, 99 * MIB), (large, 10 * MIB)
    assert order("memory", *used) == ["large", "asked", "small"]


def test_who_cannot_be_measured_goes_before_all() -> None:
    assert order("memory", (asking("known"), MIB), (asking("unknown"), None)) == [
        "unknown",
        "known",
    ]


def test_processes_are_counted_after_importance_alone() -> None:
    many, few, vital = asking("many"), asking("few"), asking("vital", priority=1)
    assert order("pids", (few, 2), (vital, 900), (many, 70)) == ["many", "few", "vital"]


def test_importance_comes_before_processes_that_cannot_be_counted() -> None:
    known, unknown = asking("known"), asking("unknown")
    vital = asking("vital", priority=1)
    ranked = order("pids", (vital, None), (known, 70), (unknown, None))
    assert ranked == ["unknown", "known", "vital"]


@pytest.mark.parametrize(
    ("priority", "may"), [(None, True), (1_999_999_999, True), (2 * 10**9, False)]
)
def test_critical_pods_stay(priority: int | None, may: bool) -> None:
    assert may_go(asking("a", priority=priority)) is may


LEVELS = {
    "memory.available": Level(50 * MIB, 1 << 30),
    "nodefs.available": Level(3 << 30, 100 << 30),
    "nodefs.inodesFree": Level(7, 1000),
    "pid.available": Level(100, 1000),
}


@pytest.mark.parametrize(
    ("thresholds", "shortage"),
    [
        ("memory.available<50Mi", None),
        ("imagefs.available<99%", None),
        ("memory.available<100Mi", Shortage("memory", "100Mi", "50Mi")),
        ("memory.available<0.1G", Shortage("memory", "100M", "50Mi")),
        ("nodefs.available<5%", Shortage("ephemeral-storage", "5Gi", "3Gi")),
        ("nodefs.inodesFree<1%", Shortage("inodes", "10", "7")),
        ("pid.available<200", Shortage("pids", "200", "100")),
        ("nodefs.available<5%,memory.available<100Mi", Shortage("memory", "100Mi", "50Mi")),
    ],
)
def test_what_is_short_first(thresholds: str, shortage: Shortage | None) -> None:
    assert find_shortage(parse_thresholds(thresholds), LEVELS) == shortage


def test_the_message_is_the_kubelets() -> None:
    pod = make_pod(
        "web",
        container("app", resources={"requests": {"memory": "1024Ki"}}),
        container("idle", resources={"requests": {"memory": "64Mi"}}),
        initContainers=[container("side", restartPolicy="Always")],
    )
    use = Use(30 * MIB, {"app": 20 * MIB, "idle": 8 * MIB, "side": 4096})
    assert compute_message(pod, Shortage("memory", "100Mi", "50Mi"), use) == (
        "The node was low on resource: memory. Threshold quantity: 100Mi, available: 50Mi. "
        "Container side was using 4Ki, request is 0, has larger consumption of memory. "
        "Container app was using 20Mi, request is 1Mi, has larger consumption of memory. "
    )
    pod["spec"]["resources"] = {"requests": {"memory": "1Mi"}}
    assert compute_message(pod, Shortage("memory"), Use(30 * MIB)) == (
        "The node was low on resource: memory. "
        "Pod web was using 30Mi, request is 1Mi, has larger consumption of memory. "
    )
    assert compute_message(pod, Shortage("pids", "200", "100"), Use(9)) == (
        "The node was low on resource: pids. Threshold quantity: 200, available: 100. "
    )
