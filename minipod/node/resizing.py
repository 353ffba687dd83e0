"""In-place resize of cpu and memory (KEP-1287): what was granted, what is asked for now, and the way there.

What a container was granted last is in its status, so that a restarted daemon goes on from there. A resize that does
not fit the node is kept waiting (`PodResizePending`), one that is accepted is told of until it is done, and why if it
fails halfway (`PodResizeInProgress`).
"""

import asyncio
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil
from typing import Literal

from minipod.api.pod_resources import compute_enforced, compute_granted, compute_pod_amounts
from minipod.api.quantity import canonical, parse
from minipod.client import Object
from minipod.linux import cgroup
from minipod.node.node_object import compute_throttling
from minipod.node.observed import ObservedContainer, ObservedPod
from minipod.node.parts import Parts
from minipod.node.pods import containers_of, is_finished, uid_of
from minipod.node.resources import (
    compute_container_resources,
    compute_pod_resources,
    pod_limits,
)
from minipod.node.status import Resize
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import Resources

PENDING: Literal["PodResizePending"] = "PodResizePending"
IN_PROGRESS: Literal["PodResizeInProgress"] = "PodResizeInProgress"
RETRY = 30.0  # seconds until a resize that had to wait is tried again
_MILLI = 1000
_NOTHING = Fraction()

Fit = Literal["", "Infeasible", "Deferred"]


@dataclass(frozen=True)
class Change:
    """One running container whose resources are to become others."""

    container: Object
    observed: ObservedContainer
    wanted: Object  # limits of the Pod's own included
    granted: Object

    @property
    def restarts(self) -> bool:
        """Whether a resource changes that the container has asked to be restarted for."""
        policies = {
            each["resourceName"]: each["restartPolicy"]
            for each in self.container.get("resizePolicy") or ()
        }
        return any(
            policies.get(name) == "RestartContainer"
            and _amounts(self.wanted, name) != _amounts(self.granted, name)
            for name in ("cpu", "memory")
        )


def compute_changes(pod: Object, observed: ObservedPod) -> list[Change]:
    """Return the running containers that were granted something else than the spec asks for. Pure."""
    status = pod.get("status") or {}
    known = {
        each.get("containerID", "").partition("://")[2]: each.get("resources")
        for group in ("initContainerStatuses", "containerStatuses")
        for each in status.get(group) or ()
    }
    now, whole = pod_limits(pod), status.get("resources")
    before = {name: each for name, each in _limits(whole).items() if name in now}
    changes = [
        Change(
            container,
            latest,
            _with_limits(container.get("resources"), now),
            _with_limits(known[latest.id], now if whole is None else before),
        )
        for container, latest in _running(pod, observed)
        if known.get(latest.id) is not None
    ]
    return [each for each in changes if _comparable(each.wanted) != _comparable(each.granted)]


def has_pod_change(pod: Object) -> bool:
    """Return whether the Pod as a whole was granted something else than its spec asks for. Pure."""
    known = (pod.get("status") or {}).get("resources")
    return known is not None and _comparable(known) != _comparable(compute_enforced(pod))


def _limits(resources: Object | None) -> Object:
    found: Object = (resources or {}).get("limits") or {}
    return found


def _with_limits(resources: Object | None, inherited: Object) -> Object:
    found = resources or {}
    return {**found, "limits": {**inherited, **_limits(found)}}


def _running(pod: Object, observed: ObservedPod) -> Iterator[tuple[Object, ObservedContainer]]:
    for _, container in containers_of(pod):
        latest = observed.latest(container["name"])
        if latest and latest.running:
            yield container, latest


def _comparable(resources: Object | None) -> Object:
    found = resources or {}
    return {name: _amounts(found, name) for name in ("cpu", "memory")}


def _amounts(resources: Object, name: str) -> tuple[object, object]:
    """Return (request, limit) as numbers: "1" and "1000m" are the same."""
    parts = [(resources.get(part) or {}).get(name) for part in ("requests", "limits")]
    request, limit = (None if each is None else parse(str(each)) for each in parts)
    return request, limit


def compute_fit(pod: Object, others: Sequence[Object], allocatable: Object) -> tuple[Fit, str]:
    """Return whether the node has room for the Pod's new requests, and the kubelet's sentence when not. Pure."""
    wanted, taken = compute_pod_amounts(pod, "requests"), [compute_granted(each) for each in others]
    for name in ("cpu", "memory"):
        scale = _MILLI if name == "cpu" else 1
        capacity = ceil(parse(allocatable[name]) * scale)
        asked = ceil(wanted.get(name, _NOTHING) * scale)
        if asked > capacity:
            text = f"{name}, requested: {asked}, capacity: {capacity}"
            return "Infeasible", f"Node didn't have enough capacity: {text}"
        used = sum(ceil(each.get(name, _NOTHING) * scale) for each in taken)
        if asked and asked + used > capacity:
            text = f"{name}, requested: {asked}, used: {used}, capacity: {capacity}"
            return "Deferred", f"Node didn't have enough resource: {text}"
    return "", ""


def generation_of(pod: Object) -> int:
    """Return the version of the spec that a Pod has."""
    return int(pod["metadata"].get("generation") or 0)


