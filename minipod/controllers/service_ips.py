"""Every address of a Service has an IPAddress object, and no such object is left without its Service (KEP-1880).

The Services themselves are what counts; this is upstream's repair loop, from the first list on.
"""

from ipaddress import ip_address

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.informer import Informer

_RESOURCE = "ipaddresses.networking.k8s.io"
_MANAGED_BY = "ipaddress.kubernetes.io/managed-by"
_MANAGER = "ipallocator.k8s.io"


class ServiceIps:
    """Keeps the IPAddress objects."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._owners: dict[str, Object] = {}  # address: the Service that has it
        self._services = Informer(client, "services", self._on_service)
        self._addresses = Informer(client, _RESOURCE, self._on_address)
        self._loop = KeyedLoop(clock, "service address", self._sync)

    async def start(self) -> None:
        """Repair, then follow."""
        await self._services.start()
        await self._addresses.start()

    async def stop(self) -> None:
        """End."""
        await self._addresses.stop()
        await self._services.stop()
        await self._loop.stop()

    async def wait_idle(self) -> None:
        """Wait until nothing is being repaired."""
        await self._loop.wait_idle()

    def _on_service(self, new: Object | None, old: Object | None) -> None:
        for address in _addresses(old) - _addresses(new):
            self._owners.pop(address, None)
            self._loop.look("", address)
        for address in _addresses(new):
            assert new is not None
            self._owners[address] = new["metadata"]
            self._loop.look("", address)

    def _on_address(self, new: Object | None, old: Object | None) -> None:
        self._loop.look("", (new or old or {})["metadata"]["name"])

    async def _sync(self, _namespace: str, address: str) -> None:
        owner, found = self._owners.get(address), self._addresses.get("", address)
        if owner is None:
            ours = found is not None and _is_ours(found)
            if ours and address not in await self._in_use():
                await self._client.delete(_RESOURCE, "", address)
        elif found is None:
            await self._make(address, owner)

    async def _in_use(self) -> set[str]:
        """Return the addresses of all Services as they are now."""
        services = (await self._client.list("services")).items
        return {address for each in services for address in _addresses(each)}

    async def _make(self, address: str, owner: Object) -> None:
        labels = {
            _MANAGED_BY: _MANAGER,
            "ipaddress.kubernetes.io/ip-family": f"IPv{ip_address(address).version}",
        }
        parent = {
            "resource": "services",
            "namespace": owner["namespace"],
            "name": owner["name"],
        }
        made = {"metadata": {"name": address, "labels": labels}, "spec": {"parentRef": parent}}
        try:
            await self._client.create(_RESOURCE, "", made)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise


def _addresses(service: Object | None) -> set[str]:
    given = ((service or {}).get("spec") or {}).get("clusterIPs") or ()
    return {each for each in given if each != "None"}


def _is_ours(address: Object) -> bool:
    return (address["metadata"].get("labels") or {}).get(_MANAGED_BY) == _MANAGER
