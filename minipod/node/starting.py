"""Starting: a Pod's containers, in its sandbox.

The sandbox is asked for first. While it is made, images are leased, and what the Pod refers to is looked up for its
volumes and files. Beside all that the containers prepare themselves, as soon as their roots' layers are held and what
their environments are made from is known; each waits for its turn: the first for the sandbox, volumes and files, the
others for the one before. So what is slow happens at the same time, and what is seen happens in upstream's order.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from minipod import fault
from minipod.client import Object
from minipod.image.store import Image
from minipod.node.actions import PodActions, Start
from minipod.node.ahead import compute_ahead
from minipod.node.bounded import bounded
from minipod.node.environment import References
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
from minipod.node.parts import Memory, Parts
from minipod.node.pods import known_container, spec_grace, uid_of
from minipod.node.preparing import Place, Preparer
from minipod.node.refreshing import Refresher
from minipod.node.sandbox_step import Sandbox, SandboxStep
from minipod.node.status import Waiting
from minipod.node.stopping import Stopper
from minipod.node.turns import Turn, TurnNeverCame, Way
from minipod.node.volumes import PreparedVolume, VolumePlace
from minipod.node.workers import Work
from minipod.runtime.operations import Operation
from minipod.runtime.service import PreparedContainer, RuntimeFailure
from minipod.runtime.spec import ContainerSpec, ContainerStatus

_CREATE_ERRORS = ("CreateContainerError", "CreateContainerConfigError")
START_ERROR_CODE = 128  # containerd's exit code of a program that could not be executed


class Starter:
    """Makes sandboxes and starts containers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._images, self._sandboxes = ImageStep(parts), SandboxStep(parts)
        self._refresher = Refresher(parts)
        self._hooks, self._stopper = Hooks(parts), Stopper(parts)
        self._preparer = Preparer(parts)

    async def start(self, work: Work, pod: Object, actions: PodActions) -> bool:
        """Do what `actions` wants started; return whether all of it was. StepError for what concerns the whole Pod."""
        memory = self._parts.memory(uid_of(pod))
        ahead = compute_ahead(pod, self._parts.observe(pod), actions.starts)
        images = self._images.find(pod, (*actions.starts, *ahead), memory)
        prepared = memory.prepared and not actions.create_sandbox
        sandbox = self._sandboxes.begin(pod, actions, memory)
        mounted = asyncio.create_task(self._sandboxes.mount(pod), name="filesystems")
        leased = asyncio.create_task(self._sandboxes.hold_images(pod, images), name="leases")
        held = asyncio.create_task(_all(leased, mounted), name="image leases")
        looked_up = asyncio.create_task(self._look_up(pod, memory, prepared), name="references")
        furnishing = self._furnish(pod, actions, sandbox, mounted, looked_up)
        furnished = asyncio.create_task(furnishing, name="volumes and files")
        ready = asyncio.create_task(_all(sandbox.made, held, furnished), name="place")
        place = Place(sandbox, held, looked_up, ready)
        then = partial(self._preparer.prepare_ahead, pod, ahead, images, place)
        try:
            started = await self._start_in_turn(work, pod, actions.starts, images, place, then)
        except (StepError, RuntimeFailure):
            await self._parts.ahead.give_up(uid_of(pod))
            raise
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
        mounted: asyncio.Task[None],
        looked_up: asyncio.Task[References],
    ) -> None:
        """Prepare volumes and files. StepError, which is remembered: the next time nothing is begun before them."""
        memory = self._parts.memory(uid_of(pod))
        try:
            references = await looked_up
            await mounted
            await self._sandboxes.prepare(pod, actions, sandbox, references)
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
        place: Place,
        then: Callable[[], None],
    ) -> list[bool]:
        """Start containers; return of each whose turn came whether it was started. StepError of the sandbox.

        `then` is called when the last of them has been asked for.
        """
        tasks: list[asyncio.Task[bool]] = []
        turn = Turn(Way(), place.ready)
        for start in starts:
            if start is starts[-1]:
                turn = turn._replace(own=Way(then))
            image = images.get(start.name)
            starting = self._start_container(work, pod, start, image, place, turn)
            tasks.append(turn.own.begin(starting, f"start {start.name}"))
            hooks = known_container(pod, start.name).get("lifecycle") or {}
            pulled = find_image_volumes(pod, known_container(pod, start.name))
            slow = image is None or "postStart" in hooks or bool(pulled)
            last = turn.own if slow else turn.slow
            first = start.kind == "init"
            turn = Turn(Way(), place.ready, turn.own, must_succeed=first, slow=last)
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
        try:
            await self._stopper.stop_politely(pod, failed.id, spec_grace(pod))
        finally:
            self._parts.memory(uid_of(pod)).hooked.discard(failed.id)
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
        place: Place,
        turn: Turn,
    ) -> bool:
        """Prepare one container and start it when its turn comes; return whether it was started.

        A failure becomes its waiting reason and Events, in its turn. Raises TurnNeverCame.
        """
        found, container = image is not None, known_container(pod, start.name)
        preparer, volumes = self._preparer, find_image_volumes(pod, container)
        doubtful = self._parts.memory(uid_of(pod)).unfurnished or turn.follows_slow
        await turn.approach(work)  # the shim shall hold none for long, or in vain
        if image is None or doubtful or preparer.needs_volumes(pod, container):
            await turn.come(work)
            await turn.told()  # a pull is told of behind it
            image = image or await self._pull(work, pod, start)
            if image is None:
                return False
        spec = None
        try:
            for volume in volumes:
                if not await self._mount_image(work, pod, start, volume):
                    return False
            spec = await preparer.compute_spec(pod, start, image, place)
            prepared = await preparer.prepare(pod, start, spec)
            turn.own.then()
        except (StepError, RuntimeFailure) as failure:
            await turn.come(work)
            await turn.told()
            self._tell_found(pod, start, found)
            return await self._after_failure(work, pod, start, spec, failure)
        try:
            await turn.come(work)
        except BaseException:
            await prepared.abandon()
            raise
        asyncio.get_running_loop().call_soon(turn.own.let_go)  # behind the request that does it
        problem = await self._let_go(pod, start, prepared)
        await turn.told()
        self._tell_found(pod, start, found)
        if problem:
            return await self._after_failure(work, pod, start, spec, problem)
        self._tell_started(pod, start)
        return await self._after_start(work, pod, start.name)

    async def _after_failure(
        self,
        work: Work,
        pod: Object,
        start: Start,
        spec: ContainerSpec | None,
        failure: StepError | RuntimeFailure,
    ) -> bool:
        """Tell why a container could not be made; return whether its attempt counts as a start all the same."""
        if isinstance(failure, StepError):
            return self._fail(pod, start, failure.reason, failure.message)
        started = self._start_failed(pod, start, spec, failure)
        return started and await self._after_start(work, pod, start.name)

    def _tell_found(self, pod: Object, start: Start, found: bool) -> None:
        if found:
            self._images.tell_found(pod, start)

    async def _let_go(
        self, pod: Object, start: Start, prepared: PreparedContainer
    ) -> RuntimeFailure | None:
        """Let a container go on to its program; return why that came to nothing."""
        parts = self._parts
        if start.previous_end is not None:
            now = parts.clock.now()
            parts.backoffs.restarted(uid_of(pod), start.name, start.hash, start.previous_end, now)
        try:
            status, steps = await bounded(prepared.start())
        except RuntimeFailure as failure:
            return failure
        parts.memory(uid_of(pod)).waiting.pop(start.name, None)
        parts.running.put_container(status)
        link_log(parts.config.layout.container_logs, status)
        parts.trace(pod, f"container {start.name}", steps)
        fault.point("node.container.started")
        return None

    def _tell_started(self, pod: Object, start: Start) -> None:
        self._parts.event(pod, "Normal", "Created", "Container created", start.name)
        self._parts.event(pod, "Normal", "Started", "Container started", start.name)

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
            container = known_container(pod, start.name)
            image = await self._images.obtain_volume(work, pod, volume, container)
            if image is None:
                return False
            await self._sandboxes.hold_images(pod, {volume.key: image})
            operations = (compute_image_mount(place, image),)
            parts.trace(pod, volume.key, await bounded(parts.runtime.perform(operations)))
        mounted = PreparedVolume(volume.name, VolumePlace(place, read_only=True), operations)
        memory.volumes[volume.name] = mounted
        return True

    def _start_failed(
        self, pod: Object, start: Start, spec: ContainerSpec | None, failure: RuntimeFailure
    ) -> bool:
        """A program that cannot be executed is an attempt that has ended (128); anything else left none behind."""
        parts = self._parts
        if spec is None or failure.reason != "StartError":
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


async def _all(*parts: "asyncio.Task[None]") -> None:
    """Await all to their ends, then raise the failure of the first that has one."""
    going_on = [part for part in parts if not part.done()]
    await asyncio.gather(*going_on, return_exceptions=True)
    for part in parts:
        part.result()
