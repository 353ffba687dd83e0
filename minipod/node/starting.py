"""Starting: a Pod's sandbox with its files and volumes, and its containers.

The sandbox is made while volumes, files and image leases are prepared beside it; then the containers prepare
themselves, all at once and beside the sandbox if it is still being made, and each waits for its turn: the first for
the sandbox, the others for the one before. So what is slow happens at the same time, and what is seen happens in
upstream's order. Nothing here waits for the API.
"""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from ipaddress import IPv4Interface
from typing import Any, NamedTuple, TypeVar

from minipod import fault
from minipod.api.errors import StatusError
from minipod.client import Object
from minipod.image.store import Image, ImageError
from minipod.node.actions import PodActions, Start
from minipod.node.env_files import EnvFiles, find_files, read_files
from minipod.node.environment import References, compute_environment
from minipod.node.errors import StepError
from minipod.node.hooks import Hooks
from minipod.node.hosts import (
    Names,
    compute_hosts,
    compute_names,
    compute_resolver,
    parse_resolv_conf,
)
from minipod.node.image_step import ImageStep
from minipod.node.images import lease_owner
from minipod.node.observed import ObservedPod, next_attempt
from minipod.node.parts import Memory, Parts
from minipod.node.pods import containers_of, find_container, host_network, spec_grace, uid_of
from minipod.node.projection import DATA
from minipod.node.references import fetch_references, find_tokens
from minipod.node.service_variables import compute_service_variables
from minipod.node.status import Waiting
from minipod.node.stopping import Stopper
from minipod.node.tokens import Wanted
from minipod.node.translate import (
    ContainerInputs,
    compute_container_files,
    compute_container_spec,
    compute_pod_files,
    compute_sandbox_spec,
)
from minipod.node.turns import Turn, TurnNeverCame
from minipod.node.volumes import (
    PreparedVolume,
    compute_available_volumes,
    compute_volumes,
    mount_failure,
)
from minipod.node.workers import Work
from minipod.runtime.operations import KeepOnly, Operation
from minipod.runtime.service import PreparedContainer, RuntimeFailure
from minipod.runtime.spec import ContainerSpec, ContainerStatus, SandboxSpec

_CREATE_ERRORS = ("CreateContainerError", "CreateContainerConfigError")
REQUEST_TIMEOUT = 120.0  # seconds (kubelet runtimeRequestTimeout)
START_ERROR_CODE = 128  # containerd's exit code of a program that could not be executed


A = TypeVar("A")


class _Sandbox(NamedTuple):
    """The sandbox that containers go into; `made` is done once it is ready, with StepError when it never will be."""

    id: str
    address: str
    references: References
    made: asyncio.Task[None]


