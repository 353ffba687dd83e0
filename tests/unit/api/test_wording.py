"""What is refused, in upstream's words and at upstream's paths (pkg/apis/core/validation), the odd ones too."""

from typing import Any

import pytest

from minipod.api import kinds

Object = dict[str, Any]


def causes(resource: str, spec: Object, **more: Any) -> list[str]:
    """Return what is said against an object of a spec, without defaults."""
    kind = kinds.by_resource(resource)
    metadata = {"name": "x", "namespace": "default", **more.pop("metadata", {})}
    return [
        str(each)
        for each in kind.hooks.validate_create({"metadata": metadata, "spec": spec, **more})
    ]


def limits(**limit: Any) -> Object:
    return {"limits": [{"type": "Container", **limit}]}


def selector(**requirement: Any) -> Object:
    hard = requirement.pop("hard", {"pods": "1"})
    return {"hard": hard, "scopeSelector": {"matchExpressions": [requirement]}}


_RANGES = "service.beta.kubernetes.io/load-balancer-source-ranges"
_EXISTS = (
    "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, "
    "ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort "
    "or ResourceQuotaScopeCrossNamespacePodAffinity"
)
_AT = "spec.scopeSelector.matchExpressions"


@pytest.mark.parametrize(
    ("resource", "spec", "expected"),
    [
        (
            "limitranges",
            limits(min={"cpu": "2"}, default={"cpu": "1"}, max={"cpu": "500m"}),
            [
                'spec.limits[0].min[cpu]: Invalid value: "2": min value 2 is greater than max value 500m',
                'spec.limits[0].default[cpu]: Invalid value: "2": min value 2 is greater than default value 1',
                'spec.limits[0].default[cpu]: Invalid value: "500m": default value 1 is greater than max '
                "value 500m",
            ],
        ),
        (
            "limitranges",
            limits(default={"example.com/gpu": "2"}, defaultRequest={"example.com/gpu": "1"}),
            [
                'spec.limits[0].defaultRequest[example.com/gpu]: Invalid value: "1": default value 2 must '
                "equal to defaultRequest value 1 in example.com/gpu"
            ],
        ),
        (
            "limitranges",
            limits(max={"pods": "1"}),
            [
                'spec.limits[0].max[pods]: Invalid value: "pods": must be a standard resource for containers'
            ],
        ),
        (
            "resourcequotas",
            selector(scopeName="Sunny", operator="Exists"),
            [f'{_AT}.scopeName: Invalid value: "Sunny": unsupported scope'],
        ),
        (
            "resourcequotas",
            selector(scopeName="BestEffort", operator="In"),
            [
                f'{_AT}.operator: Invalid value: "In": {_EXISTS}',
                f"{_AT}.values: Required value: must be at least one value when `operator` is 'In' or "
                "'NotIn' for scope selector",
            ],
        ),
        (
            "resourcequotas",
            selector(scopeName="PriorityClass", operator="Exists", values=["high"]),
            [
                f"{_AT}.values: Invalid value: [\"high\"]: must be no value when `operator` is 'Exist' or "
                "'DoesNotExist' for scope selector"
            ],
        ),
        (
            "resourcequotas",
            {
                "hard": {"pods": "1"},
                "scopeSelector": {
                    "matchExpressions": [
                        {"scopeName": "Terminating", "operator": "Exists"},
                        {"scopeName": "NotTerminating", "operator": "Exists"},
                    ]
                },
            },
            [f"{_AT}: Invalid value: null: conflicting scopes"],
        ),
        (
            "nodes",
            {
                "taints": [
                    {"key": "a", "value": "b c", "effect": "NoSchedule"},
                    {"key": "a", "effect": "NoSchedule"},
                    {"key": "d"},
                ]
            },
            [
                'metadata.taints[0].value: Invalid value: "b c": a valid label must be an empty string or',
                'metadata.taints[1]: Duplicate value: {"Key":"a","Value":"","Effect":"NoSchedule",'
                '"TimeAdded":null}: taints must be unique by key and effect pair',
                "metadata.taints[2].effect: Required value",
            ],
        ),
        (
            "nodes",
            {"podCIDRs": ["10.0.0.0/24", "10.0.0.0/24"]},
            [
                'spec.podCIDRs: Invalid value: ["10.0.0.0/24","10.0.0.0/24"]: may specify no more than one '
                "CIDR for each IP family",
            ],
        ),
        (
            "namespaces",
            {"finalizers": ["kubernetes", "example.com/held", "mine"]},
            [
                'spec.finalizers: Invalid value: "mine": name is neither a standard finalizer name nor is '
                "it fully qualified"
            ],
        ),
    ],
)
def test_what_is_said(resource: str, spec: Object, expected: list[str]) -> None:
    found = causes(resource, spec)
    assert len(found) == len(expected), found
    for said, begin in zip(found, expected, strict=True):
        assert said.startswith(begin)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("10.0.0.1", []),
        ("0.0.0.0", ["may not be unspecified (0.0.0.0)"]),
        ("::", ["may not be unspecified (::)"]),
        ("127.0.0.1", ["may not be in the loopback range (127.0.0.0/8, ::1/128)"]),
        ("169.254.1.1", ["may not be in the link-local range (169.254.0.0/16, fe80::/10)"]),
        ("224.0.0.9", ["may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"]),
        ("ff32::1", ["may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"]),
        ("224.0.1.9", []),
        ("ff05::1", []),
        ("x", ["must be a valid IP address, (e.g. 10.9.8.7", "must be a valid IP address"]),
    ],
)
def test_where_endpoints_may_not_be(address: str, expected: list[str]) -> None:
    ports = [{"port": 80, "protocol": "TCP"}]
    found = causes("endpoints", None, subsets=[{"addresses": [{"ip": address}], "ports": ports}])
    assert len(found) == len(expected), found
    for said, part in zip(found, expected, strict=True):
        assert said.startswith(f'subsets[0].addresses[0].ip: Invalid value: "{address}": {part}')


