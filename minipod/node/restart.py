"""Whether an ended container is started again: the Pod's policy, the container's own, its rules (KEP-5307). Pure."""

from minipod.client import Object
from minipod.node.observed import ObservedContainer

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
