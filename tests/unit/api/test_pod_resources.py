"""What a Pod asks for: by its containers, as a whole, and while it is being resized."""

from fractions import Fraction
from typing import Any

import pytest

from minipod.api.pod_resources import (
    compute_enforced,
    compute_granted,
    compute_pod_requests,
    compute_qos_class,
)
from minipod.api.validation.pod import validate_pod
from tests.unit.api.objects import container, defaulted

Object = dict[str, Any]


def asking(cpu: str = "", **limits: str) -> Object:
    return container("c", resources={"requests": {"cpu": cpu} if cpu else {}, "limits": limits})


def made(*containers: Object, **spec: Any) -> Object:
    pod = defaulted(containers=list(containers), **spec)
    pod["metadata"].setdefault("name", "p")
    return pod


@pytest.mark.parametrize(
    ("containers", "given", "requests"),
    [
        ((asking(),), {"cpu": "1", "memory": "64Mi"}, {"cpu": "1", "memory": "64Mi"}),
        ((asking("50m"),), {"cpu": "1", "memory": "64Mi"}, {"cpu": "50m", "memory": "64Mi"}),
        ((asking("50m", memory="1Mi"),), {"cpu": "1"}, {"cpu": "50m", "memory": "1Mi"}),
    ],
)
def test_a_pods_own_requests_are_its_containers_or_its_limits(
    containers: Any, given: Object, requests: Object
) -> None:
    pod = made(*containers, resources={"limits": given})
    assert pod["spec"]["resources"]["requests"] == requests
    assert made(*containers, resources={"requests": {"cpu": "2"}})["spec"]["resources"] == {
        "requests": {"cpu": "2"}
    }


def test_the_class_of_a_pod_that_speaks_for_its_containers() -> None:
    both = {"cpu": "1", "memory": "64Mi"}
    assert compute_qos_class(made(asking(), resources={"limits": both})) == "Guaranteed"
    assert compute_qos_class(made(asking("50m"), resources={"limits": both})) == "Burstable"


@pytest.mark.parametrize(
    ("resources", "field", "message"),
    [
        (
            {"requests": {"cpu": "1"}},
            "spec.resources.requests[cpu]",
            'Invalid value: "1": must be greater than or equal to aggregate container requests of 1500m',
        ),
        (
            {"requests": {"cpu": "2"}, "limits": {"memory": "1Mi"}},
            "spec.resources.containers[0][memory].limits",
            'Invalid value: "2Mi": must be less than or equal to pod limits of 1Mi',
        ),
        (
            {"requests": {"ephemeral-storage": "1Gi"}},
            "spec.resources.requests[ephemeral-storage]",
            'Unsupported value: "ephemeral-storage": supported values: "cpu", "hugepages-", "memory"',
        ),
    ],
)
def test_containers_keep_within_their_pod(resources: Object, field: str, message: str) -> None:
    pod = made(asking("1500m", memory="2Mi"), resources=resources)
    found = {each.field: each.message for each in validate_pod(pod)}
    assert found[field] == message


@pytest.mark.parametrize(
    ("name", "amount", "message"),
    [
        ("hugepages-2Mi", "4Mi", ""),
        ("hugepages-2Mi", "3Mi", "3Mi is not positive integer multiple of hugepages-2Mi"),
        ("hugepages-some", "4Mi", "4Mi is not positive integer multiple of hugepages-some"),
        ("hugepages-0", "4Mi", "4Mi is not positive integer multiple of hugepages-0"),
    ],
)
def test_huge_pages_are_asked_for_whole(name: str, amount: str, message: str) -> None:
    found = list(validate_pod(made(asking(memory="1Mi", **{name: amount}))))
    fields = [f"spec.containers[0].resources.{each}[{name}]" for each in ("limits", "requests")]
    told = [(field, f'Invalid value: "{amount}": {message}') for field in fields if message]
    assert [(each.field, each.message) for each in found] == told


def resizing(asked: str, granted: str, reason: str) -> Object:
    pod = made(asking(asked))
    pod["status"] = {
        "conditions": [{"type": "PodResizePending", "status": "True", "reason": reason}],
        "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": granted}}],
    }
    return pod


@pytest.mark.parametrize(
    ("asked", "granted", "reason", "reserved"),
    [
        ("2", "1", "Deferred", 2),
        ("1", "2", "Deferred", 2),
        ("4000", "1", "Infeasible", 1),  # asking for what cannot be had keeps nobody else out
    ],
)
def test_a_resize_reserves_what_is_had_and_what_may_be(
    asked: str, granted: str, reason: str, reserved: int
) -> None:
    pod = resizing(asked, granted, reason)
    assert compute_pod_requests(pod)["cpu"] == reserved
    assert compute_granted(pod)["cpu"] == Fraction(granted)


def test_a_pod_of_its_own_resources_is_granted_them_as_a_whole() -> None:
    pod = made(asking(), resources={"requests": {"cpu": "3"}})
    pod["status"] = {"allocatedResources": {"cpu": "1"}}
    assert compute_granted(pod)["cpu"] == 1
    assert compute_pod_requests(pod)["cpu"] == 3


def test_an_overhead_is_counted_once_beside_what_was_granted_as_a_whole() -> None:
    pod = made(asking("1"), resources={"requests": {"memory": "64Mi"}}, overhead={"memory": "8Mi"})
    pod["status"] = {"allocatedResources": compute_enforced(pod)["requests"]}
    for found in (compute_granted(pod), compute_pod_requests(pod)):
        assert found == {"cpu": 1, "memory": 72 << 20}


def test_what_a_pod_leaves_to_its_containers_follows_them() -> None:
    pod = made(asking("2"), resources={"requests": {"memory": "64Mi"}})
    pod["status"] = {
        "allocatedResources": {"cpu": "1", "memory": "64Mi"},
        "containerStatuses": [{"name": "c", "allocatedResources": {"cpu": "1"}}],
    }
    assert compute_granted(pod)["cpu"] == 1
    assert compute_pod_requests(pod)["cpu"] == 2


def test_a_limit_holds_for_a_pod_that_says_it_or_where_every_container_has_one() -> None:
    one, other = asking("1", memory="1Mi"), {**asking(cpu="2"), "name": "d"}
    assert compute_enforced(made(one)) == {
        "limits": {"memory": "1Mi"},
        "requests": {"cpu": "1", "memory": "1Mi"},
    }
    assert "limits" not in compute_enforced(made(one, other))
    whole = made(one, other, resources={"limits": {"cpu": "4"}})
    assert compute_enforced(whole)["limits"] == {"cpu": "4"}
    assert compute_enforced(made(asking())) == {}
