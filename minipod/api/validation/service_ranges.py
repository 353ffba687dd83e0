"""ServiceCIDRs and IPAddresses (pkg/apis/networking/validation)."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, invalid, required
from minipod.api.validation.metadata import causes_of, immutable

Object = dict[str, Any]

_IMMUTABLE = "field is immutable"


def validate_service_cidr(service_cidr: Object) -> list[Cause]:
    """Return what is wrong with a ServiceCIDR."""
    return list(_service_cidr((service_cidr.get("spec") or {}).get("cidrs") or [], "spec.cidrs"))


def validate_service_cidr_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ServiceCIDR: its ranges stay, a second family may come."""
    after, before = ((each.get("spec") or {}).get("cidrs") or [] for each in (new, old))
    path = "spec.cidrs"
    grows = (len(before), len(after)) == (1, 2)
    if len(after) != len(before) and not grows:
        return [invalid(path, after, _IMMUTABLE)]
    changed = [
        invalid(f"{path}[{index}]", now, _IMMUTABLE)
        for index, (now, was) in enumerate(zip(after, before, strict=False))
        if now != was
    ]
    return [*changed, *(_service_cidr(after, path) if grows else ())]


def _service_cidr(cidrs: list[str], path: str) -> Iterator[Cause]:
    if not cidrs:
        yield required(path, "at least one CIDR required")
        return
    if len(cidrs) > 2:
        yield invalid(path, {"CIDRs": cidrs}, "may only hold up to 2 values")
        return
    for index, cidr in enumerate(cidrs):
        yield from causes_of(names.canonical_cidr(cidr), f"{path}[{index}]", cidr)
    found = [names.lenient_cidr(each) for each in cidrs]
    versions = [each.version for each in found if each is not None]
    if len(versions) == 2 and versions[0] == versions[1]:
        why = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"
        yield invalid(path, cidrs, why)


def validate_ip_address(address: Object) -> list[Cause]:
    """Return what is wrong with an IPAddress."""
    parent, path = (address.get("spec") or {}).get("parentRef"), "spec.parentRef"
    if parent is None:
        return [required(path)]
    causes: list[Cause] = []
    if parent.get("group"):
        at = f"{path}.group"
        causes += causes_of(names.dns1123_subdomain(parent["group"]), at, parent["group"])
    for name in ("resource", "name"):
        value = parent.get(name) or ""
        if not value:
            causes.append(required(f"{path}.{name}"))
        else:
            causes += causes_of(names.path_segment(value), f"{path}.{name}", value)
    if parent.get("namespace"):
        at = f"{path}.namespace"
        causes += causes_of(names.path_segment(parent["namespace"]), at, parent["namespace"])
    return causes


def validate_ip_address_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing an IPAddress: it belongs to whom it belongs."""
    after, before = ((each.get("spec") or {}).get("parentRef") for each in (new, old))
    return [*validate_ip_address(new), *immutable(after, before, "spec.parentRef")]
