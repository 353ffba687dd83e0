"""The scheduler: gives every Pod without a node one, or says why it cannot.

A Pod is bound as soon as it is seen, in the same turn of the event loop: this is on the path of every Pod's start.
What could not be placed is tried again whenever a node or another Pod changes in a way that may make room.
"""

import asyncio
import logging
from collections import defaultdict

from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, call_off, format_time
from minipod.controllers.placement import Placement, compute_placement
from minipod.eventing import Recorder
from minipod.informer import Informer, Key, key_of

logger = logging.getLogger(__name__)

NAME = "default-scheduler"
_RETRY = 1.0  # seconds after a binding that failed for a reason that may pass


class Scheduler:
    """Binds Pods to nodes. One instance."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._recorder = Recorder(client, clock, NAME)
        self._pods = Informer(client, "pods", self._on_pod)
        self._nodes = Informer(client, "nodes", self._on_node)
        self._namespaces = Informer(client, "namespaces", self._on_namespace)
        self._waiting: dict[Key, str] = {}  # unschedulable: the message last reported
        self._assumed: dict[Key, str] = {}  # bound by us, not yet seen as bound
        self._placed: dict[str, dict[Key, Object]] = defaultdict(
            dict
        )  # by node: who holds something
        self._nodes_of: dict[Key, str] = {}
        self._tasks: dict[Key, asyncio.Task[None]] = {}
        self._again: set[Key] = set()  # to be tried once more when their tasks are done
        self._stopped = False

    async def start(self) -> None:
        """Follow nodes and namespaces, then Pods."""
        await self._nodes.start()
        await self._namespaces.start()
        await self._pods.start()

    async def stop(self) -> None:
        """End."""
        self._stopped = True
        await self._pods.stop()
        await self._nodes.stop()
        await self._namespaces.stop()
        await call_off(*self._tasks.values())
        await self._recorder.stop()

    async def wait_idle(self) -> None:
        """Wait until no binding is under way."""
        while self._tasks:
            await asyncio.wait(list(self._tasks.values()))
            await asyncio.sleep(0)

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        key = key_of(new or old or {})
        if new is None or _has_finished(new):
            self._assumed.pop(key, None)
            self._waiting.pop(key, None)
            self._place(key, None)
            self._retry_waiting()
            return
        if new["spec"].get("nodeName"):
            self._assumed.pop(key, None)
            self._waiting.pop(key, None)
        self._place(key, new)
        if new["spec"].get("nodeName"):
            return
        if _is_ours(new) and key not in self._assumed and self._may_matter(new, old):
            self._schedule(key, new)

    def _may_matter(self, new: Object, old: Object | None) -> bool:
        """Whether a Pod's change is worth another try: its spec or labels, not our own report of failure."""
        if old is None:
            return True
        return any(new[part] != old[part] for part in ("spec",)) or new["metadata"].get(
            "labels"
        ) != old["metadata"].get("labels")

    def _on_node(self, new: Object | None, old: Object | None) -> None:
        if new is not None and (old is None or _offer(new) != _offer(old)):
            self._retry_waiting()

    def _on_namespace(self, new: Object | None, old: Object | None) -> None:
        if new is not None and old is not None and _labels(new) != _labels(old):
            self._retry_waiting()

    def _retry_waiting(self) -> None:
        for key in list(self._waiting):
            pod = self._pods.objects.get(key)
            if pod is not None:
                self._schedule(key, pod)

    def _schedule(self, key: Key, pod: Object) -> None:
        if key in self._tasks:
            self._again.add(key)
            return
        labels = {each["metadata"]["name"]: _labels(each) for each in self._namespaces}
        placed = {node: list(pods.values()) for node, pods in self._placed.items()}
        placement = compute_placement(pod, list(self._nodes), placed, labels)
        if placement.node:
            self._assumed[key] = placement.node
            self._place(key, pod)
        work = (
            self._bind(key, pod, placement) if placement.node else self._report(key, pod, placement)
        )
        task = self._tasks[key] = asyncio.create_task(work, name=f"schedule {key[0]}/{key[1]}")
        task.add_done_callback(lambda _: self._done(key))

    def _done(self, key: Key) -> None:
        """A try is over; what came to hand meanwhile is worth another if the Pod still waits."""
        self._tasks.pop(key, None)
        pod = self._pods.objects.get(key)
        again = key in self._again
        self._again.discard(key)
        if again and key in self._waiting and pod is not None and not self._stopped:
            self._schedule(key, pod)

    def _place(self, key: Key, pod: Object | None) -> None:
        """Note what node a Pod holds something of, one that it is just being bound to included; None: of none."""
        self._placed[self._nodes_of.pop(key, "")].pop(key, None)
        node = (pod["spec"].get("nodeName") or self._assumed.get(key)) if pod else None
        if pod and node:
            self._nodes_of[key] = node
            self._placed[node][key] = pod

    async def _bind(self, key: Key, pod: Object, placement: Placement) -> None:
        namespace, name = key
        binding = {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": pod["metadata"]["uid"]},
            "target": {"apiVersion": "v1", "kind": "Node", "name": placement.node},
        }
        try:
            await self._client.create("pods", namespace, binding, name=name, subresource="binding")
        except StatusError as error:
            self._assumed.pop(key, None)
            self._place(key, self._pods.objects.get(key))
            if error.code in (404, 409):
                return  # gone, or bound by somebody else: the watch tells
            logger.warning('binding pod "%s/%s": %s; trying again', namespace, name, error)
            self._waiting.setdefault(key, "")
            self._clock.call_at(self._clock.now() + _RETRY, self._retry_waiting)
            return
        self._waiting.pop(key, None)
        message = f"Successfully assigned {namespace}/{name} to {placement.node}"
        self._recorder.record(pod, "Normal", "Scheduled", message)

    async def _report(self, key: Key, pod: Object, placement: Placement) -> None:
        """Say once per reason that a Pod cannot be placed, as an Event and as its PodScheduled condition."""
        message = placement.message
        if self._waiting.get(key) == message:
            return
        self._waiting[key] = message
        self._recorder.record(pod, "Warning", "FailedScheduling", message)
        told = self._condition(pod, message)
        patch = {"metadata": {"uid": pod["metadata"]["uid"]}, "status": {"conditions": [told]}}
        try:
            await self._client.patch(
                "pods", *key, patch, patch_type="strategic", subresource="status"
            )
        except StatusError as error:
            if error.code not in (404, 409):
                logger.warning('pod "%s/%s": writing PodScheduled: %s', *key, error)

    def _condition(self, pod: Object, message: str) -> Object:
        made: Object = {
            "type": "PodScheduled",
            "status": "False",
            "reason": "Unschedulable",
            "message": message,
        }
        conditions = (pod.get("status") or {}).get("conditions") or ()
        known: Object = next((each for each in conditions if each["type"] == "PodScheduled"), {})
        if known.get("status") != "False":
            made["lastTransitionTime"] = format_time(self._clock.now())
        if pod["metadata"].get("generation"):
            made["observedGeneration"] = pod["metadata"]["generation"]
        return made


def _is_ours(pod: Object) -> bool:
    spec = pod["spec"]
    return (
        spec.get("schedulerName", NAME) == NAME
        and not spec.get("schedulingGates")
        and "deletionTimestamp" not in pod["metadata"]
    )


def _labels(obj: Object) -> dict[str, str]:
    return dict(obj["metadata"].get("labels") or {})


def _has_finished(pod: Object) -> bool:
    return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")


def _offer(node: Object) -> tuple[object, ...]:
    """Return what of a node decides over placements; heartbeats change none of it."""
    status = node.get("status") or {}
    ready = [c["status"] for c in status.get("conditions") or () if c["type"] == "Ready"]
    spec = node.get("spec") or {}
    labels = node["metadata"].get("labels")
    return labels, spec.get("taints"), spec.get("unschedulable"), status.get("allocatable"), ready
