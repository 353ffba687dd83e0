"""Server-side apply and managed fields over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from minipod.api.managed import fieldset

from .harness import CONFIG_MAPS, PODS, Answer, Api, config_map, pod, serve

Object = dict[str, Any]
APPLY = "application/apply-patch+yaml"


async def apply(api: Api, path: str, obj: Object, query: str = "fieldManager=me") -> Answer:
    return await api("PATCH", f"{path}?{query}", obj, Content_Type=APPLY)


def managed(obj: Object) -> dict[str, set[str]]:
    """Return the paths that each manager owns."""
    return {
        entry["manager"]: {fieldset.path_text(path) for path in fieldset.paths(entry["fieldsV1"])}
        for entry in obj["metadata"].get("managedFields", [])
    }


def test_an_apply_makes_what_is_not_there_and_changes_what_is(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await apply(api, f"{CONFIG_MAPS}/c", config_map("c", a="1"))
        assert made.status == 201
        assert managed(made.body) == {"me": {".data.a"}}
        again = await apply(api, f"{CONFIG_MAPS}/c", config_map("c", a="1"))
        assert (again.status, again.body) == (200, made.body)
        changed = await apply(api, f"{CONFIG_MAPS}/c", config_map("c", b="1"))
        assert changed.body["data"] == {"b": "1"}
        assert (
            changed.body["metadata"]["resourceVersion"] != made.body["metadata"]["resourceVersion"]
        )

    serve(tmp_path, body)


def test_conflicts_are_answered_and_force_takes_over(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api("POST", CONFIG_MAPS, config_map("c", a="1"), User_Agent="kubectl/v1.33 (linux)")
        refused = await apply(api, f"{CONFIG_MAPS}/c", config_map("c", a="2"))
        assert refused.status == 409
        assert refused.body["details"]["causes"][0]["field"] == ".data.a"
        assert 'conflict with "kubectl" using v1: .data.a' in refused.body["message"]
        dry = "fieldManager=me&force=true&dryRun=All"
        shown = await apply(api, f"{CONFIG_MAPS}/c", config_map("c", a="2"), dry)
        assert shown.body["data"] == {"a": "2"}
        assert (await api("GET", f"{CONFIG_MAPS}/c")).body["data"] == {"a": "1"}
        forced = await apply(
            api, f"{CONFIG_MAPS}/c", config_map("c", a="2"), "fieldManager=me&force=1"
        )
        assert managed(forced.body) == {"kubectl": {".data"}, "me": {".data.a"}}

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("query", "change", "status", "message"),
    [
        ("", {}, 422, 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value'),
        (f"fieldManager={'x' * 200}", {}, 422, "fieldManager: Too long"),
        ("fieldManager=a%07", {}, 422, "should only contain printable characters"),
        ("fieldManager=me", {"apiVersion": "v2"}, 400, "Incorrect version specified"),
        ("fieldManager=me", {"kind": ""}, 400, "kind must be set"),
        ("fieldManager=me", {"oops": 1}, 400, ".oops: field not declared in schema"),
        ("fieldManager=me", {"data": "x"}, 400, "cannot be handled as a ConfigMap"),
        ("fieldManager=me", {"metadata": {"name": "d"}}, 400, "does not match the name on the URL"),
        (
            "fieldManager=me",
            {"metadata": {"name": "c", "managedFields": []}},
            400,
            "metadata.managedFields must be nil",
        ),
        ("fieldManager=me", {"metadata": {"uid": "1"}}, 409, "no existing object was found"),
    ],
)
def test_an_apply_that_makes_no_sense_is_refused(
    tmp_path: Path, query: str, change: Object, status: int, message: str
) -> None:
    async def body(api: Api) -> None:
        answer = await apply(api, f"{CONFIG_MAPS}/c", config_map("c", a="1") | change, query)
        assert answer.status == status, answer.body
        assert message in answer.body["message"]
        assert (await api("GET", f"{CONFIG_MAPS}/c")).status == 404

    serve(tmp_path, body)


def test_force_is_for_apply_alone_and_cbor_is_refused(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("c"))
        merge = "application/merge-patch+json"
        answer = await api("PATCH", f"{CONFIG_MAPS}/c?force=true", {}, Content_Type=merge)
        assert answer.status == 422
        assert "may not be specified for non-apply patch" in answer.body["message"]
        cbor = await api(
            "PATCH", f"{CONFIG_MAPS}/c", {}, Content_Type="application/apply-patch+cbor"
        )
        assert cbor.status == 415
        assert "application/apply-patch+yaml" in cbor.body["message"]

    serve(tmp_path, body)


def test_yaml_is_applied_and_a_status_has_its_own_owner(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        text = b"apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec:\n  containers:\n  - {name: a, image: i}\n"
        path = f"{PODS}/p?fieldManager=me"
        made = await api("PATCH", path, data=text, Content_Type=APPLY)
        assert made.status == 201
        assert ".spec.dnsPolicy" not in managed(made.body)["me"], "defaults belong to nobody"
        status = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "p"},
            "status": {"message": "x"},
        }
        answer = await apply(api, f"{PODS}/p/status", status, "fieldManager=node")
        assert answer.body["status"]["message"] == "x"
        assert answer.body["spec"] == made.body["spec"]
        assert managed(answer.body)["node"] == {".status.message"}
        missing = await apply(
            api, f"{PODS}/none/status", status | {"metadata": {}}, "fieldManager=n"
        )
        assert missing.status == 404

    serve(tmp_path, body)


def test_an_update_without_managed_fields_keeps_them_and_an_empty_list_forgets_them(
    tmp_path: Path,
) -> None:
    async def body(api: Api) -> None:
        made = (await apply(api, f"{CONFIG_MAPS}/c", config_map("c", a="1"))).body
        plain = config_map("c", a="1")
        same = await api("PUT", f"{CONFIG_MAPS}/c", plain)
        assert same.body == made, "nothing changed, so nothing was written"
        plain["metadata"]["managedFields"] = [{}]
        reset = await api("PUT", f"{CONFIG_MAPS}/c", plain)
        assert "managedFields" not in reset.body["metadata"]

    serve(tmp_path, body)


def test_a_status_update_may_annotate_and_touches_nothing_else(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod("p"))
        patch = {
            "metadata": {"annotations": {"patched": "yes"}},
            "spec": {"activeDeadlineSeconds": 5},
            "status": {"message": "x"},
        }
        merge = "application/merge-patch+json"
        answer = await api("PATCH", f"{PODS}/p/status", patch, Content_Type=merge)
        assert answer.body["metadata"]["annotations"] == {"patched": "yes"}
        assert answer.body["spec"] == made["spec"]
        assert answer.body["status"]["message"] == "x"

    serve(tmp_path, body)


def test_two_appliers_at_once_lose_nothing(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        import asyncio

        async def one(number: int) -> None:
            mine = config_map("c", **{f"k{number}": "x"})
            answer = await apply(api, f"{CONFIG_MAPS}/c", mine, f"fieldManager=m{number}")
            assert answer.status in (200, 201)

        await asyncio.gather(*(one(number) for number in range(20)))
        found = (await api("GET", f"{CONFIG_MAPS}/c")).body
        assert found["data"] == {f"k{number}": "x" for number in range(20)}
        assert managed(found) == {f"m{number}": {f".data.k{number}"} for number in range(20)}

    serve(tmp_path, body)
