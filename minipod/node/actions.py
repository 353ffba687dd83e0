"""What to do next with a Pod: decided purely, from its spec and what the host shows; `node.sync` does as it is told.

The decisions are the kubelet's (kuberuntime computePodActions, KEP-753 sidecars, KEP-5307 restart rules). They are
taken anew at every look; each step done shows in the next observation, so nothing here needs a memory beyond the
back-off's.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from minipod.api.restart_rules import RESTART_ALL, matching_action
from minipod.client import Object
from minipod.node.backoff import BackoffView, format_duration
from minipod.node.deadline import compute_deadline
from minipod.node.initialization import compute_init_actions
from minipod.node.observed import (
    ObservedContainer,
    ObservedPod,
    ObservedSandbox,
    compute_container_hash,
    has_run,
    next_attempt,
)
from minipod.node.pods import (
    ContainerKind,
    containers_of,
    find_container,
    full_name,
    is_deleted,
    is_finished,
    is_sidecar,
    uid_of,
)
from minipod.node.probes import ProbeResult
from minipod.node.restart import is_restartable, restarted_all_at, should_restart

KILLED = 137  # the exit code of what SIGKILL ends, and of what nobody saw ending


@dataclass(frozen=True)
class Start:
    """A container to start. Count it in the back-off when `previous_end` is set: it has run before."""

    name: str
    kind: ContainerKind
    attempt: int
    hash: str
    previous_end: float | None = None


@dataclass(frozen=True)
class Kill:
    """A running container to end, with the Event's words for it."""

    container_id: str
    name: str
    message: str
    reason: str = ""  # "" | "LivenessProbe" | "StartupProbe" | "RestartAllContainers"


@dataclass(frozen=True)
class Hold:
    """A container whose start must wait: what its status shows meanwhile."""

    name: str
    until: float
    message: str
    reason: str = "CrashLoopBackOff"


@dataclass(frozen=True)
class PodActions:
    """What to do, in this order: kill the Pod or single containers, make the sandbox, start the containers in order.

    A regular init container that cannot be started ends the list there; a sidecar does not.
    """

    kill_pod: bool = False  # end all that runs (see compute_termination_order), and its sandboxes
    kill_reason: str = ""  # why: "" | "SandboxChanged" | "DeadlineExceeded"
    create_sandbox: bool = False
    sandbox_attempt: int = 0  # of the sandbox to make
    kills: tuple[Kill, ...] = ()
    starts: tuple[Start, ...] = ()
    holds: tuple[Hold, ...] = ()
    finished: bool = False  # nothing of this Pod will ever run again
    retry_at: float | None = None  # look again at this time, whatever happens before


_ENDED = PodActions(kill_pod=True, finished=True)


@dataclass
class _Plan:
    """Container names to start and what to kill, while deciding."""

    starts: list[str] = field(default_factory=list)
    kills: list[Kill] = field(default_factory=list)


def compute_pod_actions(
    pod: Object,
    observed: ObservedPod,
    now: float,
    backoff: BackoffView,
    probes: Mapping[str, ProbeResult] | None = None,
) -> PodActions:
    """Return what to do next. `probes` has the results by container ID; without one a container counts as well."""
    if is_deleted(pod) or is_finished(pod):
        return _ENDED
    deadline = compute_deadline(pod)
    if deadline is not None and now >= deadline:
        return replace(_ENDED, kill_reason="DeadlineExceeded")
    sandbox = observed.sandbox
    if sandbox is None:
        actions, names = _without_sandbox(pod, observed)
    elif (began := restarted_all_at(pod, observed)) is not None:
        actions, names = _begin_again(pod, observed, sandbox, probes or {}, began)
    else:
        actions, names = _in_sandbox(pod, observed, sandbox, probes or {})
    actions = _schedule(pod, observed, actions, names, now, backoff)
    if deadline is not None and not actions.finished:
        actions = replace(actions, retry_at=min(deadline, actions.retry_at or deadline))
    return actions


# ---- without a sandbox ----


def _without_sandbox(pod: Object, observed: ObservedPod) -> tuple[PodActions, list[str]]:
    """A new Pod, or one whose pause process has died: everything is made anew, if policy allows."""
    if _has_started(pod, observed) and not is_restartable(pod):
        return _ENDED, []
    wanted = [
        each["name"] for each in pod["spec"]["containers"] if _runs_again(pod, each, observed)
    ]
    if not wanted:
        return _ENDED, []
    reason = "SandboxChanged" if observed.sandboxes else ""
    return _new_sandbox(observed, reason), _first_names(pod, wanted)


