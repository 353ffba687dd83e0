"""NetworkPolicies (pkg/apis/networking/validation)."""

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.scheduling import validate_label_selector

Object = dict[str, Any]


def validate_network_policy(policy: Object) -> list[Cause]:
    """Return what is wrong with a new NetworkPolicy."""
    return list(_policy(policy.get("spec") or {}, False, "spec"))


def validate_network_policy_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a NetworkPolicy; ranges that were none already may stay so."""
    lenient = any(names.cidr(each) for each in _ranges(old.get("spec") or {}))
    return list(_policy(new.get("spec") or {}, lenient, "spec"))


def _ranges(spec: Object) -> Iterator[str]:
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for rule in spec.get(direction) or ():
            for peer in rule.get(peers) or ():
                block = peer.get("ipBlock") or {}
                yield from (block[name] for name in ("cidr",) if block.get(name))
                yield from block.get("except") or ()


def _policy(spec: Object, lenient: bool, path: str) -> Iterator[Cause]:
    yield from validate_label_selector(spec.get("podSelector"), f"{path}.podSelector")
    for direction, peers in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(direction) or ()):
            at = f"{path}.{direction}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                yield from _policy_port(port, f"{at}.ports[{number}]")
            for number, peer in enumerate(rule.get(peers) or ()):
                yield from _peer(peer, lenient, f"{at}.{peers}[{number}]")
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        yield invalid(f"{path}.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, each in enumerate(types):
        if each not in ("Ingress", "Egress"):
            yield not_supported(f"{path}.policyTypes[{index}]", each, ("Ingress", "Egress"))


def _policy_port(port: Object, path: str) -> Iterator[Cause]:
    protocol, number, end = port.get("protocol"), port.get("port"), port.get("endPort")
    if protocol is not None and protocol not in ("TCP", "UDP", "SCTP"):
        yield not_supported(f"{path}.protocol", protocol, ("TCP", "UDP", "SCTP"))
    if isinstance(number, int):
        yield from causes_of(names.port_number(number), f"{path}.port", number)
        if end is not None:
            if end < number:
                yield invalid(f"{path}.endPort", number, "must be greater than or equal to `port`")
            yield from causes_of(names.port_number(end), f"{path}.endPort", end)
    elif number is not None:
        if end is not None:
            why = "may not be specified when `port` is non-numeric"
            yield invalid(f"{path}.endPort", end, why)
        yield from causes_of(names.port_name(number), f"{path}.port", number)
    elif end is not None:
        yield invalid(f"{path}.endPort", end, "may not be specified when `port` is not specified")


def _peer(peer: Object, lenient: bool, path: str) -> Iterator[Cause]:
    given = [name for name in ("podSelector", "namespaceSelector") if peer.get(name) is not None]
    for name in given:
        yield from validate_label_selector(peer[name], f"{path}.{name}")
    block = peer.get("ipBlock")
    if block is not None:
        yield from _block(block, lenient, f"{path}.ipBlock")
        if given:
            yield forbidden(path, "may not specify both ipBlock and another peer")
    elif not given:
        yield required(path, "must specify a peer")


def _block(block: Object, lenient: bool, path: str) -> Iterator[Cause]:
    cidr = block.get("cidr") or ""
    if not cidr:
        yield required(f"{path}.cidr")
        return
    yield from _range(cidr, lenient, f"{path}.cidr")
    whole = names.lenient_cidr(cidr)
    for index, each in enumerate(block.get("except") or () if whole else ()):
        at, part = f"{path}.except[{index}]", names.lenient_cidr(each)
        yield from _range(each, lenient, at)
        if part is not None and whole is not None and not _is_within(part, whole):
            yield invalid(at, each, "must be a strict subset of `cidr`")


def _range(cidr: str, lenient: bool, path: str) -> Iterator[Cause]:
    yield from () if lenient else causes_of(names.cidr(cidr), path, cidr)


def _is_within(part: IPv4Network | IPv6Network, whole: IPv4Network | IPv6Network) -> bool:
    if part.version != whole.version or part.prefixlen <= whole.prefixlen:
        return False
    return part.network_address in whole
