"""When a Pod is up, and what it still waits for (`apply --until-ready`, `run --rm`)."""

import sys
import time
from typing import TYPE_CHECKING, Any

from minipod.cli.errors import CliError, ServerError
from minipod.cli.resources import NODES
from minipod.cli.terminal import progress
from minipod.cli.waiting import Deadline, TimedOut, condition, wait_for

if TYPE_CHECKING:
    from minipod.cli.api import Api
    from minipod.cli.selection import Target

Object = dict[str, Any]
FINISHED = ("Succeeded", "Failed")
NODE_SECONDS = 0.2  # between two questions to a node


def compute_waiting(pod: Object) -> str:
    """Return what a Pod waits for, in one line; "" when it is Ready or has finished."""
    status = pod.get("status") or {}
    phase = status.get("phase", "Pending")
    ready = condition(pod, "Ready")
    if pod["metadata"].get("deletionTimestamp"):
        return "it is being deleted"
    if phase in FINISHED:
        return ""
    if former := _tells_of_former(pod):
        return former
    if ready and ready.get("status") == "True":
        return ""
    if _has_all_it_will_have(pod):
        return ""
    for each in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        reason = _container_waits(each)
        if reason:
            return reason
    scheduled = condition(pod, "PodScheduled")
    if scheduled and scheduled.get("status") == "False":
        return str(scheduled.get("message") or scheduled.get("reason") or "not scheduled")
    return str(status.get("message") or (ready or {}).get("message") or f"phase {phase}")


def _tells_of_former(pod: Object) -> str:
    """Return why the status is that of a former spec; "" when it is not. Of all that may change, images matter."""
    status = pod.get("status") or {}
    if status.get("observedGeneration", 0) < pod["metadata"].get("generation", 0):
        return "its node has yet to heed the change"
    wanted = {each["name"]: each.get("image") for each in pod["spec"].get("containers") or ()}
    for each in status.get("containerStatuses") or ():
        name, image = each.get("name"), each.get("image")
        if image and wanted.get(name, image) != image and "running" in (each.get("state") or {}):
            return f'container "{name}": still runs image "{image}"'
    return ""


def _has_all_it_will_have(pod: Object) -> bool:
    """Whether each container is ready, or has ended well and will not run again: no more is to be waited for."""
    spec, statuses = pod.get("spec") or {}, (pod.get("status") or {}).get("containerStatuses") or []
    if spec.get("restartPolicy") not in ("Never", "OnFailure"):
        return False
    if not statuses or len(statuses) < len(spec.get("containers") or ()):
        return False
    return all(each.get("ready") or _ended_well(each) for each in statuses)


def _ended_well(status: Object) -> bool:
    ended = (status.get("state") or {}).get("terminated")
    return ended is not None and ended.get("exitCode") == 0


def _container_waits(status: Object) -> str:
    name, state = status.get("name"), status.get("state") or {}
    waiting, ended = state.get("waiting"), state.get("terminated")
    if waiting:
        detail = waiting.get("message")
        return f'container "{name}": {waiting.get("reason", "waiting")}' + (
            f": {detail}" if detail else ""
        )
    if ended and ended.get("exitCode"):
        return _end_of(status)
    if "running" in state and not status.get("ready"):
        return f'container "{name}": running, not ready yet'
    return ""


def settle(api: "Api", target: "Target", deadline: Deadline, pod: Object) -> Object:
    """Return the Pod once it is Ready or has finished well; `pod` is what is known of it. Raises as `wait_until_ready`.

    One that is said to be ready already may have been so long ago: its node is asked, which cannot always write what
    it knows (a full disk). What comes later comes in order.
    """
    while not (waits := compute_waiting(pod)) and (waits := _node_waits(api, pod)):
        try:
            time.sleep(min(NODE_SECONDS, deadline.left()))
        except TimeoutError:
            raise TimedOut(f"timed out waiting for {target.label}: {waits}") from None
        pod = api.get(target.resource, target.namespace, target.name)
    if not waits:
        return pod
    return wait_until_ready(api, target, deadline, pod["metadata"].get("resourceVersion", ""))


def _node_waits(api: "Api", pod: Object) -> str:
    """Return what a Pod waits for as its node knows it; "" for nothing, without a node, or where we may not ask it."""
    node = (pod.get("spec") or {}).get("nodeName")
    if not node or (pod.get("status") or {}).get("phase") in FINISHED:
        return ""
    try:
        found = api.get_path(f"{NODES.path('', node, 'proxy')}/pods")
    except ServerError as refused:
        if refused.code != 403:
            raise
        return ""
    for each in found.get("items") or ():
        if each["metadata"]["uid"] == pod["metadata"]["uid"]:
            return compute_waiting(each)
    return f'node "{node}" does not know it yet'


def wait_until_ready(api: "Api", target: "Target", deadline: Deadline, since: str = "") -> Object:
    """Return the Pod once it is Ready or has finished well, showing on the way what it waits for.

    Raises CliError when it fails or is deleted, TimedOut with what it was waiting for last.
    """
    shown = ""

    def settled(pod: Object | None) -> Object | None:
        nonlocal shown
        if pod is None:
            raise CliError(f"{target.label} was deleted while waiting for it")
        waits = compute_waiting(pod)
        if waits and waits != shown:
            shown = waits
            if sys.stderr.isatty() or _worth_telling(waits):
                progress(f"{target.label} waits: {waits}")
        return None if waits else pod

    try:
        pod = wait_for(api, target, settled, deadline, since=since)
    except TimedOut as late:
        raise TimedOut(
            f"timed out waiting for {target.label}: {shown or 'it never appeared'}"
        ) from late
    if (pod.get("status") or {}).get("phase") == "Failed":
        raise CliError(f"{target.label} failed: {_failure(pod)}")
    return pod


def _worth_telling(waits: str) -> bool:
    """Tell whether a reason is more than the ordinary way up (which a log need not have)."""
    ordinary = (
        "phase Pending",
        "ContainerCreating",
        "PodInitializing",
        "containers with un",
        "not ready yet",
        "yet to heed",
    )
    return not any(each in waits for each in ordinary)


def _failure(pod: Object) -> str:
    status = pod["status"]
    if status.get("reason") or status.get("message"):
        return ": ".join(str(status[key]) for key in ("reason", "message") if status.get(key))
    for each in [
        *(status.get("initContainerStatuses") or []),
        *(status.get("containerStatuses") or []),
    ]:
        ended = (each.get("state") or {}).get("terminated") or {}
        if ended.get("exitCode"):
            return _end_of(each)
    return "no reason given"


def _end_of(status: Object) -> str:
    """Return how a container has ended badly; of one that was never started, why: it has no log to look at."""
    ended = status["state"]["terminated"]
    reason = ended.get("reason", "Error")
    why = f": {ended['message']}" if reason == "StartError" and ended.get("message") else ""
    return f'container "{status.get("name")}": {reason}, exit code {ended["exitCode"]}{why}'
