"""Rules by which a container is restarted after certain exit codes, whatever the policy (KEP-5307, KEP-5532). Pure."""

from typing import Any

Object = dict[str, Any]
RESTART, RESTART_ALL = "Restart", "RestartAllContainers"


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


def is_restarted(container: Object, pod_policy: str, exit_code: int) -> bool:
    """Return whether a container that ended with `exit_code` is to be started again."""
    own = container.get("restartPolicy")
    if own and matching_action(container, exit_code) in (RESTART, RESTART_ALL):
        return True
    policy = own or pod_policy
    return policy == "Always" or (policy == "OnFailure" and exit_code != 0)


def may_restart_all(spec: Object) -> bool:
    """Whether a container of a Pod has a rule that restarts them all."""
    return any(
        rule.get("action") == RESTART_ALL
        for group in ("initContainers", "containers")
        for each in spec.get(group) or ()
        for rule in each.get("restartPolicyRules") or ()
    )
