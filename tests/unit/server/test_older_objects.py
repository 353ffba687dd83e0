"""Objects that were stored before a rule or a default came can be changed, and let go of."""

from pathlib import Path

import pytest

from minipod.server import wire
from tests.unit.server.harness import Api, Object, serve

DEPLOYMENTS = "/apis/apps/v1/namespaces/default/deployments"
VOLUMES = "/api/v1/persistentvolumes"
MERGE = "application/merge-patch+json"
COST = "controller.kubernetes.io/pod-deletion-cost"


async def _store(api: Api, path: str, key: str, good: Object, older: Object) -> None:
    """Store an object as no request could today."""
    made = await api.make(path, good)
    stored = {**made, "spec": older}
    await api.store.put(
        key,
        lambda revision: wire.with_version(stored, revision),
        expected=int(made["metadata"]["resourceVersion"]),
    )


def _deployment(cost: str) -> Object:
    labels = {"app": "web"}
    metadata = {"labels": labels, "annotations": {COST: cost}}
    template = {"metadata": metadata, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    spec = {"selector": {"matchLabels": labels}, "template": template}
    return {"metadata": {"name": "d", "finalizers": ["a.b/c"]}, "spec": spec}


async def _deployed(api: Api) -> None:
    older = _deployment("much")["spec"]
    key = "/deployments.apps/default/d"
    await _store(api, DEPLOYMENTS, key, _deployment("1"), older)


@pytest.mark.parametrize(
    ("below", "change"),
    [
        ("", {"metadata": {"labels": {"more": "x"}}}),
        ("", {"metadata": {"finalizers": None}}),
        ("", {"spec": {"replicas": 3}}),
        ("/status", {"status": {"observedGeneration": 1}}),
    ],
)
def test_a_fault_that_is_stored_is_not_held_against_a_change(
    tmp_path: Path, below: str, change: Object
) -> None:
    async def body(api: Api) -> None:
        await _deployed(api)
        answer = await api("PATCH", f"{DEPLOYMENTS}/d{below}", change, Content_Type=MERGE)
        assert answer.status == 200, answer.body

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"replicas": -1}, "spec.replicas"),
        (
            {"template": {"metadata": {"annotations": {COST: "more"}}}},
            f"spec.template.annotations[{COST}]",
        ),
        ({"selector": {"matchLabels": {"app": "x"}}}, "spec.selector"),
    ],
)
def test_a_change_that_adds_a_fault_is_refused_for_that_one(
    tmp_path: Path, change: Object, field: str
) -> None:
    async def body(api: Api) -> None:
        await _deployed(api)
        answer = await api("PATCH", f"{DEPLOYMENTS}/d", {"spec": change}, Content_Type=MERGE)
        assert answer.status == 422
        assert field in {cause["field"] for cause in answer.body["details"]["causes"]}
        assert "much" not in answer.body["message"]

    serve(tmp_path, body)


def test_a_default_that_came_later_changes_nothing_immutable(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        iscsi = {"targetPortal": "10.0.0.1:3260", "iqn": "iqn.2015-02.example:x", "lun": 0}
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "persistentVolumeReclaimPolicy": "Retain",
            "volumeMode": "Filesystem",
            "iscsi": iscsi,
        }
        volume = {"metadata": {"name": "v"}, "spec": spec}
        await _store(api, VOLUMES, "/persistentvolumes/v", volume, spec)
        let_go: Object = {"metadata": {"finalizers": None}}
        answer = await api("PATCH", f"{VOLUMES}/v", let_go, Content_Type=MERGE)
        assert answer.status == 200, answer.body
        other = {"spec": {"iscsi": {"lun": 1}}}
        refused = await api("PATCH", f"{VOLUMES}/v", other, Content_Type=MERGE)
        assert refused.status == 422
        assert "changed: spec.iscsi.lun" in refused.body["message"]

    serve(tmp_path, body)
