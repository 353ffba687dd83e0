"""Keeps the Node object, and the Lease that says that somebody is there (KEP-589).

The Lease is renewed every ten seconds, when the node also looks whether it runs out of something. Its status is written
when it has changed, or when another has turned it, and every five minutes in any case.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, Timer, call_off, format_micro_time
from minipod.eventing import EventType, Recorder
from minipod.node.config import NodeConfig
from minipod.node.node_object import compute_node, compute_status
from minipod.node.pressure import Level, Pressure, conditions_of, event_reason, measure

logger = logging.getLogger(__name__)

HEARTBEAT = 300.0  # seconds (kubelet nodeStatusReportFrequency)
LEASES, LEASES_NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
LEASE_SECONDS = 40  # kubelet nodeLeaseDurationSeconds
RENEWAL = LEASE_SECONDS * 0.25
RETRY = 5.0
_NODE = {"apiVersion": "v1", "kind": "Node"}


class Registration:
    """This host's Node object in the API."""

    def __init__(
        self, client: Client, config: NodeConfig, clock: Clock, recorder: Recorder
    ) -> None:
        self._client = client
        self._config = config
        self._clock = clock
        self._recorder = recorder
        self._pressure = Pressure(config.eviction)
        self.on_levels: Callable[[Mapping[str, Level]], None] = lambda levels: None
        self._ready = True
        self._node: Object = {**_NODE, "metadata": {"name": config.node_name}}  # as last seen
        self._labels: dict[str, str] = {}  # to be written
        self._cordoned = False  # when last told of
        self._reported = 0.0  # when the status was last written
        self._timer: Timer | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def ready(self) -> bool:
        """Whether the runtime answers."""
        return self._ready

    async def start(self) -> None:
        """Make the Node, or take over the one that is there. StatusError when the API refuses.

        What it could not write (on a full disk) it tries again: with a daemon one finds out what to remove.
        """
        try:
            await self._register()
        except StatusError as error:
            if error.code < 500:
                raise
            self._retry("registering", error)
        else:
            self._set_timer(0.0)  # the first Lease: nothing waits for it

    async def _register(self) -> None:
        now = self._clock.now()
        node = compute_node(self._config, now, self._ready, self._measure(now))
        self._labels = node["metadata"]["labels"]
        try:
            made = await self._client.create("nodes", "", node)
        except StatusError as error:
            if error.reason != "AlreadyExists":
                raise
            await self._report_status()
        else:
            self._labels = {}
            if not made.get("status"):  # create keeps no status; it has its own subresource
                await self._report_status()

    async def stop(self) -> None:
        """End. The Node stays, as the Pods do."""
        await call_off(self._timer, self._task)

    def set_ready(self, ready: bool) -> None:
        """Tell whether the runtime answers."""
        if ready != self._ready:
            self._ready = ready
            self._beat()

    def record(self, kind: EventType, reason: str, message: str) -> None:
        """Record an Event of the Node."""
        self._recorder.record({**_NODE, **self._node}, kind, reason, message)

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
            await self._report_status()
        except StatusError as error:
            if (
                error.code == 404
            ):  # somebody has deleted the Node: we are here still, and so are its Pods
                await self._register_again()
            else:
                self._retry("writing status", error)
            return
        try:
            await self._renew_lease()
        except StatusError as error:
            self._retry("renewing its lease", error)
        else:
            self._set_timer(RENEWAL)

    def _retry(self, what: str, error: StatusError) -> None:
        logger.warning('node "%s": %s: %s; trying again', self._config.node_name, what, error)
        self._set_timer(RETRY)

    async def _register_again(self) -> None:
        name = self._config.node_name
        logger.warning('node "%s" is not there any more: making it again', name)
        try:
            await self._register()
        except StatusError as error:
            self._retry("registering", error)
        else:
            self._set_timer(1.0)

    async def _report_status(self) -> None:
        name, now = self._config.node_name, self._clock.now()
        self._node = found = await self._client.get("nodes", "", name)
        if self._labels:
            await self._client.patch("nodes", "", name, {"metadata": {"labels": self._labels}})
            self._labels = {}
        self._tell_of_cordon(found)
        previous = found.get("status") or {}
        pressed = self._measure(now)
        status = compute_status(self._config, now, self._ready, previous, pressed)
        if now < self._reported + HEARTBEAT and _without_beats(status) == _without_beats(previous):
            return
        await self._client.patch("nodes", "", name, {"status": status}, subresource="status")
        self._reported = now
        self._tell(found, pressed)

    def _measure(self, now: float) -> frozenset[str]:
        """Return the pressures that hold; nothing is read where nothing is asked for."""
        levels = measure(self._config.layout) if self._config.eviction else {}
        pressed = self._pressure.update(levels, now)
        self.on_levels(levels)
        return pressed

    def _tell_of_cordon(self, node: Object) -> None:
        cordoned = bool((node.get("spec") or {}).get("unschedulable"))
        if cordoned != self._cordoned:
            self._cordoned = cordoned
            self._record_turn("NodeNotSchedulable" if cordoned else "NodeSchedulable")

    def _record_turn(self, reason: str) -> None:
        message = f"Node {self._config.node_name} status is now: {reason}"
        self.record("Normal", reason, message)

    def _tell(self, node: Object, pressed: frozenset[str]) -> None:
        """Record what the Node's conditions have turned to."""
        before = {*conditions_of(node)}
        reasons = [event_reason(each, each in pressed) for each in sorted(before ^ pressed)]
        if _ready_status(node) not in ("", str(self._ready)):
            reasons.append("NodeReady" if self._ready else "NodeNotReady")
        for reason in reasons:
            self._record_turn(reason)

    async def _renew_lease(self) -> None:
        name, renewed = self._config.node_name, format_micro_time(self._clock.now())
        spec = {
            "holderIdentity": name,
            "leaseDurationSeconds": LEASE_SECONDS,
            "renewTime": renewed,
        }
        try:
            await self._client.patch(LEASES, LEASES_NAMESPACE, name, {"spec": spec})
        except StatusError as error:
            if error.code != 404:
                raise
            await self._client.create(LEASES, LEASES_NAMESPACE, await self._make_lease(spec))

    async def _make_lease(self, spec: Object) -> Object:
        """Return a Lease that goes with its Node."""
        name = self._config.node_name
        node = await self._client.get("nodes", "", name)
        owner = {
            "apiVersion": "v1",
            "kind": "Node",
            "name": name,
            "uid": node["metadata"].get("uid"),
        }
        metadata = {"name": name, "namespace": LEASES_NAMESPACE, "ownerReferences": [owner]}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": spec,
        }


def _ready_status(node: Object) -> str:
    """Return what a Node's Ready condition says, "" where it has none."""
    known = (node.get("status") or {}).get("conditions") or ()
    return next((str(each["status"]) for each in known if each["type"] == "Ready"), "")


def _without_beats(status: Object) -> Object:
    """Return a status without its times, which do not count as a change."""
    conditions = [
        {name: each for name, each in condition.items() if not name.startswith("last")}
        for condition in status.get("conditions") or ()
    ]
    kept = ("capacity", "allocatable", "addresses", "nodeInfo")
    return {"conditions": conditions, **{name: status.get(name) for name in kept}}
