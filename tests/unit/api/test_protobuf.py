"""Protobuf bodies: upstream's field numbers, Go's empty fields, and strangers' bytes."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.api import kinds
from minipod.api.definitions import definitions
from minipod.api.protobuf import _numbers, decode

_OWN = ("metrics.k8s.io", "settings.k8s.io")  # not upstream's: nobody sends protobuf of these


def varint(value: int) -> bytes:
    made = b""
    value &= 2**64 - 1
    while value > 0x7F:
        made += bytes([value & 0x7F | 0x80])
        value >>= 7
    return made + bytes([value])


def field(number: int, value: Any) -> bytes:
    """Encode one field: a number as a varint, text and bytes with their length."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def body(version: str, kind: str, *fields: bytes) -> bytes:
    meta = field(1, version) + field(2, kind)
    return b"k8s\x00" + field(1, meta) + field(2, b"".join(fields)) + field(3, "") + field(4, "")


def metadata(name: str) -> bytes:
    """What Go writes of an ObjectMeta that has only a name: its empty texts, and an empty creation time."""
    empty = b"".join(field(number, "") for number in (2, 3, 4, 5, 6))
    return field(1, name) + empty + field(7, 0) + field(8, b"")


def test_maps_bytes_and_what_go_leaves_empty() -> None:
    entry = field(1, "key") + field(2, b"\x00\xff")
    found = decode(
        body("v1", "Secret", field(1, metadata("s")), field(2, entry), field(3, "Opaque"))
    )
    assert found == {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s"},
        "data": {"key": "AP8="},
        "type": "Opaque",
    }


def test_every_message_of_a_kind_has_its_numbers() -> None:
    """A message without them would be read as JSON, which it is not."""
    known, seen = definitions(), set()
    todo = [kind.schema_name for kind in kinds.all_kinds() if kind.group not in _OWN]
    while todo:
        name = todo.pop()
        definition = known.get(name)
        if name in seen or definition is None or definition.get("scalar"):
            continue
        seen.add(name)
        todo += re.findall(r'"#([^"]+)"', json.dumps(definition))
    assert len(seen) > 300
    assert seen - _numbers().keys() == set()


def test_an_object_with_its_managers_is_read_as_it_was_sent() -> None:
    """What a typed client sends back after a get: kubectl certificate approve, say."""
    manager = (
        field(1, "kubectl-create")
        + field(2, "Update")
        + field(3, "v1")
        + field(4, field(1, 1))
        + field(6, "FieldsV1")
        + field(7, field(1, '{"f:data":{}}'))
        + field(8, "")
    )
    found = decode(body("v1", "ConfigMap", field(1, metadata("c") + field(17, manager))))
    assert found["metadata"]["managedFields"] == [
        {
            "manager": "kubectl-create",
            "operation": "Update",
            "apiVersion": "v1",
            "time": "1970-01-01T00:00:01Z",
            "fieldsType": "FieldsV1",
            "fieldsV1": {"f:data": {}},
        }
    ]


def test_numbers_pointers_quantities_and_inlined_messages() -> None:
    limits = field(1, "cpu") + field(2, field(1, "500m"))
    port = field(1, "") + field(2, 0) + field(3, 8080) + field(4, "TCP") + field(5, "")
    container = (
        field(1, "main")
        + field(6, port)
        + field(8, field(1, limits))
        + field(3, "sh")
        + field(3, "-c")
    )
    claim = field(1, "data") + field(
        2, field(6, field(1, "s") + field(3, 0))
    )  # Volume, VolumeSource.secret
    spec = field(2, container) + field(1, claim) + field(4, 0) + field(11, 0)
    found = decode(body("v1", "Pod", field(1, metadata("p")), field(2, spec)))
    assert found["spec"] == {
        "containers": [
            {
                "name": "main",
                "command": ["sh", "-c"],
                "ports": [{"containerPort": 8080, "protocol": "TCP"}],
                "resources": {"limits": {"cpu": "500m"}},
            }
        ],
        "volumes": [{"name": "data", "secret": {"secretName": "s", "defaultMode": 0}}],
        "terminationGracePeriodSeconds": 0,
    }


def test_int_or_string_times_negative_numbers_and_extra_values() -> None:
    budget = field(1, field(1, 1) + field(2, 0) + field(3, "50%")) + field(
        3, field(1, 0) + field(2, 2)
    )
    found = decode(body("policy/v1", "PodDisruptionBudget", field(2, budget)))
    assert found["spec"] == {"minAvailable": "50%", "maxUnavailable": 2}
    priority = decode(body("scheduling.k8s.io/v1", "PriorityClass", field(2, -5)))
    assert priority["value"] == -5
    lease = field(3, field(1, 1_700_000_000) + field(2, 123_000_000))
    found = decode(body("coordination.k8s.io/v1", "Lease", field(2, lease)))
    assert found["spec"]["acquireTime"] == "2023-11-14T22:13:20.123000Z"
    extra = field(1, "scopes") + field(2, field(1, "a") + field(1, "b"))
    review = field(3, "jane") + field(5, extra)
    found = decode(body("authorization.k8s.io/v1", "SubjectAccessReview", field(2, review)))
    assert found["spec"] == {"user": "jane", "extra": {"scopes": ["a", "b"]}}


def test_delete_options_keep_a_grace_of_zero() -> None:
    found = decode(body("v1", "DeleteOptions", field(1, 0), field(4, "Background")))
    assert found["gracePeriodSeconds"] == 0
    assert found["propagationPolicy"] == "Background"


def test_fields_of_newer_versions_are_passed_over() -> None:
    assert "metadata" in decode(body("v1", "ConfigMap", field(1, metadata("c")), field(999, "new")))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{}",
        b"k8s\x00",
        b"k8s\x00\xff",
        body("v1", "Nothing"),
        body("v1", "Pod", b"\x0a\xff\x01"),
        body("v1", "Pod", field(1, 5)),
        body("v1", "Pod", field(1, field(1, b"\xff\xfe"))),
    ],
)
def test_what_is_no_object_is_told(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        decode(data)


@given(st.binary(max_size=200), st.sampled_from(["Pod", "ConfigMap", "DeleteOptions", "Event"]))
def test_strangers_bytes_are_refused_or_read_and_never_worse(data: bytes, kind: str) -> None:
    try:
        decode(body("v1", kind, data))
    except (ValueError, OverflowError):
        return


def test_the_numbers_are_of_fields_that_the_schema_has() -> None:
    for name, listed in _numbers().items():
        properties = definitions().get(name, {}).get("properties")
        for each in listed.split() if properties is not None else ():
            assert each == "-" or each.startswith("+") or each in properties, (name, each)
