"""The status of each container, from what runs, what was known before, and what could not be done. Pure.

Nothing known is ever unlearned: restart counts never go back, and the end of a container that the runtime has forgotten
stays in its status (kubelet convertToAPIContainerStatuses).
"""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from minipod.client import Object
from minipod.clock import format_time
from minipod.node.observed import ObservedContainer, ObservedPod, has_run
from minipod.node.pods import is_deleted, is_sidecar
from minipod.node.probes import WELL, ProbeResult
from minipod.node.restart import should_restart, should_start
from minipod.node.volumes import is_recursive_read_only

UNKNOWN = "ContainerStatusUnknown"
UNKNOWN_EXIT = 137


@dataclass(frozen=True)
class Waiting:
    """Why a container does not run: a failed step, or the back-off ("CrashLoopBackOff")."""

    reason: str
    message: str = ""


@dataclass(frozen=True)
class StatusInputs:
    """All that the statuses are computed from."""

    pod: Object
    observed: ObservedPod
    previous: Object  # the Pod's last status
    waiting: Mapping[str, Waiting]  # by container name
    probes: Mapping[str, ProbeResult]  # by container ID
    terminal: bool  # the Pod's work is over: what is not known to have ended is lost
    granted: Mapping[str, Object] = field(default_factory=dict)  # resources by container ID


def compute_ephemeral_statuses(inputs: StatusInputs) -> list[Object]:
    """Return the statuses of the ephemeral containers: never ready, never restarted."""
    group = inputs.previous.get("ephemeralContainerStatuses") or ()
    known = {each["name"]: each for each in group}
    statuses = []
    for container in inputs.pod["spec"].get("ephemeralContainers") or ():
        once = {**container, "restartPolicy": "Never"}
        status = _status(
            inputs, once, known.get(container["name"]), "ContainerCreating", init=False
        )
        status["ready"] = False
        status.pop("started", None)
        statuses.append(status)
    return statuses


def compute_container_statuses(inputs: StatusInputs, *, init: bool) -> list[Object]:
    """Return the statuses of the app containers or of the init containers, in the spec's order."""
    spec = inputs.pod["spec"]
    containers = spec.get("initContainers") or () if init else spec["containers"]
    group = "initContainerStatuses" if init else "containerStatuses"
    known = {each["name"]: each for each in inputs.previous.get(group) or ()}
    default = "PodInitializing" if spec.get("initContainers") and not init else "ContainerCreating"
    if init:
        default = "PodInitializing"
    return [
        _status(inputs, container, known.get(container["name"]), default, init=init)
        for container in containers
    ]


def _status(
    inputs: StatusInputs, container: Object, known: Object | None, default: str, *, init: bool
) -> Object:
    attempts = inputs.observed.attempts(container["name"])
    status = _unobserved(container, known, default)
    if attempts:
        status = _observed(container, attempts, known)
    waiting = inputs.waiting.get(container["name"])
    if waiting and _may_wait(inputs, container, attempts, init=init):
        _set_waiting(status, waiting)
    if inputs.terminal:
        _end(status)
    latest = attempts[0] if attempts else None
    _set_readiness(status, container, latest, inputs.probes, init=init)
    _add_spec_fields(status, container)
    _set_resources(status, container, known, inputs.granted)
    return status


def _observed(
    container: Object, attempts: Sequence[ObservedContainer], known: Object | None
) -> Object:
    latest = attempts[0]
    status = _blank(container)
    status["containerID"] = f"minipod://{latest.id}"
    status["imageID"] = latest.image_id
    status["restartCount"] = latest.attempt
    status["state"] = _state(latest)
    if known:
        if known.get("containerID") == status["containerID"] and known.get("image"):
            status["image"] = known["image"]  # the spec may have another by now
        status["restartCount"] = max(latest.attempt, int(known.get("restartCount", 0)))
        status["lastState"] = _last_state(status, known)
    ended = next((each for each in attempts[1:] if not each.running), None)
    if ended:
        status["lastState"] = _state(ended)
    return status


def _last_state(status: Object, known: Object) -> Object:
    """Return the last end that the former status knows of an earlier attempt."""
    former = known.get("state") or {}
    if known.get("containerID") != status["containerID"] and "terminated" in former:
        return {"terminated": former["terminated"]}
    last = known.get("lastState") or {}
    own = (last.get("terminated") or {}).get("containerID") == status["containerID"]
    return {} if own else copy.deepcopy(last)


def _state(container: ObservedContainer) -> Object:
    started = format_time(container.started_at) if container.started_at else None
    if container.running:
        return {"running": {"startedAt": started}}
    reason = container.reason or ("Completed" if container.exit_code == 0 else "Error")
    ended: Object = {"exitCode": container.exit_code}
    ended["reason"] = reason
    if container.message:
        ended["message"] = container.message
    ended["startedAt"] = started
    ended["finishedAt"] = format_time(container.finished_at)
    ended["containerID"] = f"minipod://{container.id}"
    return {"terminated": ended}


