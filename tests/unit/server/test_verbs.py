"""create, get, list, update, patch over HTTP."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve


def test_a_created_pod_has_its_identity_and_is_read_back(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        given = pod()
        given["metadata"] |= {
            "uid": "mine",
            "creationTimestamp": "2001-01-01T00:00:00Z",
            "deletionTimestamp": "2001-01-01T00:00:00Z",
            "selfLink": "/",
            "generation": 7,
            "managedFields": [{"manager": "me"}],
        }
        given["status"] = {"phase": "Running"}
        made = await api.make(PODS, given)
        found = made["metadata"]
        assert found["namespace"] == "default"
        assert found["uid"] != "mine"
        assert found["creationTimestamp"] > "2020"
        assert found["generation"] == 1
        assert int(found["resourceVersion"]) == api.store.revision
        assert not {"deletionTimestamp", "selfLink"} & found.keys()
        assert "me" not in [entry["manager"] for entry in found["managedFields"]]
        assert made["status"]["phase"] == "Pending"
        assert made["spec"]["serviceAccountName"] == "default"
        assert (await api("GET", f"{PODS}/nginx")).body == made

    serve(tmp_path, body)


def test_a_name_is_generated_and_taken_names_are_refused(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        nameless = config_map("x")
        nameless["metadata"] = {"generateName": "web-"}
        names = {(await api.make(CONFIG_MAPS, nameless))["metadata"]["name"] for _ in range(3)}
        assert len(names) == 3
        assert all(name.startswith("web-") and len(name) == 9 for name in names)
        await api.make(CONFIG_MAPS, config_map("x"))
        again = await api("POST", CONFIG_MAPS, config_map("x"))
        assert again.status == 409
        assert again.body["reason"] == "AlreadyExists"
        assert again.body["message"] == 'configmaps "x" already exists'

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("change", "path", "status", "message"),
    [
        ({"metadata": {"name": "x", "namespace": "other"}}, CONFIG_MAPS, 400, "does not match"),
        (
            {"metadata": {"name": "x", "resourceVersion": "5"}},
            CONFIG_MAPS,
            400,
            "should not be set",
        ),
        ({"metadata": {}}, CONFIG_MAPS, 422, "name or generateName is required"),
        ({"kind": "Secret"}, CONFIG_MAPS, 400, "unrecognized"),
        ({"apiVersion": "v2"}, CONFIG_MAPS, 400, "does not match the expected API version"),
        ({"data": "text"}, CONFIG_MAPS, 400, "cannot be handled as a ConfigMap"),
        ({}, "/api/v1/namespaces/none/configmaps", 404, 'namespaces "none" not found'),
        ({}, "/api/v1/configmaps", 405, "name one"),
        ({}, f"{CONFIG_MAPS}/x", 405, "not supported"),
        ({}, f"{CONFIG_MAPS}?dryRun=some", 422, "dryRun"),
        ({}, f"{CONFIG_MAPS}?fieldValidation=Maybe", 422, "fieldValidation"),
    ],
)
def test_a_create_that_makes_no_sense_is_refused(
    tmp_path: Path, change: dict[str, Any], path: str, status: int, message: str
) -> None:
    async def body(api: Api) -> None:
        before = api.store.revision
        answer = await api("POST", path, config_map("x") | change)
        assert answer.status == status
        assert answer.body["kind"] == "Status"
        assert message in answer.body["message"]
        assert api.store.revision == before

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("mode", "status"), [("Strict", 400), ("Warn", 201), ("Ignore", 201), ("", 201)]
)
def test_unknown_fields_are_reported_by_path(tmp_path: Path, mode: str, status: int) -> None:
    async def body(api: Api) -> None:
        misspelt = pod()
        misspelt["spec"]["containers"][0]["comand"] = ["true"]
        answer = await api("POST", f"{PODS}?fieldValidation={mode}", misspelt)
        assert answer.status == status
        if mode == "Strict":
            assert (
                'strict decoding error: unknown field "spec.containers[0].comand"'
                in answer.body["message"]
            )
            return
        assert "comand" not in answer.body["spec"]["containers"][0]
        told = [each for each in answer.warnings if "spec.containers[0].comand" in each]
        assert len(told) == (0 if mode == "Ignore" else 1)
        assert all(each.startswith('299 - "unknown field \\"spec') for each in told)

    serve(tmp_path, body)


def test_a_flood_of_warnings_is_cut_to_what_clients_take(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        strange = config_map("x")
        strange |= {f"field{number}\n\x00\u00e9" + "x" * 300: 1 for number in range(1000)}
        answer = await api("POST", CONFIG_MAPS, strange)
        assert answer.status == 201
        assert answer.warnings[0].startswith('299 - "unknown field \\"field0 ?\u00e9xxx')
        assert 1 < len(answer.warnings) < 20

    serve(tmp_path, body)


def test_fields_given_twice_are_reported_by_path(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        text = b'{"metadata":{"name":"x"},"data":{"a":"1","a":"2"}}'
        strict = await api("POST", f"{CONFIG_MAPS}?fieldValidation=Strict", data=text)
        assert 'duplicate field "data.a"' in strict.body["message"]
        warned = await api("POST", CONFIG_MAPS, data=text)
        assert warned.status == 201
        assert 'duplicate field \\"data.a\\"' in warned.warnings[0]

    serve(tmp_path, body)


def test_a_dry_run_answers_and_stores_nothing(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        before = api.store.revision
        made = await api("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("x"))
        assert made.status == 201
        assert made.body["metadata"]["uid"]
        assert (await api("GET", f"{CONFIG_MAPS}/x")).status == 404
        assert api.store.revision == before
        kept = await api.make(CONFIG_MAPS, config_map("x", a="1"))
        changed = await api("PUT", f"{CONFIG_MAPS}/x?dryRun=All", config_map("x", a="2"))
        assert changed.body["data"] == {"a": "2"}
        assert (await api("POST", f"{CONFIG_MAPS}?dryRun=All", config_map("x"))).status == 409
        assert (await api("DELETE", f"{CONFIG_MAPS}/x?dryRun=All")).status == 200
        assert (await api("GET", f"{CONFIG_MAPS}/x")).body == kept

    serve(tmp_path, body)


def test_an_update_is_checked_against_the_version_it_names(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        first = await api.make(CONFIG_MAPS, config_map("x", a="1"))
        second = await api("PUT", f"{CONFIG_MAPS}/x", first | {"data": {"a": "2"}})
        assert second.status == 200
        assert second.body["metadata"]["uid"] == first["metadata"]["uid"]
        stale = await api("PUT", f"{CONFIG_MAPS}/x", first | {"data": {"a": "3"}})
        assert stale.status == 409
        assert stale.body["reason"] == "Conflict"
        assert "the object has been modified" in stale.body["message"]
        unconditional = await api("PUT", f"{CONFIG_MAPS}/x", config_map("x", a="4"))
        assert unconditional.status == 200
        other = config_map("x")
        other["metadata"]["uid"] = "other"
        assert (await api("PUT", f"{CONFIG_MAPS}/x", other)).status == 409
        assert (await api("PUT", f"{CONFIG_MAPS}/y", config_map("x"))).status == 400
        assert (await api("PUT", f"{CONFIG_MAPS}/y", config_map("y"))).status == 404

    serve(tmp_path, body)


def test_an_update_that_changes_nothing_writes_nothing(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod())
        before = api.store.revision
        assert (await api("PUT", f"{PODS}/nginx", made)).body == made
        assert api.store.revision == before

    serve(tmp_path, body)


def test_status_and_spec_are_written_apart(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod())
        running = made | {"status": made["status"] | {"phase": "Running"}}
        assert (await api("PUT", f"{PODS}/nginx", running)).body["status"]["phase"] == "Pending"
        running["spec"] = running["spec"] | {"activeDeadlineSeconds": 5}
        running["metadata"] = {"name": "nginx"}
        changed = (await api("PUT", f"{PODS}/nginx/status", running)).body
        assert changed["status"]["phase"] == "Running"
        assert "activeDeadlineSeconds" not in changed["spec"]
        assert changed["metadata"]["generation"] == 1
        patched = await api(
            "PATCH",
            f"{PODS}/nginx",
            {"spec": {"activeDeadlineSeconds": 5}, "status": {"phase": "Failed"}},
            Content_Type="application/merge-patch+json",
        )
        assert patched.status == 200, patched.body
        assert patched.body["metadata"]["generation"] == 2
        assert patched.body["status"]["phase"] == "Running"

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("media_type", "patch"),
    [
        ("application/merge-patch+json", {"data": {"a": None, "b": "2"}}),
        ("application/strategic-merge-patch+json", {"data": {"a": None, "b": "2"}}),
        (
            "application/json-patch+json",
            [{"op": "remove", "path": "/data/a"}, {"op": "add", "path": "/data/b", "value": "2"}],
        ),
    ],
)
def test_patches_change_parts(tmp_path: Path, media_type: str, patch: Any) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("x", a="1", c="3"))
        answer = await api("PATCH", f"{CONFIG_MAPS}/x", patch, Content_Type=media_type)
        assert answer.body["data"] == {"b": "2", "c": "3"}

    serve(tmp_path, body)


def test_patches_of_a_stale_version_and_of_other_types_are_refused(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("x"))
        merge = "application/merge-patch+json"
        stale = {"metadata": {"resourceVersion": "1"}, "data": {"a": "1"}}
        assert (await api("PATCH", f"{CONFIG_MAPS}/x", stale, Content_Type=merge)).status == 409
        plain = await api("PATCH", f"{CONFIG_MAPS}/x", {})
        assert plain.status == 415
        assert "application/merge-patch+json" in plain.body["message"]

    serve(tmp_path, body)


def test_concurrent_patches_all_take_effect(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("x"))
        merge = "application/merge-patch+json"
        patches = [
            api("PATCH", f"{CONFIG_MAPS}/x", {"data": {f"k{n}": str(n)}}, Content_Type=merge)
            for n in range(20)
        ]
        assert {answer.status for answer in await asyncio.gather(*patches)} == {200}
        assert len((await api("GET", f"{CONFIG_MAPS}/x")).body["data"]) == 20

    serve(tmp_path, body)


def test_lists_are_selected_and_paged(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        for number in range(5):
            tier = "even" if number % 2 == 0 else "odd"
            await api.make(CONFIG_MAPS, config_map(f"c{number}", {"tier": tier}))
        everything = (await api("GET", CONFIG_MAPS)).body
        assert everything["kind"] == "ConfigMapList"
        assert everything["metadata"]["resourceVersion"] == str(api.store.revision)
        assert names(everything) == ["c0", "c1", "c2", "c3", "c4"]
        assert names((await api("GET", f"{CONFIG_MAPS}?labelSelector=tier%3Dodd")).body) == [
            "c1",
            "c3",
        ]
        one = await api("GET", "/api/v1/configmaps?fieldSelector=metadata.name%3Dc2")
        assert names(one.body) == ["c2"]
        first = (await api("GET", f"{CONFIG_MAPS}?limit=2")).body
        assert (names(first), first["metadata"]["remainingItemCount"]) == (["c0", "c1"], 3)
        assert (await api("DELETE", f"{CONFIG_MAPS}/c3")).status == 200
        token = first["metadata"]["continue"]
        rest = (await api("GET", f"{CONFIG_MAPS}?limit=9&continue={token}")).body
        assert names(rest) == ["c2", "c3", "c4"]
        assert rest["metadata"] == {"resourceVersion": first["metadata"]["resourceVersion"]}
        even = (await api("GET", f"{CONFIG_MAPS}?limit=2&labelSelector=tier%3Deven")).body
        assert names(even) == ["c0", "c2"]
        token = even["metadata"]["continue"]
        rest = (
            await api("GET", f"{CONFIG_MAPS}?limit=2&labelSelector=tier%3Deven&continue={token}")
        ).body
        assert (names(rest), "continue" in rest["metadata"]) == (["c4"], False)

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("limit=x", 400),
        ("limit=-1", 200),
        ("continue=x", 400),
        ("continue=e30", 400),
        ("labelSelector=a%3D%3D%3Db", 400),
        ("fieldSelector=spec.nothing%3Dx", 400),
        ("resourceVersion=x", 400),
        ("resourceVersion=999999", 504),
        ("resourceVersion=1&resourceVersionMatch=Nearly", 422),
        ("resourceVersionMatch=Exact", 422),
        ("resourceVersion=2&resourceVersionMatch=Exact", 200),
        ("resourceVersion=2&resourceVersionMatch=NotOlderThan", 200),
        ("resourceVersion=0", 200),
    ],
)
def test_list_parameters_are_checked(tmp_path: Path, query: str, status: int) -> None:
    async def body(api: Api) -> None:
        answer = await api("GET", f"{CONFIG_MAPS}?{query}")
        assert answer.status == status, answer.body

    # bootstrap wrote eight versions: "Exact" reads the second of them
    serve(tmp_path, body)


def test_an_exact_list_is_of_its_version(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("a"))
        version = api.store.revision
        await api.make(CONFIG_MAPS, config_map("b"))
        exact = f"{CONFIG_MAPS}?resourceVersionMatch=Exact&resourceVersion={version}"
        found = (await api("GET", exact)).body
        assert names(found) == ["a"]
        assert found["metadata"]["resourceVersion"] == str(version)

    serve(tmp_path, body)


def test_a_binding_puts_a_pod_on_a_node_once(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod())
        binding = {"metadata": {"name": "nginx"}, "target": {"kind": "Node", "name": "one"}}
        answer = await api("POST", f"{PODS}/nginx/binding", binding)
        assert (answer.status, answer.body["status"]) == (201, "Success")
        bound = (await api("GET", f"{PODS}/nginx")).body
        assert bound["spec"]["nodeName"] == "one"
        (scheduled,) = bound["status"]["conditions"]
        assert (scheduled["type"], scheduled["status"]) == ("PodScheduled", "True")
        again = await api("POST", f"{PODS}/nginx/binding", binding)
        assert again.status == 409
        assert 'pod nginx is already assigned to node "one"' in again.body["message"]
        assert (await api("POST", f"{PODS}/none/binding", binding)).status == 400
        assert (await api("POST", f"{PODS}/nginx/binding", {"target": {}})).status == 400

    serve(tmp_path, body)


def names(listed: dict[str, Any]) -> list[str]:
    return [item["metadata"]["name"] for item in listed["items"]]


def test_a_list_of_nothing_in_metadata_is_not_there(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("x", labels={"a": "b"}))
        empty = {"metadata": {"labels": {}, "finalizers": [], "ownerReferences": []}}
        merge = "application/merge-patch+json"
        patch = [{"op": "remove", "path": "/metadata/labels/a"}]
        answer = await api("PATCH", f"{CONFIG_MAPS}/x", empty, Content_Type=merge)
        assert not {"finalizers", "ownerReferences"} & answer.body["metadata"].keys()
        json_patch = "application/json-patch+json"
        answer = await api("PATCH", f"{CONFIG_MAPS}/x", patch, Content_Type=json_patch)
        assert "labels" not in answer.body["metadata"]

    serve(tmp_path, body)
