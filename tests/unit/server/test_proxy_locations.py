"""Which address and port the name in a proxy's URL stands for."""

from typing import Any

import pytest

from minipod.api.errors import StatusError
from minipod.server.proxy_locations import (
    Location,
    Wanted,
    locate_node,
    locate_pod,
    locate_service,
    parse_wanted,
    port_name,
)

Object = dict[str, Any]


def pod(*addresses: str, ports: tuple[int, ...] = (), name: str = "web") -> Object:
    named = [{"containerPort": port} for port in ports]
    return {
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"containers": [{"name": "first"}, {"name": "second", "ports": named}]},
        "status": {"podIPs": [{"ip": address} for address in addresses]},
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("web", Wanted("web")),
        ("web:", Wanted("web")),
        ("web:80", Wanted("web", "80")),
        ("web:http", Wanted("web", "http")),
        ("https:web:443", Wanted("web", "443", "https")),
        ("https:web:", Wanted("web", "", "https")),
        (":web:", Wanted("web")),
    ],
)
def test_a_name_can_have_a_scheme_and_a_port(text: str, expected: Wanted) -> None:
    assert parse_wanted("pod", text) == expected


@pytest.mark.parametrize("text", ["", ":80", "ftp:web:21", "http:web:80:more", "http::80"])
def test_other_forms_are_refused(text: str) -> None:
    with pytest.raises(StatusError) as refused:
        parse_wanted("service", text)
    assert refused.value.code == 400
    assert refused.value.message == f'invalid service request "{text}"'


@pytest.mark.parametrize(
    ("found", "wanted", "expected"),
    [
        (pod("10.1.0.2", ports=(8080, 81)), Wanted("web"), Location("http", "10.1.0.2", 8080)),
        (pod("10.1.0.2"), Wanted("web"), Location("http", "10.1.0.2", 80)),
        (
            pod("10.1.0.2"),
            Wanted("web", scheme="https"),
            Location("https", "10.1.0.2", 443),
        ),
        (
            pod("10.1.0.2", ports=(8080,)),
            Wanted("web", "9090"),
            Location("http", "10.1.0.2", 9090),
        ),
        (pod("fd00::2", "10.1.0.2"), Wanted("web", "1"), Location("http", "fd00::2", 1)),
    ],
)
def test_a_pod_is_reached_at_its_first_address(
    found: Object, wanted: Wanted, expected: Location
) -> None:
    assert locate_pod(found, wanted) == expected


def test_an_address_of_version_six_is_bracketed() -> None:
    assert locate_pod(pod("fd00::2"), Wanted("web", "81")).root == "http://[fd00::2]:81"


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "::1", "169.254.1.1", "0.0.0.0", "224.0.0.1", "255.255.255.255", "fe80::1", "x"],
)
def test_the_servers_own_host_is_out_of_bounds(address: str) -> None:
    with pytest.raises(StatusError) as refused:
        locate_pod(pod(address), Wanted("web", "80"))
    assert (refused.value.code, refused.value.message) == (400, "address not allowed")


def test_a_pod_without_an_address_is_refused() -> None:
    with pytest.raises(StatusError, match="address not allowed"):
        locate_pod(pod(), Wanted("web", "80"))


@pytest.mark.parametrize("port", ["http", "0", "65536", "-1"])
def test_a_pods_port_is_a_number(port: str) -> None:
    with pytest.raises(StatusError, match=f'invalid port "{port}"'):
        locate_pod(pod("10.1.0.2"), Wanted("web", port))


def node(*addresses: str) -> Object:
    known = [{"type": "InternalIP", "address": address} for address in addresses]
    return {"status": {"addresses": [{"type": "Hostname", "address": "one"}, *known]}}


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted("one"), None),
        (Wanted("one", "10250", "https"), None),
        (Wanted("one", "9100"), Location("http", "192.0.2.7", 9100)),
        (Wanted("one", "9100", "https"), Location("https", "192.0.2.7", 9100)),
    ],
)
def test_a_nodes_other_ports_are_its_hosts(wanted: Wanted, expected: Location | None) -> None:
    assert locate_node(node("192.0.2.7"), wanted) == expected


def endpoints(*addresses: Object, **ports: int) -> Object:
    listed = [{"name": name, "port": number} for name, number in ports.items()]
    return {
        "metadata": {"name": "web", "namespace": "default"},
        "subsets": [{"addresses": list(addresses), "ports": listed or [{"port": 8080}]}],
    }


def address(ip: str, name: str = "web", namespace: str = "default") -> Object:
    return {"ip": ip, "targetRef": {"kind": "Pod", "name": name, "namespace": namespace}}


def find(name: str) -> Object | None:
    return pod("10.1.0.2", "fd00::2") if name == "web" else None


def in_order(items: Any) -> list[Any]:
    return list(items)


@pytest.mark.parametrize(
    ("found", "wanted", "port", "expected"),
    [
        (endpoints(address("10.1.0.2")), Wanted("web"), "", Location("http", "10.1.0.2", 8080)),
        (endpoints(address("fd00::2")), Wanted("web"), "", Location("http", "fd00::2", 8080)),
        (
            endpoints(address("10.1.0.2"), http=80, https=443),
            Wanted("web", "https", "https"),
            "https",
            Location("https", "10.1.0.2", 443),
        ),
        (
            endpoints(address("10.1.0.9"), address("10.1.0.2", "other"), address("10.1.0.2")),
            Wanted("web"),
            "",
            Location("http", "10.1.0.2", 8080),
        ),
    ],
)
def test_a_service_is_reached_at_one_of_its_pods(
    found: Object, wanted: Wanted, port: str, expected: Location
) -> None:
    assert locate_service(found, wanted, port, find, in_order) == expected


@pytest.mark.parametrize(
    "found",
    [
        {"metadata": {"name": "web", "namespace": "default"}},
        endpoints(),
        endpoints({"ip": "10.1.0.2"}),
        endpoints(address("10.1.0.3")),
        endpoints(address("10.1.0.2", namespace="kube-system")),
        endpoints(address("10.1.0.2", "gone")),
        endpoints(address("10.1.0.2"), other=80),
    ],
    ids=["none", "empty", "no pod", "another address", "another namespace", "gone", "another port"],
)
def test_a_service_without_such_pods_is_unavailable(found: Object) -> None:
    with pytest.raises(StatusError) as refused:
        locate_service(found, Wanted("web", "", "https"), "", find, in_order)
    assert refused.value.code == 503
    assert refused.value.message == 'no endpoints available for service "https:web:"'


def test_a_services_port_can_be_given_by_number() -> None:
    service = {"spec": {"ports": [{"name": "a", "port": 80}, {"name": "b", "port": 81}]}}
    assert port_name(service, Wanted("web", "81")) == "b"
    assert port_name(service, Wanted("web", "named")) == "named"
    assert port_name({"spec": {"ports": [{"port": 80}]}}, Wanted("web", "80")) == ""
    with pytest.raises(StatusError) as refused:
        port_name(service, Wanted("web", "82"))
    assert refused.value.code == 503
    assert refused.value.message == 'no service port 82 found for service "web"'
