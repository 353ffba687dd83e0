from copy import deepcopy

import pytest

from minipod.api import kinds, validation
from tests.unit.api.objects import POD, defaulted, stored, texts

LABEL = "regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"


def with_metadata(**metadata):
    made = defaulted()
    made["metadata"] = {
        key: each for key, each in {**made["metadata"], **metadata}.items() if each is not None
    }
    return texts(validation.validate_create(POD, made))


def owner(**fields):
    return {"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u", **fields}


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"name": None}, "metadata.name: Required value: name or generateName is required"),
        (
            {"name": "Web"},
            'metadata.name: Invalid value: "Web": a lowercase RFC 1123 subdomain must consist of lower case '
            "alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. "
            f"'example.com', {LABEL}",
        ),
        ({"namespace": None}, "metadata.namespace: Required value"),
        (
            {"labels": {"a": "b c"}},
            'metadata.labels: Invalid value: "b c": a valid label must be an empty string or consist of',
        ),
        (
            {"labels": {"a/b/c": ""}},
            'metadata.labels: Invalid value: "a/b/c": a valid label key must consist of',
        ),
        (
            {"annotations": {"a b": ""}},
            'metadata.annotations: Invalid value: "a b": name part must consist of',
        ),
        (
            {"annotations": {"a": "x" * (256 * 1024)}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
        (
            {"finalizers": ["mine"]},
            'metadata.finalizers[0]: Invalid value: "mine": name is neither a standard finalizer name nor is it fully '
            "qualified",
        ),
        (
            {"finalizers": ["orphan", "foregroundDeletion"]},
            "finalizer orphan and foregroundDeletion cannot be both set",
        ),
        (
            {"ownerReferences": [owner(uid="")]},
            'metadata.ownerReferences.uid: Invalid value: "": must not be empty',
        ),
        (
            {"ownerReferences": [owner(kind="Event")]},
            "/v1, Kind=Event is disallowed from being an owner",
        ),
        (
            {"ownerReferences": [owner(controller=True), owner(name="q", controller=True)]},
            'Only one reference can have Controller set to true. Found "true" in references for Pod/p and Pod/q',
        ),
        ({"generateName": "A_-"}, 'metadata.generateName: Invalid value: "A_-"'),
    ],
)
def test_what_metadata_may_not_be(metadata, message):
    [text] = with_metadata(**metadata)
    assert message in text


def test_what_metadata_may_be():
    assert (
        with_metadata(
            generateName="web-",
            labels={"app.kubernetes.io/name": "web", "empty": ""},
            annotations={"Mixed.Case/Name": "any text\nat all"},
            finalizers=["example.com/x", "foregroundDeletion"],
            ownerReferences=[owner(controller=True), owner(name="q")],
        )
        == []
    )


def test_cluster_scoped_kinds_have_no_namespace():
    node = {"metadata": {"name": "n", "namespace": "default"}}
    assert texts(validation.validate_create(kinds.by_resource("nodes"), node)) == [
        "metadata.namespace: Forbidden: not allowed on this type"
    ]


def test_namespaces_are_labels():
    kind = kinds.by_resource("namespaces")
    [text] = texts(validation.validate_create(kind, {"metadata": {"name": "a.b"}}))
    assert text == 'metadata.name: Invalid value: "a.b": must not contain dots'


@pytest.mark.parametrize(
    "name", ["name", "namespace", "uid", "creationTimestamp", "deletionTimestamp"]
)
def test_identity_is_immutable(name):
    old = stored()
    new = deepcopy(old)
    new["metadata"][name] = "other"
    found = texts(validation.validate_update(POD, new, old))
    assert f'metadata.{name}: Invalid value: "other": field is immutable' in found


def test_updates_carry_a_version():
    old = stored()
    new = deepcopy(old)
    del new["metadata"]["resourceVersion"]
    assert 'metadata.resourceVersion: Invalid value: "": must be specified for an update' in texts(
        validation.validate_update(POD, new, old)
    )


def test_what_is_going_gets_no_new_finalizers():
    old = stored()
    old["metadata"].update(deletionTimestamp="2026-01-01T00:00:00Z", finalizers=["a.b/c"])
    new = deepcopy(old)
    new["metadata"]["finalizers"] = ["a.b/d"]
    [text] = texts(validation.validate_update(POD, new, old))
    assert text == (
        "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new "
        'finalizers []string{"a.b/d"}'
    )
    new["metadata"]["finalizers"] = []
    assert validation.validate_update(POD, new, old) == []
