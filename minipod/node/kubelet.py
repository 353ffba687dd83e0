"""The node agent: keeps the Pods bound to this host running, and tells the API how they are.

    informer (Pods with our name)  --> one worker per Pod --> sync | terminate | finish
    runtime events (exits)         -->        "
    timers (back-off)              -->        "
    image store (inotify)          -->  those who wait for an image

Nothing is looked at again without a reason: an idle Pod costs nothing.
"""

import asyncio
import logging
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from minipod.client import Client, Object
from minipod.clock import Clock, call_off
from minipod.informer import Informer
from minipod.linux import cgroup, inotify
from minipod.node.conditions import other_conditions
from minipod.node.config import NodeConfig
from minipod.node.eviction import SizeLimits
from minipod.node.images import Images
from minipod.node.inspect import inspect_pod
from minipod.node.node_object import compute_pods_limits
from minipod.node.observed import LABEL_CONTAINER, LABEL_UID
from minipod.node.parts import Addresses, Parts
from minipod.node.pods import is_finished, uid_of
from minipod.node.pressure import most_processes
from minipod.node.pressure_eviction import PressureEviction
from minipod.node.preview import compute_script
from minipod.node.prober import Prober
from minipod.node.pulling import Puller
from minipod.node.recovery import make_orphans, remove_leftovers
from minipod.node.registration import Registration
from minipod.node.runtime_watch import RuntimeWatch
from minipod.node.security import compute_capabilities
from minipod.node.server import KubeletServer
from minipod.node.sync import Syncer
from minipod.node.termination import Terminator
from minipod.node.translate import container_id, log_path
from minipod.node.workers import Outcome, PodWorkers, Work
from minipod.runtime.plan import HostFacts
from minipod.runtime.service import Runtime, RuntimeEvent, RuntimeFailure
from minipod.runtime.spec import ContainerStatus

logger = logging.getLogger(__name__)


