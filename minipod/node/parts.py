"""What the steps of a Pod's life work with, and what they remember of each Pod between two looks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from ipaddress import IPv4Interface
from typing import Protocol

from minipod.client import Client, Object
from minipod.clock import Clock
from minipod.eventing import EventType, Recorder
from minipod.informer import Informer
from minipod.node.admission import Room
from minipod.node.ahead import Ahead
from minipod.node.backoff import Backoffs, BackoffSettings
from minipod.node.conditions import with_others
from minipod.node.config import NodeConfig
from minipod.node.hosts import Names
from minipod.node.images import Images
from minipod.node.node_object import compute_allocatable
from minipod.node.observed import ObservedPod, observe
from minipod.node.phase import with_final_phase
from minipod.node.pods import field_path, uid_of
from minipod.node.probes import ProbeKind, ProbeResult, compute_probe_results
from minipod.node.profiles import SeccompProfiles
from minipod.node.pull_records import PullRecords
from minipod.node.pulling import Puller
from minipod.node.reference_watches import ReferenceWatches
from minipod.node.running import Running
from minipod.node.status import NodeFacts, Resize, Waiting, compute_pod_status
from minipod.node.status_writer import StatusWriter
from minipod.node.tokens import Tokens
from minipod.node.traces import Traces
from minipod.node.volumes import PreparedVolume
from minipod.runtime.operations import TracedStep
from minipod.runtime.service import Runtime


class Addresses(Protocol):
    """The part of the address pool that the node uses."""

    def allocate(self, owner: str) -> IPv4Interface:
        """Return the owner's address. Raises PoolExhausted."""

    def release(self, owner: str) -> None:
        """Free it."""

    def owners(self) -> dict[str, IPv4Interface]:
        """Return every owner's address."""


@dataclass
class Memory:
    """What is remembered of one Pod. Nothing here is needed to be right, only to be quick and not to repeat itself."""

    waiting: dict[str, Waiting] = field(default_factory=dict)  # by container
    holds: dict[str, float] = field(default_factory=dict)  # back-offs already told of
    image_tries: dict[str, int] = field(
        default_factory=dict
    )  # failed looks for an image, by container
    image_retry: dict[str, float] = field(default_factory=dict)  # when the next look is due
    image_errors: dict[str, str] = field(
        default_factory=dict
    )  # why there was no image, by container
    prepared: bool = False  # volumes and files are in place for the present sandbox
    unfurnished: bool = False  # they could not be prepared the last time
    stale: bool = True  # what the volumes were made from may have changed since
    volumes: dict[str, PreparedVolume] = field(default_factory=dict)
    files: set[tuple[str, int]] = field(
        default_factory=set
    )  # (container, attempt) with its files made
    messages: set[str] = field(default_factory=set)  # containers whose message has been read
    leased: dict[str, str] = field(default_factory=dict)  # container -> manifest digest
    names: Names | None = None
    granted: dict[str, Object] = field(default_factory=dict)  # resources by container ID
    enforced: Object | None = None  # resources of the whole Pod, since they were changed
    resize: Resize | None = None  # one that waits or has failed
    failure: tuple[str, str] | None = None  # (reason, message): the node has failed the Pod
    hooked: set[str] = field(default_factory=set)  # containers whose postStart has not returned
    disrupted: bool = False  # ... for the node's sake: by no fault of its own


class Parts:
    """The node's parts, as the steps see them."""

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
        self.client = client
        self.runtime = runtime
        self.images = images
        self.puller = puller
        self.pull_records = PullRecords(config.layout.images / "access")
        self.addresses = addresses
        self.config = config
        self.clock = clock
        self.backoffs = Backoffs(BackoffSettings(config.backoff_base, config.backoff_max))
        self.recorder = Recorder(client, clock, "kubelet", config.node_name)
        self.running = Running()
        self.statuses = StatusWriter(client, clock)
        self.watches = ReferenceWatches(client)
        self.tokens = Tokens(client, clock)
        self.services = Informer(client, "services", lambda new, old: None)
        own = f"metadata.name={config.node_name}"
        self.node = Informer(client, "nodes", lambda new, old: None, field_selector=own)
        self.room = Room()
        self.profiles = SeccompProfiles(config.seccomp_profiles)
        self.ahead = Ahead(clock)
        self.traces = Traces(config.pod_directory)
        self.probe_results: dict[tuple[str, ProbeKind], bool] = {}  # by container ID and kind
        self.node_pods: Callable[[], list[Object]] = list  # all Pods of this node
        self._memories: dict[str, Memory] = {}

    @cached_property
    def allocatable(self) -> Object:
        """What Pods may ask for on this node, as long as the daemon runs."""
        return compute_allocatable(self.config)

    def memory(self, uid: str) -> Memory:
        """Return what is remembered of a Pod."""
        return self._memories.setdefault(uid, Memory())

    def forget(self, uid: str) -> None:
        """Forget a Pod that is gone."""
        self._memories.pop(uid, None)
        self.room.give_back(uid)
        self.statuses.forget(uid)
        self.watches.forget(uid)
        self.tokens.forget(uid)
        self.backoffs.forget(uid)
        self.traces.forget(uid)

    def current(self, pod: Object) -> Object:
        """Return the Pod with its newest status, which may not be written yet, and what others have said in it."""
        status = self.statuses.get(uid_of(pod))
        if status is None:
            return pod
        told = pod.get("status") or {}
        return {**pod, "status": with_final_phase(with_others(status, told), told)}

    def observe(self, pod: Object) -> ObservedPod:
        """Return what runs of a Pod."""
        uid = uid_of(pod)
        return observe(self.running.of_pod(uid), uid)

    def probes(self, pod: Object) -> dict[str, ProbeResult]:
        """Return what the probes say of a Pod's running containers, by container ID."""
        return compute_probe_results(pod, self.observe(pod), self.probe_results)

    def report(self, pod: Object, *, urgent: bool = True, terminal: bool = False) -> Object:
        """Compute the Pod's status and hand it to the writer; return it.

        A container is not said to run before its postStart has returned.
        """
        memory = self.memory(uid_of(pod))
        current = self.current(pod)
        facts = NodeFacts(
            host_ips=(self.config.host_ip,),
            waiting=dict(memory.waiting),
            probes=self.probes(current),
            terminal=terminal,
            may_run=not terminal,
            failure=memory.failure,
            disrupted=memory.disrupted,
            granted=dict(memory.granted),
            enforced=memory.enforced,
            resize=memory.resize,
        )
        seen = self.observe(pod).without(memory.hooked)
        status = compute_pod_status(current, seen, self.clock.now(), facts=facts)
        self.statuses.set(pod, status, urgent=urgent)
        return status

    def event(
        self, pod: Object, kind: EventType, reason: str, message: str, container: str = ""
    ) -> None:
        """Record an Event about a Pod or one of its containers."""
        path = field_path(pod, container) if container else ""
        self.recorder.record(pod, kind, reason, message, path)

    def trace(self, pod: Object, title: str, steps: Sequence[TracedStep]) -> None:
        """Keep the steps that really ran."""
        self.traces.add(uid_of(pod), title, self.clock.now(), steps)
