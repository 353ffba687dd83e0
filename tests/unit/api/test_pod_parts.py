"""What pods/ephemeralcontainers and pods/resize change of a Pod, and what they refuse."""

from copy import deepcopy
from typing import Any

import pytest

from minipod.api.pod_parts import PARTS, with_part
from tests.unit.api.objects import container, defaulted

Object = dict[str, Any]
EPHEMERAL, RESIZE = PARTS["ephemeralcontainers"], PARTS["resize"]


def made(**spec: Any) -> Object:
    pod = defaulted(**spec)
    pod["metadata"].setdefault("name", "p")
    return pod


def sized(cpu: str, **fields: Any) -> Object:
    resources = {"requests": {"cpu": cpu, "memory": "1Mi"}, "limits": {"cpu": "4"}, **fields}
    return container("c", resources=resources)


def test_nothing_else_changes_with_an_ephemeral_container() -> None:
    old = made(containers=[container("c")])
    given = deepcopy(old)
    given["metadata"]["labels"] = {"sneaked": "in"}
    given["spec"]["containers"][0]["image"] = "other"
    given["spec"]["ephemeralContainers"] = [container("debugger")]
    new = with_part(EPHEMERAL, given, old)
    assert new["metadata"] == old["metadata"]
    assert new["spec"]["containers"] == old["spec"]["containers"]
    assert [each["name"] for each in new["spec"]["ephemeralContainers"]] == ["debugger"]


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (None, 'existing ephemeral containers "one" may not be removed'),
        ({"image": "other"}, 'existing ephemeral containers "one" may not be changed'),
        ({}, ""),
    ],
)
def test_ephemeral_containers_stay_as_they_are(changed: Object | None, problem: str) -> None:
    old = made(containers=[container("c")], ephemeralContainers=[container("one")])
    new = deepcopy(old)
    [one] = new["spec"]["ephemeralContainers"]
    new["spec"]["ephemeralContainers"] = [] if changed is None else [{**one, **changed}]
    texts = [each.message for each in EPHEMERAL.validate(new, old)]
    assert [problem in each for each in texts] == ([True] if problem else [])


@pytest.mark.parametrize(
    ("before", "after", "problem"),
    [
        (sized("1"), sized("2"), ""),
        (sized("1"), container("c"), "Pod QOS Class may not change"),
        (sized("1"), sized("1", limits={}), "resource limits cannot be removed"),
        (
            sized("1"),
            sized("1", limits={"cpu": "4", "ephemeral-storage": "1Gi"}),
            "only cpu and memory resources are mutable",
        ),
        (
            sized("1"),
            {
                **sized("1"),
                "resizePolicy": [{"resourceName": "cpu", "restartPolicy": "NotRequired"}],
            },
            "resize policy is immutable",
        ),
        (sized("1"), {**sized("1"), "name": "renamed"}, "may not add, remove, rename"),
    ],
)
def test_a_resize_changes_amounts_alone(before: Object, after: Object, problem: str) -> None:
    old, given = made(containers=[before]), made(containers=[after])
    new = with_part(RESIZE, given, old)
    texts = [each.message for each in RESIZE.validate(new, old)]
    if not problem:
        assert texts == []
        assert new["spec"]["containers"][0]["resources"]["requests"]["cpu"] == "2"
    else:
        assert any(problem in each for each in texts), texts


WHOLE = {"requests": {"cpu": "1"}, "limits": {"cpu": "2", "memory": "64Mi"}}


@pytest.mark.parametrize(
    ("after", "problem"),
    [
        ({"limits": {"cpu": "3", "memory": "64Mi"}}, ""),
        ({"requests": {"cpu": "500m", "memory": "64Mi"}}, ""),
        ({"limits": {"cpu": "2"}}, "resource limits cannot be removed"),
        ({"limits": {**WHOLE["limits"], "hugepages-2Mi": "2Mi"}}, "only cpu and memory"),
        ({"requests": {"cpu": "10m", "memory": "64Mi"}}, "aggregate container requests of 100m"),
        ({"requests": WHOLE["limits"]}, "Pod QOS Class may not change"),
    ],
)
def test_the_whole_pod_is_resized_too(after: Object, problem: str) -> None:
    asking = container("c", resources={"requests": {"cpu": "100m"}})
    old = made(containers=[asking], resources=WHOLE)
    given = {**old, "spec": {**old["spec"], "resources": {**old["spec"]["resources"], **after}}}
    new = with_part(RESIZE, given, old)
    texts = [each.message for each in RESIZE.validate(new, old)]
    assert [problem in each for each in texts] == ([True] if problem else []), texts
    if not problem:
        assert new["spec"]["resources"] == {**old["spec"]["resources"], **after}


def test_an_init_container_is_resized_while_it_has_not_ended() -> None:
    sizes = [container("i", resources={"requests": {"cpu": each}}) for each in ("1", "2")]
    old, given = (made(containers=[container("c")], initContainers=[each]) for each in sizes)
    new = with_part(RESIZE, given, old)
    assert list(RESIZE.validate(new, old)) == []
    assert new["spec"]["initContainers"][0]["resources"]["requests"]["cpu"] == "2"