class Kubelet:
    """One node. `await start()` returns once it is registered and looks after its Pods."""

    def __init__(
        self,
        client: Client,
        runtime: Runtime,
        images: Images,
        puller: Puller,
        addresses: Addresses,
        config: NodeConfig,
        clock: Clock,
    ) -> None:
        self.runtime = runtime
        self._parts = Parts(client, runtime, images, puller, addresses, config, clock)
        self._syncer, self._terminator = Syncer(self._parts), Terminator(self._parts)
        self._workers = PodWorkers(self, clock)
        self._parts.watches.on_change = self._parts.tokens.on_due = self._on_reference
        self._parts.node_pods = self.pods
        self._limits = SizeLimits(self._parts, self._workers)
        self._prober = Prober(self._parts, self._on_probe)
        self._registration = Registration(client, config, clock, self._parts.recorder)
        self._eviction = PressureEviction(self._parts, self._workers, self._registration.record)
        self._registration.on_levels = self._eviction.consider
        self._runtime_watch = RuntimeWatch(
            runtime, clock, lambda: self._registration.set_ready(False), self._relist
        )
        self._server = KubeletServer(self, config.layout.kubelet_socket)
        self._selector = f"spec.nodeName={config.node_name}"
        # a binding that is not on disk yet will do to make a sandbox; all else waits for it (`Client.watch`)
        self._informer = Informer(
            client, "pods", self._on_pod, field_selector=self._selector, early=True
        )
        self._exits: dict[str, set[asyncio.Event]] = defaultdict(set)
        self._events: asyncio.Task[None] | None = None
        self._store_watch: inotify.Inotify | None = None

    # -- start and stop --------------------------------------------------------------------------

    async def start(self) -> None:
        """Take up what runs, register the Node, then follow the API. StatusError, RuntimeFailure."""
        parts = self._parts
        events = self.runtime.events()
        self._events = asyncio.create_task(self._follow(events), name="runtime events")
        parts.running.replace(await self.runtime.state())
        await asyncio.to_thread(_warm_up, parts)
        await self._registration.start()
        await self._limit_pods()
        await asyncio.gather(parts.services.start(), parts.node.start())
        await self._remove_leftovers()
        await self._informer.start()
        self._end_orphans()
        self._eviction.start()
        self._watch_images()
        self._runtime_watch.start()
        await self._server.start()

    async def stop(self) -> None:
        """Stop looking after the Pods; they go on. Statuses and Events still waiting are written."""
        await self._server.stop()
        await self._informer.stop()
        await self._runtime_watch.stop()
        if self._store_watch:
            asyncio.get_running_loop().remove_reader(self._store_watch.fileno())
            self._store_watch.close()
        await call_off(self._events)
        self._limits.stop()
        await self._eviction.stop()
        await self._prober.stop()
        await self._workers.stop()
        await self._parts.ahead.stop()
        await self._parts.puller.stop()
        await self._parts.watches.stop()
        await asyncio.gather(self._parts.services.stop(), self._parts.node.stop())
        self._parts.tokens.stop()
        await self._registration.stop()
        await self._parts.statuses.stop()
        await self._parts.traces.flush()
        await self._parts.recorder.stop()

    async def wait_idle(self) -> None:
        """Wait until there is nothing to do: no step runs, every status and Event is written."""
        await self._workers.wait_idle()
        await self._parts.statuses.flush_all()
        await self._parts.recorder.flush()

    # -- the three steps of a Pod's life (workers.PodSteps) ---------------------------------------

    async def sync(self, work: Work) -> Outcome:
        """Bring the Pod closer to its spec."""
        outcome = await self._syncer.sync(work)
        self._limits.watch(work)
        pod = self._parts.current(work.pod)
        self._prober.update(pod, self._parts.observe(pod))
        return outcome

    async def terminate(self, work: Work) -> Outcome:
        """End the Pod's containers and sandbox."""
        self._prober.end_restarts(work.pod)
        return await self._terminator.terminate(work)

    async def finish(self, work: Work) -> Outcome:
        """Give back everything the Pod held; remove the object if it was deleted."""
        self._prober.forget(work.uid)
        self._parts.room.give_back(work.uid)
        return await self._terminator.finish(work)

    # -- what happens ----------------------------------------------------------------------------

    def _on_pod(self, new: Object | None, old: Object | None) -> None:
        if new is None:
            if old is not None:
                self._parts.room.give_back(uid_of(old))  # whoever comes in its place waits for it
                self._workers.remove(old)
            return
        if old is not None and not _matters(new, old):
            self._workers.keep(new)
            self._on_status(new, old)
            return
        if old is None and self._has_begun(new):
            self._parts.room.take(new)  # before any other is asked whether it fits
        elif old is None:
            self.runtime.expect_pod()
        self._parts.memory(uid_of(new)).stale = True
        self._workers.update(new)

    def _has_begun(self, pod: Object) -> bool:
        """Whether a Pod that is new to us was admitted by an earlier daemon and has not finished."""
        started = (pod.get("status") or {}).get("startTime")
        sandboxes = self._parts.running.of_pod(uid_of(pod)).sandboxes
        return bool(started or sandboxes) and not is_finished(pod)

    def _on_status(self, new: Object, old: Object) -> None:
        """A status has been written, by us as a rule: what others say in it is heard, what they say for us is not."""
        status = new.get("status") or {}
        if other_conditions(status) != other_conditions(old.get("status") or {}):
            self._on_probe(uid_of(new))
        self._parts.statuses.correct(uid_of(new), status, at_once=self._registration.ready)

    def _on_reference(self, uid: str) -> None:
        """A Secret or ConfigMap that a Pod refers to has changed, gone or come."""
        if uid in self._workers:
            self._parts.memory(uid).stale = True
            self._workers.wake(uid)

    def _on_probe(self, uid: str) -> None:
        """A probe's result, or another's condition, has changed: decide with it; when the Pod is going, only tell."""
        work = self._workers.get(uid)
        if work is not None and work.phase == "sync":
            self._workers.wake(uid)
        elif work is not None and not work.gone:
            self._parts.report(work.pod)

    async def _follow(self, events: AsyncIterator[RuntimeEvent]) -> None:
        async for event in events:
            try:
                await self._on_event(event)
            except RuntimeFailure as failure:
                logger.warning("runtime: %s", failure)

    async def _on_event(self, event: RuntimeEvent) -> None:
        running = self._parts.running
        if event.type == "container-exited" and event.container:
            running.put_container(event.container)
            for wake in self._exits.pop(event.container.id, ()):
                wake.set()
            self._workers.wake(event.container.labels.get(LABEL_UID, ""))
        elif event.type == "sandbox-exited":
            self._workers.wake(running.sandbox_ended(event.sandbox_id))
        elif event.type == "shim-lost":
            self._registration.set_ready(False)
        elif event.type == "shim-connected":
            await self._relist()

    async def _relist(self) -> None:
        """The shim is back, or answers again. It may be a new one: what it does not know is gone."""
        self._parts.running.replace(await self.runtime.state())
        await self._limit_pods()  # a new one may have them in another cgroup
        self._registration.set_ready(True)
        for wakes in self._exits.values():
            for wake in wakes:
                wake.set()
        self._end_orphans()
        self._workers.wake_all()

    async def _limit_pods(self) -> None:
        """Hold all Pods together to what the host does not keep for itself (node allocatable)."""
        limits = compute_pods_limits(self._parts.config, most_processes())
        try:
            await self.runtime.limit_pods(limits)
        except RuntimeFailure as failure:
            message = f"Failed to update Node Allocatable Limits: {failure}"
            logger.warning("%s", message)
            self._registration.record("Warning", "FailedNodeAllocatableEnforcement", message)
        else:
            message = "Updated Node Allocatable limit across pods"
            self._registration.record("Normal", "NodeAllocatableEnforced", message)

    def _end_orphans(self) -> None:
        """End what runs for Pods that the API does not know (force deleted while we were away)."""
        state = self._parts.running.all()
        for pod in make_orphans(state, [work.uid for work in self._workers.works()]):
            logger.info('ending pod "%s": the API has none of that UID', pod["metadata"]["name"])
            self._workers.remove(pod)

    async def _remove_leftovers(self) -> None:
        """Remove what is there for Pods that are not ours: before any of those can be given to us and begin anew."""
        found = await self._parts.client.list("pods", field_selector=self._selector)
        await remove_leftovers(self._parts, [uid_of(pod) for pod in found.items])

    def _watch_images(self) -> None:
        """Look again at Pods that wait for an image as soon as one is added."""
        directory = self._parts.config.layout.images
        if not directory.exists():
            return
        self._store_watch = inotify.Inotify()
        self._store_watch.add(directory, inotify.IN_MOVED_TO | inotify.IN_CLOSE_WRITE)
        loop = asyncio.get_running_loop()
        loop.add_reader(self._store_watch.fileno(), self._on_images)

    def _on_images(self) -> None:
        assert self._store_watch is not None
        names = {name for _, _, name in self._store_watch.read()}
        if not names & {"index.json", "aliases.json"}:
            return
        for work in self._workers.works():
            if self._parts.memory(work.uid).image_retry:
                self._workers.wake(work.uid)

    # -- what the HTTP API asks (node_view.NodeView) ------------------------------------------------

    @property
    def node_name(self) -> str:
        """The node's name."""
        return self._parts.config.node_name

    def now(self) -> float:
        """Return the present."""
        return self._parts.clock.now()

    def find_pod(self, namespace: str, name: str) -> Object | None:
        """Return a Pod of this node."""
        return self._informer.get(namespace, name)

    def pods(self) -> list[Object]:
        """Return all Pods of this node, with their newest statuses."""
        return [self._parts.current(pod) for pod in self._informer]

    def status_of(self, pod: Object) -> Object:
        """Return a Pod's newest status."""
        return self._parts.current(pod).get("status") or {}

    def running_container(self, pod: Object, name: str) -> ContainerStatus | None:
        """Return a container that runs now."""
        for each in reversed(self._parts.running.of_pod(uid_of(pod)).containers):
            if each.labels.get(LABEL_CONTAINER) == name and each.state == "running":
                return each
        return None

    def sandbox_id(self, pod: Object) -> str | None:
        """Return the ID of a Pod's sandbox that runs now."""
        for each in reversed(self._parts.running.of_pod(uid_of(pod)).sandboxes):
            if each.ready:
                return each.id
        return None

    def find_log(self, pod: Object, name: str, attempt: int) -> tuple[Path, str]:
        """Return the log file of an attempt, and its container's ID."""
        identifier = container_id(pod, name, attempt)
        return log_path(pod, name, attempt, self._parts.config), identifier

    def has_ended(self, identifier: str) -> bool:
        """Whether a container does not run any more."""
        found = self._parts.running.container(identifier)
        return found is None or found.state != "running"

    def watch_exit(self, identifier: str, wake: asyncio.Event) -> Callable[[], None]:
        """Set `wake` when the container ends; return what takes this back."""
        self._exits[identifier].add(wake)

        def forget() -> None:
            watchers = self._exits.get(identifier)
            if watchers is not None:
                watchers.discard(wake)
                if not watchers:
                    del self._exits[identifier]

        return forget

    async def plan(self, pod: Object) -> str:
        """Return the script that would make the Pod."""
        staging = str(self._parts.config.layout.run / "staging")
        return await compute_script(self._parts, pod, HostFacts(cgroup.this_host(), staging))

    def probe_metrics(self) -> str:
        """Return how often probes have run, in Prometheus' text format."""
        return self._prober.counts.text()

    def trace(self, pod: Object) -> Object:
        """Return the steps that made the Pod."""
        metadata = pod["metadata"]
        return {
            "pod": f"{metadata['namespace']}/{metadata['name']}",
            "uid": metadata["uid"],
            "sections": self._parts.traces.get(metadata["uid"]),
        }

    async def inspect(self, pod: Object) -> Object:
        """Return the Pod as the kernel has it."""
        uid = uid_of(pod)
        state = self._parts.running.of_pod(uid)
        facts = await asyncio.to_thread(inspect_pod, state)
        metadata = pod["metadata"]
        return {"pod": f"{metadata['namespace']}/{metadata['name']}", "uid": uid, **facts}


def _matters(new: Object, old: Object) -> bool:
    """Whether a change of a Pod asks for work: not the status that we wrote ourselves."""
    return bool(new["spec"] != old["spec"]) or _without_version(new) != _without_version(old)


def _without_version(pod: Object) -> Object:
    skipped = ("resourceVersion", "managedFields")
    return {key: value for key, value in pod["metadata"].items() if key not in skipped}


def _warm_up(parts: Parts) -> None:
    """Do now what the first Pod would have to wait for (in a worker thread)."""
    parts.profiles.compile({"type": "RuntimeDefault"}, compute_capabilities({}))
