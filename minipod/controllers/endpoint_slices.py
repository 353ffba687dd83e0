"""Keeps EndpointSlices and Endpoints what Services and Pods say: `endpoints` computes, this writes.

A Service is looked at when it changes, when a Pod that it selects does, and when somebody meddles with its slices.
"""

import asyncio
import logging
from functools import partial

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.controllers.endpoints import (
    CONTROLLER,
    ENDPOINTS_MANAGED_BY,
    MANAGED_BY,
    MIRROR,
    SERVICE_NAME,
    SKIP_MIRROR,
    Changes,
    Group,
    compute_changes,
    compute_endpoints,
    compute_groups,
    compute_slices,
    has_selector,
    mirror_groups,
    selects,
)
from minipod.informer import Informer

logger = logging.getLogger(__name__)

NAME = "endpointslice-controller"
SLICES = "endpointslices.discovery.k8s.io"
_RETRY = 1.0  # seconds after a write that failed
_DEFECT_RETRY = 60.0  # ... after a defect of ours
Key = tuple[str, str]


class EndpointSliceController:
    """Follows Services, Pods, Endpoints and slices."""

    def __init__(self, client: Client, endpoints: Client, mirror: Client, clock: Clock) -> None:
        self._clients = {CONTROLLER: client, MIRROR: mirror}
        self._endpoints_client = endpoints
        self._clock = clock
        self._pods = Informer(client, "pods", self._on_pod)
        self._services = Informer(client, "services", self._on_service)
        self._endpoints = Informer(endpoints, "endpoints", self._on_endpoints)
        self._slices = Informer(client, SLICES, self._on_slice)
        self._waiting: set[Key] = set()
        self._defects: dict[Key, str] = {}  # as told of
        self._task: asyncio.Task[None] | None = None
        self._started = False

    async def start(self) -> None:
        """Return when all is known; the writing begins then."""
        for informer in (self._pods, self._endpoints, self._slices, self._services):
            await informer.start()
        self._started = True
        self._wake()

    async def stop(self) -> None:
        """End."""
        for informer in (self._services, self._slices, self._endpoints, self._pods):
            await informer.stop()
        await call_off(self._task)

    async def wait_idle(self) -> None:
        """Wait until nothing is left to write."""
        while self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    # -- what asks for a look --------------------------------------------------------------------

    def _on_service(self, new: Object | None, old: Object | None) -> None:
        self._look((new or old or {})["metadata"])

    def _on_endpoints(self, new: Object | None, old: Object | None) -> None:
        self._look((new or old or {})["metadata"])

    def _on_slice(self, new: Object | None, old: Object | None) -> None:
        for each in (new, old):
            metadata = each["metadata"] if each else {}
            name = (metadata.get("labels") or {}).get(SERVICE_NAME)
            if name:
                self._look({"namespace": metadata["namespace"], "name": name})

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        for service in self._services:
            if any(pod and self._concerns(service, pod) for pod in (new, old)):
                self._look(service["metadata"])

    @staticmethod
    def _concerns(service: Object, pod: Object) -> bool:
        same = service["metadata"]["namespace"] == pod["metadata"]["namespace"]
        return same and selects(service, pod)

    def _look(self, metadata: Object) -> None:
        self._waiting.add((metadata["namespace"], metadata["name"]))
        self._wake()

    def _wake(self) -> None:
        if self._started and self._waiting and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work(), name="endpoint slices")

    # -- writing ---------------------------------------------------------------------------------

    async def _work(self) -> None:
        while self._waiting:
            key = self._waiting.pop()
            try:
                await self._sync(key)
                self._defects.pop(key, None)
            except StatusError as error:
                if error.code == 404:
                    continue  # its namespace goes, and everything in it
                if error.code != 409:
                    logger.warning('endpoints of service "%s/%s": %s', *key, error)
                self._retry_later(key, _RETRY)
            except Exception as defect:  # one Service's: all others are served
                if self._defects.get(key) != repr(defect):
                    self._defects[key] = repr(defect)
                    logger.exception('endpoints of service "%s/%s": %r; trying again', *key, defect)
                self._retry_later(key, _DEFECT_RETRY)

    def _retry_later(self, key: Key, seconds: float) -> None:
        self._clock.call_at(self._clock.now() + seconds, partial(self._retry, key))

    def _retry(self, key: Key) -> None:
        self._waiting.add(key)
        self._wake()

    async def _sync(self, key: Key) -> None:
        service = self._services.get(*key)
        if service is None or "deletionTimestamp" in service["metadata"]:
            await self._apply(key, compute_changes([], self._owned(key, CONTROLLER)), CONTROLLER)
        elif has_selector(service):
            pods = [pod for pod in self._pods if pod["metadata"]["namespace"] == key[0]]
            groups = compute_groups(service, pods)
            await self._write_slices(key, service, groups, CONTROLLER)
            await self._write_endpoints(key, compute_endpoints(service, groups))
        await self._mirror(key, service)

    async def _mirror(self, key: Key, service: Object | None) -> None:
        """Make slices of Endpoints that somebody keeps by hand for a Service without a selector."""
        endpoints, groups = self._endpoints.get(*key), list[Group]()
        wanted = service is not None and endpoints is not None and not has_selector(service)
        if wanted and endpoints is not None:
            labels = endpoints["metadata"].get("labels") or {}
            if labels.get(SKIP_MIRROR) != "true" and ENDPOINTS_MANAGED_BY not in labels:
                groups = mirror_groups(endpoints)
        if groups and endpoints is not None:
            await self._write_slices(key, endpoints, groups, MIRROR)
        else:
            await self._apply(key, compute_changes([], self._owned(key, MIRROR)), MIRROR)

    async def _write_slices(
        self, key: Key, owner: Object, groups: list[Group], manager: str
    ) -> None:
        wanted = compute_slices(owner, groups, manager)
        await self._apply(key, compute_changes(wanted, self._owned(key, manager)), manager)

    def _owned(self, key: Key, manager: str) -> list[Object]:
        """Return the slices that we made for a Service."""
        return [
            each
            for each in self._slices
            if each["metadata"]["namespace"] == key[0]
            and (each["metadata"].get("labels") or {}).get(SERVICE_NAME) == key[1]
            and (each["metadata"].get("labels") or {}).get(MANAGED_BY) == manager
        ]

    async def _apply(self, key: Key, changes: Changes, manager: str) -> None:
        namespace, client = key[0], self._clients[manager]
        for each in changes.create:
            self._keep(await client.create(SLICES, namespace, each))
        for each in changes.update:
            try:
                self._keep(await client.update(SLICES, namespace, each))
            except StatusError as error:
                self._forget(namespace, each["metadata"]["name"], error)
                self._waiting.add(key)
        for name in changes.delete:
            try:
                await client.delete(SLICES, namespace, name)
            except StatusError as error:
                self._forget(namespace, name, error)
            self._slices.objects.pop((namespace, name), None)

    def _forget(self, namespace: str, name: str, error: StatusError) -> None:
        """Forget a slice that somebody deleted before its creation was noted; any other error is raised again."""
        if error.code != 404:
            raise error
        self._slices.objects.pop((namespace, name), None)

    def _keep(self, written: Object) -> None:
        """See at once what was written, or the next look would write it again."""
        metadata = written["metadata"]
        self._slices.objects[metadata["namespace"], metadata["name"]] = written

    async def _write_endpoints(self, key: Key, wanted: Object) -> None:
        found = self._endpoints.get(*key)
        if found is None:
            await self._endpoints_client.create("endpoints", key[0], wanted)
            return
        labels = (found["metadata"].get("labels") or {}) == wanted["metadata"]["labels"]
        if labels and (found.get("subsets") or []) == wanted["subsets"]:
            return
        metadata = {**found["metadata"], "labels": wanted["metadata"]["labels"]}
        await self._endpoints_client.update("endpoints", key[0], {**wanted, "metadata": metadata})
