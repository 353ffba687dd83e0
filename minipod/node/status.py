"""A Pod's status, computed from what the host shows and what was known before. Pure.

The same inputs give an equal status, so that it is written only when something has changed.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from minipod.api.pod_resources import compute_enforced
from minipod.api.restart_rules import may_restart_all
from minipod.client import Object
from minipod.clock import format_time
from minipod.node.conditions import ConditionInputs, compute_conditions
from minipod.node.container_status import (
    StatusInputs,
    Waiting,
    compute_container_statuses,
    compute_ephemeral_statuses,
)
from minipod.node.deadline import MESSAGE, REASON, compute_deadline
from minipod.node.observed import ObservedPod
from minipod.node.phase import TERMINAL, compute_phase
from minipod.node.pods import host_network
from minipod.node.probes import ProbeResult
from minipod.node.qos import compute_qos
from minipod.node.restart import is_restarting_all

EVICTED = "Evicted"
MESSAGES_LIMIT = (
    12 * 1024
)  # bytes of termination messages that a Pod has, for its containers in equal parts

__all__ = ["NodeFacts", "Waiting", "compute_pod_status"]


@dataclass(frozen=True)
class Resize:
    """A resize that is not done: which condition tells of it, and why (KEP-1287)."""

    condition: Literal["PodResizePending", "PodResizeInProgress"]
    reason: str
    message: str
    generation: int = 0  # of the spec that was accepted


@dataclass(frozen=True)
class NodeFacts:
    """What only the node knows of a Pod."""

    host_ips: Sequence[str] = ()
    waiting: Mapping[str, Waiting] = field(default_factory=dict)  # why a container does not start
    probes: Mapping[str, ProbeResult] = field(default_factory=dict)  # by container ID
    terminal: bool = False  # the Pod's work is over: nothing will be started or restarted
    may_run: bool = False  # something of it may still take room: no final phase is told yet
    granted: Mapping[str, Object] = field(default_factory=dict)  # resources by container ID
    enforced: Object | None = None  # requests and limits of the whole Pod, as they hold now
    resize: Resize | None = None
    failure: tuple[str, str] | None = (
        None  # (reason, message): the node has failed the Pod (evicted, rejected)
    )
    disrupted: bool = False  # ... for its own sake, by no fault of the Pod's


_NOTHING = NodeFacts()


def compute_pod_status(
    pod: Object,
    observed: ObservedPod,
    now: float,
    previous_status: Object | None = None,
    facts: NodeFacts = _NOTHING,
) -> Object:
    """Return the Pod's status; `previous_status` (the Pod's own by default) is what must not be forgotten."""
    previous = previous_status if previous_status is not None else pod.get("status") or {}
    inputs = StatusInputs(
        pod,
        observed,
        previous,
        facts.waiting,
        facts.probes,
        terminal=facts.terminal,
        granted=facts.granted,
    )
    inits = compute_container_statuses(inputs, init=True)
    apps = compute_container_statuses(inputs, init=False)
    started = previous.get("startTime") or format_time(now)
    phase, reason, message = _phase(pod, previous, inits, apps, now, facts)
    status: Object = {}
    if pod["metadata"].get("generation"):
        status["observedGeneration"] = pod["metadata"]["generation"]
    status["phase"] = phase
    status["conditions"] = _conditions(inputs, phase, inits, apps, now, facts)
    if message:
        status["message"] = message
    if reason:
        status["reason"] = reason
    _set_addresses(status, pod, observed, previous, facts.host_ips)
    status["startTime"] = started
    silent = phase in TERMINAL and previous.get("phase") in TERMINAL and not _tells(previous)
    if not (silent or (facts.failure and _never_begun((*inits, *apps)))):
        if inits:
            status["initContainerStatuses"] = inits
        status["containerStatuses"] = apps
    ephemeral = compute_ephemeral_statuses(inputs)
    if ephemeral:
        status["ephemeralContainerStatuses"] = ephemeral
    _trim_messages((*inits, *apps, *ephemeral))
    status["qosClass"] = compute_qos(pod)
    _set_resources(status, pod, previous, facts)
    return status


def _conditions(
    inputs: StatusInputs,
    phase: str,
    inits: Sequence[Object],
    apps: Sequence[Object],
    now: float,
    facts: NodeFacts,
) -> list[Object]:
    pod, observed = inputs.pod, inputs.observed
    return compute_conditions(
        ConditionInputs(
            pod=pod,
            phase=phase,
            inits=inits,
            apps=apps,
            sandbox_ready=observed.sandbox is not None,
            previous=inputs.previous.get("conditions") or (),
            now=format_time(now),
            disruption=facts.failure[1] if facts.failure and facts.disrupted else "",
            restarting=is_restarting_all(pod, observed) if may_restart_all(pod["spec"]) else None,
            resize=_resize(facts),
        )
    )


def _tells(status: Object) -> bool:
    """Whether a status tells of containers; one of a Pod that was rejected does not, then and later."""
    return bool(status.get("containerStatuses") or status.get("initContainerStatuses"))


def _never_begun(statuses: Sequence[Object]) -> bool:
    """Whether the Pod was rejected before anything of it ran: then there is nothing to tell of its containers."""
    return not any(each.get("containerID") for each in statuses)


def _trim_messages(statuses: Sequence[Object]) -> None:
    """Cut termination messages to what each container may have of the Pod's (kubelet normalizeStatus)."""
    limit = MESSAGES_LIMIT // max(1, len(statuses))
    for each in statuses:
        for state in (each["state"], each["lastState"]):
            ended = state.get("terminated")
            if ended and len(message := ended.get("message", "").encode()) > limit:
                state["terminated"] = {
                    **ended,
                    "message": message[:limit].decode(errors="ignore"),
                }


