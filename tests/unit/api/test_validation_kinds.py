from copy import deepcopy

import pytest

from minipod.api import kinds, validation
from minipod.api.defaults import apply_defaults
from tests.unit.api.objects import texts


def create(resource, **fields):
    kind = kinds.by_resource(resource)
    obj = {"metadata": {"name": "x"}, **fields}
    if kind.namespaced:
        obj["metadata"]["namespace"] = "default"
    apply_defaults(kind, obj)
    return texts(validation.validate_create(kind, obj))


def update(resource, before, after):
    kind = kinds.by_resource(resource)
    old = {"metadata": {"name": "x", "namespace": "default", "resourceVersion": "1"}, **before}
    new = {**deepcopy(old), **after}
    apply_defaults(kind, old)
    apply_defaults(kind, new)
    return texts(validation.validate_update(kind, new, old))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"data": {"a.b-c_d": "aGk="}}, []),
        (
            {"data": {"a/b": ""}},
            ['data[a/b]: Invalid value: "a/b": a valid config key must consist of'],
        ),
        ({"data": {"a": "AAAA" * 400000}}, ["data: Too long: may not be more than 1048576 bytes"]),
        (
            {"type": "kubernetes.io/tls", "data": {"tls.crt": ""}},
            ["data[tls.key]: Required value"],
        ),
        (
            {"type": "kubernetes.io/ssh-auth", "data": {"ssh-privatekey": ""}},
            ["data[ssh-privatekey]: Required"],
        ),
        (
            {"type": "kubernetes.io/basic-auth"},
            ["data[username]: Required value", "data[password]: Required value"],
        ),
        ({"type": "kubernetes.io/basic-auth", "data": {"password": "aGk="}}, []),
        (
            {"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "aGk="}},
            ['data[.dockerconfigjson]: Invalid value: "<secret contents redacted>"'],
        ),
        ({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}, []),
        (
            {"type": "kubernetes.io/service-account-token"},
            ["metadata.annotations[kubernetes.io/service-account.name]: Required value"],
        ),
        ({"type": "example.com/mine"}, []),
    ],
)
def test_secrets(fields, expected):
    found = create("secrets", **fields)
    assert len(found) == len(expected)
    assert all(text.startswith(each) for text, each in zip(found, expected, strict=True))


def test_the_type_of_a_secret_stays():
    assert update("secrets", {"type": "a"}, {"type": "b"}) == [
        'type: Invalid value: "b": field is immutable'
    ]


@pytest.mark.parametrize("resource", ["secrets", "configmaps"])
def test_what_is_immutable_stays(resource):
    before = {"data": {"a": "aGk="}, "immutable": True}
    assert update(resource, before, {}) == []
    frozen = "Forbidden: field is immutable when `immutable` is set"
    assert update(resource, before, {"data": {"a": "aGo="}}) == [f"data: {frozen}"]
    assert update(resource, before, {"immutable": False}) == [f"immutable: {frozen}"]
    assert update(resource, {"data": {}}, {"data": {"a": "aGk="}, "immutable": True}) == []


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"data": {"a": "x"}, "binaryData": {"b": "aGk="}}, []),
        ({"data": {"..": "x"}}, ["data[..]: Invalid value: \"..\": must not be '..'"]),
        (
            {"data": {"a": "x"}, "binaryData": {"a": "aGk="}},
            ['data[a]: Invalid value: "a": duplicate of key present in binaryData'],
        ),
        ({"data": {"a": "x" * (2**20 + 1)}}, ["[]: Too long: may not be more than 1048576 bytes"]),
        ({"data": {"a": "x" * 2**20}}, []),
    ],
)
def test_config_maps(fields, expected):
    assert create("configmaps", **fields) == expected


def test_nodes():
    assert (
        create(
            "nodes",
            spec={"taints": [{"key": "a", "effect": "NoSchedule"}], "podCIDRs": ["10.0.0.0/24"]},
        )
        == []
    )
    [text] = create("nodes", spec={"taints": [{"key": "a", "effect": "Never"}]})
    assert text.startswith(
        'metadata.taints[0].effect: Unsupported value: "Never": supported values: "NoSchedule"'
    )
    [text] = create("nodes", spec={"podCIDRs": ["10.0.0.0/33"]})
    assert "must be a valid CIDR value" in text
    found = create("nodes", status={"capacity": {"cpu": "-1"}})
    assert [text.partition(":")[0] for text in found] == [
        "status.capacity.cpu",
        "status.allocatable.cpu",
    ]


def test_events_lie_where_their_object_lies():
    assert (
        create("events", involvedObject={"kind": "Pod", "namespace": "default", "name": "p"}) == []
    )
    assert create("events", involvedObject={"kind": "Node", "name": "n"}) == []
    assert create("events", involvedObject={"namespace": "other"}) == [
        'involvedObject.namespace: Invalid value: "other": does not match event.namespace'
    ]


def test_namespaces_and_service_accounts():
    assert create("namespaces", spec={"finalizers": ["kubernetes"]}) == []
    assert "spec.finalizers: " in create("namespaces", spec={"finalizers": ["-"]})[0]
    assert create("serviceaccounts", secrets=[{"name": "s"}]) == []
