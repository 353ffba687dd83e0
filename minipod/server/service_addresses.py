"""The addresses and node ports of Services: allocated as they are made, remembered by the Services themselves.

What is taken is what the stored Services (and IPAddress objects) say, and what is just being written: nothing can leak,
and nothing has to be repaired but the IPAddress objects, which a controller keeps. Semantics and wording of
pkg/registry/core/service (KEP-563, KEP-1880; KEP-3070: addresses are chosen from the upper part of a range first).
"""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Any

from minipod.api.errors import internal_error, invalid
from minipod.api.field import Cause
from minipod.api.field import invalid as invalid_value
from minipod.api.kind import Kind
from minipod.api.service_strategy import needs_cluster_ip, needs_health_check_port, needs_node_port
from minipod.client import Object
from minipod.server.service_families import init_families, keeps_what_it_prefers
from minipod.server.view import View

NODE_PORTS = (30000, 32767)
_LOWER_PART_LIMIT = 256
_TRIES = 64
Network = IPv4Network | IPv6Network


@dataclass
class Taken:
    """What is given away."""

    addresses: set[str] = field(default_factory=set)
    ports: set[int] = field(default_factory=set)


class ServiceAddresses:
    """Allocates over one store."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._writing: list[Taken] = []

    def open(self) -> "Allocation":
        """Begin to write a Service. What is allocated is held until the allocation is closed."""
        taken = Taken()
        self._writing.append(taken)
        return Allocation(self, taken)

    def close(self, taken: Taken) -> None:
        """The Service is written, or will not be."""
        self._writing = [each for each in self._writing if each is not taken]

    def ranges(self) -> list[Network]:
        """Return the ranges of addresses, the cluster's own first."""
        found = self._view.list("servicecidrs.networking.k8s.io")
        usable = [each for each in found if not each["metadata"].get("deletionTimestamp")]
        usable.sort(key=lambda each: each["metadata"]["name"] != "kubernetes")
        return [
            ip_network(cidr, strict=False)
            for each in usable
            for cidr in (each.get("spec") or {}).get("cidrs") or ()
        ]

    def used(self, uid: str, mine: Taken) -> Taken:
        """Return what is taken by others than the Service of that uid."""
        taken = Taken()
        for service in self._view.list("services"):
            if service["metadata"]["uid"] != uid:
                taken.addresses.update((service.get("spec") or {}).get("clusterIPs") or ())
                taken.ports.update(node_ports(service.get("spec") or {}))
        for each in self._view.list("ipaddresses.networking.k8s.io"):
            parent = (each.get("spec") or {}).get("parentRef") or {}
            if parent.get("resource") != "services":
                taken.addresses.add(each["metadata"]["name"])
        for writing in self._writing:
            if writing is not mine:
                taken.addresses |= writing.addresses
                taken.ports |= writing.ports
        return taken


@dataclass
class Allocation:
    """One Service being written."""

    source: ServiceAddresses
    mine: Taken

    def close(self) -> None:
        """End it."""
        self.source.close(self.mine)

    def allocate(self, kind: Kind, service: Object, old: Object | None) -> None:
        """Give a Service what it lacks, in place, instead of what was held before. Raises Invalid."""
        self.mine.addresses.clear()
        self.mine.ports.clear()
        spec = service["spec"]
        before = (old or {}).get("spec") or {}
        ranges = self.source.ranges()
        configured = list(dict.fromkeys(f"IPv{each.version}" for each in ranges))
        causes = init_families(spec, before, configured)
        used = self.source.used(service["metadata"]["uid"], self.mine)
        if not causes:
            causes = list(self._addresses(service, before, ranges, used))
        if not causes:
            causes = list(self._ports(spec, before, used))
        if causes:
            raise invalid(kind, service["metadata"].get("name") or "", causes)

    def _addresses(
        self, service: Object, before: Object, ranges: list[Network], used: Taken
    ) -> Iterator[Cause]:
        spec = service["spec"]
        families, given = spec.get("ipFamilies") or [], list(spec.get("clusterIPs") or ())
        if not needs_cluster_ip(spec) or given[:1] == ["None"]:
            return
        first = _first_to_allocate(spec, before)
        if first < len(families):
            given += [""] * (len(families) - len(given))
        for index, family in list(enumerate(families))[first:]:
            fitting = [each for each in ranges if f"IPv{each.version}" == family]
            if given[index]:
                why = _why_not(given[index], fitting, used)
                if why:
                    why = f"failed to allocate IP {given[index]}: {why}"
                    yield invalid_value("spec.clusterIPs", given, why)
                continue
            given[index] = choose_address(fitting, used.addresses | self.mine.addresses)
            if not given[index]:
                name = service["metadata"].get("name") or ""
                why = f'failed to allocate a serviceIP for Service "{name}": range is full'
                raise internal_error(why)
        self.mine.addresses.update(given)
        if first == 0 and given:
            spec["clusterIP"] = given[0]
        if given:
            spec["clusterIPs"] = given

    def _ports(self, spec: Object, before: Object, used: Taken) -> Iterator[Cause]:
        if spec.get("type") in ("LoadBalancer", "NodePort"):
            kept = {port.get("nodePort") for port in before.get("ports") or ()}
            yield from self._service_ports(spec, kept, used)
        if not needs_health_check_port(spec):
            return
        given = spec.get("healthCheckNodePort")
        if not needs_health_check_port(before):
            if given and (why := _why_no_port(given, used)):
                raise internal_error(
                    f"failed to allocate requested HealthCheck NodePort {given}: {why}"
                )
            spec["healthCheckNodePort"] = given or self._choose_port(used)
        self.mine.ports.add(spec.get("healthCheckNodePort") or 0)

    def _service_ports(self, spec: Object, kept: set[int | None], used: Taken) -> Iterator[Cause]:
        ports = spec.get("ports") or []
        for index, port in enumerate(ports):
            given = port.get("nodePort")
            if given and given not in kept and (why := _why_no_port(given, used)):
                yield invalid_value(f"spec.ports[{index}].nodePort", given, why)
            if given:
                self.mine.ports.add(given)
        for port in ports if needs_node_port(spec) else ():
            if not port.get("nodePort"):
                port["nodePort"] = _sibling(port, ports) or self._choose_port(used)
                self.mine.ports.add(port["nodePort"])

    def _choose_port(self, used: Taken) -> int:
        chosen = choose_port(used.ports | self.mine.ports)
        if not chosen:
            raise internal_error("failed to allocate a nodePort: range is full")
        return chosen


