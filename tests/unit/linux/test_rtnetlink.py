"""Requests of rtnetlink: packed by us, for speed, to the very bytes that pyroute2 makes of the same words."""

import socket
from ipaddress import IPv4Interface, IPv4Network
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.rtmsg import rtmsg

from minipod.linux.rtnetlink import (
    NLM_F_CREATE,
    NLM_F_EXCL,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    RTM_DELADDR,
    RTM_NEWADDR,
    RTM_NEWLINK,
    RTM_NEWROUTE,
    Attributes,
    address_message,
    link_message,
    route_message,
)

NESTED = {
    "IFLA_LINKINFO",
    "IFLA_INFO_DATA",
    "IFLA_INFO_SLAVE_DATA",
    "VETH_INFO_PEER",
}


def nested(attributes: Attributes) -> list[Any]:
    """Return attributes as pyroute2 wants them."""
    return [
        (name, {"attrs": nested(value)} if name in NESTED else value) for name, value in attributes
    ]


def reference(
    message: Any, kind: int, modifiers: int, attributes: Attributes, **fields: object
) -> bytes:
    """Return what pyroute2 makes of a request."""
    message["header"]["type"], message["header"]["flags"] = kind, NLM_F_REQUEST | modifiers
    for name, value in fields.items():
        message[name] = value
    message["attrs"] = nested(attributes)
    message.encode()
    return bytes(message.data)


VETH: Attributes = [
    ("IFLA_IFNAME", "veth0123456789a"),
    ("IFLA_MTU", 1500),
    (
        "IFLA_LINKINFO",
        [
            ("IFLA_INFO_KIND", "veth"),
            (
                "IFLA_INFO_DATA",
                [
                    (
                        "VETH_INFO_PEER",
                        [("IFLA_IFNAME", "eth0"), ("IFLA_MTU", 9000), ("IFLA_NET_NS_FD", 17)],
                    )
                ],
            ),
        ],
    ),
]
BRIDGE: Attributes = [
    ("IFLA_IFNAME", "minipod0"),
    ("IFLA_ADDRESS", "0a:58:0a:55:00:01"),
    (
        "IFLA_LINKINFO",
        [
            ("IFLA_INFO_KIND", "bridge"),
            (
                "IFLA_INFO_DATA",
                [
                    ("IFLA_BR_STP_STATE", 0),
                    ("IFLA_BR_FORWARD_DELAY", 0),
                    ("IFLA_BR_MCAST_SNOOPING", 0),
                ],
            ),
        ],
    ),
]
PORT: Attributes = [
    ("IFLA_IFNAME", "veth1"),
    ("IFLA_MASTER", 70000),
    (
        "IFLA_LINKINFO",
        [
            ("IFLA_INFO_SLAVE_KIND", "bridge"),
            ("IFLA_INFO_SLAVE_DATA", [("IFLA_BRPORT_MODE", 1)]),
        ],
    ),
]


@pytest.mark.parametrize("attributes", [[], VETH, BRIDGE, PORT])
@pytest.mark.parametrize("up", [None, True, False])
def test_links(attributes: Attributes, up: bool | None) -> None:
    flags = NLM_F_CREATE | NLM_F_EXCL
    state = {} if up is None else {"flags": int(up), "change": 1}
    expected = reference(ifinfmsg(), RTM_NEWLINK, flags, attributes, index=5, **state)
    assert link_message(RTM_NEWLINK, flags, attributes, index=5, up=up) == expected


@pytest.mark.parametrize("kind", [RTM_NEWADDR, RTM_DELADDR])
@pytest.mark.parametrize("address", ["10.85.3.7/16", "192.0.2.1/32"])
def test_addresses(kind: int, address: str) -> None:
    given = IPv4Interface(address)
    attributes: Attributes = [("IFA_LOCAL", str(given.ip)), ("IFA_ADDRESS", str(given.ip))]
    if given.network.prefixlen < 31:
        attributes.append(("IFA_BROADCAST", str(given.network.broadcast_address)))
    flags = NLM_F_CREATE | NLM_F_REPLACE if kind == RTM_NEWADDR else 0
    fields = {"family": socket.AF_INET, "prefixlen": given.network.prefixlen, "index": 3}
    expected = reference(ifaddrmsg(), kind, flags, attributes, **fields)
    assert address_message(3, given, kind) == expected


@pytest.mark.parametrize(
    ("destination", "given", "attributes", "scope", "leads"),
    [
        ("0.0.0.0/0", {"gateway": "10.85.0.1"}, [("RTA_GATEWAY", "10.85.0.1")], 0, 1),
        ("10.0.0.0/8", {"metric": 9}, [("RTA_PRIORITY", 9)], 0, 7),
        (
            "10.96.0.0/12",
            {"interface": 4, "source": "10.85.0.1"},
            [("RTA_OIF", 4), ("RTA_PREFSRC", "10.85.0.1")],
            253,
            1,
        ),
    ],
)
def test_routes(
    destination: str, given: dict[str, Any], attributes: Attributes, scope: int, leads: int
) -> None:
    network, flags = IPv4Network(destination), NLM_F_CREATE | NLM_F_REPLACE
    if network.prefixlen:
        attributes = [("RTA_DST", str(network.network_address)), *attributes]
    fields = {"dst_len": network.prefixlen, "scope": scope, "type": leads, "table": 254, "proto": 3}
    fields["family"] = socket.AF_INET
    expected = reference(rtmsg(), RTM_NEWROUTE, flags, attributes, **fields)
    assert route_message(RTM_NEWROUTE, flags, network, **given) == expected
