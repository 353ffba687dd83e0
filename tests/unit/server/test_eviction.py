"""pods/eviction: what it deletes, and what stands in its way."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipod.api import kinds
from minipod.api.kind import Kind

from .harness import PODS, Answer, Api, pod, serve

Object = dict[str, Any]
BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"


@pytest.fixture
def budgets() -> Iterator[None]:
    """PodDisruptionBudgets are served."""
    try:
        kinds.by_resource("poddisruptionbudgets.policy")
    except kinds.UnknownKind:
        pass
    else:
        yield
        return
    kind = Kind("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets")
    kinds.register(kind)
    yield
    kinds.unregister(kind)


async def running(api: Api, ready: bool = True) -> None:
    """Make a Pod that runs on a node."""
    labelled = pod(nodeName="one")
    labelled["metadata"]["labels"] = {"app": "web"}
    await api.make(PODS, labelled)
    conditions = [{"type": "Ready", "status": "True" if ready else "False"}]
    status = {"status": {"phase": "Running", "conditions": conditions}}
    await api("PATCH", f"{PODS}/nginx/status", status, Content_Type="application/merge-patch+json")


async def budget(api: Api, **status: Any) -> None:
    spec = {"selector": {"matchLabels": {"app": "web"}}, "minAvailable": 1}
    made = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "b"}}
    await api.make(BUDGETS, {**made, "spec": spec})
    entry = api.store.get("/poddisruptionbudgets.policy/default/b")
    assert entry is not None
    from minipod.server import wire

    found = wire.stored(entry)
    found["status"] = {"observedGeneration": found["metadata"].get("generation", 0), **status}
    await api.store.put(
        entry.key, lambda revision: wire.with_version(found, revision), expected=entry.revision
    )


async def evict(api: Api, query: str = "", **body: Any) -> Answer:
    made = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": "nginx"}, **body}
    return await api("POST", f"{PODS}/nginx/eviction{query}", made)


def test_without_a_budget_a_pod_ends_gracefully_and_says_why(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await running(api)
        dry = await evict(api, "?dryRun=All")
        assert dry.status == 201
        assert "deletionTimestamp" not in (await api("GET", f"{PODS}/nginx")).body["metadata"]
        answer = await evict(api, deleteOptions={"gracePeriodSeconds": 7})
        assert (answer.status, answer.body["status"]) == (201, "Success")
        found = (await api("GET", f"{PODS}/nginx")).body
        assert found["metadata"]["deletionGracePeriodSeconds"] == 7
        reasons = {each["type"]: each.get("reason") for each in found["status"]["conditions"]}
        assert reasons["DisruptionTarget"] == "EvictionByEvictionAPI"

    serve(tmp_path, body)


def test_an_eviction_of_older_clients_is_the_same(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await running(api)
        assert (await evict(api, apiVersion="policy/v1beta1")).status == 201
        assert "deletionTimestamp" in (await api("GET", f"{PODS}/nginx")).body["metadata"]

    serve(tmp_path, body)


def test_a_used_up_budget_says_why_and_not_when_to_come_back(tmp_path: Path, budgets: None) -> None:
    async def body(api: Api) -> None:
        await running(api)
        await budget(api, disruptionsAllowed=0, desiredHealthy=1, currentHealthy=1)
        refused = await evict(api)
        assert (refused.status, refused.body["reason"]) == (429, "TooManyRequests")
        assert refused.body["message"] == (
            "Cannot evict pod as it would violate the pod's disruption budget."
        )
        assert refused.body["details"]["causes"] == [
            {
                "reason": "DisruptionBudget",
                "message": "The disruption budget b needs 1 healthy pods and has 1 currently",
            }
        ]
        # Clients of client-go's kind would come back by themselves, and say nothing of it for minutes.
        assert "retryAfterSeconds" not in refused.body["details"]
        assert "Retry-After" not in refused.headers
        assert "deletionTimestamp" not in (await api("GET", f"{PODS}/nginx")).body["metadata"]

    serve(tmp_path, body)


def test_a_budget_that_is_not_counted_yet_says_when_to_come_back(
    tmp_path: Path, budgets: None
) -> None:
    async def body(api: Api) -> None:
        await running(api)
        await budget(api, observedGeneration=0)
        refused = await evict(api)
        assert (refused.status, refused.headers["Retry-After"]) == (429, "10")
        assert refused.body["details"]["retryAfterSeconds"] == 10

    serve(tmp_path, body)


def test_a_pod_of_two_budgets_is_not_evicted(tmp_path: Path, budgets: None) -> None:
    async def body(api: Api) -> None:
        await running(api)
        spec = {"selector": {}, "minAvailable": 0}
        for name in ("one", "two"):
            made = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget"}
            await api.make(BUDGETS, {**made, "metadata": {"name": name}, "spec": spec})
        refused = await evict(api)
        assert (refused.status, refused.body["message"]) == (
            500,
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
        )

    serve(tmp_path, body)


def test_an_eviction_is_taken_from_the_budget(tmp_path: Path, budgets: None) -> None:
    async def body(api: Api) -> None:
        await running(api)
        await budget(api, disruptionsAllowed=1, desiredHealthy=1, currentHealthy=2)
        assert (await evict(api)).status == 201
        status = (await api("GET", f"{BUDGETS}/b")).body["status"]
        assert status["disruptionsAllowed"] == 0
        assert list(status["disruptedPods"]) == ["nginx"]
        (condition,) = status["conditions"]
        assert (condition["status"], condition["reason"]) == ("False", "InsufficientPods")

    serve(tmp_path, body)


def test_a_pod_that_is_not_ready_may_go_while_enough_others_are(
    tmp_path: Path, budgets: None
) -> None:
    async def body(api: Api) -> None:
        await running(api, ready=False)
        await budget(api, disruptionsAllowed=0, desiredHealthy=1, currentHealthy=1)
        assert (await evict(api)).status == 201

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"metadata": {"name": "other"}}, 400),
        ({"apiVersion": "policy/v9"}, 400),
        ({"deleteOptions": "now"}, 400),
        ({"deleteOptions": {"preconditions": {"uid": "another"}}}, 409),
    ],
)
def test_an_eviction_that_makes_no_sense_is_refused(
    tmp_path: Path, change: Object, status: int
) -> None:
    async def body(api: Api) -> None:
        await running(api)
        assert (await evict(api, **change)).status == status
        missing = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {}}
        assert (await api("POST", f"{PODS}/none/eviction", missing)).status == 404

    serve(tmp_path, body)
