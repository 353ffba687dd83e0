"""A Pod's phase, from its containers' statuses (kubelet getPhase). Pure."""

from collections import Counter
from collections.abc import Mapping, Sequence

from minipod.client import Object
from minipod.node.pods import is_sidecar
from minipod.node.restart import should_restart

TERMINAL = ("Succeeded", "Failed")


def with_final_phase(status: Object, newest: Object) -> Object:
    """Return a status of ours with the end that the API has for the Pod: it never leaves it, whoever has said it."""
    if newest.get("phase") not in TERMINAL or newest["phase"] == status.get("phase"):
        return status
    told = {key: newest[key] for key in ("phase", "reason", "message") if newest.get(key)}
    return {**status, **told}


def compute_phase(
    pod: Object, inits: Sequence[Object], apps: Sequence[Object], *, terminal: bool
) -> str:
    """Return the phase; `terminal`: the Pod's work is over, so nothing will be restarted."""
    started = any(_has_started(each) for each in apps)
    pending_init, pending_sidecar, failed, running_sidecars = _count_inits(pod, inits)
    if failed:
        return "Failed"
    counts = _count_apps(pod, {each["name"]: each for each in apps})
    counts["running"] += running_sidecars
    if pending_init or (pending_sidecar and not started) or counts["waiting"]:
        return "Failed" if terminal else "Pending"
    if counts["unknown"]:
        return "Pending"
    if counts["running"]:
        return "Running"
    if not counts["stopped"]:
        return "Pending"
    if counts["stopped"] != counts["final"] and not terminal:
        return "Running"  # at least one is about to be restarted
    return "Succeeded" if counts["stopped"] == counts["succeeded"] else "Failed"


def _count_inits(pod: Object, statuses: Sequence[Object]) -> tuple[int, int, bool, int]:
    """Return (regular ones not done, sidecars not started, whether one failed for good, sidecars that run)."""
    known = {each["name"]: each for each in statuses}
    pending = pending_sidecars = running_sidecars = 0
    failed = False
    for container in pod["spec"].get("initContainers") or ():
        status = known.get(container["name"]) or {}
        state = status.get("state") or {}
        ended = _ended(status)
        if is_sidecar(container):
            running = "running" in state
            running_sidecars += running
            pending_sidecars += not ended and not (running and status.get("started"))
            continue
        done = ended is not None and ended["exitCode"] == 0
        pending += not done
        if ended is not None and not done:
            failed = failed or not _init_restarts(pod, container, ended["exitCode"])
    return pending, pending_sidecars, failed, running_sidecars


def _init_restarts(pod: Object, container: Object, exit_code: int) -> bool:
    if container.get("restartPolicy"):
        return should_restart(container, pod, exit_code)
    return bool(pod["spec"].get("restartPolicy", "Always") != "Never")


def _count_apps(pod: Object, statuses: Mapping[str, Object]) -> Counter[str]:
    counts: Counter[str] = Counter()
    for container in pod["spec"]["containers"]:
        status = statuses.get(container["name"]) or {}
        state, ended = status.get("state") or {}, _ended(status)
        if "running" in state:
            counts["running"] += 1
        elif ended is not None:
            counts["stopped"] += 1
            counts["final"] += not should_restart(container, pod, ended["exitCode"])
            counts["succeeded"] += "terminated" in state and ended["exitCode"] == 0
        else:
            counts["waiting" if "waiting" in state else "unknown"] += 1
    return counts


def _ended(status: Object) -> Object | None:
    """Return how a container that does not run has ended last, if it ever ran."""
    state = status.get("state") or {}
    if "terminated" in state:
        found: Object = state["terminated"]
        return found
    if "waiting" in state:
        return (status.get("lastState") or {}).get("terminated")
    return None


def _has_started(status: Object) -> bool:
    """Whether an app container has ever run."""
    return "running" in (status.get("state") or {}) or _ended(status) is not None
