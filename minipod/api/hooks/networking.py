"""networking.k8s.io/v1 (pkg/apis/networking/v1/defaults.go, pkg/registry/networking)."""

from collections.abc import Iterator
from ipaddress import ip_address
from typing import Any

from minipod.api import deprecations
from minipod.api.kind import Hooks
from minipod.api.printers import networking as printers
from minipod.api.validation import network_policies, networking, service_ranges

Object = dict[str, Any]

_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"


def _default_ingress_class(ingress_class: Object) -> None:
    parameters = (ingress_class.get("spec") or {}).get("parameters")
    if parameters is not None:
        parameters.setdefault("scope", "Cluster")


def _default_network_policy(policy: Object) -> None:
    """What a policy is about follows from its rules where it does not say."""
    spec = policy.setdefault("spec", {})
    for direction in ("ingress", "egress"):
        for rule in spec.get(direction) or ():
            for port in rule.get("ports") or ():
                port.setdefault("protocol", "TCP")
    if not spec.get("policyTypes"):
        spec["policyTypes"] = ["Ingress", *(["Egress"] if spec.get("egress") else [])]


def _prepare_ingress_update(new: Object, old: Object) -> None:
    """Annotations configure what serves an Ingress: a change of them is a change to be observed."""
    metadata, before = new["metadata"], old["metadata"]
    if metadata.get("annotations", {}) != before.get("annotations", {}):
        metadata["generation"] = before.get("generation", 0) + 1


def _ingress_warnings(ingress: Object) -> list[str]:
    annotated = "kubernetes.io/ingress.class" in (ingress["metadata"].get("annotations") or {})
    if annotated and ingress["spec"].get("ingressClassName") is None:
        return [
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead"
        ]
    return []


def load_balancer_warnings(obj: Object) -> list[str]:
    """Return what is odd about the addresses that a load balancer tells."""
    found = ((obj.get("status") or {}).get("loadBalancer") or {}).get("ingress") or ()
    return [
        warning
        for index, each in enumerate(found)
        for warning in deprecations.of_ip(
            each.get("ip") or "", f"status.loadBalancer.ingress[{index}]"
        )
    ]


def _policy_warnings(policy: Object) -> list[str]:
    return [
        warning
        for direction, peers in (("ingress", "from"), ("egress", "to"))
        for index, rule in enumerate(policy["spec"].get(direction) or ())
        for number, peer in enumerate(rule.get(peers) or ())
        for warning in _block_warnings(
            peer.get("ipBlock") or {}, f"spec.{direction}[{index}].{peers}[{number}].ipBlock"
        )
    ]


def _block_warnings(block: Object, path: str) -> Iterator[str]:
    yield from deprecations.of_cidr(block.get("cidr") or "", f"{path}.cidr")
    for index, each in enumerate(block.get("except") or ()):
        yield from deprecations.of_cidr(each, f"{path}.except[{index}]")


def _address_fields(address: Object) -> dict[str, str]:
    parent = (address.get("spec") or {}).get("parentRef") or {}
    return {"spec.parentRef.name": parent.get("name") or ""}


def _label_address(address: Object) -> None:
    """Say of which family an address is, as upstream's allocator labels those it makes."""
    try:
        family = f"IPv{ip_address(address['metadata'].get('name') or '').version}"
    except ValueError:
        return
    labels = address["metadata"].get("labels") or {}
    if _MANAGED_BY in labels:
        address["metadata"]["labels"] = {**labels, "ipaddress.kubernetes.io/ip-family": family}


INGRESS = Hooks(
    prepare_update=_prepare_ingress_update,
    validate_create=networking.validate_ingress,
    validate_update=networking.validate_ingress_update,
    validate_status_update=networking.validate_ingress_status,
    warnings=_ingress_warnings,
    status_warnings=load_balancer_warnings,
    columns=printers.INGRESS_COLUMNS,
    cells=printers.ingress_cells,
)
INGRESS_CLASS = Hooks(
    defaults=_default_ingress_class,
    validate_create=networking.validate_ingress_class,
    validate_update=networking.validate_ingress_class_update,
    columns=printers.INGRESS_CLASS_COLUMNS,
    cells=printers.ingress_class_cells,
)
NETWORK_POLICY = Hooks(
    defaults=_default_network_policy,
    validate_create=network_policies.validate_network_policy,
    validate_update=network_policies.validate_network_policy_update,
    warnings=_policy_warnings,
    update_warnings=lambda new, _old: _policy_warnings(new),
    columns=printers.NETWORK_POLICY_COLUMNS,
    cells=printers.network_policy_cells,
)
SERVICE_CIDR = Hooks(
    validate_create=service_ranges.validate_service_cidr,
    validate_update=service_ranges.validate_service_cidr_update,
    columns=printers.SERVICE_CIDR_COLUMNS,
    cells=printers.service_cidr_cells,
)
IP_ADDRESS = Hooks(
    defaults=_label_address,
    validate_create=service_ranges.validate_ip_address,
    validate_update=service_ranges.validate_ip_address_update,
    fields=_address_fields,
    columns=printers.IP_ADDRESS_COLUMNS,
    cells=printers.ip_address_cells,
)
