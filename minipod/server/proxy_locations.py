"""Where the proxy subresources lead: which address and port a Pod, a Service or a Node of the URL stands for. Pure.

`NAME`, `NAME:PORT` and `SCHEME:NAME:PORT`, refused in upstream's words (k8s.io/kubernetes registry/core: pod, service
and node, their `ResourceLocation`).
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

from minipod.api.errors import bad_request, service_unavailable

Object = dict[str, Any]
Shuffle = Callable[[Sequence[Object]], list[Object]]
_SCHEMES = ("", "http", "https")
_PORTS = {"http": 80, "https": 443}
KUBELET_PORT = "10250"  # what the kubelet of a cluster listens on; here it stands for its socket


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a URL names: an object, and of it a port and a scheme ("" where it does not say)."""

    name: str
    port: str = ""
    scheme: str = ""

    @property
    def text(self) -> str:
        """The name as it stands in the URL."""
        if self.scheme:
            return f"{self.scheme}:{self.name}:{self.port}"
        return f"{self.name}:{self.port}" if self.port else self.name


@dataclass(frozen=True, slots=True)
class Location:
    """Where to connect to."""

    scheme: str
    host: str
    port: int

    @property
    def authority(self) -> str:
        """`10.1.2.3:80`, with brackets around an IPv6 address."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def root(self) -> str:
        """The URL without a path."""
        return f"{self.scheme}://{self.authority}"


def parse_wanted(what: str, text: str) -> Wanted:
    """Return what the name in a URL means; `what` is "pod", "service" or "node". Raises BadRequest."""
    parts = text.split(":")
    scheme = parts.pop(0) if len(parts) == 3 else ""
    if len(parts) > 2 or not parts[0] or scheme not in _SCHEMES:
        raise bad_request(f'invalid {what} request "{text}"')
    return Wanted(parts[0], parts[1] if len(parts) == 2 else "", scheme)


def locate_pod(pod: Object, wanted: Wanted) -> Location:
    """Return where a Pod is: by the port asked for, or the first that its containers name. Raises BadRequest."""
    port = wanted.port
    if not port:
        named = (each.get("ports") for each in pod["spec"]["containers"])
        port = next((str(ports[0]["containerPort"]) for ports in named if ports), "")
    return _location(wanted.scheme, _pod_addresses(pod)[:1], port)


def locate_node(node: Object, wanted: Wanted) -> Location | None:
    """Return where a port of a node is; None for the kubelet's. Raises BadRequest."""
    if wanted.port in ("", KUBELET_PORT):
        return None
    addresses = (node.get("status") or {}).get("addresses") or ()
    internal = [each["address"] for each in addresses if each.get("type") == "InternalIP"]
    return _location(wanted.scheme, internal[:1], wanted.port)


def port_name(service: Object, wanted: Wanted) -> str:
    """Return the name of a Service's port that is given by number. Raises ServiceUnavailable."""
    if not wanted.port.isdecimal():
        return wanted.port
    for each in service["spec"].get("ports") or ():
        if each["port"] == int(wanted.port):
            return str(each.get("name") or "")
    raise service_unavailable(f'no service port {wanted.port} found for service "{wanted.name}"')


def locate_service(
    endpoints: Object,
    wanted: Wanted,
    port: str,
    find_pod: Callable[[str], Object | None],
    shuffle: Shuffle = lambda items: random.sample(items, len(items)),
) -> Location:
    """Return one of the Pods behind a Service's port of that name, by chance. Raises ServiceUnavailable.

    Only addresses that belong to a Pod of the Service's own namespace count: whoever may write Endpoints could
    otherwise have the API server connect to anything.
    """
    namespace = endpoints["metadata"]["namespace"]
    for subset in shuffle(endpoints.get("subsets") or ()):
        number = _number_of(subset, port)
        for address in shuffle(subset.get("addresses") or ()) if number else ():
            if _is_pods(address, namespace, find_pod):
                return _location(wanted.scheme, [address["ip"]], str(number))
    raise service_unavailable(f'no endpoints available for service "{wanted.text}"')


def _number_of(subset: Object, name: str) -> int:
    ports = subset.get("ports") or ()
    return next((each["port"] for each in ports if (each.get("name") or "") == name), 0)


def _is_pods(address: Object, namespace: str, find_pod: Callable[[str], Object | None]) -> bool:
    reference = address.get("targetRef") or {}
    if reference.get("namespace") != namespace or reference.get("kind", "Pod") != "Pod":
        return False
    pod = find_pod(str(reference.get("name", "")))
    return pod is not None and address["ip"] in _pod_addresses(pod)


def _pod_addresses(pod: Object) -> list[str]:
    status = pod.get("status") or {}
    return [each["ip"] for each in status.get("podIPs") or () if each.get("ip")]


def _location(scheme: str, addresses: list[str], port: str) -> Location:
    """Return a location that the server may connect to: no address of the host's own loopback, no multicast."""
    scheme = scheme or "http"
    if not addresses or not _is_allowed(addresses[0]):
        raise bad_request("address not allowed")
    if port and (not port.isdecimal() or not 0 < int(port) < 65536):
        raise bad_request(f'invalid port "{port}": a number between 1 and 65535 is needed')
    return Location(scheme, addresses[0], int(port) if port else _PORTS[scheme])


def _is_allowed(address: str) -> bool:
    """Whether an address is what Go calls global unicast."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    refused = parsed.is_loopback or parsed.is_link_local or parsed.is_multicast
    return not (refused or parsed.is_unspecified or address == "255.255.255.255")