def node_ports(spec: Object) -> Iterator[int]:
    """Yield the node ports of a Service, that of its health check included."""
    for port in spec.get("ports") or ():
        if port.get("nodePort"):
            yield port["nodePort"]
    if spec.get("healthCheckNodePort"):
        yield spec["healthCheckNodePort"]


def _sibling(port: Object, ports: list[Object]) -> int:
    """Return the node port of the same port in another protocol, which two may share (DNS has both); 0 for none."""
    for other in ports:
        same = other.get("port") == port.get("port")
        if other is not port and same and other.get("protocol") != port.get("protocol"):
            return int(other.get("nodePort") or 0)
    return 0


# -- choices ---------------------------------------------------------------------------------------


def _first_to_allocate(spec: Object, before: Object) -> int:
    """Return from which of its families on a Service is given addresses: all, the second that it asks for, or none."""
    if needs_cluster_ip(before):
        families = spec.get("ipFamilies") or []
        upgraded = len(before.get("ipFamilies") or ()) == 1 and len(families) == 2
        again = upgraded and not keeps_what_it_prefers(spec, before)
        return 1 if again and before.get("clusterIPs") != ["None"] else len(families)
    return 0


def _why_not(address: str, ranges: list[Network], used: Taken) -> str:
    """Return why a Service cannot have an address of its choice, "" when it can."""
    if not any(_holds(each, ip_address(address)) for each in ranges):
        listed = ",".join(map(str, ranges))
        return (
            f"provided IP ({address}) is not in the valid range. The range of valid IPs is {listed}"
        )
    return "provided IP is already allocated" if address in used.addresses else ""


def _holds(network: Network, address: Any) -> bool:
    """Whether an address of a range can be a Service's: not its first, nor (of IPv4) its last."""
    if address not in network or address == network.network_address:
        return False
    return network.version == 6 or address != network.broadcast_address


def choose_address(ranges: list[Network], used: set[str]) -> str:
    """Return a free address: at random from the upper part of a range, then from the lower; "" when all are full."""
    for network in ranges:
        size = network.num_addresses - (2 if network.version == 4 else 1)
        lower = 0 if size < 64 else min(max(16, size // 16), _LOWER_PART_LIMIT)
        for first, last in ((lower + 1, min(size, 2**24)), (1, lower)):
            chosen = _choose(network, first, last, used)
            if chosen:
                return chosen
    return ""


def _choose(network: Network, first: int, last: int, used: set[str]) -> str:
    if last < first:
        return ""
    for _ in range(_TRIES):
        candidate = str(network[random.randint(first, last)])
        if candidate not in used:
            return candidate
    each_one = (str(network[at]) for at in range(first, last + 1))
    return next((candidate for candidate in each_one if candidate not in used), "")


def _why_no_port(port: int, used: Taken) -> str:
    """Return why a Service cannot have a node port of its choice, "" when it can."""
    low, high = NODE_PORTS
    if not low <= port <= high:
        return f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
    return "provided port is already allocated" if port in used.ports else ""


def choose_port(used: set[int]) -> int:
    """Return a free node port: at random from the upper part, then from the lower (KEP-3668); 0 when all are taken."""
    low, high = NODE_PORTS
    lower = low + min(max(16, (high - low + 1) // 32), 128)
    for first, last in ((lower, high), (low, lower - 1)):
        for _ in range(_TRIES):
            candidate = random.randint(first, last)
            if candidate not in used:
                return candidate
        free = next((port for port in range(first, last + 1) if port not in used), 0)
        if free:
            return free
    return 0
