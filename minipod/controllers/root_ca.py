"""ConfigMap kube-root-ca.crt in every namespace: the certificate by which its Pods know the API server.

Upstream's root-ca-cert-publisher. One that is changed or deleted is put back.
"""

import asyncio
import logging
from collections.abc import Callable

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.informer import Informer

logger = logging.getLogger(__name__)

NAME = "kube-root-ca.crt"
_KEY = "ca.crt"
_RETRY = 2.0  # seconds after a write that failed
_ANNOTATION = {
    "kubernetes.io/description": "Contains a CA bundle that can be used to verify the kube-apiserver when using "
    "internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed "
    "across distributions of Kubernetes clusters."
}


class RootCertificates:
    """Keeps the ConfigMaps. `authority` returns the certificate."""

    def __init__(self, client: Client, clock: Clock, authority: Callable[[], bytes]) -> None:
        self._client = client
        self._clock = clock
        self._authority = authority
        self._maps = Informer(
            client, "configmaps", self._on_map, field_selector=f"metadata.name={NAME}"
        )
        self._namespaces = Informer(client, "namespaces", self._on_namespace)
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Follow namespaces; return when each has its ConfigMap."""
        await self._maps.start()
        await self._namespaces.start()
        await self.wait_idle()

    async def stop(self) -> None:
        """End."""
        await self._namespaces.stop()
        await self._maps.stop()
        await call_off(*self._tasks)

    async def wait_idle(self) -> None:
        """Wait until nothing is being written."""
        while self._tasks:
            await asyncio.wait(list(self._tasks))
            await asyncio.sleep(0)

    def _on_namespace(self, new: Object | None, _old: Object | None) -> None:
        if new is not None and "deletionTimestamp" not in new["metadata"]:
            self._look(new["metadata"]["name"])

    def _on_map(self, new: Object | None, old: Object | None) -> None:
        namespace = (new or old or {})["metadata"]["namespace"]
        self._on_namespace(self._namespaces.get("", namespace), None)

    def _look(self, namespace: str) -> None:
        found, data = self._maps.get(namespace, NAME), {_KEY: self._authority().decode()}
        if found is not None and found.get("data") == data:
            return
        task = asyncio.create_task(self._write(namespace, found, data), name=f"root ca {namespace}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(self, namespace: str, found: Object | None, data: dict[str, str]) -> None:
        try:
            if found is None:
                await self._client.create("configmaps", namespace, _made(namespace, data))
            else:
                await self._client.update("configmaps", namespace, {**found, "data": data})
        except StatusError as error:
            if error.code in (403, 404, 409):
                return  # it goes with its namespace, or the watch tells of a newer one
            logger.warning('config map "%s/%s": %s; trying again', namespace, NAME, error)
            self._clock.call_at(self._clock.now() + _RETRY, lambda: self._look(namespace))


def _made(namespace: str, data: dict[str, str]) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": NAME, "namespace": namespace, "annotations": dict(_ANNOTATION)},
        "data": data,
    }
