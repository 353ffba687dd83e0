"""What to do with init containers and sidecars next (KEP-753). Pure.

Regular init containers run one after another, each to its end. A sidecar (an init container with `restartPolicy:
Always`) counts as done once it has started, and is kept running from then on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from minipod.client import Object
from minipod.node.observed import (
    ObservedContainer,
    ObservedPod,
    ObservedSandbox,
    compute_container_hash,
)
from minipod.node.pods import is_sidecar
from minipod.node.probes import WELL, ProbeResult
from minipod.node.restart import should_restart


@dataclass
class InitActions:
    """Names to start in order, (id, name, message, reason) of what to kill, and how far initialization is."""

    starts: list[str] = field(default_factory=list)
    kills: list[tuple[str, str, str, str]] = field(default_factory=list)
    initialized: bool = False
    failed: bool = False  # for good


def compute_init_actions(
    pod: Object, observed: ObservedPod, sandbox: ObservedSandbox, probes: Mapping[str, ProbeResult]
) -> InitActions:
    """Return what to do with the init containers of a Pod whose sandbox lives.

    Looks from the last one back to the first: finished init containers may have been forgotten by the runtime, and the
    latest one that is known tells that all before it are done. Once an app container exists, only sidecars matter.
    """
    inits = pod["spec"].get("initContainers") or []
    actions = InitActions(initialized=not inits or _any_app(pod, observed, sandbox))
    passed = actions.initialized  # everything from here on to the front has been initialized
    starts: list[int] = []
    for number in reversed(range(len(inits))):
        container = inits[number]
        latest = observed.latest(container["name"], sandbox.id)
        if latest is None:
            if passed and is_sidecar(container):
                starts.append(number)
            continue
        if passed and not is_sidecar(container):
            continue
        done = _consider(pod, container, latest, probes.get(latest.id, WELL), actions)
        if actions.failed:
            return actions
        if done and number == len(inits) - 1:
            actions.initialized = True
        elif done and not passed:
            starts.append(number + 1)
        if actions.starts:
            starts.append(number)
            actions.starts.clear()
        passed = True
    if not passed:
        starts.append(0)
    actions.starts = [inits[number]["name"] for number in sorted(set(starts))]
    return actions


def _any_app(pod: Object, observed: ObservedPod, sandbox: ObservedSandbox) -> bool:
    apps = pod["spec"]["containers"]
    return any(observed.latest(each["name"], sandbox.id) for each in apps)


def _consider(
    pod: Object,
    container: Object,
    latest: ObservedContainer,
    probe: ProbeResult,
    actions: InitActions,
) -> bool:
    """Decide on one init container that is known; return whether the next one may start.

    Puts its name into `actions.starts` when it is to be started again.
    """
    if is_sidecar(container):
        return _consider_sidecar(container, latest, probe, actions)
    if latest.running:
        return False
    if latest.succeeded:
        return True
    if _restarts(pod, container, latest.exit_code):
        actions.starts.append(container["name"])
    else:
        actions.failed = True
    return False


def _consider_sidecar(
    container: Object, latest: ObservedContainer, probe: ProbeResult, actions: InitActions
) -> bool:
    name = container["name"]
    if not latest.running:
        actions.starts.append(name)
        return False
    if latest.hash and latest.hash != compute_container_hash(container):
        message = f"Init container {name} definition changed, will be restarted"
        actions.kills.append((latest.id, name, message, ""))
        actions.starts.append(name)
    elif probe.failed:
        message = f"Init container {name} failed {probe.failed} probe"
        actions.kills.append((latest.id, name, message, f"{probe.failed.capitalize()}Probe"))
        actions.starts.append(name)
    return probe.started and probe.failed != "startup"


def _restarts(pod: Object, container: Object, exit_code: int) -> bool:
    """Whether a failed init container is tried again: `Always` means "until it succeeds" here."""
    if container.get("restartPolicy"):
        return should_restart(container, pod, exit_code)
    return bool(pod["spec"].get("restartPolicy", "Always") != "Never")
