"""What is still understood and should not be written any more: labels, annotations, spellings of addresses.

Upstream's pkg/api/node, pkg/api/persistentvolume, pkg/api/persistentvolumeclaim and util/validation, in their words.
Each function returns warnings, their paths first.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from ipaddress import IPv4Address, IPv6Address
from typing import Any

from minipod.api import names, quantity

Object = dict[str, Any]

_NODE_LABELS = {
    "beta.kubernetes.io/arch": 'deprecated since v1.14; use "kubernetes.io/arch" instead',
    "beta.kubernetes.io/os": 'deprecated since v1.14; use "kubernetes.io/os" instead',
    "failure-domain.beta.kubernetes.io/region": (
        'deprecated since v1.17; use "topology.kubernetes.io/region" instead'
    ),
    "failure-domain.beta.kubernetes.io/zone": (
        'deprecated since v1.17; use "topology.kubernetes.io/zone" instead'
    ),
    "beta.kubernetes.io/instance-type": (
        'deprecated since v1.17; use "node.kubernetes.io/instance-type" instead'
    ),
    "app.kubernetes.io/created-by": "deprecated since v1.9",
    "scheduler.alpha.kubernetes.io/preferAvoidPods": (
        "deprecated since v1.22; use Taints and Tolerations instead"
    ),
    "node-role.kubernetes.io/master": 'use "node-role.kubernetes.io/control-plane" instead',
}
_ACCOUNT_ANNOTATIONS = {
    "kubernetes.io/enforce-mountable-secrets": (
        "deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
    ),
}
STORAGE_ANNOTATIONS = {
    "volume.beta.kubernetes.io/storage-class": (
        'deprecated since v1.8; use "storageClassName" attribute instead'
    ),
    "volume.beta.kubernetes.io/mount-options": (
        'deprecated since v1.31; use "mountOptions" attribute instead'
    ),
}


def of_node_label(label: str, path: str, *, named: bool = False) -> Iterator[str]:
    """Warn of a label of nodes that was renamed; `named` says it again in the text."""
    why = _NODE_LABELS.get(label)
    if why is not None:
        yield f"{path}: {label} is {why}" if named else f"{path}: {why}"


def of_node_terms(terms: Iterable[Object], path: str) -> Iterator[str]:
    """Warn of renamed labels in the terms of a NodeSelector."""
    for index, term in enumerate(terms):
        yield from of_requirements(term, f"{path}[{index}]")


def of_requirements(selector: Object, path: str) -> Iterator[str]:
    """Warn of renamed labels in a selector's requirements."""
    for index, each in enumerate(selector.get("matchExpressions") or ()):
        at = f"{path}.matchExpressions[{index}].key"
        yield from of_node_label(each.get("key") or "", at, named=True)


def of_annotations(obj: Object, deprecated: Mapping[str, str]) -> Iterator[str]:
    """Warn of annotations that became fields."""
    for name, why in deprecated.items():
        if name in (obj["metadata"].get("annotations") or {}):
            yield f"metadata.annotations[{name}]: {why}"


def of_fractions(amounts: Object | None, resources: Iterable[str], path: str) -> Iterator[str]:
    """Warn of parts of a byte."""
    for name in resources:
        amount = (amounts or {}).get(name)
        if amount is not None and quantity.parse(amount).denominator != 1:
            shown = json.dumps(quantity.canonical(amount))
            yield f"{path}[{name}]: fractional byte value {shown} is invalid, must be an integer"


def of_claim_spec(spec: Object, path: str) -> Iterator[str]:
    """Warn of a claim, or a claim to be, that asks for parts of a byte."""
    for which in ("requests", "limits"):
        amounts = (spec.get("resources") or {}).get(which)
        yield from of_fractions(amounts, ("storage",), f"{path}.resources.{which}")


def of_ip(value: str, path: str) -> Iterator[str]:
    """Warn of an address that is spelled in an unusual way, where such are still taken."""
    found = names.lenient_ip(value)
    if found is None:
        return
    if isinstance(found, IPv4Address):
        if str(found) != value:
            yield f'{path}: non-standard IP address "{value}" is invalid: use "{found}"'
    elif str(found) != value:
        why = "should be in RFC 5952 canonical format"
        yield f'{path}: IPv6 address "{value}" {why} ("{found}")'


def of_cidr(value: str, path: str) -> Iterator[str]:
    """Warn of a range that is spelled in an unusual way, or says more than a range."""
    network, address = names.lenient_cidr(value), value.partition("/")[0]
    found = names.lenient_ip(address)
    if network is None or found is None:
        return
    told = False
    if network.network_address != found:
        told = True
        alone = f"{found}/{found.max_prefixlen}"
        why = f'is ambiguous in this context (should be "{network}" or "{alone}"?)'
        yield f'{path}: CIDR value "{value}" {why}'
    if isinstance(found, IPv4Address) and str(found) != address:
        yield f'{path}: non-standard CIDR value "{value}" is invalid: use "{network}"'
    elif isinstance(found, IPv6Address) and not told and str(network) != value:
        why = "should be in RFC 5952 canonical format"
        yield f'{path}: IPv6 CIDR value "{value}" {why} ("{network}")'


def of_node(node: Object) -> list[str]:
    """Warn of what is deprecated in a node's spec."""
    spec = node.get("spec") or {}
    found = []
    if spec.get("configSource") is not None:
        found.append("spec.configSource: the feature is removed")
    if spec.get("externalID"):
        found.append("spec.externalID: this field is deprecated, and is unused by Kubernetes")
    for index, each in enumerate(spec.get("podCIDRs") or ()):
        found += of_cidr(each, f"spec.podCIDRs[{index}]")
    return found


def of_service_account(account: Object) -> list[str]:
    """Warn of a service account that wants its Secrets kept apart within its namespace."""
    return list(of_annotations(account, _ACCOUNT_ANNOTATIONS))


def of_changed_service_account(new: Object, old: Object) -> list[str]:
    """Warn of the same where it is new."""
    return [] if of_service_account(old) else of_service_account(new)
