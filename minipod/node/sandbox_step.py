"""A Pod's sandbox, and what lies beside it on the host: its files, its volumes, the leases of its images.

The sandbox waits for nothing but its address: what only containers need is looked up and prepared while it is made.
Image leases come before a container is asked for, since it begins with its root; volumes and files need only be there
when its turn comes.
"""

import asyncio
from ipaddress import IPv4Interface
from typing import NamedTuple

from minipod import fault
from minipod.client import Object
from minipod.image.store import Image, ImageError
from minipod.node.actions import PodActions
from minipod.node.bounded import bounded
from minipod.node.environment import References
from minipod.node.errors import StepError
from minipod.node.hosts import (
    Names,
    compute_hosts,
    compute_names,
    compute_resolver,
    parse_resolv_conf,
)
from minipod.node.images import lease_owner
from minipod.node.observed import next_attempt
from minipod.node.parts import Memory, Parts
from minipod.node.pods import containers_of, host_network, uid_of
from minipod.node.translate import (
    compute_container_files,
    compute_pod_files,
    compute_sandbox_spec,
    make_pod_directory,
)
from minipod.node.volumes import compute_filesystems, compute_volumes, mount_failure
from minipod.runtime.operations import Operation
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import SandboxSpec


class Sandbox(NamedTuple):
    """The sandbox that containers go into; `made` is done once it is ready, with StepError when it never will be."""

    id: str
    address: str  # with the length of its range; "" with hostNetwork
    made: asyncio.Task[None]


class SandboxStep:
    """Makes sandboxes, and prepares what their containers will need."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def begin(self, pod: Object, actions: PodActions, memory: Memory) -> Sandbox:
        """Have the sandbox made if there is to be a new one; it goes on by itself. StepError."""
        parts = self._parts
        memory.names = memory.names or compute_names(
            pod, parts.config.cluster_domain, parts.config.node_name
        )
        address = self._allocate(pod)
        if not actions.create_sandbox:
            observed = parts.observe(pod).sandbox
            made = asyncio.create_task(_nothing(), name="a sandbox that is there")
            return Sandbox(observed.id if observed else "", address, made)
        memory.prepared = False
        spec = compute_sandbox_spec(
            *(pod, actions.sandbox_attempt, memory.names, address, parts.config),
            parts.profiles.compile,
            cgroups=parts.runtime.pod_cgroups,
        )
        making = self._run_sandbox(pod, spec)
        return Sandbox(spec.id, address, asyncio.create_task(making, name=f"sandbox {spec.id}"))

    async def mount(self, pod: Object) -> None:
        """Mount, beside the sandbox, the filesystems that volumes will lie on. StepError."""
        parts, uid = self._parts, uid_of(pod)
        if parts.memory(uid).prepared:
            return
        mounts = compute_filesystems(pod, parts.config.pod_directory(uid))
        if not mounts:
            return
        operations = (make_pod_directory(pod, parts.config), *mounts.values())
        try:
            steps = await bounded(parts.runtime.perform(operations, at_once=True))
        except RuntimeFailure as failure:
            failed = (name for name, each in mounts.items() if each.summary() == failure.step)
            raise mount_failure(next(failed, ""), _reason_of(failure)) from failure
        parts.trace(pod, "filesystems", steps)
        fault.point("node.filesystems.mounted")

    async def prepare(
        self, pod: Object, actions: PodActions, sandbox: Sandbox, references: References
    ) -> None:
        """Prepare, beside the sandbox, the volumes and files that the containers will need. StepError."""
        memory = self._parts.memory(uid_of(pod))
        operations = self._compute_operations(pod, actions, sandbox.address, references)
        await self._perform(pod, operations, memory)

    def _allocate(self, pod: Object) -> str:
        if host_network(pod):
            return ""
        try:
            address: IPv4Interface = self._parts.addresses.allocate(uid_of(pod))
        except Exception as error:
            raise StepError(
                "FailedCreatePodSandBox",
                f"Failed to create pod sandbox: no address for the pod: {error}",
            ) from error
        fault.point("node.address.allocated")
        return str(address)

    def _compute_operations(
        self,
        pod: Object,
        actions: PodActions,
        address: str,
        references: References,
    ) -> list[Operation]:
        """Return what is to be prepared: once for a sandbox everything, later the files of what is started."""
        parts, memory = self._parts, self._parts.memory(uid_of(pod))
        operations: list[Operation] = []
        starts = [(each.name, each.attempt) for each in actions.starts]
        if not memory.prepared:
            assert memory.names is not None
            observed = parts.observe(pod)
            operations += compute_files(parts, pod, address, memory.names, warn=True)
            directory = parts.config.pod_directory(uid_of(pod))
            memory.volumes = compute_volumes(pod, directory, references)
            mounts = set(compute_filesystems(pod, directory).values())
            for volume in memory.volumes.values():
                operations += [each for each in volume.operations if each not in mounts]
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

    async def _perform(self, pod: Object, operations: list[Operation], memory: Memory) -> None:
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

    # -- images ----------------------------------------------------------------------------------

    async def hold_images(self, pod: Object, images: dict[str, Image]) -> None:
        """Lease the images for the Pod's containers: at once, unless somebody holds the store just now. StepError."""
        memory = self._parts.memory(uid_of(pod))
        if all(memory.leased.get(name) == i.manifest_digest for name, i in images.items()):
            return
        try:
            try:
                self._lease(pod, images, memory, wait=False)
            except BlockingIOError:
                await asyncio.to_thread(self._lease, pod, images, memory, wait=True)
        except (ImageError, OSError) as error:
            raise StepError("Failed", f"cannot hold the image: {error}") from error
        fault.point("node.images.leased")

    def _lease(self, pod: Object, images: dict[str, Image], memory: Memory, *, wait: bool) -> None:
        """Hold the images, those that are not held. BlockingIOError when that would `wait`."""
        user = f'pod "{pod["metadata"]["namespace"]}/{pod["metadata"]["name"]}"'
        for name, image in images.items():
            if memory.leased.get(name) != image.manifest_digest:
                owner = lease_owner(uid_of(pod), name)
                self._parts.images.lease(image, owner, user, wait=wait)
                memory.leased[name] = image.manifest_digest


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


async def _nothing() -> None:
    """Be awaited beside other work."""


def _reason_of(failure: RuntimeFailure) -> str:
    """Return the failure without the summary of the step, which the message names by its volume."""
    return str(failure).removeprefix(f"{failure.step}: ")


def _read(path: object) -> str:
    try:
        with open(str(path), encoding="utf-8", errors="replace") as opened:
            return opened.read()
    except OSError:
        return ""
