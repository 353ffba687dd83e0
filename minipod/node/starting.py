"""Starting: a Pod's containers, in its sandbox.

The sandbox is asked for first. While it is made, images are leased, and what the Pod refers to is looked up for its
volumes and files. Beside all that the containers prepare themselves, as soon as their roots' layers are held and what
their environments are made from is known; each waits for its turn: the first for the sandbox, volumes and files, the
others for the one before. So what is slow happens at the same time, and what is seen happens in upstream's order.
"""

import asyncio
from collections.abc import Awaitable, Sequence
from typing import NamedTuple

from minipod import fault
from minipod.client import Object
from minipod.image.store import Image
from minipod.node.actions import PodActions, Start
from minipod.node.bounded import bounded
from minipod.node.env_files import EnvFiles, find_files, read_files
from minipod.node.environment import References, compute_environment, refers_to_objects
from minipod.node.errors import StepError
from minipod.node.hooks import Hooks
from minipod.node.image_step import ImageStep
from minipod.node.image_volumes import (
    ImageVolume,
    compute_image_mount,
    find_image_volumes,
    image_volume_place,
    is_mounted,
)
from minipod.node.log_files import link_log
from minipod.node.node_object import compute_allocatable
from minipod.node.parts import Memory, Parts
from minipod.node.pods import find_container, host_network, spec_grace, uid_of
from minipod.node.propagation import check_propagation, passes_on
from minipod.node.refreshing import Refresher
from minipod.node.sandbox_step import Sandbox, SandboxStep
from minipod.node.service_variables import compute_service_variables
from minipod.node.status import Waiting
from minipod.node.stopping import Stopper
from minipod.node.translate import ContainerInputs, compute_container_spec
from minipod.node.turns import Turn, TurnNeverCame, reached
from minipod.node.volumes import PreparedVolume, VolumePlace, compute_places
from minipod.node.workers import Work
from minipod.runtime.operations import Operation
from minipod.runtime.service import PreparedContainer, RuntimeFailure
from minipod.runtime.spec import ContainerSpec, ContainerStatus

_CREATE_ERRORS = ("CreateContainerError", "CreateContainerConfigError")
START_ERROR_CODE = 128  # containerd's exit code of a program that could not be executed


class _Place(NamedTuple):
    """Where containers are started, and what they are told of the Pod's surroundings."""

    sandbox: Sandbox
    held: asyncio.Task[None]  # the images are leased
    looked_up: asyncio.Task[References]
    ready: asyncio.Task[None]  # all of it, and volumes and files; StepError when that will never be


