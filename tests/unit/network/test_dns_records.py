"""The schema of the cluster's names, question by question."""

from collections.abc import Iterator
from ipaddress import IPv4Network
from typing import Any

import pytest

from minipod.client import Object
from minipod.network.dns_records import Reply, Zone

ZONE = "cluster.local"


class FakeServices:
    def __init__(self, *services: Object) -> None:
        self.all = list(services)

    def get(self, namespace: str, name: str) -> Object | None:
        wanted = {"namespace": namespace, "name": name}
        return next((each for each in self.all if each["metadata"] == wanted), None)

    def __iter__(self) -> Iterator[Object]:
        return iter(self.all)


class FakeNames:
    def __init__(self, services: FakeServices, slices: dict[tuple[str, str], list[Object]]) -> None:
        self.services, self._slices = services, slices

    def slices_of(self, namespace: str, name: str) -> list[Object]:
        return self._slices.get((namespace, name), [])

    def ranges(self) -> list[str]:
        return ["10.96.0.0/16"]


def _service(name: str, **spec: Any) -> Object:
    return {"metadata": {"namespace": "default", "name": name}, "spec": spec}


def _endpoint(address: str, ready: bool = True, **more: Any) -> Object:
    return {"addresses": [address], "conditions": {"ready": ready}, **more}


@pytest.fixture
def zone() -> Zone:
    ports = [{"name": "http", "port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "UDP"}]
    services = FakeServices(
        _service("web", clusterIP="10.96.0.10", ports=ports),
        _service("db", clusterIP="None", ports=[{"name": "sql", "port": 5432}]),
        _service("away", type="ExternalName", externalName="db.example.com"),
        _service("empty", clusterIP="None"),
    )
    endpoints = [
        _endpoint("10.85.0.2", hostname="db-0"),
        _endpoint("10.85.0.3"),
        _endpoint("10.85.0.4", ready=False),
    ]
    port = {"name": "sql", "port": 15432, "protocol": "TCP"}
    slices = {("default", "db"): [{"addressType": "IPv4", "endpoints": endpoints, "ports": [port]}]}
    return Zone(FakeNames(services, slices), ZONE, IPv4Network("10.85.0.0/16"))


def _shown(reply: Reply) -> list[str]:
    return [f"{each.type} {each.value}" for each in reply.records]


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("web.default.svc.cluster.local", "A", ["A 10.96.0.10"]),
        ("WEB.Default.svc.Cluster.Local", "A", ["A 10.96.0.10"]),
        ("web.default.svc.cluster.local", "AAAA", []),
        (
            "_http._tcp.web.default.svc.cluster.local",
            "SRV",
            ["SRV 0 100 80 web.default.svc.cluster.local"],
        ),
        ("_http._tcp.web.default.svc.cluster.local", "A", []),
        ("db.default.svc.cluster.local", "A", ["A 10.85.0.3", "A 10.85.0.2"]),
        ("db-0.db.default.svc.cluster.local", "A", ["A 10.85.0.2"]),
        ("10-85-0-3.db.default.svc.cluster.local", "A", ["A 10.85.0.3"]),
        (
            "_sql._tcp.db.default.svc.cluster.local",
            "SRV",
            [
                "SRV 0 100 15432 10-85-0-3.db.default.svc.cluster.local",
                "SRV 0 100 15432 db-0.db.default.svc.cluster.local",
            ],
        ),
        ("away.default.svc.cluster.local", "A", ["CNAME db.example.com"]),
        ("10-85-0-9.default.pod.cluster.local", "A", ["A 10.85.0.9"]),
        ("10.0.96.10.in-addr.arpa", "PTR", ["PTR web.default.svc.cluster.local"]),
        ("2.0.85.10.in-addr.arpa", "PTR", ["PTR db-0.db.default.svc.cluster.local"]),
        ("dns-version.cluster.local", "TXT", ["TXT 1.1.0"]),
        ("cluster.local", "A", []),
        ("svc.cluster.local", "A", []),
        ("default.svc.cluster.local", "A", []),
    ],
)
def test_what_is_there(zone: Zone, name: str, kind: str, expected: list[str]) -> None:
    reply = zone.answer(name, kind)
    assert reply.mine
    assert reply.exists
    assert _shown(reply) == expected


@pytest.mark.parametrize(
    "name",
    [
        "none.default.svc.cluster.local",
        "web.other.svc.cluster.local",
        "other.svc.cluster.local",
        "db-1.db.default.svc.cluster.local",
        "x.web.default.svc.cluster.local",
        "empty.default.svc.cluster.local",
        "_no._tcp.web.default.svc.cluster.local",
        "300-1-1-1.default.pod.cluster.local",
        "www.cluster.local",
        "9.9.85.10.in-addr.arpa",
    ],
)
def test_what_is_not_there(zone: Zone, name: str) -> None:
    reply = zone.answer(name, "SRV" if name.startswith("_") else "A")
    assert reply.mine
    assert not reply.exists


@pytest.mark.parametrize(
    "name", ["example.com", "cluster.local.example.com", "xcluster.local", "8.8.8.8.in-addr.arpa"]
)
def test_what_is_for_others(zone: Zone, name: str) -> None:
    assert not zone.answer(name, "A").mine


def test_a_service_record_brings_the_addresses(zone: Zone) -> None:
    reply = zone.answer("_sql._tcp.db.default.svc.cluster.local", "SRV")
    assert {each.value for each in reply.additional} == {"10.85.0.2", "10.85.0.3"}
