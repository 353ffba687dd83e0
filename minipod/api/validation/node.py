"""Nodes (pkg/apis/core/validation): taints, address ranges, amounts. Upstream's paths, odd ones too."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, duplicate, forbidden, invalid
from minipod.api.shown import struct
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.scheduling import TAINT_EFFECTS
from minipod.api.validation.values import one_of

Object = dict[str, Any]
_TAINTS = "metadata.taints"
_RANGES = "spec.podCIDRs"


def validate_node(node: Object) -> list[Cause]:
    """Return what is wrong with a node."""
    spec = node.get("spec") or {}
    ranges = spec.get("podCIDRs") or []
    return [*_taints(spec), *_amounts(node), *_ranges(ranges)]


def validate_node_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a node or its status."""
    spec = new.get("spec") or {}
    return [
        *validate_node(new),
        *_addresses(new.get("status") or {}),
        *_identity(spec, old.get("spec") or {}),
    ]


def _taints(spec: Object) -> Iterator[Cause]:
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(spec.get("taints") or ()):
        at, value = f"{_TAINTS}[{index}]", taint.get("value") or ""
        key, effect = taint.get("key") or "", taint.get("effect") or ""
        yield from causes_of(names.qualified_name(key), f"{at}.key", key)
        problems = names.label_value(value)
        if problems:
            yield invalid(f"{at}.value", value, ";".join(problems))
        yield from one_of(effect, TAINT_EFFECTS, f"{at}.effect")
        if (key, effect) in seen:
            shown = struct({"value": "", **taint}, "Key", "Value", "Effect", "TimeAdded")
            yield duplicate(at, shown, "taints must be unique by key and effect pair")
        seen.add((key, effect))


def _ranges(ranges: list[str]) -> Iterator[Cause]:
    for index, cidr in enumerate(ranges):
        yield from causes_of(names.cidr(cidr), f"{_RANGES}[{index}]", cidr)
    if len(ranges) < 2:
        return
    families = {each.version for cidr in ranges if (each := names.lenient_cidr(cidr))}
    if len(ranges) > 2 or len(families) < 2:
        yield invalid(_RANGES, ranges, "may specify no more than one CIDR for each IP family")


def _amounts(node: Object) -> Iterator[Cause]:
    status = node.get("status") or {}
    for which in ("capacity", "allocatable"):
        for name, amount in (status.get(which) or {}).items():
            at, value = f"status.{which}.{name}", quantity.parse(amount)
            if value < 0:
                yield invalid(at, amount, "must be greater than or equal to 0")
            whole = name == "pods" or ("/" in name and "kubernetes.io/" not in name)
            if whole and value.denominator != 1:
                yield invalid(at, amount, "must be an integer")


def _addresses(status: Object) -> Iterator[Cause]:
    found = status.get("addresses") or []
    for index, address in enumerate(found):
        if address in found[:index]:
            yield duplicate(f"status.addresses[{index}]", struct(address, "Type", "Address"))


def _identity(new: Object, old: Object) -> Iterator[Cause]:
    if old.get("podCIDRs") and new.get("podCIDRs") != old["podCIDRs"]:
        why = 'node updates may not change podCIDR except from "" to valid'
        yield forbidden(_RANGES, why)
    if old.get("providerID") and new.get("providerID") != old["providerID"]:
        why = 'node updates may not change providerID except from "" to valid'
        yield forbidden("spec.providerID", why)
    if (new.get("externalID") or "") != (old.get("externalID") or ""):
        yield forbidden("spec.externalID", "may not be updated")
