"""The end of a Pod: its containers in order, its sandbox, then everything it held, at last the object.

Each step may be done again; a daemon killed between any two of them finds the rest when it comes back: what runs by the
runtime's list, what lies about by the Pod's directory, and the object still waiting for its end.
"""

import shutil

from minipod import fault
from minipod.api.errors import StatusError
from minipod.client import Object
from minipod.node.image_volumes import find_image_volumes
from minipod.node.images import lease_owner
from minipod.node.log_files import remove_dead_links
from minipod.node.messages import attach_messages
from minipod.node.parts import Parts
from minipod.node.pods import all_containers_of, deletion_grace, is_deleted, uid_of
from minipod.node.stopping import Stopper
from minipod.node.workers import Outcome, Work
from minipod.runtime.operations import RemoveTree, Unmount
from minipod.runtime.service import RuntimeFailure


class Terminator:
    """The steps after a Pod's life."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._stopper = Stopper(parts)

    async def terminate(self, work: Work) -> Outcome:
        """End the Pod's containers, sidecars last, then its sandboxes."""
        fault.point("node.termination.begun")
        pod = self._parts.current(work.pod)
        if work.grace is None:
            work.grace = deletion_grace(pod)
        try:
            await self._stopper.stop_all(work, pod, None, announce=True)
            fault.point("node.containers.stopped")
            await self._stopper.remove_sandboxes(pod)
        except RuntimeFailure as failure:
            self._parts.event(pod, "Warning", "FailedKillPod", f"error killing pod: {failure}")
            return Outcome(failed=True)
        fault.point("node.sandbox.removed")
        return Outcome()

    async def finish(self, work: Work) -> Outcome:
        """Give back what the Pod held; if it was deleted, remove the object; if that is gone, forget it."""
        parts, pod = self._parts, work.pod
        if not work.gone:
            attach_messages(parts, pod)
            parts.report(pod, terminal=True)
            await parts.statuses.flush(work.uid)  # no exit code is given up before it is written
        try:
            await self._give_back(pod)
        except RuntimeFailure as failure:
            parts.event(pod, "Warning", "FailedKillPod", f"error cleaning up pod: {failure}")
            return Outcome(failed=True)
        if work.gone:
            self._forget(pod)
        elif is_deleted(work.pod):
            return await self._remove_object(work)
        return Outcome()

    async def _give_back(self, pod: Object) -> None:
        parts, uid = self._parts, uid_of(pod)
        await self._stopper.remove_containers(pod)
        fault.point("node.containers.removed")
        directory = parts.config.pod_directory(uid)
        await parts.traces.settle(uid)
        if directory.exists():
            await parts.runtime.perform(removal_of(str(directory)))
        fault.point("node.volumes.removed")
        parts.addresses.release(uid)
        fault.point("node.address.released")
        for _, container in all_containers_of(pod):
            parts.images.release(lease_owner(uid, container["name"]))
        for volume in find_image_volumes(pod):
            parts.images.release(lease_owner(uid, volume.key))
        parts.memory(uid).leased.clear()
        parts.memory(uid).prepared = False
        fault.point("node.images.released")

    async def _remove_object(self, work: Work) -> Outcome:
        """Write the last status, then remove the object: it was deleted, and now it has ended."""
        parts, metadata = self._parts, work.pod["metadata"]
        fault.point("node.final.status")
        try:
            await parts.client.delete(
                "pods",
                metadata["namespace"],
                metadata["name"],
                grace_period_seconds=0,
                uid=work.uid,
            )
        except StatusError as error:
            if error.code not in (404, 409):
                return Outcome(failed=True)
        fault.point("node.object.removed")
        return Outcome()

    def _forget(self, pod: Object) -> None:
        metadata = pod["metadata"]
        logs = self._parts.config.log_directory(
            metadata["namespace"], metadata["name"], metadata["uid"]
        )
        shutil.rmtree(logs, ignore_errors=True)
        links = self._parts.config.layout.container_logs
        remove_dead_links(links, f"{metadata['name']}_{metadata['namespace']}_")
        self._parts.forget(metadata["uid"])


def removal_of(directory: str) -> tuple[Unmount, RemoveTree]:
    """Return the operations that remove a Pod's directory with what is mounted below it."""
    return Unmount(directory), RemoveTree(directory)
