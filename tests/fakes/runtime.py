"""A runtime that only pretends: it keeps what it was asked for, and a test decides what happens to it.

Containers run until `exit(...)`; those named in `exits_at_once` end as they start. `fail_next[...]` makes the next
call of that name fail. `calls` records names and IDs in order.
"""

import asyncio
import dataclasses
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Literal

from minipod.runtime.child_operations import Exec, ExecPause
from minipod.runtime.operations import Operation, Step, TracedStep
from minipod.runtime.service import RuntimeEvent, RuntimeFailure, RuntimeState, Streams
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
from tests.fakes.clock import FakeClock

LABEL_CONTAINER = "io.kubernetes.container.name"
Call = tuple[str, str]


class FakeStreams:
    """Streams with given output; what is written is kept."""

    def __init__(
        self, output: Sequence[tuple[Literal["stdout", "stderr"], bytes]], code: int
    ) -> None:
        self.output = list(output)
        self.code = code
        self.written: list[bytes] = []
        self.sizes: list[tuple[int, int]] = []
        self.stdin_closed = False
        self.closed = asyncio.Event()

    async def read(self) -> tuple[Literal["stdout", "stderr"], bytes] | None:
        return self.output.pop(0) if self.output else None

    async def write(self, data: bytes) -> None:
        self.written.append(data)

    async def close_stdin(self) -> None:
        self.stdin_closed = True

    async def resize(self, columns: int, rows: int) -> None:
        self.sizes.append((columns, rows))

    async def wait(self) -> int:
        return self.code

    async def close(self) -> None:
        self.closed.set()

    async def hang_up(self) -> None:
        self.closed.set()