def _set_resources(status: Object, pod: Object, previous: Object, facts: NodeFacts) -> None:
    """Set what the Pod was granted as a whole: a spec that asks for something else is to be heeded first."""
    known = facts.enforced if facts.enforced is not None else previous.get("resources")
    status["resources"] = compute_enforced(pod) if known is None else known
    if status["resources"].get("requests"):
        status["allocatedResources"] = status["resources"]["requests"]


def _resize(facts: NodeFacts) -> tuple[str, str, str] | None:
    found = facts.resize
    return (found.condition, found.reason, found.message) if found else None


def _phase(
    pod: Object,
    previous: Object,
    inits: Sequence[Object],
    apps: Sequence[Object],
    now: float,
    facts: NodeFacts,
) -> tuple[str, str, str]:
    """Return phase, reason and message. A phase that is final stays, and comes when nothing of the Pod takes any room.

    Others wait for it: the scheduler gives a Pod's place away as soon as it hears of the end.
    """
    former = previous.get("phase", "")
    kept = previous.get("reason", ""), previous.get("message", "")
    if former in TERMINAL:
        return former, *kept
    phase, reason, message = _present_phase(pod, previous, inits, apps, now, facts)
    if phase == former and not reason:
        return phase, *kept
    if phase in TERMINAL and facts.may_run:
        return former or "Pending", *kept
    return phase, reason, message


def _present_phase(
    pod: Object,
    previous: Object,
    inits: Sequence[Object],
    apps: Sequence[Object],
    now: float,
    facts: NodeFacts,
) -> tuple[str, str, str]:
    if facts.failure:
        return "Failed", *facts.failure
    deadline = compute_deadline(pod, previous)
    if deadline is not None and now >= deadline:
        return "Failed", REASON, MESSAGE
    return compute_phase(pod, inits, apps, terminal=facts.terminal), "", ""


def _set_addresses(
    status: Object, pod: Object, observed: ObservedPod, previous: Object, host_ips: Sequence[str]
) -> None:
    """Set the host's and the Pod's addresses; a Pod keeps the last one that it had."""
    if host_ips:
        status["hostIP"] = host_ips[0]
        status["hostIPs"] = [{"ip": each} for each in host_ips]
    else:
        status.update({key: previous[key] for key in ("hostIP", "hostIPs") if key in previous})
    address = observed.sandbox.address if observed.sandbox else ""
    if not address:
        address = next((each.address for each in observed.sandboxes if each.address), "")
    if host_network(pod) and observed.sandbox and host_ips:
        address = host_ips[0]
    address = address or previous.get("podIP", "")
    if address:
        status["podIP"] = address
        status["podIPs"] = [{"ip": address}]
