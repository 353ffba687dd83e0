"""Services as the kernel's rules make them: reached from Pods and host, spread, refused, gone without a trace."""

import asyncio
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipod.linux import nft
from minipod.network import bridge
from minipod.network.service_view import ServiceView
from minipod.network.services import ServiceProxy
from tests.fakes.api import FakeApi
from tests.fakes.clock import FakeClock

from .topology import HOST, PATIENCE, Instance, Place, make_outside, outer_namespace, run

pytestmark = pytest.mark.kernel

RANGE, ADDRESS, PORT = "10.111.0.0/24", "10.111.0.10", 80


@pytest.fixture(autouse=True)
def outer() -> Iterator[None]:
    with outer_namespace():
        yield


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path / "a")
    yield made
    made.close()


@pytest.fixture
def host() -> Iterator[Place]:
    made = Place(None, HOST)
    yield made
    made.close()


class Cluster:
    """The API's objects, and one pass of the proxy over them."""

    def __init__(self, network: Instance) -> None:
        self.network, self.api = network, FakeApi(FakeClock())
        self.behind: set[str] = set()
        self.put("servicecidrs.networking.k8s.io", "kubernetes", spec={"cidrs": [RANGE]})

    def put(self, resource: str, name: str, **fields: Any) -> None:
        metadata = {"name": name, "namespace": "default", **fields.pop("metadata", {})}
        self.api._store(resource, {"metadata": metadata, **fields}, "ADDED")

    def service(self, **spec: Any) -> None:
        port = {"port": PORT, "protocol": "TCP", **spec.pop("port", {})}
        self.put("services", "web", spec={"clusterIP": ADDRESS, "ports": [port], **spec})

    def endpoints(self, *addresses: str, port: int = 8080, protocol: str = "TCP") -> None:
        labels = {"kubernetes.io/service-name": "web"}
        made = [{"addresses": [each], "conditions": {"ready": True}} for each in addresses]
        ports = [{"name": "", "port": port, "protocol": protocol}]
        fields = {"addressType": "IPv4", "endpoints": made, "ports": ports}
        resource = "endpointslices.discovery.k8s.io"
        self.put(resource, "web-1", metadata={"labels": labels}, **fields)

    def write(self, *, failing: bool = False) -> None:
        """Bring the kernel up to date, as a daemon's start does."""

        async def once() -> None:
            place = self.network
            clock = FakeClock()
            view = ServiceView(self.api.client())
            await view.start()
            proxy = ServiceProxy(view, clock, place.layout, place.facts)
            if failing:
                await fail_once(view, proxy, clock)
            proxy._behind = self.behind
            if not failing:
                await proxy.start()
            await proxy.stop()
            await view.stop()
            self.behind = proxy._behind

        asyncio.run(once())


async def fail_once(view: ServiceView, proxy: ServiceProxy, clock: FakeClock) -> None:
    """Start with a failure; return once the next attempt, when it is due, is over."""
    loop, done, ranges, apply = (
        asyncio.get_running_loop(),
        asyncio.Event(),
        view.ranges,
        proxy._apply,
    )

    def failing() -> list[str]:
        raise ValueError("no range")

    def applied(*given: Any) -> None:
        apply(*given)
        loop.call_soon_threadsafe(done.set)

    view.ranges, proxy._apply = failing, applied  # type: ignore[method-assign]
    await proxy.start()
    view.ranges = ranges  # type: ignore[method-assign]
    clock.advance(1)
    await done.wait()


@pytest.fixture
def cluster(network: Instance) -> Cluster:
    return Cluster(network)


def serving_pods(network: Instance, *names: str, **more: Any) -> list[Place]:
    pods = []
    for name in names:
        pod = network.pod(name)
        pod.serve(8080, words=name, **more)
        pods.append(pod)
    return pods


def answers(place: Place, count: int = 40, **more: Any) -> set[str]:
    return {place.ask(ADDRESS, PORT, **more) for _ in range(count)}


def test_pods_and_the_host_reach_every_endpoint(
    network: Instance, cluster: Cluster, host: Place
) -> None:
    pods = serving_pods(network, "one", "two", "three")
    client = network.pod("client")
    cluster.service()
    cluster.endpoints(*(each.address for each in pods))
    cluster.write()
    assert answers(client) == {"one", "two", "three"}
    assert answers(host) == {"one", "two", "three"}
    assert answers(pods[0]) == {"one", "two", "three"}  # itself among them


def test_nobody_behind_and_nobody_at_all_are_refused_at_once_and_stay_here(
    network: Instance, cluster: Cluster, host: Place
) -> None:
    outside = make_outside()
    run(f"ip route add default via {outside.address}")
    client = network.pod("client")
    cluster.service()
    cluster.write()
    for place in (client, host):
        for address in (ADDRESS, "10.111.0.77"):
            with pytest.raises(ConnectionRefusedError):
                place.ask(address, PORT, patience=PATIENCE)
    bridge.remove_network(network.layout)
    assert "10.111" not in run("ip route")
    outside.close()


def test_without_a_bridge_the_range_leads_nowhere(
    network: Instance, cluster: Cluster, host: Place
) -> None:
    outside = make_outside()
    run(f"ip route add default via {outside.address}")
    cluster.write()
    run(f"ip link delete {network.facts.bridge}")
    with pytest.raises(OSError, match=r"No route to host|unreachable"):
        host.ask(ADDRESS, PORT, patience=PATIENCE)
    outside.close()


