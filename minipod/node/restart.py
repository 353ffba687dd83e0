"""Whether an ended container is started again: the Pod's policy, the container's own, its rules (KEP-5307). Pure."""

from minipod.client import Object
from minipod.node.observed import ObservedContainer, ObservedPod
from minipod.node.pods import containers_of

RESTART, RESTART_ALL = "Restart", "RestartAllContainers"


def should_restart(container: Object, pod: Object, exit_code: int) -> bool:
    """Return whether a container that ended with `exit_code` is to be started again."""
    own = container.get("restartPolicy")
    if own and matching_action(container, exit_code) in (RESTART, RESTART_ALL):
        return True
    policy = own or pod["spec"].get("restartPolicy", "Always")
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def should_start(container: Object, pod: Object, latest: ObservedContainer | None) -> bool:
    """Return whether a container is to be started, given its latest attempt."""
    if "deletionTimestamp" in pod["metadata"]:
        return False
    if latest is None:
        return True
    return not latest.running and should_restart(container, pod, latest.exit_code)


def matching_action(container: Object, exit_code: int) -> str | None:
    """Return the action of the first rule that the exit code meets."""
    for rule in container.get("restartPolicyRules") or ():
        condition = rule.get("exitCodes") or {}
        values = condition.get("values") or ()
        if {"In": exit_code in values, "NotIn": exit_code not in values}.get(
            condition.get("operator", ""), False
        ):
            return str(rule["action"])
    return None


def is_restartable(pod: Object) -> bool:
    """Whether anything in the Pod may ever be restarted: else a lost sandbox is the Pod's end."""
    if pod["spec"].get("restartPolicy", "Always") != "Never":
        return True
    return any(each.get("restartPolicyRules") for each in pod["spec"]["containers"]) or any(
        each.get("restartPolicy") in ("Always", "OnFailure") for each in pod["spec"]["containers"]
    )


# -- all at once (KEP-5532) ------------------------------------------------------------------------


def may_restart_all(pod: Object) -> bool:
    """Whether a container of the Pod has a rule that restarts them all."""
    rules = (r for _, each in containers_of(pod) for r in each.get("restartPolicyRules") or ())
    return any(rule.get("action") == RESTART_ALL for rule in rules)


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