class Starter:
    """Makes sandboxes and starts containers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._images = ImageStep(parts)
        self._hooks, self._stopper = Hooks(parts), Stopper(parts)

    async def start(self, work: Work, pod: Object, actions: PodActions) -> bool:
        """Do what `actions` wants started; return whether all of it was. StepError for what concerns the whole Pod."""
        memory = self._parts.memory(uid_of(pod))
        images = self._images.find(pod, actions.starts, memory)
        prepared = memory.prepared and not actions.create_sandbox
        references = await self._fetch(pod, memory)
        memory.stale |= prepared  # its volumes are made from something older; `refresh` comes next
        sandbox = await self._begin_sandbox(pod, actions, memory, images, references)
        started = await self._start_in_turn(work, pod, actions.starts, images, sandbox)
        return work.stopping or (len(started) == len(actions.starts) and all(started))

    async def _start_in_turn(
        self,
        work: Work,
        pod: Object,
        starts: Sequence[Start],
        images: dict[str, Image],
        sandbox: _Sandbox,
    ) -> list[bool]:
        """Start containers; return of each whose turn came whether it was started. StepError of the sandbox."""
        tasks: list[asyncio.Task[bool]] = []
        turn = Turn(sandbox.made)
        for start in starts:
            image = images.get(start.name)
            starting = self._start_container(work, pod, start, image, sandbox, turn)
            tasks.append(asyncio.create_task(starting, name=f"start {start.name}"))
            hooks = _container(pod, start.name).get("lifecycle") or {}
            slow = image is None or "postStart" in hooks
            turn = Turn(tasks[-1], must_succeed=start.kind == "init", slow=slow)
        try:
            results = await asyncio.gather(sandbox.made, *tasks, return_exceptions=True)
        except asyncio.CancelledError:
            await asyncio.gather(*tasks, return_exceptions=True)
            raise
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, TurnNeverCame):
                raise result
        return [result for result in results[1:] if isinstance(result, bool)]

    async def _after_start(self, work: Work, pod: Object, name: str) -> bool:
        """Run the postStart hook, before anything else is started; a container whose hook fails is ended."""
        failed = await self._hooks.post_start(work, pod, name)
        if failed is None:
            return True
        self._parts.event(pod, "Normal", "Killing", "FailedPostStartHook", name)
        await self._stopper.stop_politely(pod, failed.id, spec_grace(pod))
        return False

    async def refresh(self, pod: Object) -> None:
        """Bring volumes that follow API objects to what these are now.

        StepError for the first that cannot be: it stays as it was, and the others are brought up to date. A token that
        cannot be had leaves the Pod stale, since nothing will tell of it; what is missing is told of when it comes.
        """
        memory = self._parts.memory(uid_of(pod))
        references = await self._fetch(pod, memory)
        directory = self._parts.config.pod_directory(uid_of(pod))
        volumes, failures = compute_available_volumes(pod, directory, references)
        memory.stale |= bool(references.token_failures)
        for volume in volumes.values():
            if not _is_current(volume):
                fault.point("node.volumes.refreshing")
                await bounded(self._parts.runtime.perform(volume.operations))
                memory.volumes[volume.name] = volume
        if failures:
            raise failures[0]

    async def _fetch(self, pod: Object, memory: Memory) -> References:
        """Return what the Pod refers to, as it is now. What changes from here on makes it stale again."""
        parts, memory.stale = self._parts, False
        references = await fetch_references(parts.client, pod)
        parts.watches.note(pod, references)
        tokens, failures = dict[Wanted, str](), dict[Wanted, str]()
        for each in find_tokens(pod):
            try:
                tokens[each] = await parts.tokens.get(pod, each)
            except StatusError as error:
                failures[each] = str(error)
        services = compute_service_variables(pod, parts.services)
        return replace(references, tokens=tokens, token_failures=failures, services=services)

    # -- images ----------------------------------------------------------------------------------

    def _lease(self, pod: Object, images: dict[str, Image], memory: Memory) -> None:
        """Hold the images (blocking; in a worker thread)."""
        for name, image in images.items():
            if memory.leased.get(name) != image.manifest_digest:
                self._parts.images.lease(image, lease_owner(uid_of(pod), name))
                memory.leased[name] = image.manifest_digest

    # -- the sandbox and what lies beside it -----------------------------------------------------

    async def _begin_sandbox(
        self,
        pod: Object,
        actions: PodActions,
        memory: Memory,
        images: dict[str, Image],
        references: References,
    ) -> _Sandbox:
        """Return the sandbox, which may still be being made, once all is prepared that the containers will need."""
        parts = self._parts
        observed = parts.observe(pod)
        names = memory.names or compute_names(
            pod, parts.config.cluster_domain, parts.config.node_name
        )
        memory.names = names
        address = self._allocate(pod)
        if actions.create_sandbox:
            memory.prepared = False
        spec = compute_sandbox_spec(
            *(pod, actions.sandbox_attempt, names, address, parts.config),
            parts.profiles.compile,
            cgroups=parts.runtime.pod_cgroups,
        )
        operations = self._compute_operations(pod, actions, observed, address, names, references)
        making = self._run_sandbox(pod, spec) if actions.create_sandbox else _nothing()
        made = asyncio.create_task(making, name=f"sandbox {spec.id}")
        try:
            results = await asyncio.gather(
                self._prepare(pod, operations, memory),
                self._hold_images(pod, images, memory),
                return_exceptions=True,
            )
        except asyncio.CancelledError:
            made.cancel()
            raise
        for result in results:
            if isinstance(result, BaseException):
                await made  # a failure of its own comes first
                raise result
        identifier = (
            spec.id if actions.create_sandbox or not observed.sandbox else observed.sandbox.id
        )
        return _Sandbox(identifier, address.partition("/")[0], references, made)

    def _allocate(self, pod: Object) -> str:
        if host_network(pod):
            return ""
        try:
            address: IPv4Interface = self._parts.addresses.allocate(uid_of(pod))
        except Exception as error:
            raise StepError(
                "FailedCreatePodSandBox",
                f"Failed to create pod sandbox: no address for the pod: {error}; "
                "delete Pods that are not needed, or choose a wider --pod-cidr",
            ) from error
        fault.point("node.address.allocated")
        return str(address)

    def _compute_operations(
        self,
        pod: Object,
        actions: PodActions,
        observed: ObservedPod,
        address: str,
        names: Names,
        references: References,
    ) -> list[Operation]:
        """Return what is to be prepared: once for a sandbox everything, later the files of what is started."""
        parts, memory = self._parts, self._parts.memory(uid_of(pod))
        operations: list[Operation] = []
        starts = [(each.name, each.attempt) for each in actions.starts]
        if not memory.prepared:
            operations += compute_files(parts, pod, address, names, warn=True)
            directory = parts.config.pod_directory(uid_of(pod))
            memory.volumes = compute_volumes(pod, directory, references)
            for volume in memory.volumes.values():
                operations += volume.operations
            starts = [
                (container["name"], next_attempt(container["name"], observed, pod.get("status")))
                for _, container in containers_of(pod)
            ]
        for name, attempt in starts:
            if (name, attempt) not in memory.files:
                operations += compute_container_files(pod, name, attempt, parts.config)
                memory.files.add((name, attempt))
        return operations

    async def _run_sandbox(self, pod: Object, spec: SandboxSpec) -> None:
        try:
            status, steps = await bounded(self._parts.runtime.run_sandbox(spec))
        except RuntimeFailure as failure:
            message = f"Failed to create pod sandbox: {failure}"
            raise StepError("FailedCreatePodSandBox", message) from failure
        self._parts.running.put_sandbox(status)
        self._parts.trace(pod, "sandbox", steps)
        fault.point("node.sandbox.created")

    async def _prepare(self, pod: Object, operations: list[Operation], memory: Memory) -> None:
        if operations:
            try:
                steps = await bounded(self._parts.runtime.perform(operations))
            except RuntimeFailure as failure:
                memory.files.clear()
                raise await self._explain(memory, failure) from failure
            self._parts.trace(pod, "volumes and files", steps)
        memory.prepared = True
        fault.point("node.volumes.prepared")

    async def _explain(self, memory: Memory, failure: RuntimeFailure) -> StepError:
        """Find out which volume could not be prepared: only on this path are they done one by one."""
        for volume in memory.volumes.values():
            try:
                await self._parts.runtime.perform(volume.operations)
            except RuntimeFailure as culprit:
                return mount_failure(volume.name, _reason_of(culprit))
        return StepError("FailedMount", f"error making pod data directories: {failure}")

    async def _hold_images(self, pod: Object, images: dict[str, Image], memory: Memory) -> None:
        if all(memory.leased.get(name) == i.manifest_digest for name, i in images.items()):
            return
        try:
            await asyncio.to_thread(self._lease, pod, images, memory)
        except (ImageError, OSError) as error:
            raise StepError("Failed", f"cannot hold the image: {error}") from error
        fault.point("node.images.leased")

    # -- containers ------------------------------------------------------------------------------

    async def _pull(self, work: Work, pod: Object, start: Start) -> Image | None:
        """Have a container's image pulled, and hold it."""
        image = await self._images.obtain(work, pod, start)
        if image is not None:
            await self._hold_images(pod, {start.name: image}, self._parts.memory(uid_of(pod)))
        return image

    async def _start_container(
        self,
        work: Work,
        pod: Object,
        start: Start,
        image: Image | None,
        sandbox: _Sandbox,
        turn: Turn,
    ) -> bool:
        """Prepare one container and start it when its turn comes; return whether it was started.

        A failure becomes its waiting reason and Events, in its turn. Raises TurnNeverCame.
        """
        found, of_files = image is not None, bool(find_files(_container(pod, start.name)))
        if image is None or turn.slow or of_files:  # what others write is read when they have
            # and the shim shall not hold a prepared container for long
            await turn.come(work)
            image = image or await self._pull(work, pod, start)
            if image is None:
                return False
        try:
            files = await self._read_files(pod, start) if of_files else None
            spec = self._translate(pod, start, image, sandbox, files)
            fault.point("node.container.planned")
            prepared = await bounded(self._parts.runtime.prepare_container(spec))
        except (StepError, RuntimeFailure) as failure:
            await turn.come(work)
            self._tell_found(pod, start, found)
            if isinstance(failure, StepError):
                return self._fail(pod, start, failure.reason, failure.message)
            started = self._start_failed(pod, start, spec, failure)
            return started and await self._after_start(work, pod, start.name)
        try:
            await turn.come(work)
        except BaseException:
            await prepared.abandon()
            raise
        self._tell_found(pod, start, found)
        started = await self._start_prepared(pod, start, spec, prepared)
        return started and await self._after_start(work, pod, start.name)

    def _tell_found(self, pod: Object, start: Start, found: bool) -> None:
        if found:
            self._images.tell_found(pod, start)

    async def _start_prepared(
        self, pod: Object, start: Start, spec: ContainerSpec, prepared: PreparedContainer
    ) -> bool:
        parts = self._parts
        if start.previous_end is not None:
            now = parts.clock.now()
            parts.backoffs.restarted(uid_of(pod), start.name, start.hash, start.previous_end, now)
        try:
            status, steps = await bounded(prepared.start())
        except RuntimeFailure as failure:
            return self._start_failed(pod, start, spec, failure)
        parts.memory(uid_of(pod)).waiting.pop(start.name, None)
        parts.running.put_container(status)
        parts.trace(pod, f"container {start.name}", steps)
        fault.point("node.container.started")
        parts.event(pod, "Normal", "Created", "Container created", start.name)
        parts.event(pod, "Normal", "Started", "Container started", start.name)
        return True

    async def _read_files(self, pod: Object, start: Start) -> EnvFiles:
        volumes = self._parts.memory(uid_of(pod)).volumes
        places = {name: each.path for name, each in volumes.items()}
        return await asyncio.to_thread(read_files, _container(pod, start.name), places)

    def _translate(
        self,
        pod: Object,
        start: Start,
        image: Image,
        sandbox: _Sandbox,
        files: EnvFiles | None,
    ) -> ContainerSpec:
        parts, memory = self._parts, self._parts.memory(uid_of(pod))
        container, view = _container(pod, start.name), with_addresses(parts, pod, sandbox.address)
        inputs = ContainerInputs(
            kind=start.kind,
            attempt=start.attempt,
            image=image,
            environment=compute_environment(
                view, container, image.config.env, sandbox.references, files
            ),
            volumes=memory.volumes,
            hostname=memory.names.hostname if memory.names else "",
            pid_target=self._find_target(pod, container),
        )
        return compute_container_spec(
            pod, container, inputs, parts.config, sandbox.id, parts.profiles.compile
        )

    def _find_target(self, pod: Object, container: Object) -> str:
        """Return the ID of the running container that an ephemeral one is to join, "" for none. StepError."""
        name = container.get("targetContainerName")
        if not name:
            return ""
        running = (each for each in self._parts.observe(pod).running() if each.name == name)
        found = next(running, None)
        if found is None:
            raise StepError("CreateContainerConfigError", f"unable to find target container {name}")
        return found.id

    def _start_failed(
        self, pod: Object, start: Start, spec: ContainerSpec, failure: RuntimeFailure
    ) -> bool:
        """A program that cannot be executed is an attempt that has ended (128); anything else left none behind."""
        parts = self._parts
        if failure.reason != "StartError":
            reason = failure.reason if failure.reason in _CREATE_ERRORS else "RunContainerError"
            return self._fail(pod, start, reason, str(failure))
        now = parts.clock.now()
        parts.running.put_container(
            ContainerStatus(
                id=spec.id,
                sandbox_id=spec.sandbox_id,
                state="exited",
                pid=0,
                created_at=now,
                started_at=now,
                finished_at=now,
                exit_code=START_ERROR_CODE,
                reason="StartError",
                message=str(failure),
                labels=spec.labels,
                log_path=spec.log_path,
            )
        )
        parts.event(pod, "Normal", "Created", "Container created", start.name)
        parts.event(pod, "Warning", "Failed", f"Error: {failure}", start.name)
        parts.memory(uid_of(pod)).waiting[start.name] = Waiting("RunContainerError", str(failure))
        return True

    def _fail(self, pod: Object, start: Start, reason: str, message: str) -> bool:
        self._parts.memory(uid_of(pod)).waiting[start.name] = Waiting(reason, message)
        self._parts.event(pod, "Warning", "Failed", f"Error: {message}", start.name)
        return False


