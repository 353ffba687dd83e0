"""The Pod that `svc/NAME`, `deploy/NAME` and the like mean: the best of those that the object selects, as kubectl's.

What waits longest for traffic is taken last: running before pending, ready before not, long ready before just now.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minipod.cli.errors import CliError
from minipod.cli.pods import get_pod
from minipod.cli.resources import PODS, Resource, find
from minipod.cli.waiting import Deadline, condition

if TYPE_CHECKING:
    from minipod.cli.invocation import Invocation

Object = dict[str, Any]
_PHASES = {"Pending": 0, "Unknown": 1, "Running": 2}
_OPERATORS = {"In": "in", "NotIn": "notin"}
_SELECTING = (
    "services",
    "replicationcontrollers",
    "deployments.apps",
    "replicasets.apps",
    "statefulsets.apps",
    "daemonsets.apps",
    "jobs.batch",
)


@dataclass(frozen=True)
class Chosen:
    """A Pod, and the object that selected it (None: the Pod was named itself)."""

    pod: Object
    owner: Object | None = None

    @property
    def name(self) -> str:
        """The Pod's name."""
        return str(self.pod["metadata"]["name"])


def choose_pod(
    invocation: "Invocation", text: str | None, usage: str, seconds: float = 60.0
) -> Chosen:
    """Return the Pod of `NAME` or `TYPE/NAME`, waiting `seconds` for there to be one. Raises CliError, ServerError."""
    if not text:
        raise CliError(usage)
    word, slash, name = text.partition("/")
    if not slash:
        return Chosen(get_pod(invocation, text))
    resource = find(invocation.api, word)[0]
    if not name or "/" in name:
        raise CliError(
            f"arguments in resource/name form must have a single resource and name: {text}"
        )
    if resource == PODS:
        return Chosen(get_pod(invocation, name))
    owner = _owner(invocation, resource, name)
    selector = selector_of(resource, owner)
    return Chosen(_first(invocation, selector, seconds), owner)


def _owner(invocation: "Invocation", resource: Resource, name: str) -> Object:
    if resource.qualified_plural not in _SELECTING:
        raise CliError(
            f'"{resource.qualified}/{name}" has no Pods: give a Pod, a Service or a workload'
        )
    owner = invocation.api.get(resource, invocation.namespace, name)
    return {"apiVersion": resource.api_version, "kind": resource.kind, **owner}


def selector_of(resource: Resource, owner: Object) -> str:
    """Return the label selector of what selects Pods, as text. Raises CliError when it has none."""
    found = owner["spec"].get("selector") or {}
    if resource.qualified_plural not in ("services", "replicationcontrollers"):
        expressions = [_expression(each) for each in found.get("matchExpressions") or ()]
        return ",".join([*_pairs(found.get("matchLabels") or {}), *expressions])
    if not found:
        name = owner["metadata"]["name"]
        raise CliError(
            f"invalid {resource.singular} '{name}': {resource.kind} is defined without a selector"
        )
    return ",".join(_pairs(found))


def _pairs(labels: dict[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in labels.items()]


def _expression(requirement: Object) -> str:
    key, operator = requirement["key"], requirement["operator"]
    if operator == "Exists":
        return str(key)
    if operator == "DoesNotExist":
        return f"!{key}"
    return f"{key} {_OPERATORS[operator]} ({','.join(requirement.get('values') or ())})"


def _first(invocation: "Invocation", selector: str, seconds: float) -> Object:
    """Return the best Pod there is, or the first that comes. Raises CliError when none does in time."""
    path, query = PODS.path(invocation.namespace), {"labelSelector": selector}
    listed = invocation.api.get_path(path, query)
    pods = listed.get("items") or []
    if pods:
        return best(pods)
    connection, deadline = invocation.api.connection(), Deadline(seconds)
    connection.set_timeout(deadline.left())
    query["resourceVersion"] = listed["metadata"].get("resourceVersion", "")
    try:
        for event in invocation.api.watch(path, query, connection=connection):
            if event["type"] in ("ADDED", "MODIFIED"):
                made: Object = event["object"]
                return made
            connection.set_timeout(deadline.left())
    except TimeoutError:
        pass
    raise CliError("timed out waiting for the condition")


def best(pods: list[Object]) -> Object:
    """Return the Pod that is likeliest to answer."""
    by_age = sorted(pods, key=_ready_since)
    return max(by_age, key=_rank)  # the first of equals: ready for longest


def _rank(pod: Object) -> tuple[bool, int, bool, int]:
    status = pod.get("status") or {}
    ready = (condition(pod, "Ready") or {}).get("status") == "True"
    restarts = [each.get("restartCount", 0) for each in status.get("containerStatuses") or ()]
    assigned = bool(pod["spec"].get("nodeName"))
    return assigned, _PHASES.get(status.get("phase", ""), -1), ready, -max(restarts, default=0)


def _ready_since(pod: Object) -> tuple[str, str]:
    ready = condition(pod, "Ready") or {}
    created = pod["metadata"].get("creationTimestamp") or ""
    return str(ready.get("lastTransitionTime") or "9999"), created