def _new_sandbox(observed: ObservedPod, reason: str) -> PodActions:
    return PodActions(
        kill_pod=bool(observed.sandboxes or observed.running()),
        kill_reason=reason,
        create_sandbox=True,
        sandbox_attempt=observed.next_sandbox_attempt,
    )


def _first_names(pod: Object, apps: list[str] | None = None) -> list[str]:
    """Return what a fresh sandbox starts with: the first init container, or the app containers."""
    inits = pod["spec"].get("initContainers")
    if inits:
        return [inits[0]["name"]]
    return [each["name"] for each in pod["spec"]["containers"]] if apps is None else apps


def _has_started(pod: Object, observed: ObservedPod) -> bool:
    """Whether any container ever ran; after a reboot only the Pod's status knows."""
    return bool(observed.containers) or any(has_run(each) for each in _recorded_statuses(pod))


def _runs_again(pod: Object, container: Object, observed: ObservedPod) -> bool:
    """Whether an app container that does not run is to be started: unless it has ended for good."""
    exit_code = _last_exit_code(pod, container["name"], observed)
    return exit_code is None or should_restart(container, pod, exit_code)


def _last_exit_code(pod: Object, name: str, observed: ObservedPod, outside: str = "") -> int | None:
    """Return how a container ended last (outside of one sandbox), None when it has never run.

    What runs in a sandbox that is gone has been killed. What the runtime has forgotten, the Pod's status still knows.
    """
    for each in observed.attempts(name):
        if each.sandbox_id != outside:
            return KILLED if each.running else each.exit_code
    if observed.attempts(name):
        return None
    for recorded in _recorded_statuses(pod):
        if recorded["name"] == name and has_run(recorded):
            ended = (recorded.get("state") or {}).get("terminated")
            ended = ended or (recorded.get("lastState") or {}).get("terminated")
            running = "running" in (recorded.get("state") or {})
            return KILLED if running or not ended else int(ended["exitCode"])
    return None


def _recorded_statuses(pod: Object) -> list[Object]:
    status = pod.get("status") or {}
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def _begin_again(
    pod: Object,
    observed: ObservedPod,
    sandbox: ObservedSandbox,
    probes: Mapping[str, ProbeResult],
    began: float,
) -> tuple[PodActions, list[str]]:
    """Everything starts over in the same sandbox: what is of before is ended first, and then not looked at again."""
    own = {each["name"] for each in _all_containers(pod)}
    kills = tuple(
        Kill(each.id, each.name, f"Container {each.name} is restarted with all others", RESTART_ALL)
        for each in observed.running()
        if each.name in own and each.created_at < began
    )
    if kills:
        return PodActions(kills=kills), []
    since = [each for each in observed.containers if each.created_at >= began]
    afresh = replace(observed, containers=tuple(since))
    return _in_sandbox(pod, afresh, sandbox, probes, afresh=sandbox.id)


def _restarts_all(pod: Object, observed: ObservedPod, sandbox: ObservedSandbox) -> bool:
    """Whether this sandbox was made to restart the whole Pod: then all belongs into it, even what had succeeded."""
    for container in _all_containers(pod):
        exit_code = _last_exit_code(pod, container["name"], observed, outside=sandbox.id)
        if exit_code is not None and matching_action(container, exit_code) == RESTART_ALL:
            return True
    return False


def _all_containers(pod: Object) -> list[Object]:
    return [container for _, container in containers_of(pod)]


# ---- in a sandbox that lives ----


def _in_sandbox(
    pod: Object,
    observed: ObservedPod,
    sandbox: ObservedSandbox,
    probes: Mapping[str, ProbeResult],
    afresh: str | None = None,
) -> tuple[PodActions, list[str]]:
    inits = compute_init_actions(pod, observed, sandbox, probes)
    plan = _Plan(
        [*_new_ephemeral(pod, observed), *inits.starts], [Kill(*each) for each in inits.kills]
    )
    if inits.failed:
        return _ENDED, []
    if inits.initialized:
        if _restarts_all(pod, observed, sandbox):
            afresh = sandbox.id
        if not _plan_apps(pod, observed, plan, probes, afresh):
            return _ENDED, []
    return PodActions(kills=tuple(plan.kills)), plan.starts


