"""PodDisruptionBudgets count their Pods, so that the eviction subresource knows whether one may go.

Upstream's disruption-controller: a budget is counted when it changes, when a Pod that it selects does, and when an
evicted Pod should have gone. What is counted is decided in `api.disruption`; what a share is a share of is asked of the
Pods' controllers. A Pod that was to be disrupted and stayed has that taken out of its conditions after two minutes.
"""

import logging

from minipod.api import kinds
from minipod.api.disruption import (
    BUDGETS,
    Counts,
    compute_expected,
    compute_failed,
    compute_status,
    count_healthy,
    depends_on_scale,
    selects,
    shown_selector,
)
from minipod.api.errors import StatusError
from minipod.client import Client, Object
from minipod.clock import Clock, format_time, parse_time
from minipod.controllers.keyed_loop import KeyedLoop
from minipod.eventing import EventType, Recorder
from minipod.informer import Informer, key_of

logger = logging.getLogger(__name__)

NAME = "controllermanager"  # as upstream's Events name their source
DELETION_TIMEOUT = 120.0  # seconds until an evicted Pod is expected to be going
STALE = 120.0  # seconds until a Pod that was to be disrupted is taken to stay
_TARGET = "DisruptionTarget"
_BY_KUBELET = "TerminationByKubelet"
_UNMANAGED = (
    "Pods selected by this PodDisruptionBudget (selector: {}) were found to be unmanaged. As a result, the status of "
    "the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods please "
    'set ".spec.minAvailable" field of the PDB to an integer value.'
)


_Event = tuple[EventType, str, str]  # its reason and message


class Uncounted(Exception):
    """The Pods of a budget cannot be counted; the message is upstream's."""


