"""What `get` shows of networking.k8s.io."""

from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.services import some
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
IP_ADDRESS_COLUMNS = (NAME, Column("ParentRef", description="Whose address it is."), AGE)


def ingress_cells(ingress: Object, now: datetime) -> list[Any]:
    """Return the cells of an Ingress's row."""
    spec = ingress.get("spec") or {}
    hosts = [rule["host"] for rule in spec.get("rules") or () if rule.get("host")]
    balancer = (ingress.get("status") or {}).get("loadBalancer") or {}
    found = [each.get("ip") or each.get("hostname") or "" for each in balancer.get("ingress") or ()]
    ports = "80, 443" if spec.get("tls") else "80"
    named = spec.get("ingressClassName") or NONE
    return row(ingress, now, named, some(hosts) or "*", ",".join(found), ports)


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


def ip_address_cells(address: Object, now: datetime) -> list[Any]:
    """Return the cells of an IPAddress's row."""
    parent = (address.get("spec") or {}).get("parentRef") or {}
    what = parent.get("resource") or ""
    if parent.get("group"):
        what = f"{what}.{parent['group']}"
    parts = (what, parent.get("namespace") or "", parent.get("name") or "")
    return row(address, now, "/".join(part for part in parts if part))
