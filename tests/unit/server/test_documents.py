"""Discovery in both forms, OpenAPI in both versions, and how documents and large answers travel."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openapi_spec_validator
import pytest

from minipod.api import kinds
from minipod.api.kind import Kind
from minipod.server import documents, openapi, openapi_v2

from .harness import CONFIG_MAPS, Api, config_map, serve

Object = dict[str, Any]
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v={};as=APIGroupDiscoveryList"


def test_there_are_no_custom_kinds(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
        listed = await api("GET", f"{path}?limit=500")
        assert (listed.status, listed.body["items"]) == (200, [])
        assert listed.body["kind"] == "CustomResourceDefinitionList"
        for method, missing in (("GET", "/some"), ("GET", "?watch=1"), ("POST", "")):
            assert (await api(method, f"{path}{missing}", {})).status == 404, (method, missing)
        groups = (await api("GET", "/apis")).body["groups"]
        assert "apiextensions.k8s.io" not in [each["name"] for each in groups]

    serve(tmp_path, body)


@pytest.mark.parametrize("version", ["v2", "v2beta1"])
def test_discovery_comes_in_one_document_for_clients_that_ask(tmp_path: Path, version: str) -> None:
    async def body(api: Api) -> None:
        accept = f"{AGGREGATED.format(version)},application/json"
        core = await api("GET", "/api", Accept=accept)
        assert core.headers["Content-Type"] == AGGREGATED.format(version)
        assert core.body["apiVersion"] == f"apidiscovery.k8s.io/{version}"
        (group,) = core.body["items"]
        resources = {each["resource"]: each for each in group["versions"][0]["resources"]}
        assert resources["pods"] == {
            "resource": "pods",
            "responseKind": {"group": "", "version": "v1", "kind": "Pod"},
            "scope": "Namespaced",
            "singularResource": "pod",
            "verbs": [
                "create",
                "delete",
                "deletecollection",
                "get",
                "list",
                "patch",
                "update",
                "watch",
            ],
            "shortNames": ["po"],
            "categories": ["all"],
            "subresources": resources["pods"]["subresources"],
        }
        status = {each["subresource"]: each for each in resources["pods"]["subresources"]}["status"]
        assert status["verbs"] == ["get", "patch", "update"]
        named = (await api("GET", "/apis", Accept=accept)).body["items"]
        assert "apps" in [each["metadata"]["name"] for each in named]

    serve(tmp_path, body)


def test_a_document_that_a_client_has_is_not_sent_again(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        first = await api("GET", "/api", Accept=AGGREGATED.format("v2"))
        tag = first.headers["ETag"]
        again = await api("GET", "/api", Accept=AGGREGATED.format("v2"), If_None_Match=tag)
        assert (again.status, again.body, again.headers["ETag"]) == (304, b"", tag)
        other = await api("GET", "/api", Accept="application/json", If_None_Match=tag)
        assert other.status == 200
        thing = Kind("example.com", "v1", "Thing", "things")
        kinds.register(thing)
        try:
            groups = await api("GET", "/apis", Accept=AGGREGATED.format("v2"))
            assert "example.com" in [each["metadata"]["name"] for each in groups.body["items"]]
        finally:
            kinds.unregister(thing)

    serve(tmp_path, body)


def test_old_clients_get_the_protobuf_that_they_insist_on_and_others_are_told_what_there_is(
    tmp_path: Path,
) -> None:
    async def body(api: Api) -> None:
        accept = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"
        found = await api("GET", "/openapi/v2", Accept=accept)
        assert found.headers["Content-Type"] == accept.replace("@", ".")
        assert found.body.startswith(b"\x0a\x032.0"), "field 1, three bytes: swagger"
        refused = await api("GET", "/openapi/v2", Accept="application/xml")
        assert refused.status == 406
        assert (await api("GET", "/openapi/v2")).body["swagger"] == "2.0"

    serve(tmp_path, body)


def fields(message: bytes) -> Iterator[tuple[int, Any]]:
    """Read a protobuf message's fields, as https://protobuf.dev/programming-guides/encoding/ has it."""
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = message[at]
            at, value, shift = at + 1, value | (byte & 0x7F) << shift, shift + 7
            if byte < 0x80:
                return value

    while at < len(message):
        key = varint()
        if key & 7 == 0:
            yield key >> 3, varint()
        else:
            assert key & 7 == 2
            length = varint()
            yield key >> 3, message[at : at + length]
            at += length