def compute_files(
    parts: Parts, pod: Object, address: str, names: Names, *, warn: bool
) -> tuple[Operation, ...]:
    """Return the operations for the Pod's directory, hosts, resolv.conf and hostname files."""
    config = parts.config
    host = parse_resolv_conf(_read(config.resolv_conf))
    resolver = compute_resolver(pod, host, config.cluster_dns, config.cluster_domain)
    for warning in resolver.warnings if warn else ():
        parts.event(pod, "Warning", "DNSConfigForming", warning)
    plain = address.partition("/")[0]
    hosts = compute_hosts(pod, names, plain, _read(config.hosts_file))
    return compute_pod_files(pod, config, hosts, resolver.render(), names)


def _is_current(volume: PreparedVolume) -> bool:
    """Whether a volume shows its files already, and holds no others (always, for one that follows no objects)."""
    if not volume.version:
        return True
    kept = [each.names for each in volume.operations if isinstance(each, KeepOnly)]
    try:
        shown = os.readlink(f"{volume.path}/{DATA}") == volume.version
        return shown and set(os.listdir(volume.path)) == {name for names in kept for name in names}
    except OSError:
        return False


def with_addresses(parts: Parts, pod: Object, own: str) -> Object:
    """Return the Pod with the addresses that its containers may be told of: its own, or with hostNetwork the host's."""
    address = parts.config.host_ip if host_network(pod) else own
    status = {
        **(pod.get("status") or {}),
        "hostIP": parts.config.host_ip,
        "hostIPs": [{"ip": parts.config.host_ip}],
        "podIP": address,
        "podIPs": [{"ip": address}] if address else [],
    }
    return {**pod, "status": status}


async def bounded(call: Coroutine[Any, Any, A]) -> A:
    """Await a call of the runtime; one that is never answered is a failure, and is made again."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT):
            return await call
    except TimeoutError:
        message = f"the runtime has not answered for {REQUEST_TIMEOUT:.0f} seconds"
        raise RuntimeFailure("ShimUnavailable", message) from None


async def _nothing() -> None:
    """Be awaited beside other work."""


def _container(pod: Object, name: str) -> Object:
    found = find_container(pod, name)
    assert found is not None
    return found[1]


def _reason_of(failure: RuntimeFailure) -> str:
    """Return the failure without the summary of the step, which the message names by its volume."""
    return str(failure).removeprefix(f"{failure.step}: ")


def _read(path: object) -> str:
    try:
        with open(str(path), encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except OSError:
        return ""
