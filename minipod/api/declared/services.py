"""Kinds of the network: Services and what is behind and before them (core, discovery.k8s.io, networking.k8s.io)."""

from minipod.api.kind import Kind, Subresource, hooks_in

_STATUS_VERBS = ("get", "patch", "update")
_SERVICES = "minipod.api.hooks.services"
_NETWORKING = "minipod.api.hooks.networking"

SERVICE = Kind(
    group="",
    version="v1",
    kind="Service",
    plural="services",
    short_names=("svc",),
    categories=("all",),
    subresources=(
        Subresource("proxy", "ServiceProxyOptions", ("create", "delete", "get", "patch", "update")),
        Subresource("status", "Service", _STATUS_VERBS),
    ),
    schema_name="io.k8s.api.core.v1.Service",
    has_status=True,
    zero_status={"loadBalancer": {}},
    name_rule="dns1123_label",
    create_on_update=True,
    hooks=hooks_in(_SERVICES, "SERVICE"),
)
ENDPOINTS = Kind(
    group="",
    version="v1",
    kind="Endpoints",
    plural="endpoints",
    singular="endpoints",
    short_names=("ep",),
    schema_name="io.k8s.api.core.v1.Endpoints",
    create_on_update=True,
    deprecation="v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
    hooks=hooks_in(_SERVICES, "ENDPOINTS"),
)
ENDPOINT_SLICE = Kind(
    group="discovery.k8s.io",
    version="v1",
    kind="EndpointSlice",
    plural="endpointslices",
    schema_name="io.k8s.api.discovery.v1.EndpointSlice",
    hooks=hooks_in(_SERVICES, "ENDPOINT_SLICE"),
)
INGRESS = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="Ingress",
    plural="ingresses",
    short_names=("ing",),
    subresources=(Subresource("status", "Ingress", _STATUS_VERBS),),
    schema_name="io.k8s.api.networking.v1.Ingress",
    has_status=True,
    zero_status={"loadBalancer": {}},
    generation=True,
    hooks=hooks_in(_NETWORKING, "INGRESS"),
)
INGRESS_CLASS = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="IngressClass",
    plural="ingressclasses",
    namespaced=False,
    schema_name="io.k8s.api.networking.v1.IngressClass",
    generation=True,
    hooks=hooks_in(_NETWORKING, "INGRESS_CLASS"),
)
NETWORK_POLICY = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="NetworkPolicy",
    plural="networkpolicies",
    short_names=("netpol",),
    schema_name="io.k8s.api.networking.v1.NetworkPolicy",
    generation=True,
    hooks=hooks_in(_NETWORKING, "NETWORK_POLICY"),
)
SERVICE_CIDR = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="ServiceCIDR",
    plural="servicecidrs",
    namespaced=False,
    subresources=(Subresource("status", "ServiceCIDR", _STATUS_VERBS),),
    schema_name="io.k8s.api.networking.v1.ServiceCIDR",
    has_status=True,
    hooks=hooks_in(_NETWORKING, "SERVICE_CIDR"),
)
IP_ADDRESS = Kind(
    group="networking.k8s.io",
    version="v1",
    kind="IPAddress",
    plural="ipaddresses",
    short_names=("ip",),
    namespaced=False,
    schema_name="io.k8s.api.networking.v1.IPAddress",
    name_rule="canonical_ip",
    hooks=hooks_in(_NETWORKING, "IP_ADDRESS"),
)

SERVICES = (
    SERVICE,
    ENDPOINTS,
    ENDPOINT_SLICE,
    INGRESS,
    INGRESS_CLASS,
    NETWORK_POLICY,
    SERVICE_CIDR,
    IP_ADDRESS,
)
