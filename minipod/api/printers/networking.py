"""What `get` shows of networking.k8s.io."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.services import SHOWN, balancer_addresses
from minipod.api.printers.simple import AGE, NAME, NONE, row
from minipod.api.printers.workloads import selector_cell

Object = dict[str, Any]

INGRESS_COLUMNS = (
    NAME,
    Column("Class", description="The class that serves it."),
    Column("Hosts", description="Hosts that it is for."),
    Column("Address", description="Where it is reached."),
    Column("Ports", description="Ports that it is reached at."),
    AGE,
)
INGRESS_CLASS_COLUMNS = (
    NAME,
    Column("Controller", description="What serves Ingresses of the class."),
    Column("Parameters", description="An object with further settings."),
    AGE,
)
NETWORK_POLICY_COLUMNS = (
    NAME,
    Column("Pod-Selector", description="Which Pods it is for."),
    AGE,
)
SERVICE_CIDR_COLUMNS = (NAME, Column("CIDRs", description="Its ranges of addresses."), AGE)
IP_ADDRESS_COLUMNS = (NAME, Column("ParentRef", description="Whose address it is."))


def ingress_cells(ingress: Object, now: datetime) -> list[Any]:
    """Return the cells of an Ingress's row."""
    spec = ingress.get("spec") or {}
    ports = "80, 443" if spec.get("tls") else "80"
    named = spec.get("ingressClassName") or NONE
    addresses = ",".join(balancer_addresses(ingress))
    return row(ingress, now, named, _hosts(spec.get("rules") or []), addresses, ports)


def _hosts(rules: list[Object]) -> str:
    """Return the first three hosts; what comes after the third is counted in rules, those for any host too."""
    listed: list[str] = []
    for rule in rules:
        if len(listed) == SHOWN:
            return f"{','.join(listed)} + {len(rules) - SHOWN} more..."
        if rule.get("host"):
            listed.append(rule["host"])
    return ",".join(listed) or "*"


def ingress_class_cells(ingress_class: Object, now: datetime) -> list[Any]:
    """Return the cells of an IngressClass's row."""
    spec = ingress_class.get("spec") or {}
    parameters, text = spec.get("parameters"), NONE
    if parameters:
        text = parameters.get("kind") or ""
        if parameters.get("apiGroup"):
            text = f"{text}.{parameters['apiGroup']}"
        text = f"{text}/{parameters.get('name')}"
    return row(ingress_class, now, spec.get("controller") or "", text)


def network_policy_cells(policy: Object, now: datetime) -> list[Any]:
    """Return the cells of a NetworkPolicy's row."""
    return row(policy, now, selector_cell((policy.get("spec") or {}).get("podSelector")))


def service_cidr_cells(service_cidr: Object, now: datetime) -> list[Any]:
    """Return the cells of a ServiceCIDR's row."""
    return row(service_cidr, now, ",".join((service_cidr.get("spec") or {}).get("cidrs") or ()))


def ip_address_cells(address: Object, _now: datetime) -> list[Any]:
    """Return the cells of an IPAddress's row."""
    name, parent = address["metadata"].get("name", ""), (address.get("spec") or {}).get("parentRef")
    if not parent:
        return [name, NONE]
    what = parent.get("resource") or ""
    if parent.get("group"):
        what = f"{what}.{parent['group']}"
    parts = (what.lower(), parent.get("namespace") or "", parent.get("name") or "")
    return [name, "/".join(part for part in parts if part)]
