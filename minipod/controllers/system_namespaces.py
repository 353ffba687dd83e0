"""The namespaces that every cluster has: made again when somebody has deleted one (upstream's systemnamespaces)."""

from collections.abc import Collection

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.informer import Informer


class SystemNamespaces:
    """Keeps `names` in being. The node's Lease alone lives in one of them."""

    def __init__(self, client: Client, clock: Clock, names: Collection[str]) -> None:
        self._client = client
        self._names = names
        self._namespaces = Informer(client, "namespaces", self._on_namespace)
        self._loop = KeyedLoop(clock, "system namespace", self._make)

    async def start(self) -> None:
        """Follow namespaces: the server has made these before it served anybody."""
        await self._namespaces.start()

    async def stop(self) -> None:
        """End."""
        await self._namespaces.stop()
        await self._loop.stop()

    async def wait_idle(self) -> None:
        """Wait until all are there."""
        await self._loop.wait_idle()

    def _on_namespace(self, new: Object | None, old: Object | None) -> None:
        if new is None and old is not None and old["metadata"]["name"] in self._names:
            self._loop.look("", old["metadata"]["name"])

    async def _make(self, _namespace: str, name: str) -> None:
        try:
            await self._client.create("namespaces", "", {"metadata": {"name": name}})
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
