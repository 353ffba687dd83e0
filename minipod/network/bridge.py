"""The Pods' network: a bridge with the gateway's address, its rules, and the host's settings that they need.

Everything is named from the layout: bridge `minipod0` or `mp-XXXXXXXX`, nft tables `inet` and `bridge INSTANCE`
(their maps and sets, and what a Pod adds to them, are described in `network.rules`; `linux.nft.port_elements` and
`guard_elements` build them), an `unreachable` route with the instance's own metric, which reserves the range before
there is a bridge and keeps what is sent there at home when the bridge is gone.

Functions block (a few milliseconds of netlink); call them from a worker thread. Each converges to the same state
however often it is called and wherever it was interrupted; two instances on one host take turns on a lock.
"""

import contextlib
import errno
import fcntl
import logging
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

from minipod import fault
from minipod.linux import conntrack, netlink, nft
from minipod.network import sysctls
from minipod.network.addresses import AddressPool
from minipod.network.rules import compute_rulesets
from minipod.paths import Layout

logger = logging.getLogger(__name__)

REMEMBERED = "cidr"  # the file that holds the Pods' range
SYSTEM_RANGE = IPv4Network("10.85.0.0/16")
# Apart from every root's range for Services (server.service_range).
FIRST_SPARE, LAST_SPARE = IPv4Network("10.86.0.0/20"), IPv4Network("10.95.240.0/20")
DEFAULT_MTU = (
    1500  # never more: what comes from outside fits; less where the host's own uplink has less
)
WIDEST_LAN = 8  # a wider route without a gateway is a tunnel to everywhere
FORWARDING = "net/ipv4/ip_forward"
FORWARDING_WAS_OFF = (
    "ip_forward_was_0"  # marker chain: who made the host forward, for whoever goes last
)


@dataclass(frozen=True)
class NetworkFacts:
    """What a sandbox needs to know of the network."""

    bridge: str
    gateway: str  # "10.85.0.1"
    prefix: str  # "10.85.0.0/16"
    mtu: int
    table: str  # nft, families inet and bridge


def open_pool(layout: Layout, cidr: str) -> AddressPool:
    """Open the instance's address pool. ValueError when addresses of another range are still in use."""
    return AddressPool(_directory(layout), cidr)


# ---- the range ----


def choose_cidr(layout: Layout, wanted: str | None = None) -> str:
    """Return the Pods' range, remembered and reserved: the wanted one, the remembered one, the system's, or a free /20.

    What is remembered is given up when the host has come to route it elsewhere (another root has it, a new LAN),
    unless Pods still have addresses in it. Raises ValueError for a range that is none, is too small, that the host
    already routes elsewhere, or that leaves out an address still in use.
    """
    with _host_lock():
        taken = _foreign_routes(layout)
        former = _remembered(layout) if wanted is None else None
        if former is not None and _is_kept(layout, former, taken):
            chosen = former
        else:
            chosen = _free_range(layout, taken) if wanted is None else _checked(wanted, taken)
            open_pool(layout, str(chosen)).close()
            _remember(layout, chosen)
        netlink.ensure_unreachable_route(str(chosen), _metric(layout))
    return str(chosen)


def reserve_services(layout: Layout, choose: Callable[[Callable[[IPv4Network], str]], str]) -> str:
    """Have `choose` pick the Services' range and reserve it.

    `choose` is given what names the host's route that bars Services from a range, or nothing.
    """
    with _host_lock():
        taken = _foreign_routes(layout)
        chosen = choose(lambda net: next((str(each) for each in taken if each.bars(net)), ""))
        netlink.ensure_unreachable_route(chosen, _service_metric(layout))
    return chosen


def release_ranges(layout: Layout) -> None:
    """Let others have the ranges that were reserved, unless there is a bridge, which needs them."""
    with _host_lock():
        if netlink.link(layout.bridge) is None:
            _remove_unreachable_routes(layout)


def _remembered(layout: Layout) -> IPv4Network | None:
    path = _directory(layout) / REMEMBERED
    try:
        return IPv4Network(path.read_text().strip())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(
            f'"{path}" is damaged, it holds no Pod range: {error}; remove it, or name the range with --pod-cidr'
        ) from error


