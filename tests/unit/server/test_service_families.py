"""Which address families a Service has, in clusters of one and of both."""

from copy import deepcopy
from typing import Any

import pytest

from minipod.server.service_families import init_families
from tests.unit.api.objects import texts

FOUR, SIX = ["IPv4"], ["IPv4", "IPv6"]
DUAL = {
    "type": "ClusterIP",
    "clusterIP": "10.96.0.7",
    "clusterIPs": ["10.96.0.7", "fd00::7"],
    "ipFamilies": ["IPv4", "IPv6"],
    "ipFamilyPolicy": "PreferDualStack",
}
SINGLE = {
    **DUAL,
    "clusterIPs": ["10.96.0.7"],
    "ipFamilies": ["IPv4"],
    "ipFamilyPolicy": "SingleStack",
}


def served(*addresses: str, **spec: Any) -> dict[str, Any]:
    """A Service that asks for these addresses."""
    own = {"clusterIP": addresses[0], "clusterIPs": list(addresses)} if addresses else {}
    return {"type": "ClusterIP", "selector": {"app": "web"}, **own, **spec}


@pytest.mark.parametrize(
    ("spec", "before", "configured", "expected"),
    [
        (served(), {}, FOUR, (["IPv4"], "SingleStack")),
        (served(), {}, SIX, (["IPv4"], "SingleStack")),
        (served("fd00::1"), {}, SIX, (["IPv6"], "SingleStack")),
        (served(ipFamilyPolicy="PreferDualStack"), {}, FOUR, (["IPv4"], "PreferDualStack")),
        (served(ipFamilyPolicy="PreferDualStack"), {}, SIX, (SIX, "PreferDualStack")),
        (
            served(ipFamilies=["IPv6"], ipFamilyPolicy="RequireDualStack"),
            {},
            SIX,
            (["IPv6", "IPv4"], "RequireDualStack"),
        ),
        (served("None"), {}, FOUR, (["IPv4"], "SingleStack")),
        (served("None", selector=None), {}, FOUR, (SIX, "RequireDualStack")),
        (
            served("None", selector=None, ipFamilyPolicy="SingleStack"),
            {},
            FOUR,
            (["IPv4"], "SingleStack"),
        ),
        (served("10.96.0.7"), SINGLE, SIX, (["IPv4"], "SingleStack")),
        ({**SINGLE, "ipFamilyPolicy": "RequireDualStack"}, SINGLE, SIX, (SIX, "RequireDualStack")),
        ({**DUAL, "ipFamilyPolicy": "SingleStack"}, DUAL, SIX, (["IPv4"], "SingleStack")),
        (DUAL, DUAL, FOUR, (SIX, "PreferDualStack")),
    ],
)
def test_families_follow(spec, before, configured, expected) -> None:
    made = deepcopy(spec)
    assert init_families(made, before, configured) == []
    assert (made["ipFamilies"], made["ipFamilyPolicy"]) == expected
    if made["ipFamilyPolicy"] == "SingleStack":
        assert len(made.get("clusterIPs") or ()) <= 1


@pytest.mark.parametrize(
    ("spec", "before", "configured", "expected"),
    [
        (
            served("10.96.0.1", "fd00::1"),
            {},
            SIX,
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
            "'PreferDualStack' when multiple cluster IPs are specified",
        ),
        (
            served(ipFamilies=["IPv4", "IPv6"]),
            {},
            SIX,
            "spec.ipFamilyPolicy: Invalid value: \"SingleStack\": must be 'RequireDualStack' or "
            "'PreferDualStack' when multiple IP families are specified",
        ),
        (
            served(ipFamilyPolicy="RequireDualStack"),
            {},
            FOUR,
            'spec.ipFamilyPolicy: Invalid value: "RequireDualStack": this cluster is not configured '
            "for dual-stack services",
        ),
        (
            served("fd00::1"),
            {},
            FOUR,
            'spec.clusterIPs[0]: Invalid value: ["fd00::1"]: IPv6 is not configured on this cluster',
        ),
        (
            served(ipFamilies=["IPv6"]),
            {},
            FOUR,
            'spec.ipFamilies[0]: Invalid value: "IPv6": not configured on this cluster',
        ),
        (
            {**DUAL, "clusterIPs": ["10.96.0.7"]},
            DUAL,
            SIX,
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release "
            "the secondary cluster IP",
        ),
        (
            {**DUAL, "ipFamilies": ["IPv4"]},
            DUAL,
            SIX,
            "spec.ipFamilyPolicy: Invalid value: \"PreferDualStack\": must be 'SingleStack' to release "
            "the secondary IP family",
        ),
        (
            served("10.96.0.1", clusterIP=""),
            {},
            FOUR,
            'spec.clusterIPs: Invalid value: ["10.96.0.1"]: must be empty when `clusterIP` is not '
            "specified",
        ),
    ],
)
def test_what_is_refused_of_families(spec, before, configured, expected) -> None:
    assert texts(init_families(deepcopy(spec), before, configured)) == [expected]
