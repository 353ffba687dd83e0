import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest

from minipod.linux import conntrack, netlink, nft
from minipod.network import bridge
from minipod.paths import Layout, layout

from .topology import (
    HOST,
    LONG_PATIENCE,
    OUTSIDE,
    PATIENCE,
    Instance,
    Place,
    make_outside,
    outer_namespace,
    run,
)

pytestmark = pytest.mark.kernel

FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
BRIDGE_CALLS = Path("/proc/sys/net/bridge/bridge-nf-call-iptables")


@pytest.fixture(autouse=True)
def outer() -> Iterator[None]:
    with outer_namespace():
        FORWARDING.write_text("0")
        yield


@pytest.fixture
def host() -> Iterator[Place]:
    made = Place(None, HOST)
    yield made
    made.close()


@pytest.fixture
def outside() -> Iterator[Place]:
    made = make_outside()
    yield made
    made.close()


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Instance]:
    made = Instance(tmp_path / "a")
    yield made
    made.close()


@pytest.fixture(params=["bridged frames pass by netfilter", "bridged frames go through netfilter"])
def either_way(request: pytest.FixtureRequest) -> None:
    """Hosts differ in br_netfilter; both must work."""
    if BRIDGE_CALLS.exists():
        BRIDGE_CALLS.write_text("1" if "through" in request.param else "0")
    elif "through" in request.param:
        pytest.skip("this kernel has no br_netfilter loaded")


def ruleset() -> str:
    return run("nft list ruleset")


@pytest.mark.usefixtures("either_way")
def test_pods_meet_under_their_own_addresses(network: Instance) -> None:
    one, other = network.pod("one"), network.pod("other")
    other.serve(80)
    assert one.ask(other.address, 80) == one.address


@pytest.mark.usefixtures("either_way")
def test_a_pod_goes_out_under_the_hosts_address(network: Instance, outside: Place) -> None:
    outside.serve(80)
    outside.serve(53, socket.SOCK_DGRAM)
    pod = network.pod("one")
    assert pod.ask(OUTSIDE, 80) == HOST
    assert pod.ask(OUTSIDE, 53, socket.SOCK_DGRAM) == HOST


def test_the_host_reaches_a_pod(network: Instance, host: Place) -> None:
    pod = network.pod("one")
    pod.serve(80)
    assert host.ask(pod.address, 80) == network.facts.gateway


@pytest.mark.usefixtures("either_way")
def test_a_host_port_is_reached_from_everywhere(
    network: Instance, host: Place, outside: Place
) -> None:
    pod = network.pod("one", ("", "tcp", 8080, 80), ("", "udp", 5353, 53))
    other = network.pod("other")
    pod.serve(80)
    pod.serve(53, socket.SOCK_DGRAM)
    gateway = network.facts.gateway
    assert outside.ask(HOST, 8080) == OUTSIDE  # the client's address is kept
    assert outside.ask(HOST, 5353, socket.SOCK_DGRAM) == OUTSIDE
    assert host.ask("127.0.0.1", 8080) == gateway
    assert host.ask("127.0.0.1", 5353, socket.SOCK_DGRAM) == gateway
    assert host.ask(HOST, 8080) == HOST
    for client in (other, pod):
        assert client.ask(HOST, 8080) == gateway
        assert client.ask(gateway, 8080) == gateway
    assert outside.is_refused(HOST, 80)


def test_a_host_port_on_one_address_is_reached_there_alone(
    network: Instance, host: Place, outside: Place
) -> None:
    run("ip address add 192.0.2.9/24 dev out0")
    pod = network.pod("one", ("127.0.0.1", "tcp", 8080, 80), ("192.0.2.9", "tcp", 8081, 81))
    pod.serve(80)
    pod.serve(81)
    assert host.ask("127.0.0.1", 8080) == network.facts.gateway
    assert outside.is_refused(HOST, 8080)
    assert pod.is_refused(HOST, 8080)
    assert outside.ask("192.0.2.9", 8081) == OUTSIDE
    assert outside.is_refused(HOST, 8081)
    assert host.is_refused("127.0.0.1", 8081)


def test_a_removed_pod_leaves_its_port_to_the_next(network: Instance, outside: Place) -> None:
    first = network.pod("first", ("", "tcp", 8080, 80))
    first.remove()
    assert outside.is_refused(HOST, 8080)
    second = network.pod("second", ("", "tcp", 8080, 80))
    second.serve(80)
    first.remove()  # again: what leads to the second Pod is not the first one's
    assert outside.ask(HOST, 8080) == OUTSIDE


