"""flowcontrol.apiserver.k8s.io/v1: defaults, and what is refused."""

from copy import deepcopy
from typing import Any

import pytest

from minipod.api import kinds, validation
from minipod.api.defaults import apply_defaults

SCHEMA = kinds.by_resource("flowschemas.flowcontrol.apiserver.k8s.io")
LEVEL = kinds.by_resource("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io")
USER = {"kind": "User", "user": {"name": "jane"}}
RESOURCES = {"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "namespaces": ["*"]}
OTHERS = {"verbs": ["*"], "nonResourceURLs": ["/healthz/*"]}
RULE = {"subjects": [USER], "resourceRules": [RESOURCES], "nonResourceRules": [OTHERS]}
QUEUE = {"limitResponse": {"type": "Queue", "queuing": {}}}


def problems(kind: Any, spec: dict[str, Any], name: str = "x") -> list[str]:
    obj = {"metadata": {"name": name}, "spec": deepcopy(spec)}
    apply_defaults(kind, obj)
    return [str(each) for each in validation.validate_create(kind, obj)]


def schema(**changes: Any) -> dict[str, Any]:
    return {"priorityLevelConfiguration": {"name": "low"}, "rules": [RULE], **changes}


def with_rule(**changes: Any) -> dict[str, Any]:
    return schema(rules=[{**RULE, **changes}])


def test_what_is_left_open() -> None:
    made: dict[str, Any] = {"metadata": {"name": "x"}, "spec": schema()}
    apply_defaults(SCHEMA, made)
    assert made["spec"]["matchingPrecedence"] == 1000
    made = {"metadata": {"name": "x"}, "spec": {"type": "Limited", "limited": deepcopy(QUEUE)}}
    apply_defaults(LEVEL, made)
    queuing = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
    assert made["spec"]["limited"] == {
        "limitResponse": {"type": "Queue", "queuing": queuing},
        "nominalConcurrencyShares": 30,
        "lendablePercent": 0,
    }
    assert problems(SCHEMA, schema()) == []
    assert problems(LEVEL, made["spec"]) == []
    assert problems(LEVEL, {"type": "Exempt"}, "exempt") == []


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (schema(matchingPrecedence=10001), "Precedence: Invalid value: 10001: must not be greater"),
        (schema(matchingPrecedence=-1), "Invalid value: -1: must be a positive value"),
        (schema(matchingPrecedence=1), "only the schema named 'exempt' may have"),
        (
            schema(distinguisherMethod={"type": "ByHat"}),
            'spec.distinguisherMethod.type: Unsupported value: {"type":"ByHat"}: '
            'supported values: "ByNamespace", "ByUser"',
        ),
        (schema(priorityLevelConfiguration={}), "name: Required value: must reference a priority"),
        (schema(priorityLevelConfiguration={"name": "A"}), "a lowercase RFC 1123 subdomain"),
        (with_rule(subjects=[]), "spec.rules[0].subjects: Required value: subjects must contain"),
        (
            with_rule(resourceRules=[], nonResourceRules=[]),
            "spec.rules[0]: Required value: at least",
        ),
        (
            with_rule(subjects=[{**USER, "group": {"name": "g"}}]),
            "subjects[0].group: Forbidden: group is forbidden when subject kind is not 'Group'",
        ),
        (
            with_rule(subjects=[{"kind": "User"}]),
            "subjects[0].user: Required value: user is required",
        ),
        (with_rule(subjects=[{"kind": "Hat"}]), 'kind: Unsupported value: "Hat"'),
        (
            with_rule(subjects=[{"kind": "ServiceAccount", "serviceAccount": {"name": "*"}}]),
            "serviceAccount.namespace: Required value: must specify namespace for service account",
        ),
        (
            with_rule(resourceRules=[{**RESOURCES, "verbs": ["*", "get"]}]),
            "must not specify other verbs",
        ),
        (with_rule(resourceRules=[{**RESOURCES, "verbs": ["fly"]}]), 'Unsupported value: ["fly"]'),
        (with_rule(resourceRules=[{**RESOURCES, "apiGroups": []}]), "at least one api group"),
        (with_rule(resourceRules=[{**RESOURCES, "namespaces": []}]), "that are not cluster scoped"),
        (
            with_rule(resourceRules=[{**RESOURCES, "namespaces": ["A"]}]),
            "each member of this list must be '*' or a DNS-1123 label; ",
        ),
        (
            with_rule(nonResourceRules=[{**OTHERS, "nonResourceURLs": ["/a*"]}]),
            'nonResourceURLs[0]: Invalid value: "/a*": wildcard can only do suffix matching',
        ),
        (
            with_rule(nonResourceRules=[{**OTHERS, "nonResourceURLs": ["a"]}]),
            "must start with slash",
        ),
    ],
)
def test_schemas_that_are_refused(spec: dict[str, Any], problem: str) -> None:
    [found] = problems(SCHEMA, spec)
    assert problem in found


