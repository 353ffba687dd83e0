"""Where the objects of a resource are."""

import pytest

from minipod.cli.resources import PODS


@pytest.mark.parametrize(
    ("name", "segment"),
    [
        ("web-1.example", "web-1.example"),
        ("a/b", "a%2Fb"),
        ("a?watch=1", "a%3Fwatch%3D1"),
        ("ä", "%C3%A4"),
        ("٣", "%D9%A3"),
    ],
)
def test_a_name_is_one_segment_of_plain_letters(name: str, segment: str) -> None:
    assert PODS.path("default", name) == f"/api/v1/namespaces/default/pods/{segment}"