def test_a_busy_udp_client_follows_the_port_to_the_next_pod(
    network: Instance, outside: Place
) -> None:
    first = network.pod("first", ("", "udp", 5353, 53))
    first.serve(53, socket.SOCK_DGRAM)
    client = outside.open(socket.AF_INET, socket.SOCK_DGRAM)
    client.settimeout(LONG_PATIENCE)
    client.connect((HOST, 5353))
    client.send(b"?")
    assert client.recv(64).decode() == OUTSIDE
    first.remove()
    second = network.pod("second", ("", "udp", 5353, 53))
    second.serve(53, socket.SOCK_DGRAM)
    client.send(b"?")
    client.settimeout(PATIENCE)
    with pytest.raises(TimeoutError):
        client.recv(64)  # the connection is still known to the kernel
    client.settimeout(LONG_PATIENCE)
    assert conntrack.forget_flows(first.address) == 1
    assert conntrack.forget_flows(first.address) == 0
    client.send(b"?")
    assert client.recv(64).decode() == OUTSIDE


def test_two_pods_cannot_have_one_host_port(network: Instance) -> None:
    network.pod("one", ("", "tcp", 8080, 80))
    with pytest.raises(FileExistsError, match=r"leads elsewhere.*tcp \. 8080"):
        network.pod("two", ("", "tcp", 8080, 80))


@pytest.mark.usefixtures("either_way")
def test_loopback_services_of_the_host_stay_its_own(
    network: Instance, host: Place, outside: Place
) -> None:
    """CVE-2020-8558: a neighbour that routes 127.0.0.0/8 to the host."""
    host.serve(7000, address="127.0.0.1")
    pod = network.pod("one")
    for place, gateway, interface in (
        (pod, network.facts.gateway, "eth0"),
        (outside, HOST, "eth0"),
    ):
        assert place.namespace is not None
        run(f"sysctl -qw net.ipv4.conf.{interface}.route_localnet=1", place.namespace)
        run("ip address del 127.0.0.1/8 dev lo", place.namespace)
        run(f"ip route add 127.0.0.0/8 via {gateway}", place.namespace)
        assert place.is_refused("127.0.0.1", 7000, source=place.address)
    nft.run("inet", network.facts.table, f"flush chain inet {network.facts.table} martians")
    assert pod.ask("127.0.0.1", 7000, source=pod.address)  # so it was the rule that held


def test_a_pod_cannot_take_anothers_address(network: Instance) -> None:
    thief, victim, server = (network.pod(name) for name in ("thief", "victim", "server"))
    server.serve(80)
    stolen = "10.255.255.1"
    run(f"ip address add {stolen}/32 dev eth0", thief.namespace)
    run(f"ip route add {stolen}/32 dev eth0", server.namespace)
    assert thief.ask(server.address, 80)
    assert thief.is_refused(server.address, 80, source=stolen)
    assert thief.is_refused(victim.address, 80, source=stolen)
    nft.delete_elements(thief.guard)
    assert thief.ask(server.address, 80, source=stolen)  # so it was the guard that held


def _hardware(place: Place) -> bytes:
    return bytes.fromhex(netlink.hardware_address(f"{place.address}/16").replace(":", ""))


def _claim(address: str, hardware: bytes) -> bytes:
    """A gratuitous ARP reply: this address is at that hardware address."""
    packed = socket.inet_aton(address)
    header = b"\xff" * 6 + hardware + b"\x08\x06"
    return header + b"\0\1\x08\0\6\4\0\2" + hardware + packed + b"\xff" * 6 + packed


def test_a_pod_cannot_claim_the_gateway(network: Instance) -> None:
    thief, victim = network.pod("thief"), network.pod("victim")
    hardware = _hardware(thief)
    sender = thief.open(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind(("eth0", 0))
    heard = victim.open(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0806))
    heard.settimeout(0.5)
    lie, truth = _claim(network.facts.gateway, hardware), _claim(thief.address, hardware)
    received = b""
    for _ in range(20):  # a port that has just come up may not pass anything on yet
        sender.send(lie)
        sender.send(truth)
        with contextlib.suppress(TimeoutError):
            received = heard.recv(1514)
            break
    assert received[: len(truth)] == truth  # in order: the lie was dropped


