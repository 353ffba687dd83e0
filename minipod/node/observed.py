"""What the host shows of one Pod: its sandboxes and containers, found again by their labels. Pure.

Everything here comes from the runtime. Attempts count from 0: a container's attempt is how often it has been restarted.
"""

import hashlib
import json
from collections.abc import Collection
from dataclasses import dataclass, replace

from minipod.client import Object
from minipod.runtime.service import RuntimeState
from minipod.runtime.spec import ContainerStatus, SandboxStatus

LABEL_UID = "io.kubernetes.pod.uid"
LABEL_NAME = "io.kubernetes.pod.name"
LABEL_NAMESPACE = "io.kubernetes.pod.namespace"
LABEL_CONTAINER = "io.kubernetes.container.name"
LABEL_ATTEMPT = "io.minipod.attempt"
LABEL_CONTAINER_TYPE = "io.minipod.container.type"  # "init", "sidecar" or "app"
LABEL_HASH = "io.minipod.container.hash"
LABEL_IMAGE = "io.minipod.image"  # the image's ID


@dataclass(frozen=True)
class ObservedSandbox:
    """One sandbox. `ready` means that its pause process lives."""

    id: str
    attempt: int
    ready: bool
    created_at: float
    address: str = ""


@dataclass(frozen=True)
class ObservedContainer:
    """One attempt of one container. Times are seconds since the epoch."""

    id: str
    name: str
    sandbox_id: str
    attempt: int
    running: bool
    created_at: float
    started_at: float
    finished_at: float = 0.0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    hash: str = ""
    image_id: str = ""

    @property
    def succeeded(self) -> bool:
        """Whether it has ended well."""
        return not self.running and self.exit_code == 0

    @property
    def failed(self) -> bool:
        """Whether it has ended badly."""
        return not self.running and self.exit_code != 0


@dataclass(frozen=True)
class ObservedPod:
    """All there is of one Pod, the newest first."""

    sandboxes: tuple[ObservedSandbox, ...] = ()
    containers: tuple[ObservedContainer, ...] = ()

    @property
    def sandbox(self) -> ObservedSandbox | None:
        """The sandbox that lives, if any."""
        return next((each for each in self.sandboxes if each.ready), None)

    @property
    def next_sandbox_attempt(self) -> int:
        """The attempt number of the next sandbox."""
        return max((each.attempt + 1 for each in self.sandboxes), default=0)

    def without(self, identifiers: Collection[str]) -> "ObservedPod":
        """Return the same without some containers."""
        kept = tuple(each for each in self.containers if each.id not in identifiers)
        return self if len(kept) == len(self.containers) else replace(self, containers=kept)

    def attempts(self, name: str) -> tuple[ObservedContainer, ...]:
        """Return the known attempts of a container, the newest first."""
        return tuple(each for each in self.containers if each.name == name)

    def latest(self, name: str, sandbox_id: str | None = None) -> ObservedContainer | None:
        """Return the newest attempt of a container (in one sandbox, if given)."""
        for each in self.containers:
            if each.name == name and sandbox_id in (None, each.sandbox_id):
                return each
        return None

    def running(self) -> tuple[ObservedContainer, ...]:
        """Return what runs."""
        return tuple(each for each in self.containers if each.running)


def observe(state: RuntimeState, uid: str) -> ObservedPod:
    """Return one Pod's part of the runtime's state."""
    sandboxes = [_sandbox(each) for each in state.sandboxes if each.labels.get(LABEL_UID) == uid]
    containers = [
        _container(each) for each in state.containers if each.labels.get(LABEL_UID) == uid
    ]
    return ObservedPod(
        tuple(sorted(sandboxes, key=lambda each: (each.attempt, each.created_at), reverse=True)),
        tuple(sorted(containers, key=lambda each: (each.attempt, each.created_at), reverse=True)),
    )


def _sandbox(status: SandboxStatus) -> ObservedSandbox:
    return ObservedSandbox(
        id=status.id,
        attempt=_attempt(status.labels),
        ready=status.ready,
        created_at=status.created_at,
        address=status.address.partition("/")[0],
    )


def _container(status: ContainerStatus) -> ObservedContainer:
    labels = status.labels
    return ObservedContainer(
        id=status.id,
        name=labels.get(LABEL_CONTAINER, ""),
        sandbox_id=status.sandbox_id,
        attempt=_attempt(labels),
        running=status.state == "running",
        created_at=status.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        reason=status.reason,
        message=status.message,
        hash=labels.get(LABEL_HASH, ""),
        image_id=labels.get(LABEL_IMAGE, ""),
    )


def _attempt(labels: dict[str, str]) -> int:
    text = labels.get(LABEL_ATTEMPT, "0")
    return int(text) if text.isdigit() else 0


def compute_container_hash(container: Object) -> str:
    """Return what changes when a container must be made anew: of all a user may change, that is its image."""
    identity = {"name": container["name"], "image": container.get("image", "")}
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def next_attempt(name: str, observed: ObservedPod, status: Object | None) -> int:
    """Return the attempt number of a container's next start: never one that was there before.

    What the runtime has lost (a killed shim, a reboot) the Pod's last status still knows.
    """
    latest = observed.latest(name)
    known = latest.attempt + 1 if latest else 0
    recorded = _recorded(name, status or {})
    if recorded is None:
        return known
    count = int(recorded.get("restartCount", 0))
    return max(known, count + 1 if has_run(recorded) else count)


def _recorded(name: str, status: Object) -> Object | None:
    for group in ("containerStatuses", "initContainerStatuses"):
        for each in status.get(group) or ():
            if each["name"] == name:
                found: Object = each
                return found
    return None


def has_run(container_status: Object) -> bool:
    """Whether a container has ever been started, as far as its status says."""
    state, last = container_status.get("state") or {}, container_status.get("lastState") or {}
    return "running" in state or "terminated" in state or "terminated" in last