def _new_ephemeral(pod: Object, observed: ObservedPod) -> list[str]:
    """Return the ephemeral containers that have never run: they are started whatever else there is, once."""
    status = pod.get("status") or {}
    known = {
        each["name"] for each in status.get("ephemeralContainerStatuses") or () if has_run(each)
    }
    wanted = [each["name"] for each in pod["spec"].get("ephemeralContainers") or ()]
    return [name for name in wanted if name not in known and not observed.attempts(name)]


def _plan_apps(
    pod: Object,
    observed: ObservedPod,
    plan: _Plan,
    probes: Mapping[str, ProbeResult],
    afresh: str | None,
) -> bool:
    """Plan the app containers; return whether any of them runs on or is to be started.

    `afresh` names the sandbox in which everything starts over, whatever happened before.
    """
    alive = False
    for container in pod["spec"]["containers"]:
        latest = observed.latest(container["name"], afresh)
        if latest is None or not latest.running:
            unborn = afresh is not None and latest is None
            if unborn or _runs_again(pod, container, observed):
                plan.starts.append(container["name"])
                alive = True
        elif not _plan_kill(pod, container, latest, plan, probes):
            alive = True
    return alive


def _plan_kill(
    pod: Object,
    container: Object,
    latest: ObservedContainer,
    plan: _Plan,
    probes: Mapping[str, ProbeResult],
) -> bool:
    """Plan the end of a running container that must not stay; return whether it ends for good."""
    name, probe = container["name"], probes.get(latest.id)
    if latest.hash and latest.hash != compute_container_hash(container):
        message, reason, restart = f"Container {name} definition changed", "", True
    elif probe is not None and probe.failed:
        message = f"Container {name} failed {probe.failed} probe"
        reason = f"{probe.failed.capitalize()}Probe"
        restart = should_restart(container, pod, KILLED)
    else:
        return False
    if restart:
        message += ", will be restarted"
        plan.starts.append(name)
    plan.kills.append(Kill(latest.id, name, message, reason))
    return not restart


# ---- when ----


def _schedule(
    pod: Object,
    observed: ObservedPod,
    actions: PodActions,
    names: list[str],
    now: float,
    backoff: BackoffView,
) -> PodActions:
    """Turn names into starts, holding back those whose time has not come."""
    starts: list[Start] = []
    holds: list[Hold] = []
    for name in names:
        start = compute_start(pod, observed, name)
        hold = _hold(pod, start, now, backoff)
        if hold is None:
            starts.append(start)
            continue
        holds.append(hold)
        if start.kind == "init":
            break
    retry_at = min((each.until for each in holds), default=None)
    return replace(actions, starts=tuple(starts), holds=tuple(holds), retry_at=retry_at)


def compute_start(pod: Object, observed: ObservedPod, name: str) -> Start:
    """Return the start of a container's next attempt. Pure."""
    found = find_container(pod, name)
    assert found is not None
    kind, container = found
    ended = (each.finished_at for each in observed.attempts(name) if not each.running)
    return Start(
        name=name,
        kind=kind,
        attempt=next_attempt(name, observed, pod.get("status")),
        hash=compute_container_hash(container),
        previous_end=next(ended, None),  # of the one before, for one that is about to be killed
    )


def _hold(pod: Object, start: Start, now: float, backoff: BackoffView) -> Hold | None:
    if start.previous_end is None:
        return None
    wait = backoff.wait(uid_of(pod), start.name, start.hash, start.previous_end, now)
    if wait is None:
        return None
    delay = format_duration(wait.delay)
    message = f"back-off {delay} restarting failed container={start.name} pod={full_name(pod)}"
    return Hold(start.name, wait.until, message)


def compute_termination_order(pod: Object) -> tuple[tuple[str, ...], ...]:
    """Return the groups of containers to end one after another: sidecars last, in reverse order (KEP-753)."""
    inits = pod["spec"].get("initContainers") or []
    together = [each["name"] for each in inits if not is_sidecar(each)]
    together += [each["name"] for each in pod["spec"]["containers"]]
    sidecars = [each["name"] for each in inits if is_sidecar(each)]
    return (tuple(together), *((name,) for name in reversed(sidecars)))
