"""What runs on this host, by Pod: the runtime's state kept in memory, so that a sync need not ask for it.

Filled from one listing, then kept by the results of the node's own calls and by the runtime's events. Whatever ended a
container last wins: an exit is never taken back by an older "running".
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import replace

from minipod.node.observed import LABEL_UID
from minipod.runtime.service import RuntimeState
from minipod.runtime.spec import ContainerStatus, SandboxStatus


class Running:
    """Sandboxes and containers of all Pods."""

    def __init__(self) -> None:
        self._sandboxes: dict[str, SandboxStatus] = {}
        self._containers: dict[str, ContainerStatus] = {}
        self._by_pod: dict[str, set[str]] = defaultdict(set)  # sandbox and container IDs

    def replace(self, state: RuntimeState) -> None:
        """Take a whole listing."""
        self._sandboxes.clear()
        self._containers.clear()
        self._by_pod.clear()
        for sandbox in state.sandboxes:
            self.put_sandbox(sandbox)
        for container in state.containers:
            self.put_container(container)

    def put_sandbox(self, status: SandboxStatus) -> None:
        """Take a sandbox's newest status."""
        self._sandboxes[status.id] = status
        self._by_pod[status.labels.get(LABEL_UID, "")].add(status.id)

    def put_container(self, status: ContainerStatus) -> None:
        """Take a container's newest status."""
        known = self._containers.get(status.id)
        if known and known.state == "exited" and status.state == "running":
            return
        self._containers[status.id] = status
        self._by_pod[status.labels.get(LABEL_UID, "")].add(status.id)

    def set_message(self, container_id: str, message: str) -> None:
        """Attach a termination message to an exited container."""
        known = self._containers.get(container_id)
        if known:
            self._containers[container_id] = replace(known, message=message)

    def sandbox_ended(self, sandbox_id: str) -> str:
        """Note that a sandbox's pause has died; return its Pod's UID, "" when unknown."""
        known = self._sandboxes.get(sandbox_id)
        if known is None:
            return ""
        self._sandboxes[sandbox_id] = replace(known, ready=False, pid=0)
        return known.labels.get(LABEL_UID, "")

    def forget(self, identifier: str) -> None:
        """Forget a removed sandbox or container."""
        status = self._sandboxes.pop(identifier, None) or self._containers.pop(identifier, None)
        if status is None:
            return
        uid = status.labels.get(LABEL_UID, "")
        self._by_pod[uid].discard(identifier)
        if not self._by_pod[uid]:
            del self._by_pod[uid]

    def container(self, container_id: str) -> ContainerStatus | None:
        """Return a container's status."""
        return self._containers.get(container_id)

    def of_pod(self, uid: str) -> RuntimeState:
        """Return one Pod's sandboxes and containers."""
        identifiers = self._by_pod.get(uid, ())
        sandboxes = [self._sandboxes[each] for each in identifiers if each in self._sandboxes]
        containers = [self._containers[each] for each in identifiers if each in self._containers]
        return RuntimeState(
            tuple(sorted(sandboxes, key=lambda each: each.created_at)),
            tuple(sorted(containers, key=lambda each: each.created_at)),
        )

    def all(self) -> RuntimeState:
        """Return everything."""
        return RuntimeState(tuple(self._sandboxes.values()), tuple(self._containers.values()))

    def uids(self) -> Iterable[str]:
        """Return the UIDs of all Pods that have anything here."""
        return list(self._by_pod)
