"""The runtime as the node agent sees it: sandboxes, containers, streams. Implemented over the shim.

All calls are idempotent by id: asking for what already is returns it; stopping or removing what is not is no error.
"""

import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from minipod.runtime.operations import Operation, TracedStep
from minipod.runtime.spec import (
    CommandResult,
    CommandSpec,
    ContainerSpec,
    ContainerStatus,
    ExecSpec,
    Resources,
    SandboxSpec,
    SandboxStatus,
)


class RuntimeFailure(Exception):
    """The runtime could not do what was asked.

    `reason` is a Kubernetes word ("StartError", "CreateContainerError", "SandboxFailed", "ShimUnavailable",
    "NotFound"), `step` names the operation that failed, str() is one sentence for people and events.
    """

    def __init__(self, reason: str, message: str, step: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.step = step


@dataclass(frozen=True)
class RuntimeState:
    """Everything that exists, exited containers included, until they are removed."""

    sandboxes: tuple[SandboxStatus, ...]
    containers: tuple[ContainerStatus, ...]


@dataclass(frozen=True)
class RuntimeEvent:
    """Something changed without being asked for: the node looks again at that Pod.

    "shim-lost" and "shim-connected" carry no id: the whole state must be listed again.
    """

    type: Literal["container-exited", "sandbox-exited", "shim-lost", "shim-connected"]
    sandbox_id: str = ""
    container: ContainerStatus | None = None


class Streams(Protocol):
    """A process's standard streams, or a container's when attached. Closing never ends an attached container."""

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        """Return the next chunk, or None at the end of both streams. With a terminal all is stdout."""

    async def write(self, data: bytes) -> None:
        """Write to standard input, waiting while it is full. BrokenPipeError when nobody reads."""

    async def close_stdin(self) -> None:
        """End standard input."""

    async def resize(self, columns: int, rows: int) -> None:
        """Set the terminal's size; nothing without a terminal."""

    async def wait(self) -> int:
        """Return the exit code once the process has ended (exec), or the container has (attach)."""

    async def close(self) -> None:
        """Let go. An exec'd process whose session is closed is killed with everything it started."""

    async def hang_up(self) -> None:
        """Let go as a peer that vanishes: the kernel tells an exec'd process (end of input, SIGPIPE, SIGHUP)."""


class PreparedContainer(Protocol):
    """A container that waits for its turn: it is started or abandoned, once."""

    @property
    def has_failed(self) -> bool:
        """Whether it is known already that it cannot be started."""

    async def start(self) -> tuple[ContainerStatus, list[TracedStep]]:
        """Have its program executed. RuntimeFailure("StartError") when that cannot be."""

    async def abandon(self) -> None:
        """End it before its program ran: nothing is left of it."""


class Runtime(Protocol):
    """Sandboxes and containers from plain specs."""

    @property
    def pod_cgroups(self) -> str:
        """The cgroup below which the Pods' own are made ("minipod"); it changes when a shim is replaced."""

    async def ping(self) -> None:
        """Return as soon as the runtime answers. RuntimeFailure when there is none."""

    async def limit_pods(self, resources: Resources) -> None:
        """Limit what all Pods together may have. RuntimeFailure when the kernel refuses."""

    async def perform(
        self, operations: Sequence[Operation], *, at_once: bool = False
    ) -> list[TracedStep]:
        """Perform host-side operations (volumes, files) in order; RuntimeFailure names the step.

        Off the event loop, or `at_once` where each of them is a few calls that the kernel answers from memory: a thread
        has to win the interpreter back from the loop behind each.
        """

    def expect_pod(self) -> None:
        """A Pod is about to come: be ready for it. Returns at once, and never fails."""

    async def run_sandbox(self, spec: SandboxSpec) -> tuple[SandboxStatus, list[TracedStep]]:
        """Make the sandbox, or return it when it is there and ready."""

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill whatever still runs in the sandbox, take down its network, namespaces and cgroups, forget it."""

    async def prepare_container(self, spec: ContainerSpec) -> PreparedContainer:
        """Make a container up to where it needs its sandbox whole; that one may still be being made."""

    async def stop_container(self, container_id: str, grace_seconds: float) -> ContainerStatus:
        """Send the stop signal, wait, send SIGKILL after the grace, return the exited status. 0: kill at once.

        A second call with a shorter grace shortens the first.
        """

    async def remove_container(self, container_id: str) -> None:
        """Forget an exited container and remove its writable directory and cgroup."""

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Change a running container's limits in place."""

    async def exec(self, container_id: str, spec: ExecSpec) -> Streams:
        """Start one more process in a running container."""

    async def exec_sync(self, container_id: str, spec: CommandSpec) -> CommandResult:
        """Run a command in a running container to its end. RuntimeFailure when it cannot be executed."""

    async def attach(self, container_id: str) -> Streams:
        """Join the streams of a running container: output from now on, input if it has `stdin`.

        The first client of one that takes input once (`stdin_once`) gets what was said before, too.
        """

    async def dial(self, sandbox_id: str, port: int) -> socket.socket:
        """Connect to a port on the sandbox's loopback. Raises ConnectionError, with the reason of both families."""

    async def reopen_log(self, container_id: str) -> None:
        """Close and reopen the log file (after an outside rotation)."""

    async def state(self) -> RuntimeState:
        """List all sandboxes and containers."""

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Yield changes as the shim reports them, for as long as the runtime is open; reconnects by itself."""
