"""One object in several versions: there and back again, nothing is lost."""

import random

import pytest

from minipod.api import autoscaler_versions, event_versions, kinds
from minipod.api.defaults import apply_defaults
from tests.unit.api.test_any_object import Maker

V1 = kinds.by_path("autoscaling", "v1", "horizontalpodautoscalers")
V2 = kinds.by_path("autoscaling", "v2", "horizontalpodautoscalers")
OBJECT = {"kind": "Service", "name": "web"}
METRICS = [
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}}},
    {"type": "Resource", "resource": {"name": "memory", "target": {"type": "AverageValue", "averageValue": "1Gi"}}},
    {"type": "Pods", "pods": {"metric": {"name": "rps"}, "target": {"type": "AverageValue", "averageValue": "10"}}},
    {
        "type": "Object",
        "object": {
            "describedObject": OBJECT,
            "metric": {"name": "hits", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "Value", "value": "100"},
        },
    },
    {
        "type": "External",
        "external": {
            "metric": {"name": "queue", "selector": {"matchLabels": {"a": "b"}}},
            "target": {"type": "AverageValue", "averageValue": "30"},
        },
    },
]  # fmt: skip


def autoscaler(metrics):
    return {
        "metadata": {"name": "web", "annotations": {"mine": "kept"}},
        "spec": {
            "scaleTargetRef": {"kind": "Deployment", "name": "web"},
            "minReplicas": 1,
            "maxReplicas": 3,
            "metrics": metrics,
            "behavior": {"scaleDown": {"selectPolicy": "Disabled"}},
        },
        "status": {
            "currentReplicas": 1,
            "desiredReplicas": 2,
            "conditions": [{"type": "AbleToScale", "status": "True"}],
            "currentMetrics": [
                {
                    "type": "Resource",
                    "resource": {"name": "cpu", "current": {"averageUtilization": 5}},
                }
            ],
        },
    }


def test_a_share_of_cpu_is_a_field_and_all_else_is_in_annotations():
    found = autoscaler_versions.to_v1(autoscaler(METRICS))
    assert found["spec"]["targetCPUUtilizationPercentage"] == 70
    assert found["status"]["currentCPUUtilizationPercentage"] == 5
    assert found["metadata"]["annotations"].keys() == {
        "mine",
        autoscaler_versions.METRICS,
        autoscaler_versions.CURRENT_METRICS,
        autoscaler_versions.CONDITIONS,
        autoscaler_versions.BEHAVIOR,
    }


@pytest.mark.parametrize("count", range(6))
def test_autoscalers_survive_the_older_version(count):
    original = autoscaler(METRICS[:count])
    back = autoscaler_versions.to_v2(autoscaler_versions.to_v1(original))
    expected = original["spec"]["metrics"] or [
        {
            "type": "Resource",
            "resource": {
                "name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80},
            },
        }
    ]
    by_text = sorted(map(repr, expected))
    assert sorted(map(repr, back["spec"]["metrics"])) == by_text
    assert back["spec"]["behavior"] == original["spec"]["behavior"]
    assert back["status"] == original["status"]
    assert back["metadata"] == original["metadata"]


def test_nonsense_in_an_annotation_stays_where_it_is():
    given = {"metadata": {"annotations": {autoscaler_versions.METRICS: "[1"}}, "spec": {}}
    found = autoscaler_versions.to_v2(given)
    assert found["metadata"]["annotations"] == {autoscaler_versions.METRICS: "[1"}


def test_events_have_other_names_for_the_same():
    event = {
        "metadata": {"name": "e"},
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "regarding": {"kind": "Pod", "name": "web"},
        "note": "so it is",
        "reportingController": "x.io/y",
    }
    core = event_versions.to_core(event)
    assert core["involvedObject"] == event["regarding"]
    assert core["message"] == "so it is"
    assert core["reportingComponent"] == "x.io/y"
    assert event_versions.from_core(core) == event


@pytest.mark.parametrize("kind", [V1, kinds.by_path("events.k8s.io", "v1", "events")])
def test_any_object_of_the_schema_can_be_converted(kind):
    for seed in range(200):
        obj = Maker(seed).struct(kind.schema_name, 0)
        obj["metadata"] = {"name": "x", "annotations": _annotations(seed)}
        stored = kind.hooks.to_stored(obj)
        apply_defaults(kinds.stored_kind(kind), stored)
        kind.hooks.from_stored(stored)


def _annotations(seed):
    """What somebody may have written where v1 keeps what it has no fields for."""
    names = (
        autoscaler_versions.METRICS,
        autoscaler_versions.CURRENT_METRICS,
        autoscaler_versions.CONDITIONS,
        autoscaler_versions.BEHAVIOR,
    )
    values = ("", "{", "[]", "{}", "[{}]", "[1]", '[{"type":"Pods","pods":1}]', "null", '{"a":1}')
    choose = random.Random(seed)
    return {name: choose.choice(values) for name in names}
