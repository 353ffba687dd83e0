"""The names of the cluster (Kubernetes DNS-Based Service Discovery, schema 1.1.0): from a question to records. Pure.

SERVICE.NAMESPACE.svc.ZONE                the Service's address; headless: those of what is ready behind it
NAME.SERVICE.NAMESPACE.svc.ZONE           one endpoint, by its hostname or its address with dashes
_PORT._PROTOCOL.SERVICE.NAMESPACE.svc.ZONE   SRV: where a named port is
1-2-3-4.NAMESPACE.pod.ZONE                the address that the name says
4.3.2.1.in-addr.arpa                      PTR, of Services and of endpoints with names
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from typing import Protocol

from minipod.client import Object

TTL = 5  # seconds, CoreDNS's for Kubernetes
SCHEMA_VERSION = "1.1.0"


class Names(Protocol):
    """Where Services are looked up."""

    @property
    def services(self) -> "Services":
        """All Services."""

    def slices_of(self, namespace: str, name: str) -> list[Object]:
        """Return the EndpointSlices of a Service."""

    def ranges(self) -> list[str]:
        """Return the ranges of Services' addresses."""


class Services(Protocol):
    """Services by name."""

    def get(self, namespace: str, name: str) -> Object | None:
        """Return one."""

    def __iter__(self) -> Iterator[Object]: ...


@dataclass(frozen=True)
class Record:
    """One resource record: `value` as zone files write it, SRV with priority, weight and port before the target."""

    name: str
    type: str  # A, CNAME, SRV, PTR, TXT, NS
    value: str


@dataclass(frozen=True)
class Reply:
    """What is said to a question. `mine` False: the name is not ours to answer."""

    mine: bool = True
    exists: bool = True
    records: tuple[Record, ...] = ()
    additional: tuple[Record, ...] = ()


NOT_MINE, NO_SUCH_NAME, NO_DATA = Reply(mine=False), Reply(exists=False), Reply()


@dataclass(frozen=True)
class _Member:
    """A named endpoint of a headless Service."""

    name: str
    address: str
    ports: tuple[tuple[str, str, int], ...] = field(default=())  # name, protocol, number


