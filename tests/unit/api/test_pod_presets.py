"""What Pods are given by PodPresets, and when they are left alone."""

import copy
from typing import Any

import pytest

from minipod.api import kinds, validation
from minipod.api.defaults import apply_defaults
from minipod.api.pod_presets import EXCLUDE, PresetConflict, apply_presets, select_presets

Object = dict[str, Any]
DATABASE = {
    "selector": {"matchLabels": {"role": "frontend"}},
    "env": [{"name": "DB_PORT", "value": "6379"}],
    "volumeMounts": [{"mountPath": "/cache", "name": "cache-volume"}],
    "volumes": [{"name": "cache-volume", "emptyDir": {}}],
}


def preset(name: str = "allow-database", **spec: Any) -> Object:
    metadata = {"name": name, "namespace": "default", "resourceVersion": "7"}
    return {"metadata": metadata, "spec": spec or DATABASE}


def pod(**container: Any) -> Object:
    made = {"name": "website", "image": "nginx", **container}
    return {"metadata": {"labels": {"role": "frontend"}}, "spec": {"containers": [made]}}


def test_a_pod_is_given_all_and_says_by_whom() -> None:
    given = pod(ports=[{"containerPort": 80}])
    given["spec"]["initContainers"] = [{"name": "first"}]
    made = apply_presets([preset()], given)
    website = made["spec"]["containers"][0]
    assert website["env"] == DATABASE["env"]
    assert website["volumeMounts"] == DATABASE["volumeMounts"]
    assert made["spec"]["initContainers"][0]["env"] == DATABASE["env"]
    assert made["spec"]["volumes"] == DATABASE["volumes"]
    key = "podpreset.admission.kubernetes.io/podpreset-allow-database"
    assert made["metadata"]["annotations"] == {key: "7"}
    assert "volumes" not in given["spec"]


def test_what_is_there_in_the_same_form_stays_once() -> None:
    given = pod(env=[{"name": "A", "value": "1"}, {"name": "DB_PORT", "value": "6379"}])
    once = apply_presets([preset()], given)
    assert [each["name"] for each in once["spec"]["containers"][0]["env"]] == ["A", "DB_PORT"]
    again = apply_presets([preset()], copy.deepcopy(once))
    assert again == once


def test_several_presets_are_merged() -> None:
    sources = [{"configMapRef": {"name": "c"}}]
    other = preset("b", env=[{"name": "B", "value": "2"}], envFrom=sources)
    made = apply_presets([preset("a"), other], pod())["spec"]["containers"][0]
    assert [each["name"] for each in made["env"]] == ["DB_PORT", "B"]
    assert made["envFrom"] == sources


@pytest.mark.parametrize(
    ("given", "where"),
    [
        (pod(env=[{"name": "DB_PORT", "value": "1"}]), "conflict on DB_PORT"),
        (
            pod(volumeMounts=[{"name": "x", "mountPath": "/cache"}]),
            "conflict on mount path /cache",
        ),
        (
            pod(volumeMounts=[{"name": "cache-volume", "mountPath": "/x"}]),
            "conflict on cache-volume",
        ),
    ],
)
def test_conflicts_with_the_pod(given: Object, where: str) -> None:
    with pytest.raises(PresetConflict, match=where):
        apply_presets([preset()], given)


def test_conflicts_of_presets_and_of_volumes() -> None:
    other = preset("b", volumes=[{"name": "cache-volume", "hostPath": {"path": "/x"}}])
    with pytest.raises(
        PresetConflict, match="merging volumes for b has a conflict on cache-volume"
    ):
        apply_presets([preset("a"), other], pod())


def test_who_is_selected() -> None:
    everybody = preset("all", selector={}, env=[{"name": "A"}])
    others = preset("others", selector={"matchLabels": {"role": "backend"}}, env=[{"name": "A"}])
    presets = [preset("z"), everybody, others]
    assert [each["metadata"]["name"] for each in select_presets(presets, pod())] == ["all", "z"]
    excluded = pod()
    excluded["metadata"]["annotations"] = {EXCLUDE: "true"}
    assert select_presets(presets, excluded) == []


@pytest.mark.parametrize(
    ("spec", "causes"),
    [
        (DATABASE, []),
        ({}, ["spec.volumes.env.envFrom.volumeMounts: Required value: must specify at least one"]),
        (
            {"env": [{"name": ""}], "volumeMounts": [{"name": "v", "mountPath": "/x"}]},
            ["spec.env[0].name: Required value", 'spec.volumeMounts[0].name: Not found: "v"'],
        ),
        (
            {"selector": {"matchLabels": {"a b": "c"}}, "env": [{"name": "A"}]},
            ["spec.selector.matchLabels"],
        ),
    ],
)
def test_validation(spec: Object, causes: list[str]) -> None:
    kind = kinds.by_resource("podpresets.settings.k8s.io")
    obj = {"apiVersion": kind.api_version, "kind": "PodPreset", **preset()}
    obj["spec"] = copy.deepcopy(spec)
    apply_defaults(kind, obj)
    found = [str(each) for each in validation.validate_create(kind, obj)]
    assert len(found) == len(causes)
    assert all(text.startswith(cause) for text, cause in zip(found, causes, strict=True))
