"""All probes of a node: a worker for each probe of each running container, and the results for everybody else.

Nothing here restarts or reports: a result that changes wakes the Pod's worker, which decides with it.
"""

import random
from collections.abc import Callable

from minipod.client import Object
from minipod.node.observed import ObservedContainer, ObservedPod
from minipod.node.parts import Parts
from minipod.node.pods import containers_of, host_network, uid_of
from minipod.node.probe_actions import Outcome, ProbeActions, Target
from minipod.node.probe_counts import ProbeCounts
from minipod.node.probe_worker import ProbeWorker, Watched, WorkerCalls
from minipod.node.probes import PROBE_KINDS, ProbeKind, compute_probe_results, probe_of

Key = tuple[str, ProbeKind]  # container ID, kind


class Prober:
    """Keeps the workers in step with what runs. `on_change` is told the UID of a Pod whose results have changed."""

    def __init__(
        self,
        parts: Parts,
        on_change: Callable[[str], None],
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._parts = parts
        self._on_change = on_change
        self._jitter = jitter
        self._began = parts.clock.now()
        self._actions = ProbeActions(parts.runtime)
        self.counts = ProbeCounts()
        self._workers: dict[Key, ProbeWorker] = {}
        self._targets: dict[str, tuple[Object, Target]] = {}  # by container ID
        self._calls = WorkerCalls(self._run, self._may_run, self._tell, self._publish)

    def update(self, pod: Object, observed: ObservedPod) -> None:
        """Begin to probe what runs now, and stop probing what does not."""
        alive = {each.id for each in observed.running()}
        for identifier in self._of_pod(uid_of(pod)):
            if identifier not in alive:
                self._forget(identifier)
        for kind, container in containers_of(pod):
            latest = observed.latest(container["name"])
            if kind != "init" and latest and latest.running and latest.id not in self._targets:
                self._watch(pod, container, latest, observed)

    def end_restarts(self, pod: Object) -> None:
        """Let no liveness or startup probe speak any more: the Pod is going. Readiness is told to the end."""
        for identifier in self._of_pod(uid_of(pod)):
            kinds: tuple[ProbeKind, ...] = ("liveness", "startup")
            for kind in kinds:
                worker = self._workers.pop((identifier, kind), None)
                if worker:
                    worker.stop()
                    self._parts.probe_results[identifier, kind] = True

    def forget(self, uid: str) -> None:
        """Forget a Pod."""
        self.counts.forget(uid)
        for identifier in self._of_pod(uid):
            self._forget(identifier)

    async def stop(self) -> None:
        """End all probes."""
        for identifier in list(self._targets):
            self._forget(identifier)
        await self._actions.close()

    def _of_pod(self, uid: str) -> list[str]:
        return [key for key, (pod, _) in self._targets.items() if uid_of(pod) == uid]

    def _forget(self, identifier: str) -> None:
        self._targets.pop(identifier, None)
        for kind in PROBE_KINDS:
            self._parts.probe_results.pop((identifier, kind), None)
            worker = self._workers.pop((identifier, kind), None)
            if worker:
                worker.stop()

    def _watch(
        self, pod: Object, container: Object, latest: ObservedContainer, observed: ObservedPod
    ) -> None:
        wanted = [kind for kind in PROBE_KINDS if probe_of(container, kind)]
        if not wanted:
            return
        address = observed.sandbox.address if observed.sandbox else ""
        if host_network(pod):
            address = self._parts.config.host_ip
        self._targets[latest.id] = (pod, Target(container, latest.id, address))
        results = self._parts.probe_results
        known = compute_probe_results(pod, observed, results)[latest.id]
        if (
            "readiness" in wanted
        ):  # what was ready before this daemon stays so until it says otherwise
            results[latest.id, "readiness"] = known.ready
        if "startup" in wanted and known.started:
            results[latest.id, "startup"] = True
            wanted.remove("startup")
        for kind in wanted:
            probe = probe_of(container, kind) or {}
            watched = Watched(
                uid_of(pod), latest.id, container["name"], kind, probe, latest.started_at
            )
            worker = self._workers[latest.id, kind] = ProbeWorker(
                watched, self._parts.clock, self._calls
            )
            worker.start(self._delay(watched))

    def _delay(self, watched: Watched) -> float:
        """What a young daemon finds running is not probed all at once (kubelet: at most a period later).

        What starts under its eyes is spread by its own start, and gets its first answer without waiting.
        """
        period = float(watched.probe.get("periodSeconds") or 10)
        young = self._parts.clock.now() - self._began < period
        return self._jitter() * period if young and watched.started_at < self._began else 0.0

    # -- what workers ask ------------------------------------------------------------------------

    async def _run(self, watched: Watched) -> Outcome:
        _, target = self._targets[watched.container_id]
        return await self._actions.run(watched.probe, target)

    def _may_run(self, watched: Watched) -> bool:
        _, target = self._targets[watched.container_id]
        started = self._parts.probe_results.get((watched.container_id, "startup"))
        if watched.kind == "startup":
            return started is not True
        return not probe_of(target.container, "startup") or bool(started)

    def _tell(self, watched: Watched, outcome: Outcome) -> None:
        pod, _ = self._targets[watched.container_id]
        self.counts.count(pod, watched.name, watched.kind, outcome)
        name = watched.kind.capitalize()
        if outcome.result == "failure":
            reason, message = "Unhealthy", f"{name} probe failed: {outcome.output}"
        elif outcome.result == "unknown":
            reason = "Unhealthy"
            message = f"{name} probe errored and resulted in unknown state: {outcome.output}"
        elif outcome.result == "warning":
            reason, message = "ProbeWarning", f"{name} probe warning: {outcome.output}"
        else:
            return
        self._parts.event(pod, "Warning", reason, message, watched.name)

    def _publish(self, watched: Watched, good: bool) -> None:
        key = watched.container_id, watched.kind
        if self._parts.probe_results.get(key) is good:
            return
        self._parts.probe_results[key] = good
        if watched.kind == "startup" and good:
            readiness = self._workers.get((watched.container_id, "readiness"))
            if readiness:
                readiness.trigger()
        self._on_change(watched.uid)
