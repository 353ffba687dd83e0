"""Taints that drive Pods away: NoExecute, at once or after tolerationSeconds (upstream's taint-eviction-controller)."""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass

from minipod.api.errors import StatusError
from minipod.api.pod_fit import accepts
from minipod.client import Client, Object
from minipod.clock import Clock, Timer, call_off, format_time
from minipod.eventing import Recorder
from minipod.informer import Informer, Key, key_of

logger = logging.getLogger(__name__)

NAME = "taint-eviction-controller"
MESSAGE = "Taint manager: deleting due to NoExecute taint"
_RETRY = 1.0  # seconds after a deletion that failed


@dataclass(frozen=True)
class _Eviction:
    """One to come: when, and since when it is counted."""

    timer: Timer
    since: float
    when: float


def compute_stay(pod: Object, taints: Sequence[Object]) -> float | None:
    """Return the seconds a Pod may stay under NoExecute taints, None when it may stay for ever. Pure."""
    limits: list[float] = []
    for taint in taints:
        accepting = [each for each in pod["spec"].get("tolerations") or () if accepts(each, taint)]
        if not accepting:
            return 0.0
        seconds = [each.get("tolerationSeconds") for each in accepting]
        limits += [max(0.0, float(each)) for each in seconds if each is not None]
    return min(limits, default=None)


class TaintEviction:
    """Deletes Pods that their node's taints do not let stay."""

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._recorder = Recorder(client, clock, NAME)
        self._nodes = Informer(client, "nodes", self._on_node)
        self._pods = Informer(client, "pods", self._on_pod)
        self._evictions: dict[Key, _Eviction] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Follow nodes, then Pods."""
        await self._nodes.start()
        await self._pods.start()

    async def stop(self) -> None:
        """End; what is still to come is found again by the next daemon."""
        await self._pods.stop()
        await self._nodes.stop()
        await call_off(*(each.timer for each in self._evictions.values()), *self._tasks)
        await self._recorder.stop()

    def _on_node(self, new: Object | None, old: Object | None) -> None:
        if new is None or _taints(new) == (_taints(old) if old else []):
            return
        for pod in self._pods:
            if pod["spec"].get("nodeName") == new["metadata"]["name"]:
                self._consider(pod)

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        if new is None:
            self._cancel(key_of(old or {}))
            return
        same = old is not None and old["spec"] == new["spec"] and _is_over(old) == _is_over(new)
        if not same:
            self._consider(new)

    def _consider(self, pod: Object) -> None:
        """Set, move or take back the end of a Pod's stay."""
        key = key_of(pod)
        node = self._nodes.get("", pod["spec"].get("nodeName") or "")
        if node is None or _is_over(pod):
            self._cancel(key)
            return
        stay = compute_stay(pod, _taints(node))
        known = self._evictions.get(key)
        if stay is None:
            if known:
                name = f"{key[0]}/{key[1]}"
                message = f"Cancelling deletion of Pod {name}"
                self._recorder.record(pod, "Normal", "TaintManagerEviction", message)
            self._cancel(key)
            return
        since = known.since if known else self._clock.now()
        if known and known.when == since + stay:
            return
        self._cancel(key)
        self._set(key, pod, since, since + stay)

    def _set(self, key: Key, pod: Object, since: float, when: float) -> None:
        timer = self._clock.call_at(when, lambda: self._begin(key, pod))
        self._evictions[key] = _Eviction(timer, since, when)

    def _cancel(self, key: Key) -> None:
        eviction = self._evictions.pop(key, None)
        if eviction:
            eviction.timer.cancel()

    def _begin(self, key: Key, pod: Object) -> None:
        self._evictions.pop(key, None)
        current = self._pods.get(*key)
        if current is None or current["metadata"]["uid"] != pod["metadata"]["uid"]:
            return
        task = asyncio.create_task(self._evict(key, current), name=f"evict {key[0]}/{key[1]}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _evict(self, key: Key, pod: Object) -> None:
        namespace, name = key
        message = f"Marking for deletion Pod {namespace}/{name}"
        self._recorder.record(pod, "Normal", "TaintManagerEviction", message)
        uid = pod["metadata"]["uid"]
        patch = {"metadata": {"uid": uid}, "status": {"conditions": [self._disruption(pod)]}}
        try:
            await self._client.patch(
                "pods", *key, patch, patch_type="strategic", subresource="status"
            )
            await self._client.delete("pods", *key, uid=uid)
        except StatusError as error:
            if error.code not in (404, 409):
                logger.warning('evicting pod "%s/%s": %s; trying again', namespace, name, error)
                now = self._clock.now()
                self._set(key, pod, now, now + _RETRY)

    def _disruption(self, pod: Object) -> Object:
        """Return the condition that tells of it (KEP-3329)."""
        made = {
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "DeletionByTaintManager",
            "message": MESSAGE,
            "lastProbeTime": None,
            "lastTransitionTime": format_time(self._clock.now()),
        }
        if pod["metadata"].get("generation"):
            made["observedGeneration"] = pod["metadata"]["generation"]
        return made


def _taints(node: Object) -> list[Object]:
    taints = (node.get("spec") or {}).get("taints") or ()
    return [each for each in taints if each.get("effect") == "NoExecute"]


def _is_over(pod: Object) -> bool:
    phase = (pod.get("status") or {}).get("phase")
    return "deletionTimestamp" in pod["metadata"] or phase in ("Succeeded", "Failed")
