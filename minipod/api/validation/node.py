"""Nodes: taints, address ranges, amounts."""

from collections.abc import Iterator
from ipaddress import ip_network
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, duplicate, forbidden, invalid
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.scheduling import TAINT_EFFECTS
from minipod.api.validation.values import one_of

Object = dict[str, Any]


def validate_node(node: Object) -> list[Cause]:
    """Return what is wrong with a node."""
    return list(_checks(node))


def validate_node_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a node."""
    return [*_identity(new.get("spec") or {}, old.get("spec") or {}), *_checks(new)]


def _checks(node: Object) -> Iterator[Cause]:
    spec, status = node.get("spec") or {}, node.get("status") or {}
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        at, key, effect = f"spec.taints[{index}]", taint.get("key") or "", taint.get("effect") or ""
        yield from causes_of(names.qualified_name(key), f"{at}.key", key)
        yield from causes_of(
            names.label_value(taint.get("value") or ""), f"{at}.value", taint.get("value")
        )
        yield from one_of(effect, TAINT_EFFECTS, f"{at}.effect")
        if (key, effect) in seen:
            yield duplicate(at, taint)
        seen.add((key, effect))
    for index, cidr in enumerate(spec.get("podCIDRs") or ()):
        try:
            ip_network(cidr)
        except ValueError:
            why = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"
            yield invalid(f"spec.podCIDRs[{index}]", cidr, why)
    for which in ("capacity", "allocatable"):
        for name, amount in (status.get(which) or {}).items():
            if quantity.parse(amount) < 0:
                at = f"status.{which}[{name}]"
                yield invalid(at, amount, "must be greater than or equal to 0")


def _identity(new: Object, old: Object) -> Iterator[Cause]:
    if old.get("podCIDRs") and new.get("podCIDRs") != old["podCIDRs"]:
        why = 'node updates may not change podCIDR except from "" to valid'
        yield forbidden("spec.podCIDRs", why)
    if old.get("providerID") and new.get("providerID") != old["providerID"]:
        why = 'node updates may not change providerID except from "" to valid'
        yield forbidden("spec.providerID", why)
