"""A `default` ServiceAccount in every namespace (upstream's service-account-controller)."""

import asyncio
import logging

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import call_off
from minipod.informer import Informer

logger = logging.getLogger(__name__)

SERVICE_ACCOUNT = "default"


class Bootstrap:
    """Keeps a `default` ServiceAccount in every namespace."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._accounts = Informer(client, "serviceaccounts", self._on_account)
        self._namespaces = Informer(client, "namespaces", self._on_namespace)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Return once every namespace has its ServiceAccount."""
        await self._accounts.start()
        await self._namespaces.start()
        await self.wait_idle()

    async def stop(self) -> None:
        """End."""
        await self._namespaces.stop()
        await self._accounts.stop()
        await call_off(*self._tasks)

    async def wait_idle(self) -> None:
        """Wait until nothing is being made."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _on_namespace(self, new: Object | None, old: Object | None) -> None:
        if new is not None and not _is_ending(new):
            self._ensure_account(new["metadata"]["name"])

    def _on_account(self, new: Object | None, old: Object | None) -> None:
        if new is not None or old is None or old["metadata"]["name"] != SERVICE_ACCOUNT:
            return
        namespace = self._namespaces.get("", old["metadata"]["namespace"])
        if namespace is not None and not _is_ending(namespace):
            self._ensure_account(namespace["metadata"]["name"])

    def _ensure_account(self, namespace: str) -> None:
        if self._accounts.get(namespace, SERVICE_ACCOUNT) is not None:
            return
        account = _object("ServiceAccount", SERVICE_ACCOUNT, namespace)
        task = asyncio.create_task(self._ensure("serviceaccounts", namespace, account))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ensure(self, resource: str, namespace: str, obj: Object) -> None:
        try:
            await self._client.create(resource, namespace, obj)
        except StatusError as error:
            ending = error.code in (403, 404) and namespace  # the namespace is going away
            if error.reason != "AlreadyExists" and not ending:
                logger.warning('making %s "%s": %s', resource, obj["metadata"]["name"], error)


def _is_ending(namespace: Object) -> bool:
    return "deletionTimestamp" in namespace["metadata"]


def _object(kind: str, name: str, namespace: str = "") -> Object:
    metadata = {"name": name, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": "v1", "kind": kind, "metadata": metadata}
