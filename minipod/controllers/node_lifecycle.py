"""Nodes that stop reporting: their conditions become Unknown, taints follow what the conditions say, and their Pods
are not ready any more (upstream's node-lifecycle-controller).

A node is heard by the heartbeat of its Ready condition and by its Lease. What the taints do to Pods is the scheduler's
and the taint eviction's business. When no node at all is ready nobody is driven away: there is nowhere to go, and the
fault is probably ours.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, Timer, format_time, parse_time
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.controllers.placement import ready_status
from minipod.eventing import Recorder
from minipod.informer import Informer

logger = logging.getLogger(__name__)

NAME = "node-controller"
LEASES, LEASES_NAMESPACE = "leases.coordination.k8s.io", "kube-node-lease"
GRACE = 50.0  # seconds without a sign of life (--node-monitor-grace-period)
LATE = 5.0  # seconds: a timer that comes later than that says that the machine has slept
STARTUP_GRACE = 60.0  # ... of a node that has never given one (--node-startup-grace-period)
CONDITIONS = ("Ready", "MemoryPressure", "DiskPressure", "PIDPressure")
_PREFIX = "node.kubernetes.io/"
# (condition, status) -> the key of its taint
_TAINTS = {
    ("Ready", "False"): f"{_PREFIX}not-ready",
    ("Ready", "Unknown"): f"{_PREFIX}unreachable",
    ("MemoryPressure", "True"): f"{_PREFIX}memory-pressure",
    ("DiskPressure", "True"): f"{_PREFIX}disk-pressure",
    ("NetworkUnavailable", "True"): f"{_PREFIX}network-unavailable",
    ("PIDPressure", "True"): f"{_PREFIX}pid-pressure",
}
_UNSCHEDULABLE = f"{_PREFIX}unschedulable"
_DRIVING = (_TAINTS["Ready", "False"], _TAINTS["Ready", "Unknown"])


@dataclass
class _Heard:
    """The last sign of life: the heartbeat, and when it came by our own clock."""

    beat: str
    since: float


def compute_taints(node: Object, *, anybody_ready: bool) -> list[Object]:
    """Return a node's taints as they should be: ours by its conditions, all others as they are. Pure."""
    wanted = [
        (_TAINTS[each["type"], each["status"]], "NoSchedule")
        for each in (node.get("status") or {}).get("conditions") or ()
        if (each["type"], each["status"]) in _TAINTS
    ]
    if (node.get("spec") or {}).get("unschedulable"):
        wanted.append((_UNSCHEDULABLE, "NoSchedule"))
    driving = _TAINTS.get(("Ready", ready_status(node)))
    if driving and anybody_ready:
        wanted.append((driving, "NoExecute"))
    known = (node.get("spec") or {}).get("taints") or ()
    kept = [each for each in known if not _is_ours(each) or _key(each) in wanted]
    told = {_key(each) for each in kept}
    return kept + [{"key": k, "effect": effect} for k, effect in wanted if (k, effect) not in told]


def compute_unknown(node: Object, now: float) -> list[Object]:
    """Return the conditions of a node that is silent, those that have to change alone. Pure."""
    status, time = node.get("status") or {}, format_time(now)
    known = {each["type"]: each for each in status.get("conditions") or ()}
    changed = []
    for name in CONDITIONS:
        before = known.get(name)
        if before is None:
            words = ("NodeStatusNeverUpdated", "Kubelet never posted node status.")
            beat = node["metadata"].get("creationTimestamp")
        elif before["status"] == "Unknown":
            continue
        else:
            words = ("NodeStatusUnknown", "Kubelet stopped posting node status.")
            beat = before.get("lastHeartbeatTime")
        reason, message = words
        told = {"type": name, "status": "Unknown", "reason": reason, "message": message}
        changed.append({**told, "lastHeartbeatTime": beat, "lastTransitionTime": time})
    return changed


