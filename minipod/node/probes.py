"""What is known of a running container from its probes, and what that means for its status. Pure.

Without a probe a container counts as started and ready. Before a probe's first result: not started, not ready, alive
(kubelet prober/worker.go initialValue). A container that ran before this daemon keeps what its status said of it
until its probes have answered (KEP-4781).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from minipod.client import Object
from minipod.node.observed import ObservedPod
from minipod.node.pods import containers_of

ProbeKind = Literal["startup", "readiness", "liveness"]
PROBE_KINDS: tuple[ProbeKind, ...] = ("startup", "readiness", "liveness")


@dataclass(frozen=True)
class ProbeResult:
    """The latest results of one container's probes, by container ID wherever they are passed."""

    started: bool = True  # the startup probe has succeeded, or there is none
    ready: bool = True  # the readiness probe succeeds, or there is none
    failed: Literal["", "liveness", "startup"] = ""  # a probe has failed for good: restart it


WELL = ProbeResult()
Results = Mapping[tuple[str, ProbeKind], bool]  # (container ID, kind) -> whether it succeeded


def probe_of(container: Object, kind: ProbeKind) -> Object | None:
    """Return a container's probe of a kind."""
    found: Object | None = container.get(f"{kind}Probe")
    return found


def compute_probe_results(
    pod: Object, observed: ObservedPod, results: Results
) -> dict[str, ProbeResult]:
    """Return what the probes say of each running container that has any, by container ID."""
    former = _former(pod)
    found = {}
    for kind, container in containers_of(pod):
        latest = observed.latest(container["name"])
        probed = any(probe_of(container, each) for each in PROBE_KINDS)
        if kind != "init" and probed and latest and latest.running:
            known = former.get(latest.id, {})
            found[latest.id] = _result(container, latest.id, results, known)
    return found


def _result(container: Object, identifier: str, results: Results, known: Object) -> ProbeResult:
    startup = results.get((identifier, "startup"))
    started, failed = True, ""
    if probe_of(container, "startup"):
        started = bool(known.get("started")) if startup is None else startup
        failed = "startup" if startup is False else ""
    ready = True
    if probe_of(container, "readiness"):
        ready = results.get((identifier, "readiness"), bool(known.get("ready")))
    if results.get((identifier, "liveness")) is False and probe_of(container, "liveness"):
        failed = failed or "liveness"
    return ProbeResult(started, ready, failed)  # type: ignore[arg-type]


def _former(pod: Object) -> dict[str, Object]:
    """Return the statuses of running containers as they were last reported, by container ID."""
    status = pod.get("status") or {}
    return {
        each["containerID"].partition("://")[2]: each
        for group in ("initContainerStatuses", "containerStatuses")
        for each in status.get(group) or ()
        if each.get("containerID") and "running" in (each.get("state") or {})
    }
