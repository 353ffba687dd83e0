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
        ranges = self.source.ranges()
        causes = list(init_families(spec, [f"IPv{each.version}" for each in ranges]))
        used = self.source.used(service["metadata"]["uid"], self.mine)
        before = (old or {}).get("spec") or {}
        if not causes and needs_cluster_ip(spec) and spec.get("clusterIP") != "None":
            causes += self._addresses(spec, before, ranges, used)
        if not causes:
            causes += self._ports(spec, before, used)
        if causes:
            raise invalid(kind, service["metadata"].get("name") or "", causes)

    def _addresses(
        self, spec: Object, before: Object, ranges: list[Network], used: Taken
    ) -> Iterator[Cause]:
        kept = before.get("clusterIPs") or []
        given = list(spec.get("clusterIPs") or ())
        for index, family in enumerate(spec.get("ipFamilies") or ()):
            if index < len(given):
                if given[index] not in kept:
                    yield from _check_chosen(given[index], ranges, used)
                continue
            fitting = [each for each in ranges if f"IPv{each.version}" == family]
            chosen = choose_address(fitting, used.addresses | self.mine.addresses)
            if not chosen:
                raise internal_error("failed to allocate a serviceIP: range is full")
            given.append(chosen)
        self.mine.addresses.update(given)
        if given:
            spec["clusterIPs"], spec["clusterIP"] = given, given[0]

    def _ports(self, spec: Object, before: Object, used: Taken) -> Iterator[Cause]:
        kept = set(node_ports(before))
        if spec.get("type") in ("LoadBalancer", "NodePort"):
            yield from self._service_ports(spec, kept, used)
        if needs_health_check_port(spec):
            given = spec.get("healthCheckNodePort")
            if given and given not in kept:
                yield from _check_port(given, used, "spec.healthCheckNodePort")
            elif not given:
                spec["healthCheckNodePort"] = self._choose_port(used)
            self.mine.ports.add(spec["healthCheckNodePort"])

    def _service_ports(self, spec: Object, kept: set[int], used: Taken) -> Iterator[Cause]:
        ports = spec.get("ports") or []
        for index, port in enumerate(ports):
            given = port.get("nodePort")
            if given and given not in kept:
                yield from _check_port(given, used, f"spec.ports[{index}].nodePort")
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


# -- families --------------------------------------------------------------------------------------


def init_families(spec: Object, configured: list[str]) -> Iterator[Cause]:
    """Fill in a Service's address families and their policy, in place, or yield what is wrong with them."""
    if spec.get("type") == "ExternalName":
        return
    addresses = spec.get("clusterIPs") or []
    if addresses == ["None"] and not spec.get("selector"):
        _init_headless(spec, configured)
        return
    causes = list(_family_problems(spec, configured))
    yield from causes
    if causes:
        return
    families, policy = list(spec.get("ipFamilies") or ()), spec.get("ipFamilyPolicy")
    if not families:
        families = _families_of(addresses) or configured[:1]
    dual = len(set(configured)) > 1
    if policy in ("PreferDualStack", "RequireDualStack") and dual and len(families) == 1:
        families += [each for each in dict.fromkeys(configured) if each not in families][:1]
    spec["ipFamilies"], spec["ipFamilyPolicy"] = families, policy or "SingleStack"


def _init_headless(spec: Object, configured: list[str]) -> None:
    """A Service without addresses and without a selector may have endpoints of any family."""
    families = list(spec.get("ipFamilies") or ()) or configured[:1] or ["IPv4"]
    spec["ipFamilyPolicy"] = spec.get("ipFamilyPolicy") or "RequireDualStack"
    if spec["ipFamilyPolicy"] != "SingleStack" and len(families) < 2:
        families.append("IPv6" if families[0] == "IPv4" else "IPv4")
    spec["ipFamilies"] = families


def _family_problems(spec: Object, configured: list[str]) -> Iterator[Cause]:
    families, policy = spec.get("ipFamilies") or [], spec.get("ipFamilyPolicy")
    addresses = spec.get("clusterIPs") or []
    if policy == "RequireDualStack" and len(set(configured)) < 2:
        why = "this cluster is not configured for dual-stack services"
        yield invalid_value("spec.ipFamilyPolicy", policy, why)
    if policy in (None, "SingleStack"):
        for name, values in (("clusterIPs", addresses), ("ipFamilies", families)):
            if len(values) > 1:
                why = f"must be RequireDualStack or PreferDualStack when multiple `{name}` are specified"
                yield invalid_value("spec.ipFamilyPolicy", policy, why)
    for index, family in enumerate(families):
        if family in ("IPv4", "IPv6") and family not in configured:
            why = "not configured on this cluster"
            yield invalid_value(f"spec.ipFamilies[{index}]", family, why)


def _families_of(addresses: list[str]) -> list[str]:
    found = []
    for each in addresses:
        try:
            found.append(f"IPv{ip_address(each).version}")
        except ValueError:
            return []  # None, or no address at all: validation tells
    return found


# -- choices ---------------------------------------------------------------------------------------


def _check_chosen(address: str, ranges: list[Network], used: Taken) -> Iterator[Cause]:
    """Check an address that the caller chose."""
    try:
        found = ip_address(address)
    except ValueError:
        return  # validation tells
    fitting = [each for each in ranges if each.version == found.version]
    prefix = f"failed to allocate IP {address}: "
    if not any(_holds(each, found) for each in fitting):
        listed = ",".join(map(str, fitting))
        why = (
            f"provided IP ({address}) is not in the valid range. The range of valid IPs is {listed}"
        )
        yield invalid_value("spec.clusterIPs", [address], prefix + why)
    elif address in used.addresses:
        yield invalid_value(
            "spec.clusterIPs", [address], f"{prefix}provided IP is already allocated"
        )


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


def _check_port(port: int, used: Taken, path: str) -> Iterator[Cause]:
    low, high = NODE_PORTS
    if not low <= port <= high:
        why = f"provided port is not in the valid range. The range of valid ports is {low}-{high}"
        yield invalid_value(path, port, why)
    elif port in used.ports:
        yield invalid_value(path, port, "provided port is already allocated")


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
