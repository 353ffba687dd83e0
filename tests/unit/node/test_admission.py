"""What a node does not admit: Pods that were put there past the scheduler, in the kubelet's words."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.node.admission import Room

from .pods import NODE, container, make_pod, world


def asks(cpu: str = "", **fields: Any) -> Object:
    return container("app", resources={"requests": {"cpu": cpu}} if cpu else {}, **fields)


def node(*taints: Object, pods: str = "3", **labels: str) -> Object:
    return {
        "metadata": {"name": "n", "labels": {"kubernetes.io/os": "linux", **labels}},
        "spec": {"taints": list(taints)},
        "status": {"allocatable": {"cpu": "2", "memory": "1Gi", "pods": pods}},
    }


def pressed(*conditions: str) -> Object:
    made = node()
    told = [{"type": each, "status": "True"} for each in conditions]
    made["status"]["conditions"] = [{"type": "Ready", "status": "True"}, *told]
    return made


def rejected(condition: str) -> tuple[str, str]:
    return "Evicted", f"The node had condition: [{condition}]. "


SHORT = {"key": "node.kubernetes.io/memory-pressure", "operator": "Exists"}
PORT = {"containerPort": 80, "hostPort": 8080}
GONE = {"key": "gone", "effect": "NoExecute"}


@pytest.mark.parametrize(
    ("wanted", "where", "refusal"),
    [
        (make_pod("a", asks("1")), node(), None),
        (
            make_pod("a", asks("1500m")),
            node(),
            (
                "OutOfcpu",
                "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
            ),
        ),
        (
            make_pod("a", asks()),
            node(pods="1"),
            (
                "OutOfpods",
                "Node didn't have enough resource: pods, requested: 1, used: 1, capacity: 1",
            ),
        ),
        (
            make_pod("a", asks(), nodeSelector={"disk": "ssd"}),
            node(disk="hdd"),
            (
                "NodeAffinity",
                "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector",
            ),
        ),
        (make_pod("a", asks()), pressed("MemoryPressure"), rejected("MemoryPressure")),
        (make_pod("a", asks("1m")), pressed("MemoryPressure"), None),
        (make_pod("a", asks(), tolerations=[SHORT]), pressed("MemoryPressure"), None),
        (make_pod("a", asks("1m")), pressed("DiskPressure"), rejected("DiskPressure")),
        (make_pod("a", asks(), priority=2_000_000_000), pressed("DiskPressure"), None),
        (make_pod("a", asks(), nodeSelector={"disk": "ssd"}), node(disk="ssd"), None),
        (
            make_pod("a", asks(ports=[PORT])),
            node(),
            (
                "NodePorts",
                "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
            ),
        ),
        (
            make_pod("a", asks()),
            node(GONE),
            (
                "TaintToleration",
                "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
            ),
        ),
        (make_pod("a", asks(), tolerations=[{"operator": "Exists"}]), node(GONE), None),
        (make_pod("a", asks()), node({**GONE, "effect": "NoSchedule"}), None),
        (
            make_pod("a", asks(), os={"name": "windows"}),
            node(),
            ("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS"),
        ),
        (
            make_pod("a", asks(), nodeSelector={"kubernetes.io/os": "windows"}),
            node(),
            (
                "PodOSSelectorNodeLabelDoesNotMatch",
                "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
            ),
        ),
    ],
)
def test_who_is_admitted(wanted: Object, where: Object, refusal: Any) -> None:
    room = Room()
    room.take(make_pod("other", asks("1", ports=[PORT])))
    assert room.find_misfit(wanted, where) == refusal


def test_who_has_gone_takes_nothing() -> None:
    room = Room()
    room.take(make_pod("other", asks("2")))
    assert room.find_misfit(make_pod("a", asks("1")), node())
    room.give_back("uid-other")
    assert room.find_misfit(make_pod("a", asks("1")), node()) is None


def test_a_pod_that_does_not_fit_fails_and_says_so_and_one_that_runs_stays(tmp_path: Path) -> None:
    async def whole() -> None:
        async with world(tmp_path) as made:
            label = {"metadata": {"labels": {"disk": "ssd"}}}
            await made.api.client().patch("nodes", "", NODE, label)
            chosen = {"nodeSelector": {"disk": "ssd"}, "nodeName": NODE}
            await made.create(make_pod("web", container(), **chosen))
            assert made.status()["phase"] == "Running"
            gone = {"metadata": {"labels": {"disk": None}}}
            await made.api.client().patch("nodes", "", NODE, gone)
            made.runtime.exit("app", 1)
            await made.settle()
            assert made.status()["phase"] == "Running"
            await made.create(make_pod("late", container(), **chosen))
            status = made.status("late")
            why = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
            assert (status["phase"], status["reason"]) == ("Failed", "NodeAffinity")
            assert status["message"] == f"Pod was rejected: {why}"
            assert "containerStatuses" not in status
            await made.events_written()
            assert ("NodeAffinity", why) in made.api.events()

    asyncio.run(whole())


def test_who_comes_after_one_that_was_forced_away_is_not_refused_for_what_that_one_holds(
    tmp_path: Path,
) -> None:
    """The scheduler has given its place away, and it goes by itself: the next one waits for it."""

    async def whole() -> None:
        async with world(tmp_path) as made:
            await made.create(make_pod("web", container(ports=[PORT])))
            reached, go_on = made.runtime.gate("stop_container")
            await made.delete(grace=0)
            await reached.wait()
            await made.create(make_pod("next", container("other", ports=[PORT]), nodeName=NODE))
            assert made.status("next")["phase"] == "Running"
            go_on.set()
            await made.settle()
            assert made.runtime.running() == ["other"]
            late = make_pod("late", container(ports=[PORT]), nodeName=NODE)
            await made.create(late)
            assert made.status("late")["reason"] == "NodePorts"

    asyncio.run(whole())


def test_who_still_takes_its_place_is_not_told_to_have_ended(tmp_path: Path) -> None:
    """The scheduler gives its place away as soon as it hears of the end."""

    async def whole() -> None:
        async with world(tmp_path) as made:
            await made.create(make_pod("job", container(ports=[PORT]), restartPolicy="Never"))
            remove, go_on = made.runtime.remove_sandbox, asyncio.Event()

            async def slowly(identifier: str) -> None:
                await go_on.wait()
                await remove(identifier)

            made.runtime.remove_sandbox = slowly  # type: ignore[method-assign]
            made.runtime.exit("app", 0)
            await made.settle()
            assert made.pod("job")["status"]["phase"] == "Running"
            go_on.set()
            await made.settle()
            assert made.pod("job")["status"]["phase"] == "Succeeded"
            await made.create(make_pod("late", container("other", ports=[PORT]), nodeName=NODE))
            assert made.status("late")["phase"] == "Running"

    asyncio.run(whole())