def _remember(layout: Layout, chosen: IPv4Network) -> None:
    path = _directory(layout) / REMEMBERED
    fresh = path.with_suffix(".new")
    with fresh.open("w") as stream:
        stream.write(f"{chosen}\n")
        stream.flush()
        os.fsync(
            stream.fileno()
        )  # after a power cut: the former range or this one, never an empty file
    os.replace(fresh, path)


def _is_kept(layout: Layout, former: IPv4Network, taken: "list[_Taken]") -> bool:
    route = next((each for each in taken if each.bars(former)), None)
    if route is None:
        return True
    with contextlib.closing(open_pool(layout, str(former))) as pool:
        count = len(pool.owners())
    if count:
        logger.warning(
            "Pod range %s overlaps %s, but is kept for %d Pods with addresses in it: they may not be reached; "
            "remove the route, or delete these Pods and start the daemon again, which then has another range",
            former,
            route,
            count,
        )
    return count > 0


@dataclass(frozen=True)
class _Taken:
    """A range that the host routes to somebody else."""

    destination: IPv4Network
    interface: str
    direct: bool  # its hosts are neighbours, not behind a gateway

    def __str__(self) -> str:
        return f"{self.destination}, which this host routes through {self.interface}"

    def bars(self, network: IPv4Network) -> bool:
        """Whether neither Pods nor Services can have this range.

        A part of what lies behind a gateway they can (of a VPN's 0.0.0.0/1).
        """
        within = network != self.destination and network.subnet_of(self.destination)
        return self.destination.overlaps(network) and (self.direct or not within)


def _checked(wanted: str, taken: list[_Taken]) -> IPv4Network:
    try:
        network = IPv4Network(wanted)
    except ValueError as error:
        raise ValueError(f'Pod range "{wanted}" is not an IPv4 network: {error}') from error
    if network.prefixlen > 30:
        raise ValueError(
            f'Pod range "{wanted}" has no room for a gateway and a Pod; use a /30 or wider'
        )
    for route in taken:
        if route.bars(network):
            raise ValueError(f'Pod range "{wanted}" overlaps {route}; choose another --pod-cidr')
    return network


def _free_range(layout: Layout, taken: list[_Taken]) -> IPv4Network:
    """Return the first candidate that nobody uses at all, or else the first that nobody else needs."""
    candidates = list(_candidates(layout))
    for network in candidates:
        if not any(route.destination.overlaps(network) for route in taken):
            return network
    for network in candidates:
        if not any(route.bars(network) for route in taken):
            return network
    raise ValueError(
        f"no free Pod range between {FIRST_SPARE} and {LAST_SPARE}; choose one with --pod-cidr"
    )


def _candidates(layout: Layout) -> Iterator[IPv4Network]:
    """Yield the system's range to the system's own root, then every spare one, starting at the instance's own."""
    if layout.instance == "minipod":
        yield SYSTEM_RANGE
    first = int(FIRST_SPARE.network_address)
    size = FIRST_SPARE.num_addresses
    count = (int(LAST_SPARE.network_address) - first) // size + 1
    start = zlib.crc32(layout.instance.encode()) % count
    for number in range(count):
        yield IPv4Network((first + (start + number) % count * size, FIRST_SPARE.prefixlen))


def _foreign_routes(layout: Layout) -> list[_Taken]:
    """Return where the host's routes lead that are not this instance's, without the default one."""
    names = {link.index: link.name for link in netlink.links()}
    found = [
        _Taken(
            each.destination,
            names.get(each.interface_index, "an unreachable route"),
            direct=not each.gateway and each.destination.prefixlen >= WIDEST_LAN,
        )
        for each in netlink.routes()
        if each.destination.prefixlen
        and each.metric not in (_metric(layout), _service_metric(layout))
    ]
    return [each for each in found if each.interface != layout.bridge]


# ---- making ----