def compute_message(words: str, pod: Object, error: str = "") -> str:
    """Return what an Event tells of a resize: the resources that are asked for, as the kubelet writes them."""
    told: Object = {
        group: [
            {"name": each["name"], "resources": _shown(each.get("resources") or {})}
            for each in pod["spec"][group]
        ]
        for group in ("initContainers", "containers")
        if pod["spec"].get(group)
    }
    told["generation"] = generation_of(pod)
    if error:
        told["error"] = error
    return f"{words}: {json.dumps(told, separators=(',', ':'))}"


def _shown(resources: Object) -> Object:
    return {
        part: {name: canonical(resources[part][name]) for name in sorted(resources[part])}
        for part in ("limits", "requests")
        if resources.get(part)
    }


class Resizer:
    """Brings the cgroups of running containers to what the spec asks for."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def resize(self, pod: Object) -> list[Change]:
        """Resize what can be resized in place; return what must be restarted for it."""
        parts, memory = self._parts, self._parts.memory(uid_of(pod))
        observed = parts.observe(pod)
        changes = compute_changes(pod, observed)
        if not changes and not (observed.sandbox and has_pod_change(pod)):
            self._end(pod)
            return []
        others = [each for each in parts.node_pods() if uid_of(each) != uid_of(pod)]
        alive = [each for each in others if not is_finished(each)]
        fit, message = compute_fit(pod, alive, parts.allocatable)
        if fit:
            self._tell(pod, Resize(PENDING, fit, message), f"Resize{fit}", f"Pod resize {fit}")
            return []
        self._begin(pod)
        restarts = [each for each in changes if each.restarts]
        try:
            await self._apply(pod, [each for each in changes if not each.restarts])
        except (RuntimeFailure, OSError) as error:
            failed = Resize(IN_PROGRESS, "Error", str(error), generation_of(pod))
            self._tell(pod, failed, "ResizeError", "Pod resize error")
            return []
        memory.enforced = compute_enforced(pod)
        if not restarts:
            self._end(pod)
        parts.report(pod)
        parts.room.take(parts.current(pod))
        return restarts

    def _begin(self, pod: Object) -> None:
        """Tell of a resize that the node has accepted, once."""
        memory, generation = self._parts.memory(uid_of(pod)), generation_of(pod)
        known = memory.resize
        if known is None or (known.condition, known.generation) != (IN_PROGRESS, generation):
            memory.resize = Resize(IN_PROGRESS, "", "", generation)
            said = compute_message("Pod resize started", pod)
            self._parts.event(pod, "Normal", "ResizeStarted", said)

    def _end(self, pod: Object) -> None:
        """There is nothing to do any more: tell of it if there was."""
        memory = self._parts.memory(uid_of(pod))
        if memory.resize and memory.resize.condition == IN_PROGRESS:
            said = compute_message("Pod resize completed", pod)
            self._parts.event(pod, "Normal", "ResizeCompleted", said)
        memory.resize = None

    def _tell(self, pod: Object, resize: Resize, reason: str, words: str) -> None:
        memory = self._parts.memory(uid_of(pod))
        if memory.resize != resize:
            said = compute_message(words, pod, resize.message)
            self._parts.event(pod, "Warning", reason, said)
        memory.resize = resize

    async def _apply(self, pod: Object, changes: Sequence[Change]) -> None:
        """The Pod's cgroup is widened before the containers', and narrowed after them."""
        path = f"{self._parts.runtime.pod_cgroups}/pod{uid_of(pod)}"
        whole = compute_pod_resources(pod, self._parts.config.pod_pids_limit)
        await asyncio.to_thread(_limit, path, whole, widen=True)
        for change in changes:
            wanted = compute_container_resources(
                change.container, pod_limits(pod), compute_throttling(self._parts.config)
            )
            _check_usage(f"{path}/{change.observed.id}", wanted, change.container["name"])
            await self._parts.runtime.update_resources(change.observed.id, wanted)
            granted = change.container.get("resources") or {}
            self._parts.memory(uid_of(pod)).granted[change.observed.id] = granted
        await asyncio.to_thread(_limit, path, whole, widen=False)


def _check_usage(path: str, wanted: Resources, name: str) -> None:
    """A limit below what is in use would kill the container at once: it is not set (kubelet validateMemoryResize)."""
    usage = cgroup.stats(cgroup.this_host(), path).memory_usage_bytes
    if wanted.memory_bytes is not None and usage is not None and usage > wanted.memory_bytes:
        raise OSError(
            f'attempting to set container "{name}" memory limit ({wanted.memory_bytes}) '
            f"below current usage ({usage})"
        )


def _limit(path: str, resources: Resources, *, widen: bool) -> None:
    """Write the Pod's own limits; while widening, only those that are wider than before (blocking)."""
    layout = cgroup.this_host()
    limits = cgroup.settings(
        layout,
        cpu_shares=resources.cpu_shares,
        cpu_quota_us=resources.cpu_quota_us if resources.cpu_quota_us is not None else -1,
        cpu_period_us=resources.cpu_period_us,
        memory_bytes=resources.memory_bytes,
    )
    for controller, file, content in limits:
        place = f"{layout.directory(controller, path)}/{file}"
        if not widen or cgroup.is_wider(place, content):
            cgroup.write(place, content)
