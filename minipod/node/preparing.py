"""Preparing: from a container of a Pod's spec, and what is found in the API and on the host, to what the runtime makes.

A container prepares itself as soon as its root's layers are held and what its environment is made from is known; it
then waits for its turn. What comes after an init container may be made ready while that one runs (`ahead`).
"""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import NamedTuple

from minipod import fault
from minipod.client import Object
from minipod.image.store import Image
from minipod.node.actions import Start
from minipod.node.ahead import Ready
from minipod.node.bounded import bounded
from minipod.node.env_files import EnvFiles, find_files, read_files
from minipod.node.environment import References, compute_environment, refers_to_objects
from minipod.node.errors import StepError
from minipod.node.image_volumes import find_image_volumes
from minipod.node.parts import Parts
from minipod.node.pods import host_network, known_container, shares_mounts, uid_of
from minipod.node.propagation import check_propagation
from minipod.node.sandbox_step import Sandbox
from minipod.node.service_variables import compute_service_variables
from minipod.node.translate import ContainerInputs, compute_container_spec
from minipod.node.turns import reached
from minipod.node.volumes import compute_places
from minipod.runtime.service import PreparedContainer
from minipod.runtime.spec import ContainerSpec


class Place(NamedTuple):
    """Where containers are started, and what they are told of the Pod's surroundings."""

    sandbox: Sandbox
    held: asyncio.Task[None]  # the images are leased, and the volumes' filesystems mounted
    looked_up: asyncio.Task[References]
    ready: asyncio.Task[None]  # all of it, and volumes and files; StepError when that will never be


class Preparer:
    """Computes containers' specs and has the containers prepared."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def needs_volumes(self, pod: Object, container: Object) -> bool:
        """Whether a container cannot be prepared before its volumes are there."""
        volumes = find_files(container) or find_image_volumes(pod, container)
        return bool(volumes) or shares_mounts(container)

    async def compute_spec(
        self, pod: Object, start: Start, image: Image, place: Place
    ) -> ContainerSpec:
        """Return what the runtime is to make, once the image is held. StepError, TurnNeverCame.

        What can be computed before that is: the image is being held by another thread meanwhile.
        """
        container = known_container(pod, start.name)
        files = await self._read_files(pod, container) if find_files(container) else None
        references = await self._references(pod, container, place)
        spec = self._translate(pod, start, image, place.sandbox, references, files)
        await reached(place.held)
        check_propagation(spec.mounts)
        return spec

    async def prepare(self, pod: Object, start: Start, spec: ContainerSpec) -> PreparedContainer:
        """Have a container prepared, or take the one that was made ready ahead. RuntimeFailure."""
        fault.point("node.container.planned")
        if ready := await self._parts.ahead.take(uid_of(pod), start.name, spec):
            return ready
        return await bounded(self._parts.runtime.prepare_container(spec))

    def prepare_ahead(
        self, pod: Object, ahead: tuple[Start, ...], images: Mapping[str, Image], place: Place
    ) -> None:
        """Have containers made ready whose images are here and that need nothing else."""
        uid = uid_of(pod)
        for start in ahead:
            image = images.get(start.name)
            if image is not None and not self.needs_volumes(pod, known_container(pod, start.name)):
                make = partial(self._make_ready, pod, start, image, place)
                self._parts.ahead.begin(uid, start.name, make)

    async def _make_ready(self, pod: Object, start: Start, image: Image, place: Place) -> Ready:
        spec = await self.compute_spec(pod, start, image, place)
        prepared = await bounded(self._parts.runtime.prepare_container(spec))
        fault.point("node.container.ahead")
        return Ready(spec, prepared)

    async def _read_files(self, pod: Object, container: Object) -> EnvFiles:
        found = compute_places(pod, self._parts.config.pod_directory(uid_of(pod)))
        places = {name: each.path for name, each in found.items()}
        return await asyncio.to_thread(read_files, container, places)

    async def _references(self, pod: Object, container: Object, place: Place) -> References:
        """Return what the container's environment is made from; a plain one waits for no objects. TurnNeverCame."""
        if refers_to_objects(container):
            return await reached(place.looked_up)
        parts = self._parts
        services = compute_service_variables(pod, parts.services)
        return References(services=services, allocatable=parts.allocatable)

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
        container = known_container(pod, start.name)
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
