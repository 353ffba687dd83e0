import os
import threading
import time
from collections.abc import Iterator

import pytest

from minipod.linux import netlink
from tests.patience import patience

from ..network.topology import new_namespace, outer_namespace, run

pytestmark = pytest.mark.kernel

BRIDGE, GATEWAY = "mpt0", "10.90.0.1"


@pytest.fixture(autouse=True)
def outer() -> Iterator[None]:
    with outer_namespace():
        netlink.ensure_bridge(BRIDGE, f"{GATEWAY}/24", hardware_address="02:00:00:00:00:01")
        yield


@pytest.fixture
def namespace() -> Iterator[int]:
    made = new_namespace()
    yield made
    os.close(made)


def test_a_pair_is_made_and_configured(namespace: int) -> None:
    for _twice in range(2):
        netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace, mtu=1400)
        netlink.configure_namespace("10.90.0.7/24", GATEWAY, netns_fd=namespace)
    near = netlink.link("mpt1")
    assert near is not None
    assert (near.kind, near.up, near.mtu) == ("veth", True, 1400)
    assert "hairpin on" in run("ip -d link show mpt1")
    shown = run("ip -o address show up", namespace)
    assert "127.0.0.1/8" in shown
    assert "10.90.0.7/24 brd 10.90.0.255" in shown
    assert "0a:58:0a:5a:00:07" in run("ip link show eth0", namespace)
    assert "default via 10.90.0.1" in run("ip route", namespace)


def test_the_steps_one_by_one_do_the_same(namespace: int) -> None:
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    for _twice in range(2):
        netlink.set_loopback_up(netns_fd=namespace)
        netlink.add_address("10.90.0.7/24", netns_fd=namespace)
        netlink.add_default_route(GATEWAY, netns_fd=namespace)
    deadline = time.monotonic() + patience(5)
    # The kernel finds the carrier by and by.
    while " state UP " not in run("ip link show eth0", namespace):
        assert time.monotonic() < deadline
        time.sleep(0.005)
    one_by_one = [run(each, namespace) for each in ("ip -br address", "ip route", "ip -br link")]
    netlink.configure_namespace("10.90.0.7/24", GATEWAY, netns_fd=namespace)
    assert [run(e, namespace) for e in ("ip -br address", "ip route", "ip -br link")] == one_by_one


def test_a_pair_that_leads_elsewhere_is_replaced(namespace: int) -> None:
    former = new_namespace()
    netlink.add_veth("mpt1", BRIDGE, netns_fd=former)
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    assert "eth0" in run("ip -br link", namespace)
    assert "eth0" not in run("ip -br link", former)
    os.close(former)


def test_a_foreign_eth0_is_reported(namespace: int) -> None:
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    with pytest.raises(FileExistsError, match="already has an interface eth0"):
        netlink.add_veth("mpt2", BRIDGE, netns_fd=namespace)
    assert netlink.link("mpt2") is None


def test_a_missing_bridge_is_named_and_leaves_nothing(namespace: int) -> None:
    with pytest.raises(OSError, match='bridge "none0" does not exist'):
        netlink.add_veth("mpt1", "none0", netns_fd=namespace)
    assert netlink.link("mpt1") is None


def test_the_kernels_own_words_reach_the_error(namespace: int) -> None:
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    with pytest.raises(OSError, match=r"Nexthop has invalid gateway.*eth0 10\.90\.0\.7/24"):
        netlink.configure_namespace("10.90.0.7/24", "10.99.0.1", netns_fd=namespace)
    with pytest.raises(OSError, match="no such interface"):
        netlink.add_address("10.90.0.7/24", netns_fd=namespace, interface="eth9")


def test_a_namespace_is_found_by_process(namespace: int) -> None:
    del namespace
    netlink.set_loopback_up(pid=os.getpid())
    with pytest.raises(ValueError, match="pid or by netns_fd"):
        netlink.set_loopback_up()
    with pytest.raises(FileNotFoundError):
        netlink.add_veth("mpt1", BRIDGE, pid=2**22 + 1)


def test_the_thread_is_back_in_its_namespace_afterwards(namespace: int) -> None:
    own = os.readlink("/proc/thread-self/ns/net")
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    with pytest.raises(OSError, match="gateway"):
        netlink.configure_namespace("10.90.0.7/24", "10.99.0.1", netns_fd=namespace)
    assert os.readlink("/proc/thread-self/ns/net") == own


def test_deleting_is_repeatable(namespace: int) -> None:
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    for _twice in range(2):
        netlink.delete_link("mpt1")
        netlink.ensure_unreachable_route("10.90.0.0/24", 999)
        netlink.delete_unreachable_route("10.90.0.0/24", 999)
        netlink.delete_unreachable_route("10.90.0.0/24", 999)
    assert "eth0" not in run("ip -br link", namespace)
    assert not [each for each in netlink.routes() if each.unreachable]


def test_a_pair_goes_with_its_namespace() -> None:
    namespace = new_namespace()
    netlink.add_veth("mpt1", BRIDGE, netns_fd=namespace)
    assert not netlink.wait_link_gone("mpt1", 0.01)
    os.close(namespace)
    assert netlink.wait_link_gone("mpt1", 5)
    assert netlink.link("mpt1") is None
    assert netlink.wait_link_gone("mpt1", 0.01)


def test_threads_share_the_socket() -> None:
    namespaces = [new_namespace() for _ in range(8)]
    failures: list[BaseException] = []

    def attach(number: int) -> None:
        try:
            for _ in range(5):
                netlink.add_veth(f"mpt{number + 1}", BRIDGE, netns_fd=namespaces[number])
                address = f"10.90.0.{number + 2}/24"
                netlink.configure_namespace(address, GATEWAY, netns_fd=namespaces[number])
                assert netlink.link(f"mpt{number + 1}")
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    threads = [threading.Thread(target=attach, args=(number,)) for number in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failures
    assert len([each for each in netlink.links() if each.master]) == 8
    for number, each in enumerate(namespaces):
        assert f"10.90.0.{number + 2}/24" in run("ip -br address", each)
        os.close(each)


def test_a_bridge_takes_its_new_address() -> None:
    netlink.ensure_bridge(BRIDGE, "10.91.0.1/24", hardware_address="02:00:00:00:00:01")
    shown = run(f"ip -o -4 address show {BRIDGE}")
    assert "10.91.0.1/24" in shown
    assert "10.90.0.1" not in shown