def _unobserved(container: Object, known: Object | None, default: str) -> Object:
    """A container that the runtime does not know: new, forgotten, or lost."""
    status = _blank(container)
    status["state"] = {"waiting": {"reason": default}}
    if known is None:
        return status
    state = known.get("state") or {}
    if "terminated" in state:
        return copy.deepcopy(known)
    status["restartCount"] = known.get("restartCount", 0)
    status["lastState"] = copy.deepcopy(known.get("lastState") or {})
    if "running" in state:
        status["lastState"] = {"terminated": _lost(known)}
    elif has_run(known) and "waiting" in state:
        status["state"] = copy.deepcopy(state)
    return status


def _lost(known: Object) -> Object:
    lost: Object = {
        "exitCode": UNKNOWN_EXIT,
        "reason": UNKNOWN,
        "message": "The container could not be located when the pod was deleted.  "
        "The container used to be Running",
        "startedAt": (known["state"].get("running") or {}).get("startedAt"),
        "finishedAt": None,
    }
    if known.get("containerID"):
        lost["containerID"] = known["containerID"]
    return lost


def _blank(container: Object) -> Object:
    return {
        "name": container["name"],
        "state": {},
        "lastState": {},
        "ready": False,
        "restartCount": 0,
        "image": container.get("image", ""),
        "imageID": "",
        "started": False,
    }


def _may_wait(
    inputs: StatusInputs,
    container: Object,
    attempts: Sequence[ObservedContainer],
    *,
    init: bool,
) -> bool:
    """Whether a failure to start still matters: the container neither runs nor has ended for good."""
    if is_deleted(inputs.pod):
        return False
    latest = attempts[0] if attempts else None
    if not init or is_sidecar(container) or container.get("restartPolicy"):
        own = container if not is_sidecar(container) else {**container, "restartPolicy": "Always"}
        return should_start(own, inputs.pod, latest)
    return latest is None or (latest.failed and should_restart({}, inputs.pod, latest.exit_code))


def _set_waiting(status: Object, waiting: Waiting) -> None:
    if "terminated" in status["state"]:
        status["lastState"] = status["state"]
    shown: Object = {"reason": waiting.reason}
    if waiting.message:
        shown["message"] = waiting.message
    status["state"] = {"waiting": shown}


def _end(status: Object) -> None:
    """The Pod is over: a container that is not known to have ended has been lost."""
    state = status["state"]
    if "terminated" in state:
        return
    last = status["lastState"].get("terminated")
    if last and "waiting" in state:
        status["state"], status["lastState"] = {"terminated": last}, {}
        return
    if "waiting" in state and not status.get("containerID"):
        return  # never ran
    status["state"] = {
        "terminated": {
            "exitCode": UNKNOWN_EXIT,
            "reason": UNKNOWN,
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None,
            "finishedAt": None,
        }
    }


def _set_readiness(
    status: Object,
    container: Object,
    latest: ObservedContainer | None,
    probes: Mapping[str, ProbeResult],
    *,
    init: bool,
) -> None:
    """Set `started` and `ready` (kubelet prober UpdatePodStatus)."""
    running = "running" in status["state"]
    probe = probes.get(latest.id, WELL) if latest else WELL
    status["started"] = running and probe.started
    if init and not is_sidecar(container):
        status["ready"] = (status["state"].get("terminated") or {}).get("exitCode") == 0
    else:
        status["ready"] = bool(status["started"] and probe.ready)


def _add_spec_fields(status: Object, container: Object) -> None:
    """Add what the spec says and the host has done."""
    stop_signal = (container.get("lifecycle") or {}).get("stopSignal")
    if stop_signal and "running" in status["state"]:
        status["stopSignal"] = stop_signal  # KEP-4960
    mounts = [_volume_mount(each) for each in container.get("volumeMounts") or ()]
    if mounts:
        status["volumeMounts"] = mounts


def _set_resources(
    status: Object, container: Object, known: Object | None, granted: Mapping[str, Object]
) -> None:
    """Show what the running container was granted: what its spec asked for when it was started, or resized to."""
    status.pop("resources", None)
    status.pop("allocatedResources", None)
    if "running" not in status["state"]:
        return
    identifier = status.get("containerID", "")
    same = known is not None and known.get("containerID") == identifier
    asked = container.get("resources") or {}
    former = (known or {}).get("resources", {}) if same else asked
    given = granted.get(identifier.partition("://")[2], former)
    resources = {key: value for key, value in given.items() if value}
    status["resources"] = copy.deepcopy(resources)
    if resources.get("requests"):
        status["allocatedResources"] = copy.deepcopy(resources["requests"])


def _volume_mount(mount: Object) -> Object:
    shown: Object = {"name": mount["name"], "mountPath": mount["mountPath"]}
    if mount.get("readOnly"):
        recursive = "Enabled" if is_recursive_read_only(mount) else "Disabled"
        shown |= {"readOnly": True, "recursiveReadOnly": recursive}
    return shown