def one(message: bytes, field: int) -> Any:
    return next(value for number, value in fields(message) if number == field)


def named(message: bytes, field: int) -> dict[str, bytes]:
    entries = (value for number, value in fields(message) if number == field)
    return {one(each, 1).decode(): one(each, 2) for each in entries}


def test_the_protobuf_says_what_the_json_says() -> None:
    found = openapi_v2.document()
    message = openapi_v2.encode_protobuf(found)
    definitions = named(one(message, 9), 1)
    assert set(definitions) == set(found["definitions"])
    container = named(one(definitions["io.k8s.api.core.v1.Container"], 25), 1)
    assert one(one(container["args"], 22), 1) == b"array"
    ports = {name: one(value, 2) for name, value in named(container["ports"], 31).items()}
    assert ports["x-kubernetes-patch-merge-key"] == b'"containerPort"\n'
    probe = one(container["livenessProbe"], 1)
    assert probe == b"#/definitions/io.k8s.api.core.v1.Probe"
    paths = named(one(message, 8), 2)
    assert set(paths) == set(found["paths"])
    create = one(paths["/api/v1/namespaces/{namespace}/pods"], 4)
    assert one(create, 5) == b"createCoreV1NamespacedPod"
    parameters = [one(value, 1) for number, value in fields(create) if number == 8]
    assert one(one(parameters[0], 1), 2) == b"body"
    validation = [one(one(each, 2), 3) for each in parameters[1:]]
    assert b"fieldValidation" in [one(each, 4) for each in validation]


def operations(document: Object) -> Iterator[tuple[str, str, Object]]:
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method != "parameters":
                yield path, method, operation


def test_every_verb_of_every_kind_has_an_operation_of_its_own() -> None:
    seen: set[str] = set()
    found: set[tuple[str, str]] = set()
    for path in openapi.index()["paths"]:
        document = openapi.document(path)
        assert document is not None
        for where, method, operation in operations(document):
            assert operation["operationId"] not in seen
            seen.add(operation["operationId"])
            found.add((where, method))
            names = (
                {each["name"] for each in document["paths"][where]["parameters"]}
                if ("parameters" in document["paths"][where])
                else set()
            )
            assert {part[1:-1] for part in where.split("/") if part.startswith("{")} <= names
    assert ("/api/v1/namespaces/{namespace}/pods/{name}/exec", "post") in found
    assert ("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale", "patch") in found
    assert ("/api/v1/pods", "get") in found
    assert {"readCoreV1NamespacedPodLog", "deleteAppsV1CollectionNamespacedDeployment"} <= seen


def test_the_documents_are_well_formed() -> None:
    for path in ("api/v1", "apis/apps/v1"):
        document = openapi.document(path)
        assert document is not None
        openapi_spec_validator.validate(json.loads(json.dumps(document)))


def test_documents_are_kept_compressed() -> None:
    found = documents.find("/openapi/v3/api/v1", "application/json")
    assert found is not None
    assert found is documents.find("/openapi/v3/api/v1", "*/*")
    assert len(found.compressed) < len(found.plain) / 4


def test_large_answers_are_compressed_for_who_takes_it(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("large", text="x" * 200_000))
        headers = {"Accept-Encoding": "gzip"}
        session = api.session
        async with session.get(f"http://api{CONFIG_MAPS}", headers=headers) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len((await answer.json())["items"]) == 1
            assert int(answer.headers["Content-Length"]) < 10_000
        headers = {"Accept-Encoding": "gzip;q=0, identity"}
        async with session.get(f"http://api{CONFIG_MAPS}", headers=headers) as answer:
            assert "Content-Encoding" not in answer.headers
        headers = {"Accept-Encoding": "gzip"}
        async with session.get(f"http://api{CONFIG_MAPS}/none", headers=headers) as answer:
            assert "Content-Encoding" not in answer.headers, "small"

    serve(tmp_path, body)