def test_endpoints_come_and_go_and_leave_nothing(network: Instance, cluster: Cluster) -> None:
    one, two = serving_pods(network, "one", "two")
    client = network.pod("client")
    cluster.service(sessionAffinity="ClientIP")
    for behind, expected in (([one], {"one"}), ([two], {"two"})):
        cluster.endpoints(*(each.address for each in behind))
        cluster.write()
        assert answers(client, 5) == expected
    assert len([each for each in nft.chains("inet", network.facts.table) if "-" in each]) == 2
    cluster.api.objects.clear()
    cluster.write()
    table = network.facts.table
    left = [*nft.chains("inet", table), *nft.sets("inet", table)]
    assert [each for each in left if each.startswith(("svc-", "end-", "aff-"))] == []
    assert nft.list_elements("inet", table, "service_ranges") == []
    assert "10.111" not in run("ip route")


def test_session_affinity_survives_other_changes(network: Instance, cluster: Cluster) -> None:
    pods = serving_pods(network, "one", "two", "three")
    client = network.pod("client")
    cluster.service(sessionAffinity="ClientIP")
    cluster.endpoints(*(each.address for each in pods))
    cluster.write()
    [first] = answers(client, 10)
    cluster.endpoints(*(each.address for each in pods), serving_pods(network, "four")[0].address)
    cluster.write()
    assert answers(client, 10) == {first}
    gone = next(
        each for each, name in zip(pods, ("one", "two", "three"), strict=True) if name == first
    )
    cluster.endpoints(*(each.address for each in pods if each is not gone))
    cluster.write()
    [second] = answers(client, 10)
    assert second != first


def test_a_shared_external_address_and_a_port_without_number_break_nothing(
    network: Instance, cluster: Cluster
) -> None:
    [pod] = serving_pods(network, "one")
    client, shared = network.pod("client"), "192.0.2.9"
    cluster.service(externalIPs=[shared])
    cluster.endpoints(pod.address)
    [port] = cluster.api.objects["services", "default", "web"]["spec"]["ports"]
    for name, address, external in (("a", "10.111.0.20", ADDRESS), ("z", "10.111.0.21", shared)):
        spec = {"clusterIP": address, "externalIPs": [external], "ports": [port]}
        cluster.put("services", name, spec=spec)
        labels = {"kubernetes.io/service-name": name}
        ports = [{"name": "", "port": 9999, "protocol": "TCP"}]
        made = [{"addresses": ["10.111.255.1"], "conditions": {"ready": True}}]
        fields = {"addressType": "IPv4", "endpoints": made, "ports": ports}
        resource = "endpointslices.discovery.k8s.io"
        cluster.put(resource, name, metadata={"labels": labels}, **fields)
        anywhere = {**fields, "ports": [{"name": "", "protocol": "TCP"}]}
        cluster.put(resource, f"{name}-any", metadata={"labels": labels}, **anywhere)
    cluster.write()
    assert client.ask(ADDRESS, PORT) == "one"  # its own, whoever else names it
    assert client.ask(shared, PORT) == "one"  # the first by name


def test_a_failure_at_the_start_is_made_good_later(network: Instance, cluster: Cluster) -> None:
    [pod] = serving_pods(network, "one")
    cluster.service()
    cluster.endpoints(pod.address)
    cluster.write(failing=True)
    assert network.pod("client").ask(ADDRESS, PORT) == "one"


def test_ranges_may_lie_within_one_another(network: Instance, cluster: Cluster) -> None:
    [pod] = serving_pods(network, "one")
    client = network.pod("client")
    cluster.put("servicecidrs.networking.k8s.io", "part", spec={"cidrs": ["10.111.0.128/25"]})
    cluster.put("servicecidrs.networking.k8s.io", "other", spec={"cidrs": ["10.112.0.9/24"]})
    cluster.service()
    cluster.endpoints(pod.address)
    cluster.write()
    assert client.ask(ADDRESS, PORT) == "one"
    for address in ("10.111.0.200", "10.112.0.3"):
        with pytest.raises(ConnectionRefusedError):
            client.ask(address, PORT, patience=PATIENCE)


def test_node_ports_are_reached_from_outside_and_from_the_host(
    network: Instance, cluster: Cluster, host: Place
) -> None:
    outside = make_outside()
    [pod] = serving_pods(network, "one")
    cluster.service(type="NodePort", port={"nodePort": 30080})
    cluster.endpoints(pod.address)
    cluster.write()
    assert outside.ask(HOST, 30080) == "one"
    for address in (HOST, "127.0.0.1"):
        assert host.ask(address, 30080) == "one"
    assert network.pod("client").ask(network.facts.gateway, 30080) == "one"
    outside.close()


def test_datagrams_leave_an_endpoint_that_is_gone(network: Instance, cluster: Cluster) -> None:
    one, two = serving_pods(network, "one", "two", kind=socket.SOCK_DGRAM)
    client = network.pod("client")
    cluster.service(port={"protocol": "UDP"})
    cluster.endpoints(one.address, protocol="UDP")
    cluster.write()
    talking = client.open(socket.AF_INET, socket.SOCK_DGRAM)
    talking.settimeout(5)
    for expected, behind in (("one", two), ("two", two)):
        talking.sendto(b"?", (ADDRESS, PORT))
        assert talking.recv(16).decode() == expected
        cluster.endpoints(behind.address, protocol="UDP")
        cluster.write()
