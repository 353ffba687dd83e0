"""The address families of a Service and their policy, as they follow from what it says and said before.

Semantics and wording of pkg/registry/core/service/storage (initIPFamilyFields; KEP-563).
"""

from collections.abc import Iterator
from typing import Any

from minipod.api.field import Cause, invalid
from minipod.api.validation.services import family_of, validate_addresses

Object = dict[str, Any]

_OTHER = {"IPv4": "IPv6", "IPv6": "IPv4"}


def init_families(spec: Object, before: Object, configured: list[str]) -> list[Cause]:
    """Fill in families and their policy, in place, or return what is wrong: `before` is empty for a new Service.

    `configured` are the families that there are ranges of, the cluster's own first.
    """
    if spec.get("type") == "ExternalName" or keeps_what_it_prefers(spec, before):
        return []
    anywhere = spec.get("clusterIP") == "None" and not spec.get("selector")
    if spec.get("ipFamilyPolicy") is None:
        usual = "RequireDualStack" if anywhere else "SingleStack"
        spec["ipFamilyPolicy"] = before.get("ipFamilyPolicy") or usual
    causes = list(validate_addresses(spec, before, "spec"))
    if not causes:
        causes = [*_fewer(spec, before), *_too_many(spec), *_infer(spec, configured)]
    if not causes and not anywhere:
        causes = list(_unconfigured(spec, configured))
    if causes:
        return causes
    families = spec.get("ipFamilies") or configured[:1] or ["IPv4"]
    dual = anywhere or len(configured) > 1
    if dual and len(families) == 1 and spec["ipFamilyPolicy"] != "SingleStack":
        families = [*families, _OTHER[families[0]]]
    spec["ipFamilies"] = families
    return []


def keeps_what_it_prefers(spec: Object, before: Object) -> bool:
    """Whether a Service that prefers two families stays as it is, whatever families the cluster has meanwhile."""
    same = all(spec.get(name) == before.get(name) for name in ("type", "clusterIPs", "ipFamilies"))
    preferred = "PreferDualStack"
    return same and spec.get("ipFamilyPolicy") == before.get("ipFamilyPolicy") == preferred


def _fewer(spec: Object, before: Object) -> Iterator[Cause]:
    """Let go of what is second with the policy SingleStack, which alone says that this is meant."""
    policy = spec["ipFamilyPolicy"]
    for name, what in (("clusterIPs", "cluster IP"), ("ipFamilies", "IP family")):
        new, old = spec.get(name) or [], before.get(name) or []
        if policy == "SingleStack" and new == old and len(new) > 1:
            spec[name] = new[:1]
        elif policy != "SingleStack" and 0 < len(new) < len(old):
            why = f"must be 'SingleStack' to release the secondary {what}"
            yield invalid("spec.ipFamilyPolicy", policy, why)


def _too_many(spec: Object) -> Iterator[Cause]:
    for name, what in (("clusterIPs", "cluster IPs"), ("ipFamilies", "IP families")):
        if spec["ipFamilyPolicy"] == "SingleStack" and len(spec.get(name) or ()) == 2:
            why = f"must be 'RequireDualStack' or 'PreferDualStack' when multiple {what} are specified"
            yield invalid("spec.ipFamilyPolicy", "SingleStack", why)


def _infer(spec: Object, configured: list[str]) -> Iterator[Cause]:
    """Families follow from addresses."""
    addresses, families = spec.get("clusterIPs") or [], list(spec.get("ipFamilies") or ())
    for index, address in enumerate(addresses):
        if address == "None" or index < len(families):
            continue
        found = family_of(address)
        if found in configured:
            families.append(found)
        else:
            why = f"{found} is not configured on this cluster"
            yield invalid(f"spec.clusterIPs[{index}]", addresses, why)
    if families:
        spec["ipFamilies"] = families


def _unconfigured(spec: Object, configured: list[str]) -> Iterator[Cause]:
    policy = spec["ipFamilyPolicy"]
    if policy == "RequireDualStack" and len(configured) < 2:
        why = "this cluster is not configured for dual-stack services"
        yield invalid("spec.ipFamilyPolicy", policy, why)
    for index, family in enumerate(spec.get("ipFamilies") or ()):
        if family not in configured:
            yield invalid(f"spec.ipFamilies[{index}]", family, "not configured on this cluster")
