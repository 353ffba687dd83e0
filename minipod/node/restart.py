"""Whether an ended container is started again: the Pod's policy, the container's own, its rules (KEP-5307). Pure."""

from minipod.api.restart_rules import RESTART_ALL, is_restarted, matching_action
from minipod.client import Object
from minipod.node.observed import ObservedContainer, ObservedPod
from minipod.node.pods import containers_of


def should_restart(container: Object, pod: Object, exit_code: int) -> bool:
    """Return whether a container that ended with `exit_code` is to be started again."""
    return is_restarted(container, pod["spec"].get("restartPolicy", "Always"), exit_code)


def should_start(container: Object, pod: Object, latest: ObservedContainer | None) -> bool:
    """Return whether a container is to be started, given its latest attempt."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    if latest is None:
        return True
    return not latest.running and should_restart(container, pod, latest.exit_code)


def is_restartable(pod: Object) -> bool:
    """Whether anything in the Pod may ever be restarted: else a lost sandbox is the Pod's end."""
    if pod["spec"].get("restartPolicy", "Always") != "Never":
        return True
    return any(each.get("restartPolicyRules") for each in pod["spec"]["containers"]) or any(
        each.get("restartPolicy") in ("Always", "OnFailure") for each in pod["spec"]["containers"]
    )


# -- all at once (KEP-5532) ------------------------------------------------------------------------


def restarted_all_at(pod: Object, observed: ObservedPod) -> float | None:
    """Return when a container of the sandbox has ended last with an exit code that restarts them all."""
    sandbox = observed.sandbox
    ends = [
        each.finished_at
        for _, container in containers_of(pod)
        for each in observed.attempts(container["name"])
        if sandbox is not None
        and each.sandbox_id == sandbox.id
        and not each.running
        and matching_action(container, each.exit_code) == RESTART_ALL
    ]
    return max(ends, default=None)


def is_restarting_all(pod: Object, observed: ObservedPod) -> bool:
    """Whether all containers are to be restarted and one has not been: it runs on, or has not been started yet."""
    began = restarted_all_at(pod, observed)
    return began is not None and any(
        latest is None or latest.created_at < began
        for latest in (observed.latest(each["name"]) for each in pod["spec"]["containers"])
    )