class DisruptionController:
    """Keeps the status of PodDisruptionBudgets."""

    def __init__(self, client: Client, manager: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._recorder = Recorder(client, clock, NAME)
        self._budgets = Informer(client, BUDGETS, self._on_budget)
        self._pods = Informer(manager, "pods", self._on_pod)
        self._loop = KeyedLoop(clock, "disruption budget", self._sync)
        self._stale = KeyedLoop(clock, "disrupted pod", self._sync_stale)

    async def start(self) -> None:
        """Follow budgets and Pods; budgets are counted when all Pods are known."""
        await self._pods.start()
        await self._budgets.start()

    async def stop(self) -> None:
        """End."""
        await self._budgets.stop()
        await self._pods.stop()
        await self._loop.stop()
        await self._stale.stop()
        await self._recorder.stop()

    async def wait_idle(self) -> None:
        """Wait until every budget has been counted."""
        await self._loop.wait_idle()
        await self._stale.wait_idle()

    # -- what asks for a look --------------------------------------------------------------------

    def _on_budget(self, new: Object | None, _old: Object | None) -> None:
        if new is not None:
            self._loop.look(*key_of(new))

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        for budget in self._budgets:
            if any(pod and _concerns(budget, pod) for pod in (new, old)):
                self._loop.look(*key_of(budget))
        if new is not None:
            self._warn_of_many(new, old)
            stay = self._staying(new)
            if stay is not None:
                self._stale.look_later(*key_of(new), stay)

    def _warn_of_many(self, new: Object, old: Object | None) -> None:
        """Tell of a Pod that no eviction can take away, when it becomes one."""
        before = old["metadata"].get("labels") if old else None
        if old is not None and before == new["metadata"].get("labels"):
            return
        found = sorted(key_of(each)[1] for each in self._budgets if _concerns(each, new))
        if len(found) > 1:
            namespace, name = key_of(new)
            message = f'Pod "{namespace}"/"{name}" matches multiple PodDisruptionBudgets: {", ".join(found)}'
            self._recorder.record(new, "Warning", "MultiplePodDisruptionBudgets", message)

    # -- counting --------------------------------------------------------------------------------

    async def _sync(self, namespace: str, name: str) -> None:
        budget = self._budgets.get(namespace, name)
        if budget is None:
            return
        pods = [pod for pod in self._pods if _concerns(budget, pod)]
        events: list[_Event] = []
        try:
            status = await self._counted(budget, pods, events)
        except Uncounted as error:
            why = f"Failed to calculate the number of expected pods: {error}"
            events.append(("Warning", "CalculateExpectedPodCountFailed", why))
            status = compute_failed(budget, str(error), self._now())
        if status == (budget.get("status") or {}):
            return
        for kind, reason, message in events:
            self._recorder.record(budget, kind, reason, message)
        try:
            await self._client.update(
                BUDGETS, namespace, {**budget, "status": status}, subresource="status"
            )
        except StatusError as error:
            if error.code != 409:  # it has changed, and is looked at again for that
                raise

    async def _counted(self, budget: Object, pods: list[Object], events: list[_Event]) -> Object:
        """Return the status that a budget is to have, and add what is to be told of it. Raises Uncounted."""
        if not pods:
            events.append(("Normal", "NoPods", "No matching pods found"))
        scale, unmanaged = 0, False
        if depends_on_scale(budget):
            scale, unmanaged = await self._scale_of_all(pods)
        if unmanaged:
            shown = shown_selector((budget.get("spec") or {}).get("selector"))
            events.append(("Warning", "UnmanagedPods", _UNMANAGED.format(shown)))
        expected, desired = compute_expected(budget, len(pods), scale)
        disrupted = self._disrupted(budget, pods)
        counts = Counts(expected, desired, count_healthy(pods, disrupted))
        return compute_status(budget, counts, disrupted, self._now())

    def _disrupted(self, budget: Object, pods: list[Object]) -> Object:
        """Return the evicted Pods that are still to go, and look again when the first of them should have gone."""
        before = (budget.get("status") or {}).get("disruptedPods") or {}
        found: Object = {}
        for pod in pods:
            name = pod["metadata"]["name"]
            if name not in before or "deletionTimestamp" in pod["metadata"]:
                continue
            since = before[name]  # null, where somebody wrote that: long ago
            left = parse_time(since) + DELETION_TIMEOUT - self._clock.now() if since else 0.0
            if left > 0:
                found[name] = before[name]
                self._loop.look_later(*key_of(budget), left)
                continue
            namespace = budget["metadata"]["namespace"]
            message = f"Pod was expected by PDB {namespace}/{budget['metadata']['name']} to be deleted but it wasn't"
            self._recorder.record(pod, "Warning", "NotDeleted", message)
        return found

    async def _scale_of_all(self, pods: list[Object]) -> tuple[int, bool]:
        """Return how many Pods the Pods' controllers keep in all, and whether some Pods have none. Raises Uncounted."""
        scales: dict[str, int] = {}
        known: set[str] = set()
        unmanaged = False
        for pod in pods:
            owner = _controller_of(pod)
            if owner is None:
                unmanaged = True
            elif owner["uid"] not in known:
                known.add(owner["uid"])
                found = await self._scale(owner, pod["metadata"]["namespace"])
                if found is None:
                    raise Uncounted(f'found no controllers for pod "{pod["metadata"]["name"]}"')
                scales[found[0]] = found[1]
        return sum(scales.values()), unmanaged

    async def _scale(self, owner: Object, namespace: str) -> tuple[str, int] | None:
        """Return the UID and the scale of a controller: a ReplicaSet's is its Deployment's. Raises Uncounted."""
        try:
            kind = kinds.by_kind(owner["apiVersion"], owner["kind"])
        except kinds.UnknownKind as error:
            version, name = owner["apiVersion"], owner["kind"]
            raise Uncounted(f'no matches for kind "{name}" in version "{version}"') from error
        if kind.scale is None:
            raise Uncounted(f"{kind.resource} does not implement the scale subresource")
        try:
            found = await self._client.get(kind.resource, namespace, owner["name"])
        except StatusError as error:
            if error.code != 404:
                raise
            return None
        if found["metadata"]["uid"] != owner["uid"]:
            return None
        above = _controller_of(found)
        if kind.kind == "ReplicaSet" and above is not None and above["kind"] == "Deployment":
            deployment = await self._scale(above, namespace)
            if deployment is not None:
                return deployment
        replicas: object = found
        for step in kind.scale.replicas.split("."):
            replicas = replicas.get(step) if isinstance(replicas, dict) else None
        return owner["uid"], replicas if isinstance(replicas, int) else 0

    def _now(self) -> str:
        return format_time(self._clock.now())

    # -- Pods that were to be disrupted, and stayed ----------------------------------------------

    def _staying(self, pod: Object) -> float | None:
        """Return the seconds after which a Pod that was to go is taken to stay, None when it need not be looked at."""
        status = pod.get("status") or {}
        condition: Object = next(
            (each for each in status.get("conditions") or () if each.get("type") == _TARGET), {}
        )
        over = status.get("phase") in ("Succeeded", "Failed")
        if condition.get("status") != "True" or over or "deletionTimestamp" in pod["metadata"]:
            return None
        if condition.get("reason") == _BY_KUBELET:
            return None
        since = condition.get("lastTransitionTime")
        passed = self._clock.now() - parse_time(since) if since else STALE
        return max(0.0, STALE - passed)

    async def _sync_stale(self, namespace: str, name: str) -> None:
        pod = self._pods.get(namespace, name)
        stay = self._staying(pod) if pod is not None else None
        if pod is None or stay is None:
            return
        if stay > 0:
            self._stale.look_later(namespace, name, stay)
            return
        made = {
            "type": _TARGET,
            "status": "False",
            "lastProbeTime": None,
            "lastTransitionTime": self._now(),
            "observedGeneration": pod["metadata"].get("generation", 0),
        }
        before = pod["status"]["conditions"]
        conditions = [made if each["type"] == _TARGET else each for each in before]
        changed = {**pod, "status": {**pod["status"], "conditions": conditions}}
        try:
            await self._client.update("pods", namespace, changed, subresource="status")
        except StatusError as error:
            if error.code != 409:  # the watch tells of a newer one, which is looked at for that
                raise


def _concerns(budget: Object, pod: Object) -> bool:
    same = budget["metadata"]["namespace"] == pod["metadata"]["namespace"]
    return same and selects(budget, pod)


def _controller_of(obj: Object) -> Object | None:
    owners = obj["metadata"].get("ownerReferences") or ()
    return next((each for each in owners if each.get("controller")), None)
