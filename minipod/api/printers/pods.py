"""What `get pods` shows. The STATUS cell sums up a Pod in one word, by upstream's rules."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from minipod.api.kind import Column
from minipod.api.printers.durations import age, human_duration, parse_time

Object = dict[str, Any]

NONE = "<none>"
COLUMNS = (
    Column("Name", format="name", description="Name of the Pod, unique in its namespace."),
    Column("Ready", description="How many of its containers are ready, of how many."),
    Column("Status", description="What the Pod and its containers are doing, in a word."),
    Column("Restarts", description="How often containers were restarted, and when last."),
    Column("Age", description="Time since creation."),
    Column("IP", description="The Pod's primary address.", priority=1),
    Column("Node", description="The node that runs the Pod.", priority=1),
    Column("Nominated Node", description="The node where room is being made for it.", priority=1),
    Column(
        "Readiness Gates", description="How many extra conditions for readiness hold.", priority=1
    ),
)
_UNREACHABLE = "NodeLost"


def cells(pod: Object, now: datetime) -> list[Any]:
    """Return the cells of a Pod's row."""
    metadata, spec, status = pod["metadata"], pod.get("spec") or {}, pod.get("status") or {}
    summary = summarize(pod)
    addresses = status.get("podIPs") or ([{"ip": status["podIP"]}] if status.get("podIP") else [])
    return [
        metadata.get("name", ""),
        f"{summary.ready}/{summary.total}",
        summary.status,
        _restarts(summary, now),
        age(metadata.get("creationTimestamp"), now),
        addresses[0].get("ip") or NONE if addresses else NONE,
        spec.get("nodeName") or NONE,
        status.get("nominatedNodeName") or NONE,
        _readiness_gates(spec, status),
    ]


@dataclass
class Summary:
    """A Pod in short."""

    status: str
    total: int
    ready: int = 0
    restarts: int = 0
    last_restart: datetime | None = None
    initializing: bool = field(default=False)

    def count_restarts(self, container: Object) -> None:
        """Add one container's restarts."""
        self.restarts += container.get("restartCount") or 0
        ended = (container.get("lastState") or {}).get("terminated") or {}
        moment = parse_time(ended.get("finishedAt"))
        if moment and (self.last_restart is None or moment > self.last_restart):
            self.last_restart = moment


def summarize(pod: Object) -> Summary:
    """Return a Pod's status word, readiness and restarts."""
    spec, status = pod.get("spec") or {}, pod.get("status") or {}
    sidecars = {
        each.get("name")
        for each in spec.get("initContainers") or ()
        if each.get("restartPolicy") == "Always"
    }
    summary = Summary(_base_status(status), len(spec.get("containers") or ()) + len(sidecars))
    initial = _summarize_init(summary, spec, status, sidecars)
    if not summary.initializing or _is_true(status, "Initialized"):
        summary.restarts, summary.last_restart = initial.restarts, initial.last_restart
        _summarize_containers(summary, status)
    _summarize_deletion(summary, pod)
    return summary


def _base_status(status: Object) -> str:
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("reason") == "SchedulingGated":
            return "SchedulingGated"
    return str(status.get("reason") or status.get("phase") or "")


def _summarize_init(summary: Summary, spec: Object, status: Object, sidecars: set[Any]) -> Summary:
    """Look at the init containers up to the one that is not done. Returns the restarts of the sidecars alone."""
    of_sidecars = Summary("", 0)
    count = len(spec.get("initContainers") or ())
    for index, container in enumerate(status.get("initContainerStatuses") or ()):
        is_sidecar = container.get("name") in sidecars
        summary.count_restarts(container)
        if is_sidecar:
            of_sidecars.count_restarts(container)
        state = container.get("state") or {}
        ended = state.get("terminated")
        if ended is not None and not ended.get("exitCode"):
            continue
        if is_sidecar and container.get("started"):
            summary.ready += bool(container.get("ready"))
            continue
        summary.initializing = True
        waiting = (state.get("waiting") or {}).get("reason") or ""
        if ended is not None:
            summary.status = f"Init:{ended.get('reason') or _exit_word(ended)}"
        elif waiting and waiting != "PodInitializing":
            summary.status = f"Init:{waiting}"
        else:
            summary.status = f"Init:{index}/{count}"
        break
    return of_sidecars


def _summarize_containers(summary: Summary, status: Object) -> None:
    """Look at the containers from the last to the first: the first that has something to say wins."""
    running = False
    for container in reversed(status.get("containerStatuses") or []):
        summary.count_restarts(container)
        state = container.get("state") or {}
        ended = state.get("terminated")
        waiting = (state.get("waiting") or {}).get("reason")
        if waiting:
            summary.status = waiting
        elif ended is not None:
            summary.status = ended.get("reason") or _exit_word(ended)
        elif container.get("ready") and state.get("running") is not None:
            running = True
            summary.ready += 1
    if summary.status == "Completed" and running:
        summary.status = "Running" if _is_true(status, "Ready") else "NotReady"


def _summarize_deletion(summary: Summary, pod: Object) -> None:
    if not pod["metadata"].get("deletionTimestamp"):
        return
    status = pod.get("status") or {}
    if status.get("reason") == _UNREACHABLE:
        summary.status = "Unknown"
    elif status.get("phase") not in ("Succeeded", "Failed"):
        summary.status = "Terminating"


def _exit_word(ended: Object) -> str:
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


def _is_true(status: Object, name: str) -> bool:
    return any(
        each.get("type") == name and each.get("status") == "True" for each in _conditions(status)
    )


def _conditions(status: Object) -> Iterable[Object]:
    return status.get("conditions") or ()


def _restarts(summary: Summary, now: datetime) -> str:
    if summary.restarts and summary.last_restart:
        return f"{summary.restarts} ({human_duration(now - summary.last_restart)} ago)"
    return str(summary.restarts)


def _readiness_gates(spec: Object, status: Object) -> str:
    gates = spec.get("readinessGates") or []
    if not gates:
        return NONE
    holding = sum(_is_true(status, each.get("conditionType", "")) for each in gates)
    return f"{holding}/{len(gates)}"