def test_source_ranges_in_an_annotation() -> None:
    spec = {
        "type": "ClusterIP",
        "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        "sessionAffinity": "None",
        "internalTrafficPolicy": "Cluster",
    }
    found = causes("services", spec, metadata={"annotations": {_RANGES: " 10.0.0.0/8, x "}})
    assert found[0] == (
        f"metadata.annotations[{_RANGES}]: Forbidden: may only be used when `type` is 'LoadBalancer'"
    )
    assert found[1].startswith(
        f'metadata.annotations[{_RANGES}]: Invalid value: "x": must be a valid'
    )
    assert causes("services", spec, metadata={"annotations": {_RANGES: " "}}) == found[:1]


@pytest.mark.parametrize(
    ("metadata", "phase", "expected"),
    [
        ({}, "Active", []),
        ({"deletionTimestamp": "2026-01-01T00:00:00Z"}, "Terminating", []),
        (
            {},
            "Terminating",
            [
                "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if "
                "`deletionTimestamp` is empty"
            ],
        ),
        (
            {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "Active",
            [
                "status.Phase: Invalid value: \"Active\": may only be 'Terminating' if "
                "`deletionTimestamp` is not empty"
            ],
        ),
    ],
)
def test_a_namespaces_phase(metadata: Object, phase: str, expected: list[str]) -> None:
    new = {"metadata": {"name": "x", **metadata}, "status": {"phase": phase}}
    found = kinds.by_resource("namespaces").hooks.validate_status_update(new, new)
    assert [str(each) for each in found] == expected


def test_a_node_keeps_what_names_it() -> None:
    old = {"metadata": {"name": "x"}, "spec": {"providerID": "a", "externalID": "b"}}
    address = {"type": "InternalIP", "address": "10.0.0.1"}
    new = {
        "metadata": {"name": "x"},
        "spec": {"providerID": "c"},
        "status": {"addresses": [address, address], "capacity": {"pods": "1500m"}},
    }
    found = kinds.by_resource("nodes").hooks.validate_update(new, old)
    assert [str(each) for each in found] == [
        'status.capacity.pods: Invalid value: "1500m": must be an integer',
        'status.addresses[1]: Duplicate value: {"Type":"InternalIP","Address":"10.0.0.1"}',
        'spec.providerID: Forbidden: node updates may not change providerID except from "" to valid',
        "spec.externalID: Forbidden: may not be updated",
    ]