def test_a_pod_cannot_take_anothers_traffic(network: Instance) -> None:
    """A frame from the victim's hardware address would teach the bridge that the victim is behind the thief's port."""
    thief, victim = network.pod("thief"), network.pod("victim")
    for sender, claimed in ((victim, victim), (thief, thief), (thief, victim)):
        frames = sender.open(socket.AF_PACKET, socket.SOCK_RAW)
        frames.bind(("eth0", 0))
        frames.send(_claim(sender.address, _hardware(claimed)))
    learned = run(f"bridge fdb show br {network.facts.bridge}").splitlines()
    for each in (victim, thief):
        behind = [line.split()[2] for line in learned if _hardware(each).hex(":") in line]
        assert behind == [each.host_interface]


def test_two_instances_live_side_by_side(tmp_path: Path, outside: Place) -> None:
    a, b = Instance(tmp_path / "a"), Instance(tmp_path / "b")
    outside.serve(80)
    pods = [a.pod("one", ("", "tcp", 8080, 80)), b.pod("one", ("", "tcp", 8081, 80))]
    for pod in pods:
        pod.serve(80)
        assert pod.ask(OUTSIDE, 80) == HOST
    assert [outside.ask(HOST, port) for port in (8080, 8081)] == [OUTSIDE, OUTSIDE]
    assert pods[0].ask(HOST, 8081)
    bridge.remove_network(a.layout)
    assert outside.is_refused(HOST, 8080)
    assert FORWARDING.read_text().strip() == "1"
    assert pods[1].ask(OUTSIDE, 80) == HOST
    assert outside.ask(HOST, 8081) == OUTSIDE
    bridge.remove_network(b.layout)
    assert FORWARDING.read_text().strip() == "0"
    for each in (a, b):
        each.close()


@pytest.mark.parametrize("forwarding", ["0", "1"])
def test_removal_leaves_the_host_as_it_was(tmp_path: Path, forwarding: str) -> None:
    FORWARDING.write_text(forwarding)
    run("nft add table inet somebody")
    before = [
        run(each)
        for each in ("ip route", "ip -o link", "sysctl -a -r ^net.ipv4", "nft list ruleset")
    ]
    made = Instance(tmp_path / "a")
    made.close()
    assert FORWARDING.read_text().strip() == "1"
    for _twice in range(2):
        bridge.remove_network(made.layout)
    after = [
        run(each)
        for each in ("ip route", "ip -o link", "sysctl -a -r ^net.ipv4", "nft list ruleset")
    ]
    assert after == before


def test_ensuring_again_keeps_what_pods_have(network: Instance, outside: Place) -> None:
    pod = network.pod("one", ("", "tcp", 8080, 80))
    pod.serve(80)
    before = ruleset()
    assert bridge.ensure_network(network.layout, network.cidr) == network.facts
    assert ruleset() == before
    assert outside.ask(HOST, 8080) == OUTSIDE


def test_a_table_of_another_shape_is_made_anew(network: Instance) -> None:
    expected = ruleset()
    table = network.facts.table
    nft.delete_table("inet", table)
    nft.run(
        "inet",
        table,
        f"table inet {table} {{\n map ports {{\n type ipv4_addr : ipv4_addr\n }}\n }}",
    )
    bridge.ensure_network(network.layout, network.cidr)
    assert sorted(ruleset().splitlines()) == sorted(expected.splitlines())


SCRIPT = """
import sys
from minipod.network import bridge
from minipod.paths import Layout, layout
made = layout(sys.argv[2])
getattr(bridge, sys.argv[1])(made, *sys.argv[3:])
"""


def _killed_at(point: str, function: str, *arguments: str) -> None:
    environment = {**os.environ, "MINIPOD_FAULT": point}
    command = [sys.executable, "-c", SCRIPT, function, *arguments]
    done = subprocess.run(command, env=environment, check=False, timeout=20)
    assert done.returncode == -signal.SIGKILL


@pytest.mark.parametrize("point", ["network-bridge", "network-rules", "network-route"])
def test_an_interrupted_set_up_is_finished_or_undone(tmp_path: Path, point: str) -> None:
    root, cidr = tmp_path / "a", "10.90.0.0/20"
    _killed_at(point, "ensure_network", str(root), cidr)
    bridge.remove_network(layout(root))
    assert (FORWARDING.read_text().strip(), ruleset(), netlink.routes()) == ("0", "", [])
    assert [each.name for each in netlink.links()] == ["lo"]
    _killed_at(point, "ensure_network", str(root), cidr)
    bridge.ensure_network(layout(root), cidr)
    finished = ruleset()
    bridge.remove_network(layout(root))
    bridge.ensure_network(layout(root), cidr)
    assert ruleset() == finished
    bridge.remove_network(layout(root))
    assert FORWARDING.read_text().strip() == "0"