class NodeLifecycle:
    """Watches over nodes. `leases`: the client that reads Leases, as the controllers' shared informers do upstream."""

    def __init__(self, client: Client, leases: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._recorder = Recorder(client, clock, NAME)
        self._nodes = Informer(client, "nodes", self._on_node)
        self._leases = Informer(leases, LEASES, self._on_lease, namespace=LEASES_NAMESPACE)
        self._loop = KeyedLoop(clock, "node lifecycle", self._sync)
        self._heard: dict[str, _Heard] = {}
        self._timers: dict[str, Timer] = {}
        self._fallen: set[str] = set()  # their Pods have still to be told of
        self._nobody = False  # no node was ready when last looked

    async def start(self) -> None:
        """Follow nodes and their leases."""
        await self._nodes.start()
        await self._leases.start()

    async def stop(self) -> None:
        """End."""
        await self._leases.stop()
        await self._nodes.stop()
        for timer in self._timers.values():
            timer.cancel()
        await self._loop.stop()
        await self._recorder.stop()

    async def wait_idle(self) -> None:
        """Wait until nothing is being done."""
        await self._loop.wait_idle()
        await self._recorder.flush()

    # -- signs of life ---------------------------------------------------------------------------

    def _on_node(self, new: Object | None, old: Object | None) -> None:
        if new is None:
            name = (old or {})["metadata"]["name"]
            self._heard.pop(name, None)
            self._fallen.discard(name)
            self._timers.pop(name).cancel()
            return
        name, beat = new["metadata"]["name"], _beat(new)
        known = self._heard.get(name)
        if known is None or known.beat != beat:
            self._heard[name] = _Heard(beat, self._since(new, beat))
            if known is None:
                self._await(name)
                text = f"Node {name} event: Registered Node {name} in Controller"
                self._recorder.record({**_NODE, **new}, "Normal", "RegisteredNode", text)
        if old is not None and ready_status(old) == "True" != ready_status(new):
            self._fallen.add(name)
        if old is None or ready_status(old) != ready_status(new):
            self._look_at_all()
        else:
            self._loop.look("", name)

    def _since(self, node: Object, beat: str) -> float:
        """A node that has never reported is counted from when it was made."""
        created = node["metadata"].get("creationTimestamp")
        return self._clock.now() if beat or not created else parse_time(created)

    def _on_lease(self, new: Object | None, old: Object | None) -> None:
        heard = self._heard.get(new["metadata"]["name"]) if new else None
        if new and heard and _renewed(new) != _renewed(old or {}):
            heard.since = self._clock.now()

    def _look_at_all(self) -> None:
        """Whether anybody is ready may have changed; who is silent is given time anew when somebody is again."""
        nobody = not self._anybody_ready()
        if self._nobody and not nobody:
            self._hear_all_anew()
        self._nobody = nobody
        for node in self._nodes:
            self._loop.look("", node["metadata"]["name"])

    def _anybody_ready(self) -> bool:
        return any(ready_status(each) == "True" for each in self._nodes)

    def _await(self, name: str) -> None:
        """Look again when a node's time is up, as often as it is still there."""
        heard, node = self._heard.get(name), self._nodes.get("", name)
        if heard is None or node is None:
            return
        due = self._due(node, heard)
        if due <= self._clock.now():
            self._loop.look("", name)
            due = self._clock.now() + GRACE
        self._timers[name] = self._clock.call_at(due, lambda: self._on_timer(name, due))

    def _on_timer(self, name: str, due: float) -> None:
        """Called much too late we have slept ourselves, with the whole machine: nobody could be heard."""
        if self._clock.now() - due > LATE:
            self._hear_all_anew()
        self._await(name)

    def _hear_all_anew(self) -> None:
        for heard in self._heard.values():
            heard.since = self._clock.now()

    def _due(self, node: Object, heard: _Heard) -> float:
        return heard.since + (GRACE if ready_status(node) else STARTUP_GRACE)

    # -- what follows ----------------------------------------------------------------------------

    async def _sync(self, _namespace: str, name: str) -> None:
        node, heard = self._nodes.get("", name), self._heard.get(name)
        if node is None or heard is None:
            return
        if self._due(node, heard) <= self._clock.now() and (
            unknown := compute_unknown(node, self._clock.now())
        ):
            await self._patch(node, {"status": {"conditions": unknown}}, "status")
            return  # it comes back with them
        await self._taint(node)
        if name in self._fallen:
            if ready_status(node) != "True":
                await self._tell(node)
            self._fallen.discard(name)  # not before: a failure is made up for

    async def _taint(self, node: Object) -> None:
        known = (node.get("spec") or {}).get("taints") or []
        taints = compute_taints(node, anybody_ready=self._anybody_ready())
        if taints == known:
            return
        now = format_time(self._clock.now())
        stamped = [each if each in known else {**each, "timeAdded": now} for each in taints]
        version = node["metadata"].get("resourceVersion")
        patch = {"metadata": {"resourceVersion": version}, "spec": {"taints": stamped or None}}
        try:
            await self._client.patch("nodes", "", node["metadata"]["name"], patch)
        except StatusError as error:
            if error.code != 409:  # changed meanwhile: it is looked at again
                raise

    async def _tell(self, node: Object) -> None:
        """A node has fallen: its Pods cannot be known to be ready (upstream's MarkPodsNotReady)."""
        name = node["metadata"]["name"]
        status = f"Node {name} status is now: NodeNotReady"
        self._recorder.record({**_NODE, **node}, "Normal", "NodeNotReady", status)
        found = await self._client.list("pods", field_selector=f"spec.nodeName={name}")
        for pod in found.items:
            if _is_ready(pod):
                await self._mark(pod)

    async def _mark(self, pod: Object) -> None:
        metadata = pod["metadata"]
        time = format_time(self._clock.now())
        told = {"type": "Ready", "status": "False", "lastTransitionTime": time}
        patch = {"metadata": {"uid": metadata["uid"]}, "status": {"conditions": [told]}}
        self._recorder.record(pod, "Warning", "NodeNotReady", "Node is not ready")
        try:
            await self._client.patch(
                *("pods", metadata["namespace"], metadata["name"], patch),
                patch_type="strategic",
                subresource="status",
            )
        except StatusError as error:
            if error.code not in (404, 409):
                raise

    async def _patch(self, node: Object, patch: Object, subresource: str) -> None:
        name = node["metadata"]["name"]
        await self._client.patch(
            "nodes", "", name, patch, patch_type="strategic", subresource=subresource
        )


_NODE = {"apiVersion": "v1", "kind": "Node"}


def _beat(node: Object) -> str:
    known: Sequence[Object] = (node.get("status") or {}).get("conditions") or ()
    ready = next((each for each in known if each["type"] == "Ready"), None)
    return str(ready.get("lastHeartbeatTime")) if ready else ""


def _renewed(lease: Object) -> str:
    return str((lease.get("spec") or {}).get("renewTime"))


def _is_ours(taint: Object) -> bool:
    """Whether a taint is one that only conditions and cordons put on."""
    key, effect = taint.get("key"), taint.get("effect")
    if effect == "NoExecute":
        return key in _DRIVING
    return effect == "NoSchedule" and (key == _UNSCHEDULABLE or key in _TAINTS.values())


def _key(taint: Object) -> tuple[str, str]:
    return str(taint.get("key")), str(taint.get("effect"))


def _is_ready(pod: Object) -> bool:
    conditions: Iterable[Object] = (pod.get("status") or {}).get("conditions") or ()
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