def limited(**queuing: int) -> dict[str, Any]:
    return {"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": queuing}}}


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        ({"type": "Exempt"}, "must be 'Exempt' if and only if `name` is 'exempt'"),
        ({"type": "Some"}, 'spec.type: Unsupported value: "Some"'),
        (
            {"type": "Limited"},
            "spec.limited: Required value: must not be empty when type is Limited",
        ),
        ({"type": "Limited", "limited": QUEUE, "exempt": {}}, "spec.exempt: Forbidden"),
        (
            {"type": "Limited", "limited": {"limitResponse": {"type": "Reject", "queuing": {}}}},
            "queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
        ),
        (
            {"type": "Limited", "limited": {"limitResponse": {"type": "Queue"}}},
            "queuing: Required value: must not be empty if",
        ),
        ({"type": "Limited", "limited": {**QUEUE, "lendablePercent": 101}}, "between 0 and 100"),
        ({"type": "Limited", "limited": {**QUEUE, "nominalConcurrencyShares": -1}}, "non-negative"),
        (limited(queues=4), "handSize: Invalid value: 8: should not be greater than queues (4)"),
        (limited(queues=512), "required entropy bits of deckSize 512 and handSize 8"),
        (limited(handSize=-1), "handSize: Invalid value: -1: must be positive"),
        (limited(queueLengthLimit=-1), "queueLengthLimit: Invalid value: -1: must be positive"),
    ],
)
def test_levels_that_are_refused(spec: dict[str, Any], problem: str) -> None:
    [found] = problems(LEVEL, spec)
    assert problem in found


def test_what_is_wrong_is_told_in_upstreams_order() -> None:
    assert problems(LEVEL, limited(queues=-1, queueLengthLimit=-1)) == [
        "spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive",
        "spec.limited.limitResponse.queuing.queues: Invalid value: -1: must be positive",
        "spec.limited.limitResponse.queuing.handSize: Invalid value: 8: should not be greater than queues (-1)",
    ]
    both = {"kind": "Group", "user": {"name": "jane"}, "serviceAccount": {"name": "robot"}}
    fields = [each.partition(":")[0] for each in problems(SCHEMA, with_rule(subjects=[both]))]
    below = "spec.rules[0].subjects[0]"
    assert fields == [f"{below}.group", f"{below}.serviceAccount", f"{below}.user"]
    level = {"lendablePercent": 101, "limitResponse": {"type": "Hat"}}
    fields = [
        each.partition(":")[0] for each in problems(LEVEL, {"type": "Limited", "limited": level})
    ]
    assert fields == ["spec.limited.limitResponse.type", "spec.limited.lendablePercent"]


def test_what_upstream_relies_on_is_the_same_everywhere() -> None:
    everything = {
        "resourceRules": [
            {**{name: ["*"] for name in RESOURCES}, "clusterScope": True},
        ],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }

    def rules(*names: str) -> list[dict[str, Any]]:
        subjects = [{"kind": "Group", "group": {"name": f"system:{name}"}} for name in names]
        return [{"subjects": subjects, **everything}]

    exempt = {
        "matchingPrecedence": 1,
        "priorityLevelConfiguration": {"name": "exempt"},
        "rules": rules("masters"),
    }
    rest = {
        "matchingPrecedence": 10_000,
        "distinguisherMethod": {"type": "ByUser"},
        "priorityLevelConfiguration": {"name": "catch-all"},
        "rules": rules("unauthenticated", "authenticated"),
    }
    assert problems(SCHEMA, exempt, "exempt") == []
    assert problems(SCHEMA, rest, "catch-all") == []
    [problem] = problems(SCHEMA, {**rest, "matchingPrecedence": 9_999}, "catch-all")
    assert problem.endswith("spec of 'catch-all' must equal the fixed value")
    [problem] = problems(SCHEMA, schema(), "exempt")
    assert problem.endswith("spec of 'exempt' must equal the fixed value")


def test_the_levels_upstream_relies_on() -> None:
    last = {
        "type": "Limited",
        "limited": {"nominalConcurrencyShares": 5, "limitResponse": {"type": "Reject"}},
    }
    assert problems(LEVEL, last, "catch-all") == []
    [problem] = problems(LEVEL, limited(), "catch-all")
    assert problem.endswith("spec of 'catch-all' must equal the fixed value")
    changed = {"type": "Exempt", "exempt": {"nominalConcurrencyShares": 7}}
    assert problems(LEVEL, changed, "exempt") == []
    assert problems(LEVEL, {**changed, "limited": deepcopy(QUEUE)}, "exempt")[-1].endswith(
        "spec of 'exempt' except the 'spec.exempt' field must equal the fixed value"
    )


def test_an_annotation_of_conversions_is_no_bodys() -> None:
    name = "flowcontrol.k8s.io/v1beta3-preserve-zero-concurrency-shares"
    level = {"metadata": {"name": "x", "annotations": {name: ""}}, "spec": limited()}
    apply_defaults(LEVEL, level)
    [problem] = validation.validate_create(LEVEL, level)
    assert str(problem) == f"metadata.annotations: Forbidden: annotation '{name}' is forbidden"


def test_a_condition_is_given_once() -> None:
    status = {"conditions": [{"type": "Dangling"}, {"type": "Dangling"}, {}]}
    found = LEVEL.hooks.validate_status_update({"status": status}, {})
    assert [str(each) for each in found] == [
        'status.conditions[1].type: Duplicate value: "Dangling"',
        "status.conditions[2].type: Required value: must not be empty",
    ]