class Zone:
    """The cluster's zone over the Services of an instance."""

    def __init__(self, names: Names, zone: str, pod_range: IPv4Network) -> None:
        self._names = names
        self.zone = zone
        self._pod_range = pod_range

    def answer(self, name: str, kind: str) -> Reply:
        """Return the reply to a question; `name` without the final dot, in any case of letters."""
        lower = name.lower()
        if lower.endswith(".in-addr.arpa"):
            return self._reverse(lower, kind)
        if lower != self.zone and not lower.endswith(f".{self.zone}"):
            return NOT_MINE
        labels = lower.removesuffix(self.zone).rstrip(".").split(".") if lower != self.zone else []
        match labels:
            case []:
                apex = (Record(self.zone, "NS", f"ns.dns.{self.zone}"),)
                return Reply(records=apex) if kind in ("NS", "ANY") else NO_DATA
            case ["dns-version"]:
                return _chosen((Record(lower, "TXT", SCHEMA_VERSION),), kind)
            case ["svc"] | ["pod"]:
                return NO_DATA
            case [*rest, namespace, "svc"]:
                return self._service(lower, rest, namespace, kind)
            case [dashed, _, "pod"]:
                address = _undashed(dashed)
                return _chosen((Record(lower, "A", address),), kind) if address else NO_SUCH_NAME
        return NO_SUCH_NAME

    # -- Services --------------------------------------------------------------------------------

    def _service(self, asked: str, rest: list[str], namespace: str, kind: str) -> Reply:
        if not rest:
            known = any(each["metadata"]["namespace"] == namespace for each in self._names.services)
            return NO_DATA if known else NO_SUCH_NAME
        service = self._names.services.get(namespace, rest[-1])
        if service is None:
            return NO_SUCH_NAME
        if service["spec"].get("type") == "ExternalName":
            target = service["spec"].get("externalName", "")
            return (
                Reply(records=(Record(asked, "CNAME", target),)) if len(rest) == 1 else NO_SUCH_NAME
            )
        headless = service["spec"].get("clusterIP") == "None"
        match rest[:-1]:
            case []:
                return self._whole(asked, service, headless, kind)
            case [port, protocol] if port.startswith("_") and protocol.startswith("_"):
                return self._srv(asked, service, headless, (port[1:], protocol[1:]), kind)
            case [member] if headless:
                found = [each for each in self._members(service) if each.name == member]
                records = tuple(Record(asked, "A", each.address) for each in found)
                return _chosen(records, kind) if found else NO_SUCH_NAME
        return NO_SUCH_NAME

    def _whole(self, asked: str, service: Object, headless: bool, kind: str) -> Reply:
        if kind == "SRV":
            return self._srv(asked, service, headless, None, kind)
        if not headless:
            addresses = service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP")]
            records = [Record(asked, "A", each) for each in addresses if each and ":" not in each]
            return _chosen(tuple(records), kind)
        members = self._members(service)
        if not members:
            return NO_SUCH_NAME
        once = dict.fromkeys(each.address for each in members)
        return _chosen(tuple(Record(asked, "A", each) for each in once), kind)

    def _srv(
        self,
        asked: str,
        service: Object,
        headless: bool,
        port: tuple[str, str] | None,
        kind: str,
    ) -> Reply:
        """Return where a port is (None: every port), with the addresses of what is named."""
        base = self._base(service)
        records: list[Record] = []
        additional: list[Record] = []
        if headless:
            for member in self._members(service):
                target = f"{member.name}.{base}"
                for name, protocol, number in member.ports:
                    if port in (None, (name, protocol)):
                        records.append(Record(asked, "SRV", f"0 100 {number} {target}"))
                        additional.append(Record(target, "A", member.address))
        else:
            for each in service["spec"].get("ports") or ():
                key = (each.get("name") or "", (each.get("protocol") or "TCP").lower())
                if port in (None, key):
                    records.append(Record(asked, "SRV", f"0 100 {each['port']} {base}"))
            additional += [Record(base, "A", service["spec"]["clusterIP"])] if records else []
        if not records:
            return NO_SUCH_NAME if port else NO_DATA
        if kind not in ("SRV", "ANY"):
            return NO_DATA
        return Reply(records=tuple(records), additional=tuple(dict.fromkeys(additional)))

    def _base(self, service: Object) -> str:
        metadata = service["metadata"]
        return f"{metadata['name']}.{metadata['namespace']}.svc.{self.zone}"

    def _members(self, service: Object) -> list[_Member]:
        """Return the endpoints that are ready, which those of publishNotReadyAddresses always are."""
        metadata, found = service["metadata"], []
        for each in self._names.slices_of(metadata["namespace"], metadata["name"]):
            if each.get("addressType") != "IPv4":
                continue
            ports = tuple(
                (p.get("name") or "", (p.get("protocol") or "TCP").lower(), p.get("port") or 0)
                for p in each.get("ports") or ()
            )
            for endpoint in each.get("endpoints") or ():
                if (endpoint.get("conditions") or {}).get("ready", True):
                    address = endpoint["addresses"][0]
                    name = endpoint.get("hostname") or address.replace(".", "-")
                    found.append(_Member(name, address, ports))
        return sorted(found, key=lambda member: (member.name, member.address))

    # -- addresses -------------------------------------------------------------------------------

    def _reverse(self, asked: str, kind: str) -> Reply:
        digits = asked.removesuffix(".in-addr.arpa").split(".")
        try:
            address = IPv4Address(".".join(reversed(digits)))
        except AddressValueError:
            return NOT_MINE
        ours = [self._pod_range, *map(IPv4Network, self._names.ranges())]
        if not any(address in each for each in ours):
            return NOT_MINE
        names = sorted(set(self._names_of(str(address))))
        records = tuple(Record(asked, "PTR", name) for name in names)
        return _chosen(records, kind) if records else NO_SUCH_NAME

    def _names_of(self, address: str) -> Iterator[str]:
        for service in self._names.services:
            if address in (service["spec"].get("clusterIPs") or [service["spec"].get("clusterIP")]):
                yield self._base(service)
            elif service["spec"].get("clusterIP") == "None":
                for member in self._members(service):
                    if member.address == address:
                        yield f"{member.name}.{self._base(service)}"


def _chosen(records: tuple[Record, ...], kind: str) -> Reply:
    """Return those of the asked type; none is no data, for the name is there."""
    return Reply(records=tuple(each for each in records if kind in (each.type, "ANY")))


def _undashed(label: str) -> str:
    try:
        return str(IPv4Address(label.replace("-", ".")))
    except AddressValueError:
        return ""
