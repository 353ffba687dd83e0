"""What a Service keeps, loses and gives itself when it is made or changed (pkg/registry/core/service/strategy.go).

Addresses and node ports are allocated by the server, after this and before validation.
"""

from typing import Any

Object = dict[str, Any]

_ADDRESSED = ("ClusterIP", "LoadBalancer", "NodePort")


def prepare_service_create(service: Object) -> None:
    """`clusterIP` and the first of `clusterIPs` say the same."""
    normalize_cluster_ips(service["spec"], {})


def prepare_service_update(new: Object, old: Object) -> None:
    """Keep what was allocated, and drop what the new type has no use for."""
    spec, before = new["spec"], old["spec"]
    _keep_allocated(spec, before)
    normalize_cluster_ips(spec, before)
    _drop(spec, before)
    if spec.get("type") != "LoadBalancer" and (new.get("status") or {}).get("loadBalancer"):
        new["status"]["loadBalancer"] = {}


def needs_cluster_ip(spec: Object) -> bool:
    """Whether a Service of this type has addresses of its own (or says that it wants none)."""
    return spec.get("type") in _ADDRESSED


def needs_node_port(spec: Object) -> bool:
    """Whether the ports of a Service are open on every node."""
    if spec.get("type") == "NodePort":
        return True
    allocate = spec.get("allocateLoadBalancerNodePorts")
    return spec.get("type") == "LoadBalancer" and allocate is not False


def needs_health_check_port(spec: Object) -> bool:
    """Whether nodes tell a load balancer if they have endpoints of a Service."""
    return spec.get("type") == "LoadBalancer" and spec.get("externalTrafficPolicy") == "Local"


def normalize_cluster_ips(spec: Object, old: Object) -> None:
    """Make `clusterIP` and `clusterIPs` agree when the caller changed only one of them."""
    one, many = spec.get("clusterIP") or "", spec.get("clusterIPs") or []
    if not old:
        if one and not many:
            spec["clusterIPs"] = [one]
        return
    before, before_many = old.get("clusterIP") or "", old.get("clusterIPs") or []
    if before and not one and many == before_many:
        spec.pop("clusterIPs", None)  # the caller cleared the one it knows
    elif one != before and many == before_many:
        spec["clusterIPs"] = [one]


def _drop(spec: Object, before: Object) -> None:
    """Drop what only the old type needed, where the caller did not change it."""

    def unchanged(name: str) -> bool:
        return spec.get(name) == before.get(name)

    if needs_cluster_ip(before) and not needs_cluster_ip(spec):
        for name in ("clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"):
            if unchanged(name):
                spec.pop(name, None)
    if needs_node_port(before) and not needs_node_port(spec):
        _drop_node_ports(spec, before)
    checked = needs_health_check_port(before) and not needs_health_check_port(spec)
    if checked and unchanged("healthCheckNodePort"):
        spec.pop("healthCheckNodePort", None)
    if before.get("type") == "LoadBalancer" != spec.get("type"):
        for name in ("allocateLoadBalancerNodePorts", "loadBalancerClass"):
            if unchanged(name):
                spec.pop(name, None)
    outside = spec.get("type") in ("LoadBalancer", "NodePort") or spec.get("externalIPs")
    if not outside and unchanged("externalTrafficPolicy"):
        spec.pop("externalTrafficPolicy", None)
    if spec.get("type") == "ExternalName" and unchanged("internalTrafficPolicy"):
        spec.pop("internalTrafficPolicy", None)


def _drop_node_ports(spec: Object, before: Object) -> None:
    if _node_ports(spec) <= _node_ports(before):
        for port in spec.get("ports") or ():
            port.pop("nodePort", None)


def _node_ports(spec: Object) -> set[int]:
    return {port["nodePort"] for port in spec.get("ports") or () if port.get("nodePort")}


def _keep_allocated(spec: Object, before: Object) -> None:
    """Fill in what was allocated and the caller left out: node ports by the names of their ports."""
    if needs_cluster_ip(spec) and needs_cluster_ip(before):
        for name in ("clusterIP", "clusterIPs"):
            if not spec.get(name) and before.get(name):
                spec[name] = before[name]
    if needs_node_port(spec) and needs_node_port(before):
        taken = _node_ports(spec) & _node_ports(before)
        known = {port.get("name"): port.get("nodePort") for port in before.get("ports") or ()}
        for port in spec.get("ports") or ():
            found = known.get(port.get("name"))
            if not port.get("nodePort") and found and found not in taken:
                port["nodePort"] = found
    checked = needs_health_check_port(spec) and needs_health_check_port(before)
    if checked and not spec.get("healthCheckNodePort") and before.get("healthCheckNodePort"):
        spec["healthCheckNodePort"] = before["healthCheckNodePort"]
