"""Ending containers and sandboxes: used by a sync that restarts something, and by a Pod's termination."""

import asyncio
import logging
from typing import Any

from minipod.client import Object
from minipod.clock import call_off
from minipod.node.actions import compute_termination_order
from minipod.node.hooks import Hooks
from minipod.node.log_files import remove_log
from minipod.node.observed import LABEL_CONTAINER
from minipod.node.parts import Parts
from minipod.node.pods import uid_of
from minipod.node.workers import Work
from minipod.runtime.service import RuntimeFailure
from minipod.runtime.spec import ContainerStatus

logger = logging.getLogger(__name__)

GRACE_MIN = 2.0  # seconds: even a forced deletion gives a container this long (kubelet kuberuntime)
KEPT_ATTEMPTS = 2  # of each container: the present one and the one before it


class Stopper:
    """Ends what runs."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._hooks = Hooks(parts)
        self._removals: set[asyncio.Task[None]] = set()

    async def stop(self, container_id: str, grace: float) -> None:
        """End one container and note how. RuntimeFailure when it cannot be ended."""
        try:
            status = await self._parts.runtime.stop_container(container_id, grace)
        except RuntimeFailure as failure:
            if failure.reason != "NotFound":
                raise
            self._parts.running.forget(container_id)
            return
        self._parts.running.put_container(status)

    async def stop_politely(self, pod: Object, container_id: str, grace: float) -> None:
        """End one container after its preStop hook, which counts against the grace. RuntimeFailure as `stop`."""
        status = self._parts.running.container(container_id)
        if status is None or grace <= 0:
            await self.stop(container_id, max(grace, GRACE_MIN))
            return
        begun = asyncio.get_running_loop().time()
        hook = asyncio.create_task(self._hooks.pre_stop(pod, status))
        try:
            await self._stop_after(hook, container_id, begun + grace)
        finally:
            await call_off(hook)

    async def stop_all(
        self, work: Work, pod: Object, grace: float | None, *, announce: bool
    ) -> None:
        """End all containers, sidecars last. `grace` None: the one of `work`, which may become shorter meanwhile.

        The preStop hooks of all begin at once, sidecars' too; each container is stopped when its hook is done and its
        turn has come (kuberuntime killContainersWithSyncResult).
        """
        begun = asyncio.get_running_loop().time()
        await self._parts.ahead.give_up(uid_of(pod))
        running = self._running(pod)
        if announce:
            self._announce(pod, running)
        given = work.grace if grace is None else 0.0  # what is taken down anew runs no hooks
        hooks = self._begin_hooks(pod, running) if given else {}
        try:
            for group in self._groups(pod):
                ids = [each.id for each in self._running(pod) if _name(each) in group]
                while ids:
                    allowed = grace if grace is not None else max(work.grace or 0.0, GRACE_MIN)
                    ids = await self._stop_group(work, ids, hooks, begun + allowed)
        finally:
            await call_off(*hooks.values())

    def _begin_hooks(
        self, pod: Object, running: list[ContainerStatus]
    ) -> dict[str, "asyncio.Task[None]"]:
        return {each.id: asyncio.create_task(self._hooks.pre_stop(pod, each)) for each in running}

    async def _stop_after(
        self, hook: "asyncio.Task[None] | None", container_id: str, deadline: float
    ) -> None:
        """Wait for a hook, at most until the deadline, then stop the container with what is left."""
        loop = asyncio.get_running_loop()
        if hook is not None and not hook.done():
            await asyncio.wait({hook}, timeout=max(0.0, deadline - loop.time()))
            hook.cancel()  # nothing, if it is done
        await self.stop(container_id, max(deadline - loop.time(), GRACE_MIN))

    def _groups(self, pod: Object) -> list[set[str]]:
        """Return the names to end together, in order; what the spec does not know comes first."""
        groups = [set(names) for names in compute_termination_order(pod)]
        known = set().union(*groups)
        groups[0] |= {_name(each) for each in self._running(pod)} - known
        return groups

    def _running(self, pod: Object) -> list[ContainerStatus]:
        state = self._parts.running.of_pod(uid_of(pod))
        return [each for each in state.containers if each.state == "running"]

    def _announce(self, pod: Object, running: list[ContainerStatus]) -> None:
        for each in running:
            message = f"Stopping container {_name(each)}"
            self._parts.event(pod, "Normal", "Killing", message, _name(each))

    async def _stop_group(
        self,
        work: Work,
        ids: list[str],
        hooks: dict[str, "asyncio.Task[None]"],
        deadline: float,
    ) -> list[str]:
        """End some containers; return those still running because a shorter grace has come."""
        work.grace_changed.clear()
        stopping: asyncio.Future[list[None]] = asyncio.gather(
            *(self._stop_after(hooks.get(each), each, deadline) for each in ids)
        )
        changed = asyncio.create_task(work.grace_changed.wait())
        either: list[asyncio.Future[Any]] = [stopping, changed]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if stopping.done():
                stopping.result()
                return []
        finally:
            changed.cancel()
            if not stopping.done():
                await call_off(stopping)
        found = [self._parts.running.container(each) for each in ids]
        return [each.id for each in found if each and each.state == "running"]

    async def remove_sandboxes(self, pod: Object) -> None:
        """Take down the Pod's sandboxes, dead ones included."""
        for sandbox in self._parts.running.of_pod(uid_of(pod)).sandboxes:
            await self._parts.runtime.remove_sandbox(sandbox.id)
            self._parts.running.forget(sandbox.id)

    async def remove_containers(self, pod: Object) -> None:
        """Remove all the Pod's ended containers with their writable directories."""
        containers = self._parts.running.of_pod(uid_of(pod)).containers
        await asyncio.gather(*(self._remove(each.id) for each in containers))

    async def _remove(self, container_id: str) -> None:
        await self._parts.runtime.remove_container(container_id)
        self._parts.running.forget(container_id)

    def drop_old_attempts(self, pod: Object) -> None:
        """Remove, in the background, all but the newest attempts of each container."""
        seen: dict[str, int] = {}
        for container in reversed(self._parts.running.of_pod(uid_of(pod)).containers):
            name = _name(container)
            seen[name] = seen.get(name, 0) + 1
            if seen[name] > KEPT_ATTEMPTS and container.state == "exited":
                task = asyncio.create_task(self._drop(container))
                self._removals.add(task)
                task.add_done_callback(self._removals.discard)

    async def _drop(self, container: ContainerStatus) -> None:
        try:
            await self._remove(container.id)
        except RuntimeFailure as failure:
            logger.warning('removing container "%s": %s', container.id, failure)
            return
        links = self._parts.config.layout.container_logs
        await asyncio.to_thread(remove_log, links, container)


def _name(status: ContainerStatus) -> str:
    return status.labels.get(LABEL_CONTAINER, "")
