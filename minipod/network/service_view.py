"""What the node's network knows of Services: one watch of each resource, shared by the packet rules and by DNS."""

from collections.abc import Callable, Iterator
from ipaddress import IPv4Network

from minipod.client import Client, Object
from minipod.informer import Informer

SERVICE_NAME = "kubernetes.io/service-name"
Key = tuple[str, str]  # namespace, name


class ServiceView:
    """Services, EndpointSlices and ServiceCIDRs as the API has them."""

    def __init__(self, client: Client) -> None:
        self.services = Informer(client, "services", self._on_change)
        self.slices = Informer(client, "endpointslices.discovery.k8s.io", self._on_slices)
        self._ranges = Informer(client, "servicecidrs.networking.k8s.io", self._on_change)
        self._listeners: list[Callable[[], None]] = []
        self._by_service: dict[Key, list[Object]] | None = None

    async def start(self) -> None:
        """Return when everything is known."""
        for informer in (self._ranges, self.slices, self.services):
            await informer.start()

    async def stop(self) -> None:
        """End."""
        for informer in (self.services, self.slices, self._ranges):
            await informer.stop()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each change, on the event loop."""
        self._listeners.append(listener)

    def ranges(self) -> list[str]:
        """Return the IPv4 ranges of Services' addresses."""
        return sorted(cidr for each in self._ranges for cidr in _ipv4_ranges(each))

    def slices_of(self, namespace: str, name: str) -> list[Object]:
        """Return the EndpointSlices of a Service."""
        if self._by_service is None:
            self._by_service = {}
            for each in self.slices:
                owner = (each["metadata"].get("labels") or {}).get(SERVICE_NAME, "")
                key = each["metadata"]["namespace"], owner
                self._by_service.setdefault(key, []).append(each)
        return self._by_service.get((namespace, name), [])

    def __iter__(self) -> Iterator[Object]:
        return iter(self.services)

    def _on_slices(self, new: Object | None, old: Object | None) -> None:
        self._by_service = None
        self._on_change(new, old)

    def _on_change(self, _new: Object | None, _old: Object | None) -> None:
        for listener in self._listeners:
            listener()


def _ipv4_ranges(service_cidr: Object) -> list[str]:
    cidrs = (service_cidr.get("spec") or {}).get("cidrs") or ()
    return [str(IPv4Network(cidr, strict=False)) for cidr in cidrs if ":" not in cidr]