@pytest.mark.parametrize("point", ["network-restored", "network-unrouted"])
def test_an_interrupted_removal_is_finished(tmp_path: Path, point: str) -> None:
    root, cidr = tmp_path / "a", "10.90.0.0/20"
    bridge.ensure_network(layout(root), cidr)
    _killed_at(point, "remove_network", str(root))
    bridge.remove_network(layout(root))
    assert (FORWARDING.read_text().strip(), ruleset(), netlink.routes()) == ("0", "", [])
    assert [each.name for each in netlink.links()] == ["lo"]


def test_flushed_rules_do_not_make_it_forget_what_it_found(tmp_path: Path) -> None:
    root, cidr = layout(tmp_path / "a"), "10.90.0.0/20"
    bridge.ensure_network(root, cidr)
    run("nft flush ruleset")
    bridge.ensure_network(root, cidr)
    bridge.remove_network(root)
    assert FORWARDING.read_text().strip() == "0"


@pytest.mark.usefixtures("outside")
def test_packets_to_pods_never_leave_the_host_without_the_bridge(
    network: Instance, host: Place
) -> None:
    run(f"ip route add default via {OUTSIDE}")
    run(f"ip link delete {network.facts.bridge}")
    with pytest.raises(OSError, match=r"No route|unreachable"):
        host.ask("10.85.0.9" if network.cidr.startswith("10.85") else network.facts.gateway, 80)


def test_a_changed_range_replaces_the_former(tmp_path: Path) -> None:
    root = layout(tmp_path / "a")
    bridge.ensure_network(root, "10.90.0.0/20")
    bridge.ensure_network(root, "10.91.0.0/20")
    found = {str(each.destination) for each in netlink.routes()}
    assert found == {"10.91.0.0/20"}
    assert "10.90." not in ruleset()


def test_the_chosen_range_is_free_and_remembered(tmp_path: Path) -> None:
    first, second = layout(tmp_path / "a"), layout(tmp_path / "b")
    chosen = bridge.choose_cidr(first)
    run("ip link add some0 type veth peer name some1")
    run("ip link set some0 up")
    assert bridge.choose_cidr(first) == chosen
    run(f"ip route add {chosen} dev some0")
    assert bridge.choose_cidr(first) != chosen
    with pytest.raises(ValueError, match=r"overlaps .* through some0; choose another"):
        bridge.choose_cidr(second, chosen)
    assert bridge.choose_cidr(second, "10.77.0.0/24") == "10.77.0.0/24"
    assert bridge.choose_cidr(second) == "10.77.0.0/24"


