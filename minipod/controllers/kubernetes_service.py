"""The Service `kubernetes` in the namespace default: the API server, as Pods find it (upstream's kubernetesservice)."""

import logging
from typing import Any

from minipod.api.errors import StatusError
from minipod.client import Client, Object

logger = logging.getLogger(__name__)

_NAMESPACE, _NAME, _PORT = "default", "kubernetes", 443
_SLICES = "endpointslices.discovery.k8s.io"
_LABELS = {"component": "apiserver", "provider": "kubernetes"}


class KubernetesService:
    """Makes the Service, and says where the server is. Once, at each start: nothing of it changes later."""

    def __init__(self, client: Client, service_ip: str, address: str, port: int) -> None:
        self._client = client
        self._service_ip = service_ip
        self._address = address
        self._port = port

    async def start(self) -> None:
        """Make or mend the Service, its Endpoints and its EndpointSlice. Without HTTPS there is nothing behind it."""
        if not self._port:
            return
        try:
            await self._ensure("services", self._service(), ("spec",))
            await self._ensure(_SLICES, self._slice(), ("endpoints", "ports"))
            await self._ensure("endpoints", self._endpoints(), ("subsets",))
        except StatusError as error:
            logger.warning("making the service kubernetes: %s", error)

    async def stop(self) -> None:
        """Leave it: the next server is at the same address."""

    async def _ensure(self, resource: str, wanted: Object, parts: tuple[str, ...]) -> None:
        """Make an object, or bring these parts of it up to date."""
        try:
            found = await self._client.get(resource, _NAMESPACE, _NAME)
        except StatusError as error:
            if error.code != 404:
                raise
            await self._client.create(resource, _NAMESPACE, wanted)
            return
        changed = {name: wanted[name] for name in parts if not _has(found.get(name), wanted[name])}
        if changed:
            await self._client.patch(resource, _NAMESPACE, _NAME, changed)

    def _service(self) -> Object:
        port = {"name": "https", "port": _PORT, "protocol": "TCP", "targetPort": self._port}
        spec = {
            "type": "ClusterIP",
            "clusterIP": self._service_ip,
            "ipFamilies": ["IPv4"],
            "ipFamilyPolicy": "SingleStack",
            "sessionAffinity": "None",
            "ports": [port],
        }
        return {"metadata": self._metadata(_LABELS), "spec": spec}

    def _slice(self) -> Object:
        labels = {"kubernetes.io/service-name": _NAME}
        endpoint = {"addresses": [self._address], "conditions": {"ready": True}}
        return {
            "metadata": self._metadata(labels),
            "addressType": "IPv4",
            "endpoints": [endpoint],
            "ports": [{"name": "https", "port": self._port, "protocol": "TCP"}],
        }

    def _endpoints(self) -> Object:
        labels = {"endpointslice.kubernetes.io/skip-mirror": "true"}
        subset = {
            "addresses": [{"ip": self._address}],
            "ports": [{"name": "https", "port": self._port, "protocol": "TCP"}],
        }
        return {"metadata": self._metadata(labels), "subsets": [subset]}

    def _metadata(self, labels: dict[str, str]) -> Object:
        return {"name": _NAME, "namespace": _NAMESPACE, "labels": labels}


def _has(found: Any, wanted: Any) -> bool:
    """Whether a value says all that is wanted; the server may have added to it."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return all(_has(found.get(name), value) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list) and len(wanted) == len(found):
        return all(_has(one, other) for one, other in zip(found, wanted, strict=True))
    return bool(found == wanted)
