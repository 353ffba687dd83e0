"""Deletion: graceful for Pods on nodes, after finalizers, of namespaces, of collections."""

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from minipod.api.errors import StatusError
from minipod.api.kinds import by_resource
from minipod.server.deletion import Fate, compute_deletion
from minipod.server.options import DeleteOptions

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
AT_NODE = {"nodeName": "one"}
MARKED = {"deletionTimestamp": "2026-01-01T12:00:30Z", "deletionGracePeriodSeconds": 30}
FINALIZERS = {"finalizers": ["example.com/x"]}


@pytest.mark.parametrize(
    ("metadata", "spec", "phase", "wanted", "fate", "timestamp", "grace"),
    [
        ({}, {}, "Pending", None, Fate.REMOVED, None, None),
        ({}, AT_NODE, "Running", None, Fate.MARKED, "12:00:30", 30),
        (
            {},
            AT_NODE | {"terminationGracePeriodSeconds": 5},
            "Running",
            None,
            Fate.MARKED,
            "12:00:05",
            5,
        ),
        ({}, AT_NODE, "Running", 7, Fate.MARKED, "12:00:07", 7),
        ({}, AT_NODE, "Running", -3, Fate.MARKED, "12:00:01", 1),
        ({}, AT_NODE, "Running", 0, Fate.REMOVED, None, None),
        ({}, AT_NODE, "Succeeded", None, Fate.REMOVED, None, None),
        ({}, AT_NODE, "Failed", 60, Fate.REMOVED, None, None),
        (FINALIZERS, {}, "Pending", None, Fate.MARKED, "12:00:00", 0),
        (FINALIZERS, AT_NODE, "Running", 0, Fate.MARKED, "12:00:00", 0),
        (MARKED, AT_NODE, "Running", None, Fate.UNCHANGED, "12:00:30", 30),
        (MARKED, AT_NODE, "Running", 60, Fate.UNCHANGED, "12:00:30", 30),
        (MARKED, AT_NODE, "Running", 10, Fate.MARKED, "12:00:10", 10),
        (MARKED, AT_NODE, "Running", 0, Fate.REMOVED, "12:00:30", 30),
        (MARKED, AT_NODE, "Succeeded", None, Fate.REMOVED, "12:00:30", 30),
        (MARKED | FINALIZERS, AT_NODE, "Running", 0, Fate.MARKED, "12:00:00", 0),
    ],
)
def test_what_a_delete_does_to_a_pod(
    metadata: dict[str, Any],
    spec: dict[str, Any],
    phase: str,
    wanted: int | None,
    fate: Fate,
    timestamp: str | None,
    grace: int | None,
) -> None:
    obj = {"metadata": {"name": "x", **metadata}, "spec": dict(spec), "status": {"phase": phase}}
    assert compute_deletion(by_resource("pods"), obj, DeleteOptions(wanted), NOW) is fate
    found = obj["metadata"]
    assert found.get("deletionTimestamp") == (timestamp and f"2026-01-01T{timestamp}Z")
    assert found.get("deletionGracePeriodSeconds") == grace


def test_a_pod_on_a_node_is_marked_and_gone_when_its_node_says_so(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod(nodeName="one", terminationGracePeriodSeconds=5))
        marked = await api("DELETE", f"{PODS}/nginx")
        assert marked.status == 200
        found = marked.body["metadata"]
        assert found["deletionGracePeriodSeconds"] == 5
        assert found["generation"] == 2
        assert (await api("GET", f"{PODS}/nginx")).body == marked.body
        wrong = {"gracePeriodSeconds": 0, "preconditions": {"uid": "other"}}
        assert (await api("DELETE", f"{PODS}/nginx", wrong)).status == 409
        right = {"gracePeriodSeconds": 0, "preconditions": {"uid": made["metadata"]["uid"]}}
        gone = await api("DELETE", f"{PODS}/nginx", right)
        assert gone.body["metadata"]["uid"] == made["metadata"]["uid"]
        assert (await api("GET", f"{PODS}/nginx")).status == 404
        assert (await api("DELETE", f"{PODS}/nginx")).status == 404

    serve(tmp_path, body)


def test_grace_comes_from_the_query_too(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod(nodeName="one"))
        assert (await api("DELETE", f"{PODS}/nginx?gracePeriodSeconds=x")).status == 400
        assert (await api("DELETE", f"{PODS}/nginx?propagationPolicy=Later")).status == 422
        query = "gracePeriodSeconds=0&propagationPolicy=Background"
        assert (await api("DELETE", f"{PODS}/nginx?{query}")).status == 200
        assert (await api("GET", f"{PODS}/nginx")).status == 404

    serve(tmp_path, body)