def test_a_remembered_range_that_another_took_is_given_up_unless_pods_use_it(
    network: Instance, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = layout(tmp_path / "other")
    (other.state / "network").mkdir(parents=True)
    (other.state / "network" / "cidr").write_text(network.cidr)
    with contextlib.closing(bridge.open_pool(other, network.cidr)) as pool:
        pool.allocate("pod")
    assert bridge.choose_cidr(other) == network.cidr
    [warning] = caplog.messages
    assert f"Pod range {network.cidr} overlaps" in warning
    assert f"through {network.facts.bridge}, but is kept for 1 Pods" in warning
    with contextlib.closing(bridge.open_pool(other, network.cidr)) as pool:
        pool.release("pod")
    assert bridge.choose_cidr(other) != network.cidr


def test_services_never_take_a_route_of_another_instance(network: Instance, tmp_path: Path) -> None:
    other = layout(tmp_path / "other")
    facts = bridge.ensure_network(other, "10.77.0.0/24")
    bridge.ensure_service_routes(other, facts, [network.cidr])
    pod = network.pod("one")
    [route] = run(f"ip -o route get {pod.address}").splitlines()
    assert f"dev {network.facts.bridge} " in route


def test_a_range_that_the_host_routes_elsewhere_bars_services_and_says_by_what(
    network: Instance, tmp_path: Path
) -> None:
    inside = next(IPv4Network(network.cidr).subnets(new_prefix=24))
    said = barring(layout(tmp_path / "other"), inside)
    assert said == f"{network.cidr}, which this host routes through {network.facts.bridge}"
    assert barring(layout(tmp_path / "other"), IPv4Network("10.77.0.0/24")) == ""
    assert barring(network.layout, inside) == ""


def barring(root: Layout, wanted: IPv4Network) -> str:
    """What bars a root's Services from a range, while it takes another."""
    said: list[str] = []

    def choose(barred_by: Callable[[IPv4Network], str]) -> str:
        said.append(barred_by(wanted))
        return "10.78.0.0/24"

    bridge.reserve_services(root, choose)
    bridge.release_ranges(root)
    return said[0]


def test_ranges_are_reserved_before_there_is_a_bridge(tmp_path: Path) -> None:
    first, second = layout(tmp_path / "a"), layout(tmp_path / "b")
    pods = bridge.choose_cidr(first)
    services = bridge.reserve_services(first, lambda barred_by: "10.77.0.0/24")
    with pytest.raises(ValueError, match="an unreachable route; choose another"):
        bridge.choose_cidr(second, pods)
    assert barring(second, IPv4Network(services)).startswith(f"{services}, which this host routes")
    bridge.release_ranges(first)
    assert netlink.routes() == []
    assert bridge.choose_cidr(second, pods) == pods


def test_ranges_of_a_bridge_are_not_released(network: Instance) -> None:
    before = netlink.routes()
    bridge.release_ranges(network.layout)
    assert netlink.routes() == before != []


def test_a_damaged_memory_of_the_range_is_named(tmp_path: Path) -> None:
    made = layout(tmp_path / "a")
    bridge.choose_cidr(made)
    kept = made.state / "network" / "cidr"
    kept.write_bytes(b"10.8\xff")
    with pytest.raises(ValueError, match=f'"{kept}" is damaged.*--pod-cidr'):
        bridge.choose_cidr(made)
    assert bridge.choose_cidr(made, "10.77.0.0/24") == "10.77.0.0/24"
    assert bridge.choose_cidr(made) == "10.77.0.0/24"


@pytest.mark.usefixtures("outside")
def test_a_route_to_everywhere_leaves_room_for_pods(tmp_path: Path) -> None:
    run(f"ip route add 0.0.0.0/1 via {OUTSIDE}")  # as VPNs make them
    run("ip route add 128.0.0.0/1 dev out0")
    run(f"ip route add 10.0.0.0/8 via {OUTSIDE}")
    assert bridge.choose_cidr(layout(tmp_path / "a")).endswith("/20")
    assert bridge.choose_cidr(layout(tmp_path / "b"), "10.77.0.0/24") == "10.77.0.0/24"
    with pytest.raises(ValueError, match=r"overlaps 192\.0\.2\.0/24.* through out0"):
        bridge.choose_cidr(layout(tmp_path / "c"), "192.0.2.128/25")


def test_a_range_in_use_is_not_given_up(network: Instance) -> None:
    network.pod("one")
    with pytest.raises(ValueError, match=r"1 addresses outside .* by one\); keep the former range"):
        bridge.choose_cidr(network.layout, "10.77.0.0/24")
    assert bridge.choose_cidr(network.layout) == network.cidr


@pytest.mark.parametrize("wanted", ["10.1.2.3/16", "300.0.0.0/8", "10.0.0.0/31", "fd00::/64"])
def test_a_range_that_is_none_is_refused(tmp_path: Path, wanted: str) -> None:
    with pytest.raises(ValueError, match=wanted):
        bridge.choose_cidr(layout(tmp_path / "a"), wanted)


def test_pruning_removes_what_dead_pods_left(network: Instance) -> None:
    alive = network.pod("alive", ("", "tcp", 8080, 80))
    network.pod("dead", ("", "tcp", 8081, 80), (HOST, "udp", 53, 53))
    bridge.prune(network.layout, {(alive.host_interface, alive.address)})
    table = network.facts.table
    assert [each.key for each in nft.list_elements("inet", table, "ports")] == [("tcp", 8080)]
    assert nft.list_elements("inet", table, "address_ports") == []
    assert nft.list_elements("bridge", table, "guarded") == [alive.guard[0]]
    assert nft.list_elements("bridge", table, "sources") == [alive.guard[1]]
    ports = [each.name for each in netlink.links() if each.master]
    assert ports == [alive.host_interface]


def test_a_foreign_interface_of_the_bridges_name_is_left_alone(tmp_path: Path) -> None:
    made = layout(tmp_path / "a")
    run(f"ip link add {made.bridge} type veth peer name some1")
    with pytest.raises(FileExistsError, match=f"no bridge.*{made.bridge}"):
        bridge.ensure_network(made, "10.90.0.0/20")
    bridge.remove_network(made)
    assert made.bridge in run("ip -o link")


def test_the_mtu_follows_a_smaller_uplink(tmp_path: Path) -> None:
    outside = make_outside()
    run("ip link set out0 mtu 1400")
    run(f"ip route add default via {OUTSIDE}")
    made = Instance(tmp_path / "a")
    assert made.facts.mtu == 1400
    pod = made.pod("one")
    assert "mtu 1400" in run("ip link show eth0", pod.namespace)
    made.close()
    outside.close()