class Starter:
    """Makes sandboxes and starts containers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._images, self._sandboxes = ImageStep(parts), SandboxStep(parts)
        self._refresher = Refresher(parts)
        self._hooks, self._stopper = Hooks(parts), Stopper(parts)
        self._passes_on = passes_on(parts.config.layout.pods)

    async def start(self, work: Work, pod: Object, actions: PodActions) -> bool:
        """Do what `actions` wants started; return whether all of it was. StepError for what concerns the whole Pod."""
        memory = self._parts.memory(uid_of(pod))
        images = self._images.find(pod, actions.starts, memory)
        prepared = memory.prepared and not actions.create_sandbox
        sandbox = self._sandboxes.begin(pod, actions, memory)
        held = asyncio.create_task(self._sandboxes.hold_images(pod, images), name="image leases")
        looked_up = asyncio.create_task(self._look_up(pod, memory, prepared), name="references")
        furnished = self._furnish(pod, actions, sandbox, looked_up)
        ready = asyncio.create_task(_all(sandbox.made, held, furnished), name="place")
        place = _Place(sandbox, held, looked_up, ready)
        started = await self._start_in_turn(work, pod, actions.starts, images, place)
        return work.stopping or (len(started) == len(actions.starts) and all(started))

    async def _look_up(self, pod: Object, memory: Memory, prepared: bool) -> References:
        references = await self._refresher.fetch(pod, memory)
        fault.point("node.references.fetched")
        memory.stale |= prepared  # its volumes are of something older; `refresh` comes next
        return references

    async def _furnish(
        self,
        pod: Object,
        actions: PodActions,
        sandbox: Sandbox,
        looked_up: asyncio.Task[References],
    ) -> None:
        """Prepare volumes and files. StepError, which is remembered: the next time nothing is begun before them."""
        memory = self._parts.memory(uid_of(pod))
        try:
            await self._sandboxes.prepare(pod, actions, sandbox, await looked_up)
        except StepError:
            memory.unfurnished = True
            raise
        memory.unfurnished = False

    async def _start_in_turn(
        self,
        work: Work,
        pod: Object,
        starts: Sequence[Start],
        images: dict[str, Image],
        place: _Place,
    ) -> list[bool]:
        """Start containers; return of each whose turn came whether it was started. StepError of the sandbox."""
        tasks: list[asyncio.Task[bool]] = []
        turn = Turn(place.ready)
        for start in starts:
            image = images.get(start.name)
            starting = self._start_container(work, pod, start, image, place, turn)
            tasks.append(asyncio.create_task(starting, name=f"start {start.name}"))
            hooks = _container(pod, start.name).get("lifecycle") or {}
            pulled = find_image_volumes(pod, _container(pod, start.name))
            slow = image is None or "postStart" in hooks or bool(pulled)
            turn = Turn(tasks[-1], must_succeed=start.kind == "init", slow=slow)
        try:
            results = await asyncio.gather(place.ready, *tasks, return_exceptions=True)
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

    # -- containers ------------------------------------------------------------------------------

    async def _pull(self, work: Work, pod: Object, start: Start) -> Image | None:
        """Have a container's image pulled, and hold it."""
        image = await self._images.obtain(work, pod, start)
        if image is not None:
            await self._sandboxes.hold_images(pod, {start.name: image})
        return image

    async def _start_container(
        self,
        work: Work,
        pod: Object,
        start: Start,
        image: Image | None,
        place: _Place,
        turn: Turn,
    ) -> bool:
        """Prepare one container and start it when its turn comes; return whether it was started.

        A failure becomes its waiting reason and Events, in its turn. Raises TurnNeverCame.
        """
        found, container = image is not None, _container(pod, start.name)
        of_files, volumes = bool(find_files(container)), find_image_volumes(pod, container)
        # what needs volumes from the beginning
        later = (
            of_files or volumes or _shares_mounts(container) or self._misses_mounts(pod, container)
        )
        doubtful = self._parts.memory(uid_of(pod)).unfurnished or turn.slow
        if image is None or later or doubtful:  # the shim shall hold none for long, or in vain
            await turn.come(work)
            image = image or await self._pull(work, pod, start)
            if image is None:
                return False
        try:
            for volume in volumes:
                if not await self._mount_image(work, pod, start, volume):
                    return False
            files = await self._read_files(pod, start) if of_files else None
            await reached(place.held)
            references = await self._references(pod, container, place)
            spec = self._translate(pod, start, image, place.sandbox, references, files)
            check_propagation(spec.mounts)
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

    def _misses_mounts(self, pod: Object, container: Object) -> bool:
        """Whether a container that is made before its volumes would not see what is mounted for them."""
        if self._passes_on:
            return False
        places = compute_places(pod, self._parts.config.pod_directory(uid_of(pod)))
        wanted = (places.get(each["name"]) for each in container.get("volumeMounts") or ())
        return any(place is not None and place.mounted for place in wanted)

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
        link_log(parts.config.layout.container_logs, status)
        parts.trace(pod, f"container {start.name}", steps)
        fault.point("node.container.started")
        parts.event(pod, "Normal", "Created", "Container created", start.name)
        parts.event(pod, "Normal", "Started", "Container started", start.name)
        return True

    async def _mount_image(
        self, work: Work, pod: Object, start: Start, volume: ImageVolume
    ) -> bool:
        """Have an image volume mounted; false, and a waiting reason, when its image cannot be had."""
        parts, memory = self._parts, self._parts.memory(uid_of(pod))
        if volume.name in memory.volumes:
            return True
        place = image_volume_place(parts.config.pod_directory(uid_of(pod)), volume.name)
        operations: tuple[Operation, ...] = ()
        if not is_mounted(place):
            container = _container(pod, start.name)
            image = await self._images.obtain_volume(work, pod, volume, container)
            if image is None:
                return False
            await self._sandboxes.hold_images(pod, {volume.key: image})
            operations = (compute_image_mount(place, image),)
            parts.trace(pod, volume.key, await bounded(parts.runtime.perform(operations)))
        mounted = PreparedVolume(volume.name, VolumePlace(place, read_only=True), operations)
        memory.volumes[volume.name] = mounted
        return True

    async def _read_files(self, pod: Object, start: Start) -> EnvFiles:
        found = compute_places(pod, self._parts.config.pod_directory(uid_of(pod)))
        places = {name: each.path for name, each in found.items()}
        return await asyncio.to_thread(read_files, _container(pod, start.name), places)

    async def _references(self, pod: Object, container: Object, place: _Place) -> References:
        """Return what the container's environment is made from; a plain one waits for no objects. TurnNeverCame."""
        if refers_to_objects(container):
            return await reached(place.looked_up)
        parts = self._parts
        services = compute_service_variables(pod, parts.services)
        return References(services=services, allocatable=compute_allocatable(parts.config))

    def _translate(
        self,
        pod: Object,
        start: Start,
        image: Image,
        sandbox: Sandbox,
        references: References,
        files: EnvFiles | None,
    ) -> ContainerSpec:
        parts, memory = self._parts, self._parts.memory(uid_of(pod))
        container = _container(pod, start.name)
        view = with_addresses(parts, pod, sandbox.address.partition("/")[0])
        inputs = ContainerInputs(
            kind=start.kind,
            attempt=start.attempt,
            image=image,
            environment=compute_environment(view, container, image.config.env, references, files),
            volumes=compute_places(pod, parts.config.pod_directory(uid_of(pod))),
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


def _shares_mounts(container: Object) -> bool:
    """Whether mounts are passed on: the host's are looked at first, and some taken while they are still peers."""
    mounts = container.get("volumeMounts") or ()
    return any((each.get("mountPropagation") or "None") != "None" for each in mounts)


async def _all(*parts: Awaitable[None]) -> None:
    """Await all to their ends, then raise the failure of the first that has one."""
    for result in await asyncio.gather(*parts, return_exceptions=True):
        if isinstance(result, BaseException):
            raise result


def _container(pod: Object, name: str) -> Object:
    found = find_container(pod, name)
    assert found is not None
    return found[1]
