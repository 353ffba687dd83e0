"""In-place resize, decided purely: what changes, what needs a restart, what fits the node."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from minipod.client import Object
from minipod.node import resizing
from minipod.node.resizing import compute_changes, compute_fit, has_pod_change
from tests.unit.node import pods
from tests.unit.node.pod_builders import attempt, container, make_pod, seen


def sized(cpu: str = "100m", memory: str = "64Mi", limit: str = "") -> Object:
    made: Object = {"requests": {"cpu": cpu, "memory": memory}}
    return {**made, "limits": {"cpu": limit}} if limit else made


def granted(pod: Object, resources: Object | None) -> Object:
    status: Object = {"name": "app", "containerID": "minipod://app-0", "state": {"running": {}}}
    if resources is not None:
        status["resources"] = resources
    return {**pod, "status": {"containerStatuses": [status]}}


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (sized("100m"), sized("100m"), 0),
        (sized("1"), sized("1000m"), 0),  # the same, written in another way
        (sized("100m"), sized("200m"), 1),
        (sized("100m"), sized("100m", limit="1"), 1),
        ({}, {}, 0),
        (None, sized("100m"), 0),  # nothing is known of what it was granted: nothing to change
    ],
)
def test_only_a_difference_is_a_change(before: Any, after: Object, changes: int) -> None:
    pod = granted(make_pod(container("app", resources=after)), before)
    assert len(compute_changes(pod, seen(attempt("app")))) == changes


def test_a_container_that_does_not_run_is_not_resized() -> None:
    pod = granted(make_pod(container("app", resources=sized("200m"))), sized("100m"))
    assert compute_changes(pod, seen(attempt("app", exit_code=1))) == []


@pytest.mark.parametrize(
    ("policy", "after", "restarts"),
    [
        ("RestartContainer", sized("100m", "128Mi"), True),
        ("NotRequired", sized("100m", "128Mi"), False),
        ("RestartContainer", sized("200m", "64Mi"), False),  # the other resource has changed
    ],
)
def test_the_changed_resources_policy_decides_over_a_restart(
    policy: str, after: Object, restarts: bool
) -> None:
    policies = [{"resourceName": "memory", "restartPolicy": policy}]
    app = container("app", resources=after, resizePolicy=policies)
    [change] = compute_changes(granted(make_pod(app), sized()), seen(attempt("app")))
    assert change.restarts is restarts


NODE = {"cpu": "2", "memory": "1Gi"}


@pytest.mark.parametrize(
    ("asked", "used", "fit", "message"),
    [
        (sized("1"), sized("500m"), "", ""),
        (
            sized("3"),
            sized("0"),
            "Infeasible",
            "Node didn't have enough capacity: cpu, requested: 3000, capacity: 2000",
        ),
        (
            sized("1500m"),
            sized("1"),
            "Deferred",
            "Node didn't have enough resource: cpu, requested: 1500, used: 1000, capacity: 2000",
        ),
        (
            sized("1", "2Gi"),
            sized("0"),
            "Infeasible",
            "Node didn't have enough capacity: memory, requested: 2147483648, capacity: 1073741824",
        ),
    ],
)
def test_what_fits_the_node(asked: Object, used: Object, fit: str, message: str) -> None:
    pod = make_pod(container("app", resources=asked))
    other = make_pod(container("other", resources=used))
    assert compute_fit(pod, [other], NODE) == (fit, message)


def whole(cpu: str, applied: str, own: Object | None = None, **app: Any) -> Object:
    """A running Pod that asks for `cpu` as a whole and was granted `applied`."""
    pod = granted(
        make_pod(container("app", resources=own or {}, **app), resources={"limits": {"cpu": cpu}}),
        own or {},
    )
    pod["status"]["resources"] = {"limits": {"cpu": applied}}
    return pod


def test_a_pods_own_limit_is_that_of_the_containers_without_one() -> None:
    pod = whole("2", "1")
    assert has_pod_change(pod)
    [change] = compute_changes(pod, seen(attempt("app")))
    assert not change.restarts
    policies = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]
    [change] = compute_changes(whole("2", "1", resizePolicy=policies), seen(attempt("app")))
    assert change.restarts
    limited = whole("2", "1", {"limits": {"cpu": "500m"}})
    assert (has_pod_change(limited), compute_changes(limited, seen(attempt("app")))) == (True, [])
    assert not has_pod_change(whole("1", "1000m"))


def test_what_others_were_granted_counts_not_what_they_ask_for() -> None:
    greedy = make_pod(container("other", resources=sized("4000")))
    greedy["status"] = {
        "containerStatuses": [{"name": "other", "allocatedResources": {"cpu": "500m"}}]
    }
    assert compute_fit(make_pod(container("app", resources=sized("1"))), [greedy], NODE) == ("", "")


@pytest.mark.parametrize("restarts", [False, True])
def test_a_resize_is_told_of_from_its_start_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, restarts: bool
) -> None:
    written: list[str] = []
    monkeypatch.setattr(resizing, "_limit", lambda path, whole, *, widen: written.append(path))
    policy = [{"resourceName": "memory", "restartPolicy": "RestartContainer"}] if restarts else []
    app = pods.container(resources=sized(), resizePolicy=policy)

    async def scene() -> None:
        async with pods.world(tmp_path) as made:
            await made.create(pods.make_pod("web", app))
            wanted = {**app, "resources": sized("100m", "128Mi")}
            patch = {"metadata": {"generation": 2}, "spec": {"containers": [wanted]}}
            reached, go = made.runtime.gate("stop_container")
            await made.api.client().patch("pods", "default", "web", patch)
            if restarts:
                await reached.wait()
                await made.settle()
                assert progress(made.status()) == [("True", None, None, 2)]
                go.set()
            await made.settle()
            assert progress(made.status()) == []
            status = made.status()["containerStatuses"][0]
            assert status["resources"] == sized("100m", "128Mi")
            assert status["restartCount"] == int(restarts)
            await made.events_written()
            summary = (
                '{"containers":[{"name":"app","resources":'
                '{"requests":{"cpu":"100m","memory":"128Mi"}}}],"generation":2}'
            )
            told = [each for each in made.api.events() if each[0].startswith("Resize")]
            assert told == [
                ("ResizeStarted", f"Pod resize started: {summary}"),
                ("ResizeCompleted", f"Pod resize completed: {summary}"),
            ]
            assert {*written} == {"minipod-fake/poduid-web"}  # where the shim says that they are

    asyncio.run(scene())


def progress(status: Object) -> list[tuple[str, str | None, str | None, int | None]]:
    return [
        (each["status"], each.get("reason"), each.get("message"), each.get("observedGeneration"))
        for each in status["conditions"]
        if each["type"] == "PodResizeInProgress"
    ]
