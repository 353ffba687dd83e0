"""Keeps the Node object: made at start, its conditions renewed every five minutes and whenever readiness changes."""

import asyncio
import logging

from minipod.api.errors import StatusError
from minipod.client import Client
from minipod.clock import Clock, Timer
from minipod.node.config import NodeConfig
from minipod.node.node_object import compute_node, compute_status

logger = logging.getLogger(__name__)

HEARTBEAT = 300.0  # seconds (kubelet nodeStatusReportFrequency)
_RETRY = 5.0


class Registration:
    """This host's Node object in the API."""

    def __init__(self, client: Client, config: NodeConfig, clock: Clock) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._ready = True
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Make the Node, or take over the one that is there. StatusError when the API refuses."""
        node = compute_node(self._config, self._clock.now(), self._ready)
        try:
            made = await self._client.create("nodes", "", node)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._renew(labels=node["metadata"]["labels"])
        else:
            if not made.get("status"):  # create keeps no status; it has its own subresource
                await self._renew()
        self._set_timer(HEARTBEAT)

    async def stop(self) -> None:
        """End. The Node stays, as the Pods do."""
        if self._timer:
            self._timer.cancel()
        if self._task:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def set_ready(self, ready: bool) -> None:
        """Tell whether the runtime answers."""
        if ready != self._ready:
            self._ready = ready
            self._beat()

    def _set_timer(self, seconds: float) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = self._clock.call_at(self._clock.now() + seconds, self._beat)

    def _beat(self) -> None:
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._report(), name="node status")
        else:
            self._set_timer(1.0)

    async def _report(self) -> None:
        try:
            await self._renew()
        except StatusError as error:
            logger.warning('node "%s": writing status: %s', self._config.node_name, error)
            self._set_timer(_RETRY)
        else:
            self._set_timer(HEARTBEAT)

    async def _renew(self, labels: dict[str, str] | None = None) -> None:
        name = self._config.node_name
        found = await self._client.get("nodes", "", name)
        if labels:
            await self._client.patch("nodes", "", name, {"metadata": {"labels": labels}})
        previous = found.get("status") or {}
        status = compute_status(self._config, self._clock.now(), self._ready, previous)
        await self._client.patch("nodes", "", name, {"status": status}, subresource="status")
