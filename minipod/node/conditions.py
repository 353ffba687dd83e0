"""A Pod's conditions, with upstream's reasons and messages (kubelet status/generate.go). Pure."""

from collections.abc import Sequence
from dataclasses import dataclass

from minipod.client import Object
from minipod.node.pods import is_sidecar

RESIZE = ("PodResizePending", "PodResizeInProgress")
DISRUPTION = "DisruptionTarget"
# What the kubelet says; every other condition is another's.
OWN = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")

RESTARTING = "AllContainersRestarting"  # of Pods alone that have a rule for it (KEP-5532)
OURS = frozenset((*OWN, *RESIZE, RESTARTING))


@dataclass(frozen=True)
class ConditionInputs:
    """All that the conditions are computed from."""

    pod: Object
    phase: str
    inits: Sequence[Object]
    apps: Sequence[Object]
    sandbox_ready: bool
    previous: Sequence[Object]  # the Pod's last conditions, other controllers' included
    now: str
    disruption: str = ""  # why the node itself ends the Pod
    restarting: bool | None = (
        None  # whether all containers are being restarted; None: they never are
    )
    resize: tuple[str, str, str] | None = None  # condition, reason, message of one that is not done


def compute_conditions(inputs: ConditionInputs) -> list[Object]:
    """Return all conditions: other controllers' first, as they are, then the kubelet's own."""
    others = [dict(each) for each in inputs.previous if each["type"] not in OURS]
    containers_ready = _containers_ready(inputs)
    verdicts = {
        "PodReadyToStartContainers": (inputs.sandbox_ready, "", ""),
        "Initialized": _initialized(inputs),
        "Ready": _ready(inputs, containers_ready, others),
        "ContainersReady": containers_ready,
        "PodScheduled": (True, "", ""),
    }
    known = {each["type"]: each for each in inputs.previous}
    if inputs.resize:
        name, reason, message = inputs.resize
        others.append(_condition(inputs, name, (True, reason, message), known.get(name)))
    if inputs.disruption:  # pod failure policies of Jobs look for it (KEP-3329)
        others = [each for each in others if each["type"] != DISRUPTION]
        verdict = (True, "TerminationByKubelet", inputs.disruption)
        others.append(_condition(inputs, DISRUPTION, verdict, known.get(DISRUPTION)))
    made = others + [_condition(inputs, name, verdicts[name], known.get(name)) for name in OWN]
    if inputs.restarting is not None:
        verdict = (inputs.restarting and inputs.phase not in ("Succeeded", "Failed"), "", "")
        made.append(_condition(inputs, RESTARTING, verdict, known.get(RESTARTING)))
    return made


def other_conditions(status: Object) -> list[Object]:
    """Return the conditions that are not the kubelet's."""
    return [each for each in status.get("conditions") or () if each["type"] not in OURS]


def with_others(status: Object, newest: Object) -> Object:
    """Return a status of ours with the conditions that others have set, as the API has them now.

    Readiness gates are such conditions. DisruptionTarget is whoever's it was first.
    """
    known, theirs = status.get("conditions") or (), other_conditions(newest)
    told = {each["type"] for each in theirs}
    kept = [each for each in known if each["type"] == DISRUPTION and DISRUPTION not in told]
    if other_conditions(status) == [*theirs, *kept]:
        return status
    ours = [each for each in known if each["type"] in OURS]
    return {**status, "conditions": [*theirs, *kept, *ours]}


Verdict = tuple[bool, str, str]  # status, reason, message


def _condition(
    inputs: ConditionInputs, name: str, verdict: Verdict, known: Object | None
) -> Object:
    holds, reason, message = verdict
    status = "True" if holds else "False"
    same = known is not None and known.get("status") == status
    made: Object = {"type": name, "status": status}
    generation = inputs.pod["metadata"].get("generation")
    if generation:
        made["observedGeneration"] = generation
    made["lastProbeTime"] = None  # nobody sets it, and the API's conditions have it
    made["lastTransitionTime"] = known["lastTransitionTime"] if known and same else inputs.now
    if reason:
        made["reason"] = reason
    if message:
        made["message"] = message
    return made


def _containers_ready(inputs: ConditionInputs) -> Verdict:
    sidecars = [each for each in inputs.pod["spec"].get("initContainers") or () if is_sidecar(each)]
    wanted = [each["name"] for each in (*sidecars, *inputs.pod["spec"]["containers"])]
    ready = {each["name"]: each["ready"] for each in (*inputs.inits, *inputs.apps)}
    unknown = [name for name in wanted if name not in ready]
    unready = [name for name in wanted if name in ready and not ready[name]]
    if inputs.phase == "Succeeded" and not unknown:
        return False, "PodCompleted", ""
    if inputs.phase == "Failed":
        return False, "PodFailed", ""
    message = _listing(("unknown", unknown), ("unready", unready))
    return (False, "ContainersNotReady", message) if message else (True, "", "")


def _ready(inputs: ConditionInputs, containers: Verdict, others: Sequence[Object]) -> Verdict:
    if not containers[0]:
        return containers
    states = {each["type"]: each.get("status") for each in others}
    problems = []
    for gate in inputs.pod["spec"].get("readinessGates") or ():
        name = gate["conditionType"]
        if name not in states:
            problems.append(
                f'corresponding condition of pod readiness gate "{name}" does not exist.'
            )
        elif states[name] != "True":
            problems.append(
                f'the status of pod readiness gate "{name}" is not "True", but {states[name]}'
            )
    return (False, "ReadinessGatesNotReady", ", ".join(problems)) if problems else (True, "", "")


def _initialized(inputs: ConditionInputs) -> Verdict:
    statuses = {each["name"]: each for each in inputs.inits}
    unknown, incomplete = [], []
    for container in inputs.pod["spec"].get("initContainers") or ():
        status = statuses.get(container["name"])
        if status is None:
            unknown.append(container["name"])
        elif not (status.get("started") if is_sidecar(container) else status["ready"]):
            incomplete.append(container["name"])
    if inputs.phase == "Succeeded" and not unknown:
        return True, "PodCompleted", ""
    if any(_has_started(each) for each in inputs.apps):
        return True, "", ""
    message = _listing(("unknown", unknown), ("incomplete", incomplete))
    return (False, "ContainersNotInitialized", message) if message else (True, "", "")


def _has_started(status: Object) -> bool:
    state, last = status.get("state") or {}, status.get("lastState") or {}
    return bool(status.get("started")) or "terminated" in state or "terminated" in last


def _listing(*groups: tuple[str, Sequence[str]]) -> str:
    """Return "containers with unready status: [a b]", as Go prints a list of names."""
    return ", ".join(
        f"containers with {word} status: [{' '.join(names)}]" for word, names in groups if names
    )
