import json
import time
import timeit
from functools import partial

import pytest

from minipod.api import definitions, kinds, schema
from tests.unit.api.objects import POD, container, pod


def test_a_good_pod_has_no_findings():
    assert schema.validate_structure(POD, pod(volumes=[{"name": "v", "emptyDir": {}}])) == ([], [])


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (
            {"containers": [container(image=5)]},
            "json: cannot unmarshal number into Go struct field Pod.spec.containers[0].image of type string",
        ),
        (
            {"containers": {"name": "x"}},
            "json: cannot unmarshal object into Go struct field Pod.spec.containers of type []v1.Container",
        ),
        (
            {"activeDeadlineSeconds": "5"},
            "json: cannot unmarshal string into Go struct field Pod.spec.activeDeadlineSeconds of type int64",
        ),
        (
            {"priority": 2**31},
            f"json: cannot unmarshal number {2**31} into Go struct field Pod.spec.priority of type int32",
        ),
        (
            {"terminationGracePeriodSeconds": 1.5},
            "json: cannot unmarshal number 1.5 into Go struct field Pod.spec.terminationGracePeriodSeconds of type "
            "int64",
        ),
        (
            {"hostNetwork": 1},
            "json: cannot unmarshal number into Go struct field Pod.spec.hostNetwork of type bool",
        ),
        (
            {"nodeSelector": {"a": True}},
            "json: cannot unmarshal bool into Go struct field Pod.spec.nodeSelector.a of type string",
        ),
        (
            {"securityContext": []},
            "json: cannot unmarshal array into Go struct field Pod.spec.securityContext of type v1.PodSecurityContext",
        ),
        (
            {"containers": [container(resources={"limits": {"cpu": "1x"}})]},
            "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$' "
            "(at spec.containers[0].resources.limits.cpu)",
        ),
    ],
)
def test_wrong_types_are_named_by_path(spec, error):
    assert schema.validate_structure(POD, pod(**spec)) == ([error], [])


def test_unknown_fields_are_named_by_path_with_the_likely_name():
    wrong = pod(
        containers=[container(), container("b", imagePullPolice="Always", ports=[{"hostport": 1}])],
        restartpolicy="Never",
    )
    wrong["metdata"] = {}
    findings = schema.examine(POD, wrong)
    assert findings.errors == []
    assert sorted(findings.unknown) == [
        "metdata",
        "spec.containers[1].imagePullPolice",
        "spec.containers[1].ports[0].hostport",
        "spec.restartpolicy",
    ]
    assert findings.hints["spec.containers[1].imagePullPolice"] == "imagePullPolicy"
    assert findings.hints["spec.restartpolicy"] == "restartPolicy"


def test_null_is_the_same_as_nothing():
    typed = pod(hostNetwork=None, volumes=None)
    assert schema.validate_structure(POD, typed) == ([], [])
    kept = schema.normalize(POD.schema_name, typed)
    assert "hostNetwork" not in kept["spec"]
    assert "volumes" not in kept["spec"]


def test_what_is_in_order_beside_a_null_is_shared():
    typed = {**pod(), "status": {"conditions": [{"type": "Ready", "lastProbeTime": None}]}}
    kept = schema.normalize(POD.schema_name, typed)
    assert kept["status"] == {"conditions": [{"type": "Ready"}]}
    assert kept["spec"] is typed["spec"]


def test_normalizing_drops_unknown_fields_and_writes_quantities_as_text():
    typed = pod(
        containers=[
            container(extra=1, args=["a", None], resources={"limits": {"cpu": 1, "memory": 1.5}})
        ]
    )
    kept = schema.normalize(POD.schema_name, typed)["spec"]["containers"][0]
    assert kept["resources"]["limits"] == {"cpu": "1", "memory": "1.5"}
    assert kept["args"] == ["a", ""]
    assert "extra" not in kept
    assert typed["spec"]["containers"][0]["extra"] == 1


def test_times_and_base64_are_checked():
    secret = kinds.by_resource("secrets")
    good = {"metadata": {"creationTimestamp": "2026-01-01T00:00:00.123Z"}, "data": {"a": "aGk="}}
    assert schema.validate_structure(secret, good) == ([], [])
    bad = {"metadata": {"creationTimestamp": "yesterday"}, "data": {"a": "aGk*"}}
    errors, _ = schema.validate_structure(secret, bad)
    assert errors == [
        'parsing time "yesterday" as "2006-01-02T15:04:05Z07:00": cannot parse "yesterday" as "2006" '
        "(at metadata.creationTimestamp)",
        "illegal base64 data at input byte 3 (at data.a)",
    ]


def test_recursive_and_free_form_definitions():
    crd = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
    nested = {
        "properties": {"a": {"items": {"type": "string"}, "properties": {"b": {"type": "x"}}}}
    }
    assert schema.examine_as(crd, nested, "JSONSchemaProps").errors == []
    deep = {"properties": {"a": {"properties": {"b": {"type": 1}}}}}
    [error] = schema.examine_as(crd, deep, "JSONSchemaProps").errors
    assert "JSONSchemaProps.properties.a.properties.b.type of type string" in error
    assert schema.examine_as("", {"anything": 1}, "Thing").errors == []
    assert schema.examine_as("", [], "Thing").errors != []


def test_every_definition_compiles_and_every_kind_has_one():
    for name in definitions.definitions():
        schema.examine_as(name, {}, name)
    for kind in kinds.all_kinds():
        assert (
            definitions.definition_names()[kind.group, kind.version, kind.kind] == kind.schema_name
        )
        assert definitions.descriptions()[kind.schema_name][""]


def test_checking_a_pod_takes_far_less_than_half_a_millisecond():
    typical = json.loads(
        json.dumps(pod(volumes=[{"name": f"v{n}", "emptyDir": {}} for n in range(5)]))
    )
    check = partial(schema.validate_structure, POD, typical)
    check()
    best = min(timeit.repeat(check, timer=time.process_time, number=20, repeat=20))
    assert best / 20 < 0.0005


def test_a_tree_that_was_never_built_says_how_to_build_it(tmp_path, monkeypatch):
    monkeypatch.setattr(definitions, "DIRECTORY", str(tmp_path))
    definitions.definitions.cache_clear()
    try:
        with pytest.raises(
            definitions.SchemaMissing, match=r"structure\.json does not exist; try: pip install"
        ):
            definitions.definitions()
    finally:
        definitions.definitions.cache_clear()