def ensure_network(layout: Layout, cidr: str) -> NetworkFacts:
    """Ensure the bridge, its rules, the host's settings and the route that keeps the range at home.

    Rules come before the settings that would be unsafe without them. OSError names the culprit.
    """
    prefix = IPv4Network(cidr)
    gateway = IPv4Interface((int(prefix.network_address) + 1, prefix.prefixlen))
    mtu = _uplink_mtu(layout)
    with _host_lock():
        netlink.ensure_bridge(
            layout.bridge, str(gateway), mtu=mtu, hardware_address=_hardware_address(layout)
        )
        fault.point("network-bridge")
        _ensure_rules(layout, prefix)
        fault.point("network-rules")
        _set_up_bridge(layout.bridge)
        _ensure_route(layout, prefix)
        fault.point("network-route")
        _settings(layout).set(FORWARDING, "1", original="0" if _was_off(layout) else None)
    return NetworkFacts(layout.bridge, str(gateway.ip), str(prefix), mtu, layout.instance)


def _ensure_rules(layout: Layout, prefix: IPv4Network) -> None:
    """Make the tables; note in them whether forwarding was off, before anything turns it on."""
    off = _was_off(layout) or sysctls.read(FORWARDING) == "0"
    markers = (FORWARDING_WAS_OFF,) if off else ()
    table = layout.instance
    for family, commands in compute_rulesets(table, layout.bridge, prefix, markers).items():
        try:
            nft.run(family, table, commands)
        except OSError:
            if (family, table) not in nft.tables():
                raise
            nft.delete_table(family, table)  # a former version's: nothing in it is worth keeping
            nft.run(family, table, commands)


def renew_rules(layout: Layout, facts: NetworkFacts) -> None:
    """Make both tables anew, with nothing in them but the rules: what somebody else has left of them is not ours."""
    with _host_lock():
        _remove_rules(layout)
        _ensure_rules(layout, IPv4Network(facts.prefix))


def _was_off(layout: Layout) -> bool:
    """Say whether an instance of this host (perhaps this one) found forwarding off."""
    if _settings(layout).saved().get(FORWARDING) == "0":
        return True
    return any(FORWARDING_WAS_OFF in nft.chains("inet", table) for table in _instances())


def _instances() -> list[str]:
    """Return the names of all instances that have rules here."""
    return [name for family, name in nft.tables() if family == "inet" and _is_instance(name)]


def _is_instance(name: str) -> bool:
    return name == "minipod" or name.startswith("minipod-")


def _set_up_bridge(bridge: str) -> None:
    """Set the bridge's own switches; they vanish with it.

    `route_localnet` lets the host's 127.0.0.1 reach hostPorts, on this interface alone. `rp_filter` refuses packets
    from addresses that are not Pods'. IPv6 is off until Pods have it: a Pod's router advertisement must not reach
    the host (CVE-2020-10749).
    """
    for name, value in (("forwarding", "1"), ("route_localnet", "1"), ("rp_filter", "1")):
        sysctls.write(f"net/ipv4/conf/{bridge}/{name}", value)
    if sysctls.exists(f"net/ipv6/conf/{bridge}/disable_ipv6"):
        sysctls.write(f"net/ipv6/conf/{bridge}/disable_ipv6", "1")


def _ensure_route(layout: Layout, prefix: IPv4Network) -> None:
    for each in _own_routes(_metric(layout)):
        if each != prefix:
            netlink.delete_unreachable_route(str(each), _metric(layout))
    netlink.ensure_unreachable_route(str(prefix), _metric(layout))


def ensure_service_routes(layout: Layout, facts: NetworkFacts, ranges: Iterable[str]) -> None:
    """Ensure that the Services' ranges lead to the bridge, and nowhere while there is none; other ranges are forgotten.

    The rules translate or refuse what goes there (`network.rules`); the route only gives it a source address. Its
    metric is the instance's own: a route of the host's or of another instance's to the same range stays, and wins.
    """
    wanted, metric = {IPv4Network(each) for each in ranges}, _service_metric(layout)
    with _host_lock():
        for each in _own_routes(metric):
            if each not in wanted:
                netlink.delete_unreachable_route(str(each), metric)
                netlink.delete_link_route(str(each), layout.bridge)
        for each in wanted:
            netlink.ensure_unreachable_route(str(each), metric)
            netlink.ensure_link_route(str(each), layout.bridge, facts.gateway, _link_metric(layout))


# ---- removing ----