@pytest.mark.parametrize(
    ("query", "agent", "indented"),
    [
        ("", "kubectl/v1.33", False),
        ("", "curl/8.0", True),
        ("?pretty=true", "kubectl/v1.33", True),
        ("?pretty=false", "curl/8.0", False),
    ],
)
def test_people_get_json_indented(tmp_path: Path, query: str, agent: str, indented: bool) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("c"))
        headers = {"User-Agent": agent}
        async with api.session.get(f"http://api{CONFIG_MAPS}/c{query}", headers=headers) as answer:
            text = await answer.text()
        assert text.startswith('{\n  "kind": "ConfigMap",\n') is indented
        assert json.loads(text)["metadata"]["name"] == "c"
        async with api.session.get(f"http://api{CONFIG_MAPS}/d{query}", headers=headers) as answer:
            assert (await answer.text()).startswith('{\n  "kind": "Status",\n') is indented
        async with api.session.get(f"http://api/apis{query}", headers=headers) as answer:
            assert (await answer.text()).startswith('{\n  "kind": "APIGroupList",\n') is indented
        async with api.session.get(f"http://api/openapi/v3{query}", headers=headers) as answer:
            assert (await answer.text()).startswith('{"paths"')

    serve(tmp_path, body)


def test_a_watch_of_tables_and_of_metadata_has_its_bookmarks_in_the_same_form(
    tmp_path: Path,
) -> None:
    async def body(api: Api) -> None:
        await api.make(CONFIG_MAPS, config_map("c"))
        query = "watch=1&sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan"
        end = {"k8s.io/initial-events-end": "true"}
        for form in ("Table", "PartialObjectMetadata"):
            accept = f"application/json;as={form};g=meta.k8s.io;v=v1"
            async with api.watch(f"{CONFIG_MAPS}?{query}", Accept=accept) as events:
                added, bookmark = await events.next(), await events.next()
                assert added is not None
                assert bookmark is not None
                assert (added["type"], bookmark["type"]) == ("ADDED", "BOOKMARK")
                assert added["object"]["kind"] == bookmark["object"]["kind"] == form
                assert bookmark["object"]["metadata"]["annotations"] == end
                assert bookmark["object"].get("rows", []) == []

    serve(tmp_path, body)


def test_a_page_that_is_too_old_tells_where_to_go_on(tmp_path: Path) -> None:
    from minipod.store import Limits

    async def body(api: Api) -> None:
        for number in range(6):
            await api.make(CONFIG_MAPS, config_map(f"c{number}"))
        first = (await api("GET", f"{CONFIG_MAPS}?limit=2")).body
        assert first["metadata"]["remainingItemCount"] == 4
        for number in range(6, 30):
            await api.make(CONFIG_MAPS, config_map(f"c{number}"))
        token = first["metadata"]["continue"]
        late = await api("GET", f"{CONFIG_MAPS}?limit=2&continue={token}")
        assert (late.status, late.body["reason"]) == (410, "Expired")
        assert "results in an inconsistent list" in late.body["message"]
        following = late.body["metadata"]["continue"]
        rest = await api("GET", f"{CONFIG_MAPS}?continue={following}")
        assert rest.status == 200
        assert len(rest.body["items"]) == 28
        exact = await api("GET", f"{CONFIG_MAPS}?resourceVersion=7&resourceVersionMatch=Exact")
        assert (exact.status, "metadata" in exact.body) == (410, True)
        assert exact.body["metadata"] == {}

    serve(tmp_path, body, limits=Limits(ring_events=8))


def test_compressed_documents_are_sent_as_they_are_kept(tmp_path: Path) -> None:
    async def body(api: Api) -> None:
        headers = {"Accept-Encoding": "gzip"}
        where = "http://api/openapi/v3/api/v1"
        found = documents.find("/openapi/v3/api/v1", "application/json")
        assert found is not None
        async with api.session.get(where, headers=headers) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert await answer.read() == gzip.decompress(found.compressed)

    serve(tmp_path, body)
