"""Null where upstream's answers have it."""

from copy import deepcopy
from typing import Any

import pytest

from minipod.api import kinds, nulls
from minipod.api.defaults import complete
from minipod.api.definitions import definitions
from minipod.client import Object

CONDITION = {"type": "Ready", "status": "True"}


@pytest.mark.parametrize(
    ("resource", "given", "shown"),
    [
        ("roles.rbac.authorization.k8s.io", {}, {"rules": None}),
        ("roles.rbac.authorization.k8s.io", {"rules": []}, {"rules": []}),
        ("endpointslices.discovery.k8s.io", {}, {"endpoints": None, "ports": None}),
        ("limitranges", {"spec": {}}, {"spec": {"limits": None}}),
        ("configmaps", {}, {}),
        (
            "flowschemas.flowcontrol.apiserver.k8s.io",
            {"spec": {"rules": [{"resourceRules": [{"clusterScope": True}]}]}},
            {"spec": {"rules": [{"resourceRules": [{"clusterScope": True, "namespaces": None}]}]}},
        ),
        (
            "horizontalpodautoscalers.autoscaling",
            {"spec": {}},
            {"spec": {}, "status": {"currentMetrics": None, "desiredReplicas": 0}},
        ),
        (
            "pods",
            {"spec": {"containers": []}, "status": {"conditions": [CONDITION]}},
            {
                "spec": {"containers": []},
                "status": {
                    "conditions": [{**CONDITION, "lastProbeTime": None, "lastTransitionTime": None}]
                },
            },
        ),
        (
            "persistentvolumeclaims",
            {"spec": {"dataSource": {"kind": "K", "name": "n"}}, "status": {"phase": "Pending"}},
            {
                "spec": {"dataSource": {"kind": "K", "name": "n", "apiGroup": None}},
                "status": {"phase": "Pending"},
            },
        ),
        (
            "events",
            {"series": {"count": 2}},
            {
                "series": {"count": 2, "lastObservedTime": None},
                "firstTimestamp": None,
                "lastTimestamp": None,
                "eventTime": None,
            },
        ),
    ],
)
def test_what_nobody_set_is_null_as_upstream_shows_it(
    resource: str, given: Object, shown: Object
) -> None:
    obj = deepcopy(given)
    complete(kinds.by_resource(resource), obj)
    assert {name: obj[name] for name in shown} == shown
    again = deepcopy(obj)
    complete(kinds.by_resource(resource), again)
    assert again == obj


def test_what_is_complete_is_shared_and_what_is_not_is_left_as_it_was() -> None:
    definition = "io.k8s.api.core.v1.Pod"
    whole: dict[str, Any] = {**CONDITION, "lastProbeTime": None, "lastTransitionTime": None}
    pod = {"spec": {"volumes": [{"name": "v"}]}, "status": {"conditions": [whole]}}
    assert nulls.completed(definition, pod) is pod
    lacking = {**pod, "status": {"conditions": [whole, dict(CONDITION)]}}
    made = nulls.completed(definition, lacking)
    assert lacking["status"]["conditions"][1] == CONDITION
    assert made["status"]["conditions"][0] is whole
    assert made["spec"] is pod["spec"]


def test_every_field_is_one_that_may_be_null() -> None:
    for definition, names in nulls.FIELDS.items():
        properties = definitions()[definition]["properties"]
        for name in names.split():
            kind_of = properties[name]
            assert kind_of in ("time", "string") or "list" in kind_of, (definition, name)