def remove_network(layout: Layout) -> None:
    """Remove everything that `ensure_network` made, and put the host's settings back. The range stays remembered."""
    with _host_lock():
        _restore_forwarding(layout)
        fault.point("network-restored")
        _remove_rules(layout)
        _remove_unreachable_routes(layout)
        fault.point("network-unrouted")
        found = netlink.link(layout.bridge)
        if found is not None and found.kind == "bridge":
            netlink.delete_link(layout.bridge)


def _remove_unreachable_routes(layout: Layout) -> None:
    for metric in (_metric(layout), _service_metric(layout)):
        for each in _own_routes(metric):
            netlink.delete_unreachable_route(str(each), metric)


def _restore_forwarding(layout: Layout) -> None:
    """Put forwarding back, unless another instance still needs it: the last one to go has the note on what it was."""
    settings = _settings(layout)
    others = [name for name in _instances() if name != layout.instance]
    if not others:
        settings.restore(FORWARDING)
        return
    if settings.saved().get(FORWARDING) == "0":
        nft.run("inet", others[0], f"add chain inet {others[0]} {FORWARDING_WAS_OFF}")
    settings.forget(FORWARDING)


def _remove_rules(layout: Layout) -> None:
    nft.delete_table("inet", layout.instance)
    nft.delete_table("bridge", layout.instance)


def prune(layout: Layout, live: Iterable[tuple[str, str]]) -> None:
    """Remove elements and interfaces of Pods that are gone; `live` holds (host interface, address) of the others."""
    pods = set(live)
    interfaces = {interface for interface, _ in pods}
    addresses = {address for _, address in pods}
    table = layout.instance
    stale = [
        each
        for name in ("ports", "address_ports")
        for each in nft.list_elements("inet", table, name)
        if each.value is not None and each.value[0] not in addresses
    ]
    for name in ("sources", "guarded"):
        found = nft.list_elements("bridge", table, name)
        stale += [each for each in found if each.key[0] not in interfaces]
    nft.delete_elements(stale)
    for address in {str(each.value[0]) for each in stale if each.value and "udp" in each.key}:
        conntrack.forget_flows(address)
    _remove_stray_ports(layout, interfaces)


def _remove_stray_ports(layout: Layout, interfaces: set[str]) -> None:
    bridge = netlink.link(layout.bridge)
    if bridge is None:
        return
    for each in netlink.links():
        if each.master == bridge.index and each.name not in interfaces:
            netlink.delete_link(each.name)


# ---- names and facts ----


def _directory(layout: Layout) -> Path:
    return layout.state / "network"


def _settings(layout: Layout) -> sysctls.Sysctls:
    return sysctls.Sysctls(_directory(layout) / "sysctls.json")


def _hardware_address(layout: Layout) -> str:
    digest = sha256(layout.instance.encode()).digest()
    return "02:" + digest[:5].hex(":")


def _metric(layout: Layout) -> int:
    """Return the route metric that is this instance's own: high (any real route wins), below 2^32."""
    return 0x6D700000 + zlib.crc32(layout.instance.encode()) % 0x100000


def _service_metric(layout: Layout) -> int:
    """Return the metric of the routes that keep the Services' ranges at home."""
    return _metric(layout) + 0x100000


def _link_metric(layout: Layout) -> int:
    """Return the metric of the routes that lead Services' ranges to the bridge: better than the unreachable ones."""
    return _metric(layout) - 0x100000


def _own_routes(metric: int) -> list[IPv4Network]:
    found = netlink.routes()
    return [each.destination for each in found if each.unreachable and each.metric == metric]


def _uplink_mtu(layout: Layout) -> int:
    links = {link.index: link for link in netlink.links() if link.name != layout.bridge}
    uplinks = [
        route for route in netlink.routes() if route.gateway and not route.destination.prefixlen
    ]
    mtus = [links[each.interface_index].mtu for each in uplinks if each.interface_index in links]
    return min([DEFAULT_MTU, *mtus])


@contextlib.contextmanager
def _host_lock() -> Iterator[None]:
    """Take turns with other instances: a lock on this network namespace itself, gone with whoever held it."""
    opened = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX)
        except OSError as error:
            raise OSError(
                error.errno or errno.EIO, f"cannot lock the network namespace: {error.strerror}"
            ) from error
        yield
    finally:
        os.close(opened)