def test_finalizers_hold_an_object_until_they_are_cleared(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        held = config_map("x")
        held["metadata"]["finalizers"] = ["example.com/x"]
        await api.make(CONFIG_MAPS, held)
        async with api.watch(
            f"{CONFIG_MAPS}?watch=1&resourceVersion={api.store.revision}"
        ) as events:
            marked = (await api("DELETE", f"{CONFIG_MAPS}/x")).body
            assert marked["metadata"]["deletionTimestamp"]
            freed = marked | {"metadata": marked["metadata"] | {"finalizers": []}}
            assert (await api("PUT", f"{CONFIG_MAPS}/x", freed)).status == 200
            assert (await api("GET", f"{CONFIG_MAPS}/x")).status == 404
            assert await events.take(2) == [("MODIFIED", "x"), ("DELETED", "x")]

    serve(tmp_path, body)


def test_a_deleted_object_answers_its_status(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(CONFIG_MAPS, config_map("x"))
        answer = (await api("DELETE", f"{CONFIG_MAPS}/x")).body
        assert answer["status"] == "Success"
        uid = made["metadata"]["uid"]
        assert answer["details"] == {"name": "x", "kind": "configmaps", "uid": uid}

    serve(tmp_path, body)


def test_a_collection_is_deleted_as_selected(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for name, tier in (("a", "x"), ("b", "y"), ("c", "x")):
            await api.make(CONFIG_MAPS, config_map(name, {"tier": tier}))
        answer = await api("DELETE", f"{CONFIG_MAPS}?labelSelector=tier%3Dx")
        assert [item["metadata"]["name"] for item in answer.body["items"]] == ["a", "c"]
        left = (await api("GET", CONFIG_MAPS)).body["items"]
        assert [item["metadata"]["name"] for item in left] == ["b"]
        assert (await api("DELETE", "/api/v1/configmaps")).status == 405
        assert (await api("DELETE", "/api/v1/namespaces")).status == 405

    serve(tmp_path, body)


def test_a_limit_holds_for_a_collection_that_is_deleted(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for name in "abcd":
            await api.make(CONFIG_MAPS, config_map(name))
        first = (await api("DELETE", f"{CONFIG_MAPS}?limit=3")).body
        assert [each["metadata"]["name"] for each in first["items"]] == ["a", "b", "c"]
        assert first["metadata"]["continue"]
        left = (await api("GET", CONFIG_MAPS)).body["items"]
        assert [each["metadata"]["name"] for each in left] == ["d"]

    serve(tmp_path, body)


def test_what_does_not_meet_its_preconditions_is_told_as_upstream_does(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        found = (await api.make(CONFIG_MAPS, config_map("a")))["metadata"]
        other = await api("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"uid": "u"}})
        assert (other.status, other.body["message"]) == (
            409,
            'Operation cannot be fulfilled on ConfigMap "a": the UID in the precondition (u) does not match the UID '
            f"in record ({found['uid']}). The object might have been deleted and then recreated",
        )
        older = await api("DELETE", f"{CONFIG_MAPS}/a", {"preconditions": {"resourceVersion": "1"}})
        assert (older.status, older.body["message"]) == (
            409,
            'Operation cannot be fulfilled on ConfigMap "a": the ResourceVersion in the precondition (1) does not '
            f"match the ResourceVersion in record ({found['resourceVersion']}). The object might have been modified",
        )

    serve(tmp_path, body)


def test_an_owner_that_is_given_twice_is_kept_once(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        owner = {"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "u"}
        twice = config_map("a")
        twice["metadata"]["ownerReferences"] = [owner, {**owner, "uid": "v"}, owner]
        made = await api("POST", CONFIG_MAPS, twice)
        owners = made.body["metadata"]["ownerReferences"]
        assert [each["uid"] for each in owners] == ["u", "v"]
        [warning] = made.warnings
        assert ".metadata.ownerReferences contains duplicate entries; API server dedups" in warning
        assert warning.endswith('duplicate UID(s) observed: u"')
        merge = "application/merge-patch+json"
        patch = {"metadata": {"ownerReferences": [owner, owner]}}
        changed = await api("PATCH", f"{CONFIG_MAPS}/a", patch, Content_Type=merge)
        assert len(changed.body["metadata"]["ownerReferences"]) == 1
        assert "duplicate entries after mutating admission happens" in changed.warnings[0]

    serve(tmp_path, body)


def test_a_namespace_goes_once_its_finalizers_are_gone(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make("/api/v1/namespaces", {"metadata": {"name": "lab"}})
        assert (await api("GET", "/api/v1/namespaces/lab/serviceaccounts/default")).status == 200
        gone = (await api("DELETE", "/api/v1/namespaces/lab")).body
        assert gone["status"]["phase"] == "Terminating"
        refused = await api("POST", "/api/v1/namespaces/lab/configmaps", config_map("x"))
        assert refused.status == 403
        assert "because it is being terminated" in refused.body["message"]
        assert refused.body["details"]["causes"][0]["reason"] == "NamespaceTerminating"
        kept = await api("PUT", "/api/v1/namespaces/lab", gone | {"spec": {}})
        assert kept.body["spec"] == {"finalizers": ["kubernetes"]}
        done = await api("PUT", "/api/v1/namespaces/lab/finalize", kept.body | {"spec": {}})
        assert done.status == 200
        assert (await api("GET", "/api/v1/namespaces/lab")).status == 404

    serve(tmp_path, body)


def test_nothing_slips_into_a_namespace_as_it_goes(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make("/api/v1/namespaces", {"metadata": {"name": "lab"}})
        going = api.client.delete("namespaces", "", "lab")
        late = api.client.create("configmaps", "lab", config_map("x"))
        results = await asyncio.gather(going, late, return_exceptions=True)
        assert isinstance(results[1], StatusError)
        assert results[1].code == 403
        assert (await api("GET", "/api/v1/namespaces/lab/configmaps")).body["items"] == []

    serve(tmp_path, body)


def test_the_first_namespaces_stay(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        refused = await api("DELETE", "/api/v1/namespaces/default")
        assert refused.status == 403
        expected = 'namespaces "default" is forbidden: this namespace may not be deleted'
        assert refused.body["message"] == expected

    serve(tmp_path, body)
