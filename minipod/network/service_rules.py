"""From Services and what is behind them to packet rules. Pure; `network.services` keeps the kernel in step.

One chain for each port of a Service that somebody answers, reached through the maps of `network.rules`. It picks one
of the ready endpoints at random (what is ending, and still serves, when none is ready: KEP-1669). With session
affinity each endpoint has a chain of its own and remembers its clients in a set, which lives as long as the endpoint.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, collapse_addresses

from minipod.client import Object

SERVICE_NAME = "kubernetes.io/service-name"
AFFINITY_SECONDS = 10800
CHAIN_PREFIX, ENDPOINT_PREFIX, SET_PREFIX = "svc-", "end-", "aff-"

Endpoint = tuple[str, int]  # address, port


@dataclass(frozen=True)
class Target:
    """One port of a Service, and who answers there."""

    name: str  # NAMESPACE/NAME:PORT
    protocol: str  # "tcp", "udp", "sctp"
    keys: tuple[tuple[str, int], ...]  # (address, port) that lead here
    node_port: int  # 0 for none
    endpoints: tuple[Endpoint, ...]
    affinity_seconds: int  # 0 for none

    @property
    def chain(self) -> str:
        """The name of its chain."""
        return CHAIN_PREFIX + _digest(self.name, self.protocol)

    def endpoint_name(self, endpoint: Endpoint) -> str:
        """Return what the chain and set of an endpoint are named from."""
        return _digest(self.name, self.protocol, *map(str, endpoint), str(self.affinity_seconds))


def _digest(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()[:16]


# -- who answers -----------------------------------------------------------------------------------


def compute_targets(services: Iterable[Object], slices: Iterable[Object]) -> list[Target]:
    """Return every port of every Service that has an address and somebody behind it."""
    by_service: dict[tuple[str, str], list[Object]] = {}
    for each in slices:
        name = (each["metadata"].get("labels") or {}).get(SERVICE_NAME)
        if name and each.get("addressType") == "IPv4":
            by_service.setdefault((each["metadata"]["namespace"], name), []).append(each)
    targets = []
    for service in services:
        metadata = service["metadata"]
        behind = by_service.get((metadata["namespace"], metadata["name"]), [])
        targets += _targets(service, behind)
    return sorted(targets, key=lambda each: (each.name, each.protocol))


def _targets(service: Object, slices: list[Object]) -> list[Target]:
    spec, metadata = service["spec"], service["metadata"]
    addresses = _addresses(spec)
    if not addresses or spec.get("type") == "ExternalName":
        return []
    found = []
    for port in spec.get("ports") or ():
        endpoints = _endpoints(slices, port.get("name") or "", port.get("protocol") or "TCP")
        if endpoints:
            target = Target(
                name=f"{metadata['namespace']}/{metadata['name']}:{port.get('name') or port['port']}",
                protocol=(port.get("protocol") or "TCP").lower(),
                keys=tuple((address, port["port"]) for address in addresses),
                node_port=port.get("nodePort") or 0,
                endpoints=endpoints,
                affinity_seconds=_affinity(spec),
            )
            found.append(target)
    return found


def _addresses(spec: Object) -> list[str]:
    given = [*(spec.get("clusterIPs") or [spec.get("clusterIP")]), *(spec.get("externalIPs") or ())]
    return [each for each in dict.fromkeys(given) if each and each != "None" and ":" not in each]


def _affinity(spec: Object) -> int:
    if spec.get("sessionAffinity") != "ClientIP":
        return 0
    client = (spec.get("sessionAffinityConfig") or {}).get("clientIP") or {}
    return int(client.get("timeoutSeconds") or AFFINITY_SECONDS)


def _endpoints(slices: list[Object], port_name: str, protocol: str) -> tuple[Endpoint, ...]:
    """Return the ready endpoints of a port; those that still serve while they end when there are no others."""
    ready: set[Endpoint] = set()
    ending: set[Endpoint] = set()
    for each in slices:
        numbers = [
            port["port"]
            for port in each.get("ports") or ()
            if (port.get("name") or "") == port_name
            and port.get("protocol", "TCP") == protocol
            and port.get("port")  # without a number it means every port: nothing to translate to
        ]
        for endpoint in each.get("endpoints") or ():
            conditions = endpoint.get("conditions") or {}
            found = {(endpoint["addresses"][0], number) for number in numbers}
            if conditions.get("ready", True):
                ready |= found
            elif conditions.get("serving") and conditions.get("terminating"):
                ending |= found
    return tuple(sorted(ready or ending))


# -- rules -----------------------------------------------------------------------------------------


def compute_commands(
    table: str,
    targets: Iterable[Target],
    ranges: Iterable[str],
    chains: Iterable[str],
    sets: Iterable[str],
) -> str:
    """Return one transaction after which the table serves just these; `chains` and `sets` are what it has now."""
    targets = list(targets)
    wanted_chains = {name for each in targets for name in _chain_names(each)}
    wanted_sets = {SET_PREFIX + name for each in targets for name in _affinity_names(each)}
    stale = sorted(name for name in chains if _is_ours(name) and name not in wanted_chains)
    # Everything is emptied first: a chain or set that any rule still names could not be deleted.
    lines = [f"flush map inet {table} {name}" for name in ("service_ports", "node_ports")]
    lines.append(f"flush set inet {table} service_ranges")
    lines += [f"add chain inet {table} {name}" for name in sorted(wanted_chains)]
    lines += [f"flush chain inet {table} {name}" for name in sorted({*wanted_chains, *stale})]
    lines += [f"delete chain inet {table} {name}" for name in stale]
    lines += [
        f"delete set inet {table} {name}"
        for name in sorted(sets)
        if name.startswith(SET_PREFIX) and name not in wanted_sets
    ]
    for target in targets:
        lines += _set_lines(table, target)
    for target in targets:
        lines += _rule_lines(table, target)
    lines += _element_lines(table, targets, list(ranges))
    return "\n".join(lines) + "\n"


def _is_ours(chain: str) -> bool:
    return chain.startswith((CHAIN_PREFIX, ENDPOINT_PREFIX))


def _affinity_names(target: Target) -> list[str]:
    if not target.affinity_seconds:
        return []
    return [target.endpoint_name(endpoint) for endpoint in target.endpoints]


def _chain_names(target: Target) -> list[str]:
    return [target.chain, *(ENDPOINT_PREFIX + name for name in _affinity_names(target))]


def _set_lines(table: str, target: Target) -> list[str]:
    kind = f"type ipv4_addr; flags dynamic, timeout; timeout {target.affinity_seconds}s;"
    return [
        f"add set inet {table} {SET_PREFIX}{name} {{ {kind} }}" for name in _affinity_names(target)
    ]


def _rule_lines(table: str, target: Target) -> list[str]:
    rule = f"add rule inet {table}"
    count = len(target.endpoints)
    if not target.affinity_seconds:
        choices = ", ".join(f"{n} : {ip} . {port}" for n, (ip, port) in enumerate(target.endpoints))
        chosen = f"numgen random mod {count} map {{ {choices} }}"
        return [f"{rule} {target.chain} {_protocol(target)} dnat ip to {chosen}"]
    names = _affinity_names(target)
    lines = [
        f"{rule} {target.chain} ip saddr @{SET_PREFIX}{name} goto {ENDPOINT_PREFIX}{name}"
        for name in names
    ]
    goals = ", ".join(f"{n} : goto {ENDPOINT_PREFIX}{name}" for n, name in enumerate(names))
    lines.append(f"{rule} {target.chain} numgen random mod {count} vmap {{ {goals} }}")
    for name, (address, port) in zip(names, target.endpoints, strict=True):
        chain = f"{rule} {ENDPOINT_PREFIX}{name}"
        lines.append(f"{chain} update @{SET_PREFIX}{name} {{ ip saddr }}")
        lines.append(f"{chain} {_protocol(target)} dnat ip to {address}:{port}")
    return lines


def _protocol(target: Target) -> str:
    return f"meta l4proto {target.protocol}"


def _element_lines(table: str, targets: list[Target], ranges: list[str]) -> list[str]:
    addressed: dict[str, str] = {}
    ports: dict[str, str] = {}
    # Services may share an external address: two goals for one key would fail the transaction, everybody's with it.
    # A Service's own address goes first, then the first by name.
    for place in range(max((len(each.keys) for each in targets), default=0)):
        for target in targets:
            for address, port in target.keys[place : place + 1]:
                addressed.setdefault(f"{address} . {target.protocol} . {port}", target.chain)
    for target in targets:
        if target.node_port:
            ports.setdefault(f"{target.protocol} . {target.node_port}", target.chain)
    lists = (
        ("service_ports", [f"{key} : goto {chain}" for key, chain in addressed.items()]),
        ("node_ports", [f"{key} : goto {chain}" for key, chain in ports.items()]),
        # one may lie within another, which the set would refuse
        ("service_ranges", list(map(str, collapse_addresses(map(IPv4Network, ranges))))),
    )
    return [
        f"add element inet {table} {name} {{ {', '.join(elements)} }}"
        for name, elements in lists
        if elements
    ]
