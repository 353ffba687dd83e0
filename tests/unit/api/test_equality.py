"""When two values mean the same, and when a difference that looks like nothing is one."""

from typing import Any

import pytest

from minipod.api import equality


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"schedulerName": ""}, {}),
        ({"tolerations": []}, {}),
        ({"nodeSelector": {}}, {}),
        ({"limits": {"cpu": "1000m"}}, {"limits": {"cpu": 1}}),
    ],
)
def test_what_means_the_same(one: Any, other: Any) -> None:
    assert equality.equal(one, other)
    assert equality.differences(one, other, "spec") == []


@pytest.mark.parametrize(
    ("one", "other", "where"),
    [
        ({"nodeSelector": {"a": ""}}, {}, "spec.nodeSelector"),
        (
            {"selector": {"matchLabels": {"a": "x", "b": ""}}},
            {"selector": {"matchLabels": {"a": "x"}}},
            "spec.selector.matchLabels.b",
        ),
        ({"selector": {"a": "x", "b": ""}}, {"selector": {"a": "x"}}, "spec.selector.b"),
        ({"selector": {}}, {}, "spec.selector"),
        ({"emptyDir": {}}, {}, "spec.emptyDir"),
        ({"storageClassName": ""}, {}, "spec.storageClassName"),
    ],
)
def test_what_differs(one: Any, other: Any, where: str) -> None:
    assert not equality.equal(one, other)
    assert equality.differences(one, other, "spec") == [where]


def test_an_empty_text_in_immutable_data_is_data() -> None:
    assert not equality.equal({"a": ""}, {}, "data")
    assert equality.equal({}, None, "data")