class FakeRuntime:
    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.pod_cgroups = "minipod-fake"
        self.calls: list[Call] = []
        self.performed: list[Operation] = []
        self.sandboxes: dict[str, SandboxStatus] = {}
        self.sandbox_specs: dict[str, SandboxSpec] = {}
        self.containers: dict[str, ContainerStatus] = {}
        self.specs: dict[str, ContainerSpec] = {}
        self.exits_at_once: dict[str, int] = {}  # container name -> exit code
        self.ignores_term: set[str] = set()  # container names
        self.fail_next: dict[str, RuntimeFailure] = {}
        self.expected = 0  # how often it was told that a Pod comes
        self.prepared: list[str] = []  # container names, in the order in which they were
        self.abandoned: list[str] = []
        self.gates: dict[str, asyncio.Event] = {}  # call name -> held until set
        self.reached: dict[str, asyncio.Event] = {}  # call name -> set when a gate is reached
        self.streams = FakeStreams((), 0)
        self.results: dict[tuple[str, ...], CommandResult | RuntimeFailure] = {}  # by command
        self.pod_limits: list[Resources] = []  # of all together
        self.commands: list[CommandSpec] = []
        self.listening: dict[int, str] = {}  # port -> path of a Unix socket
        self._events: asyncio.Queue[RuntimeEvent] = asyncio.Queue()
        self._pid = 1000

    # -- what a test does ------------------------------------------------------------------------

    def exit(self, name: str, code: int = 0, signal: int = 0, reason: str = "") -> None:
        """End the running container of that name."""
        for status in list(self.containers.values()):
            if status.labels[LABEL_CONTAINER] == name and status.state == "running":
                self._end(status, code, signal, reason)

    def kill_sandbox(self, sandbox_id: str) -> None:
        """End a pause process and with it nothing else, as `kill -9` would."""
        self.sandboxes[sandbox_id] = dataclasses.replace(self.sandboxes[sandbox_id], ready=False)
        self._events.put_nowait(RuntimeEvent("sandbox-exited", sandbox_id))

    def emit(self, event: RuntimeEvent) -> None:
        self._events.put_nowait(event)

    def running(self) -> list[str]:
        return [
            each.labels[LABEL_CONTAINER]
            for each in self.containers.values()
            if each.state == "running"
        ]

    def gate(self, call: str) -> tuple[asyncio.Event, asyncio.Event]:
        """Hold calls of that name: return the event set when one waits, and the event that lets it go on."""
        self.gates[call], self.reached[call] = asyncio.Event(), asyncio.Event()
        return self.reached[call], self.gates[call]

    # -- the runtime -----------------------------------------------------------------------------

    async def perform(
        self, operations: Sequence[Operation], *, at_once: bool = False
    ) -> list[TracedStep]:
        await self._called("perform", "")
        self.performed.extend(operations)
        return [TracedStep(Step(operation), 0, 1) for operation in operations]

    def expect_pod(self) -> None:
        self.expected += 1

    async def run_sandbox(self, spec: SandboxSpec) -> tuple[SandboxStatus, list[TracedStep]]:
        await self._called("run_sandbox", spec.id)
        known = self.sandboxes.get(spec.id)
        if known is None or not known.ready:
            address = spec.network.address.partition("/")[0] if spec.network else ""
            known = SandboxStatus(
                spec.id, True, self._next_pid(), self.clock.now(), address, spec.labels
            )
            self.sandboxes[spec.id], self.sandbox_specs[spec.id] = known, spec
        return known, [TracedStep(Step(ExecPause(), "child"), 0, 10)]

    async def remove_sandbox(self, sandbox_id: str) -> None:
        await self._called("remove_sandbox", sandbox_id)
        for status in list(self.containers.values()):
            if status.sandbox_id == sandbox_id and status.state == "running":
                self._end(status, 137, 9, "Error")
        self.sandboxes.pop(sandbox_id, None)

    async def prepare_container(self, spec: ContainerSpec) -> "FakePrepared":
        self.prepared.append(spec.labels[LABEL_CONTAINER])
        return FakePrepared(self, spec)

    async def start_container(
        self, spec: ContainerSpec
    ) -> tuple[ContainerStatus, list[TracedStep]]:
        await self._called("start_container", spec.id)
        if spec.id not in self.containers:
            now = self.clock.now()
            status = ContainerStatus(
                id=spec.id,
                sandbox_id=spec.sandbox_id,
                state="running",
                pid=self._next_pid(),
                created_at=now,
                started_at=now,
                labels=spec.labels,
                log_path=spec.log_path,
            )
            self.containers[spec.id], self.specs[spec.id] = status, spec
            name = spec.labels[LABEL_CONTAINER]
            if name in self.exits_at_once:
                self._end(status, self.exits_at_once[name], 0, "")
                return status, []
        return self.containers[spec.id], [TracedStep(Step(Exec(spec.args), "child"), 0, 5)]

    async def stop_container(self, container_id: str, grace_seconds: float) -> ContainerStatus:
        await self._called("stop_container", container_id)
        status = self.containers[container_id]
        if status.state == "running":
            heeds = status.labels[LABEL_CONTAINER] not in self.ignores_term
            if heeds and grace_seconds > 0:
                self._end(status, 143, 15, "Error")
            else:
                self._end(status, 137, 9, "Error")
        return self.containers[container_id]

    async def remove_container(self, container_id: str) -> None:
        await self._called("remove_container", container_id)
        self.containers.pop(container_id, None)

    async def limit_pods(self, resources: Resources) -> None:
        await self._called("limit_pods", "")
        self.pod_limits.append(resources)

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        await self._called("update_resources", container_id)

    async def exec(self, container_id: str, spec: ExecSpec) -> Streams:
        await self._called("exec", container_id)
        if spec.terminal_size != (0, 0):
            self.streams.sizes.append(spec.terminal_size)
        return self.streams

    async def exec_sync(self, container_id: str, spec: CommandSpec) -> CommandResult:
        self.commands.append(spec)
        await self._called("exec_sync", container_id)
        result = self.results.get(spec.args, CommandResult(0, ""))
        if isinstance(result, RuntimeFailure):
            raise result
        return result

    async def attach(self, container_id: str) -> Streams:
        await self._called("attach", container_id)
        return self.streams

    async def dial(self, sandbox_id: str, port: int) -> socket.socket:
        """Connect to what the test listens on, by the sandbox's port."""
        await self._called("dial", f"{sandbox_id}:{port}")
        if port not in self.listening:
            raise ConnectionError(f"failed to connect to localhost:{port}: connection refused")
        made = socket.socket(socket.AF_UNIX)
        made.setblocking(False)
        await asyncio.get_running_loop().sock_connect(made, self.listening[port])
        return made

    async def reopen_log(self, container_id: str) -> None:
        await self._called("reopen_log", container_id)

    async def ping(self) -> None:
        await self._called("ping", "")

    async def state(self) -> RuntimeState:
        await self._called("state", "")
        return RuntimeState(tuple(self.sandboxes.values()), tuple(self.containers.values()))

    async def events(self) -> AsyncIterator[RuntimeEvent]:
        while True:
            yield await self._events.get()

    # -- inside ----------------------------------------------------------------------------------

    async def _called(self, name: str, identifier: str) -> None:
        self.calls.append((name, identifier))
        gate = self.gates.pop(name, None)
        if gate:
            self.reached[name].set()
            await gate.wait()
        failure = self.fail_next.pop(name, None)
        if failure:
            raise failure

    def _end(self, status: ContainerStatus, code: int, signal: int, reason: str) -> None:
        ended = dataclasses.replace(
            status,
            state="exited",
            pid=0,
            exit_code=code,
            signal=signal,
            finished_at=self.clock.now(),
            reason=reason or ("Completed" if code == 0 else "Error"),
        )
        self.containers[status.id] = ended
        self._events.put_nowait(RuntimeEvent("container-exited", status.sandbox_id, ended))

    def _next_pid(self) -> int:
        self._pid += 1
        return self._pid


class FakePrepared:
    """A container that waits for its turn."""

    def __init__(self, runtime: "FakeRuntime", spec: ContainerSpec) -> None:
        self._runtime, self._spec = runtime, spec

    @property
    def has_failed(self) -> bool:
        return False

    async def start(self) -> tuple[ContainerStatus, list[TracedStep]]:
        return await self._runtime.start_container(self._spec)

    async def abandon(self) -> None:
        await self._runtime._called("abandon", self._spec.id)
        self._runtime.abandoned.append(self._spec.id)
