"""Tables, partial objects, discovery and health."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipod.api.errors import StatusError
from minipod.server.representation import PLAIN, Representation, negotiate

from .harness import CONFIG_MAPS, PODS, Api, config_map, pod, serve

TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
PARTIAL = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
PARTIAL_LIST = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("", PLAIN),
        ("*/*", PLAIN),
        ("application/json", PLAIN),
        ("application/vnd.kubernetes.protobuf,application/json", PLAIN),
        (
            "application/json;as=Table;g=meta.k8s.io;v=v1beta1,application/json",
            Representation(transform="Table", version="v1beta1"),
        ),
        ("application/json;as=Table;g=meta.k8s.io;v=v2,application/json", PLAIN),
        (f"{TABLE},application/json", Representation(transform="Table")),
        (PARTIAL_LIST, Representation(transform="PartialObjectMetadataList")),
        ("application/yaml", Representation("application/yaml")),
        ("text/html, */*;q=0.8", PLAIN),
    ],
)
def test_accept_is_negotiated(accept: str, expected: Representation) -> None:
    assert negotiate(accept, {}) == expected


@pytest.mark.parametrize(
    "accept",
    ["application/vnd.kubernetes.protobuf", "text/html", "application/json;as=Table;v=v1;g=x"],
)
def test_what_cannot_be_made_is_not_acceptable(accept: str) -> None:
    with pytest.raises(StatusError) as refused:
        negotiate(accept, {})
    assert refused.value.code == 406


def test_a_list_as_a_table(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod())
        table = (await api("GET", PODS, Accept=f"{TABLE},application/json")).body
        assert (table["kind"], table["apiVersion"]) == ("Table", "meta.k8s.io/v1")
        assert table["metadata"]["resourceVersion"] == str(api.store.revision)
        assert table["columnDefinitions"][0]["name"] == "Name"
        (row,) = table["rows"]
        assert row["cells"][0] == "nginx"
        assert row["object"]["kind"] == "PartialObjectMetadata"
        assert row["object"]["metadata"] == made["metadata"]
        whole = (await api("GET", f"{PODS}?includeObject=Object", Accept=TABLE)).body
        assert whole["rows"][0]["object"] == made
        none = (await api("GET", f"{PODS}/nginx?includeObject=None", Accept=TABLE)).body
        assert "object" not in none["rows"][0]
        assert (await api("GET", f"{PODS}?includeObject=Some", Accept=TABLE)).status == 400

    serve(tmp_path, body)


def test_a_watched_table_names_its_columns_once(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        query = f"watch=1&resourceVersion={api.store.revision}"
        async with api.watch(
            f"{CONFIG_MAPS}?{query}", Accept=f"{TABLE},application/json"
        ) as events:
            await api.make(CONFIG_MAPS, config_map("a"))
            await api.make(CONFIG_MAPS, config_map("b"))
            first, second = await events.next(), await events.next()
        assert first is not None
        assert second is not None
        assert first["type"] == "ADDED"
        assert first["object"]["columnDefinitions"]
        assert second["object"]["columnDefinitions"] is None
        assert second["object"]["rows"][0]["cells"][0] == "b"

    serve(tmp_path, body)


def test_metadata_alone(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        made = await api.make(PODS, pod())
        one = (await api("GET", f"{PODS}/nginx", Accept=PARTIAL)).body
        assert one["kind"] == "PartialObjectMetadata"
        assert one["metadata"] == made["metadata"]
        assert "spec" not in one
        many = (await api("GET", PODS, Accept=PARTIAL_LIST)).body
        assert many["kind"] == "PartialObjectMetadataList"
        assert many["items"] == [one]
        wrong = await api("GET", PODS, Accept=PARTIAL)
        assert (wrong.status, wrong.body["message"]) == (
            406,
            "you requested PartialObjectMetadata, but the requested object is a list (PodList)",
        )
        wrong = await api("GET", f"{PODS}/nginx", Accept=PARTIAL_LIST)
        assert (wrong.status, wrong.body["message"]) == (
            406,
            "you requested PartialObjectMetadataList, but the requested object is not a list (Pod)",
        )

    serve(tmp_path, body)


def test_both_versions_of_tables_and_metadata(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(PODS, pod())
        older = "meta.k8s.io/v1beta1"
        table = (await api("GET", PODS, Accept=TABLE.replace("v=v1", "v=v1beta1"))).body
        assert (table["kind"], table["apiVersion"]) == ("Table", older)
        assert table["rows"][0]["object"]["apiVersion"] == older
        many = (await api("GET", PODS, Accept=PARTIAL_LIST.replace("v=v1", "v=v1beta1"))).body
        assert {many["apiVersion"], many["items"][0]["apiVersion"]} == {older}
        accept = {"Accept": PARTIAL.replace("v=v1", "v=v1beta1")}
        async with api.watch(f"{PODS}?watch=1", **accept) as events:
            first = await events.next()
            assert first is not None
            assert first["object"]["apiVersion"] == older

    serve(tmp_path, body)


def test_discovery_lists_what_is_served(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        assert (await api("GET", "/api")).body["versions"] == ["v1"]
        assert (await api("GET", "/apis")).body["kind"] == "APIGroupList"
        listed = (await api("GET", "/api/v1")).body
        assert (listed["kind"], listed["groupVersion"]) == ("APIResourceList", "v1")
        found = {each["name"]: each for each in listed["resources"]}
        assert {
            "pods",
            "pods/log",
            "pods/exec",
            "nodes/proxy",
            "namespaces/finalize",
        } <= found.keys()
        assert found["pods"]["shortNames"] == ["po"]
        assert found["pods"]["namespaced"]
        assert not found["nodes"]["namespaced"]
        assert "watch" in found["secrets"]["verbs"]
        assert (await api("GET", "/version")).body["major"] == "1"
        assert "/api/v1" in (await api("GET", "/")).body["paths"]

    serve(tmp_path, body)


@pytest.mark.parametrize(
    "path",
    [
        "/api/v2",
        "/api/v1/nothing",
        "/apis/apps/v9/deployments",
        "/apis/none",
        "/x",
        "/api/v1/pods/a/b/c",
        "/api/v1/namespaces/default/pods/x/nothing",
        "/api/v1/namespaces/a/b/c/d/e",
        "/openapi/v1",
    ],
)
def test_unknown_paths_are_a_status(tmp_path: Path, path: str) -> None:
    async def body(api: Api) -> None:
        answer = await api("GET", path)
        assert (answer.status, answer.body["reason"]) == (404, "NotFound")
        assert answer.body["message"] == "the server could not find the requested resource"

    serve(tmp_path, body)


def test_health_and_readiness(tmp_path: Path) -> None:
    problem = "the node is not registered"

    async def body(api: Api) -> None:
        nonlocal problem
        for path in ("/healthz", "/livez"):
            assert (await api("GET", path)).body == b"ok"
        unready = await api("GET", "/readyz")
        assert unready.status == 500
        assert b"[-]node-agent failed: reason withheld" in unready.body
        problem = ""
        assert (await api("GET", "/readyz")).body == b"ok"

    serve(tmp_path, body, unready=lambda: problem)


def test_openapi_tells_kubectl_what_it_wants_to_know(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        index = (await api("GET", "/openapi/v3")).body["paths"]
        document = (await api("GET", index["api/v1"]["serverRelativeURL"])).body
        pods = {"group": "", "version": "v1", "kind": "Pod"}
        patch = document["paths"]["/api/v1/namespaces/{namespace}/pods/{name}"]["patch"]
        assert patch["x-kubernetes-group-version-kind"] == pods
        assert "fieldValidation" in [each["name"] for each in patch["parameters"]]
        schemas = document["components"]["schemas"]
        pod_schema = schemas["io.k8s.api.core.v1.Pod"]
        assert pod_schema["x-kubernetes-group-version-kind"] == [pods]
        assert pod_schema["properties"]["spec"]["description"]
        for reference in references(document):
            assert reference.removeprefix("#/components/schemas/") in schemas
        assert (await api("GET", "/openapi/v3/apis/none/v1")).status == 404

    serve(tmp_path, body)


def references(value: Any) -> Iterator[str]:
    """Yield every $ref of a document."""
    if isinstance(value, list):
        for each in value:
            yield from references(each)
    elif isinstance(value, dict):
        if isinstance(value.get("$ref"), str):
            yield value["$ref"]
        for each in value.values():
            yield from references(each)
