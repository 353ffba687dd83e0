"""The runtime of the daemon: computes plans, performs its own steps, has the shim perform the others.

    run_sandbox      plan -> shim clones the pause -> network from here, while the pause settles in -> ready
    prepare_container  plan -> shim clones the container, beside its sandbox if need be -> start when its turn comes
    exec, attach     one round trip that brings descriptors; data then flows without the shim (streams.py)

The connection comes back by itself: after a shim's upgrade nothing is noticed, after its death "shim-lost" and
"shim-connected" are events, and a new shim has been started that knows the old one's containers as exited.
"""

import asyncio
import contextlib
import importlib
import os
import socket
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

from minipod.fault import point
from minipod.linux import cgroup
from minipod.paths import Layout
from minipod.runtime import dialling, execute
from minipod.runtime.codec import from_plain, to_plain
from minipod.runtime.exec_plans import ExecPlans
from minipod.runtime.operations import Operation, RemoveTree, Step, TracedStep
from minipod.runtime.plan import (
    HostFacts,
    compute_container_plan,
    container_cgroup,
)
from minipod.runtime.prepared import PreparedContainer
from minipod.runtime.protocol import Message
from minipod.runtime.service import RuntimeEvent, RuntimeFailure, RuntimeState
from minipod.runtime.shim_connection import Answer
from minipod.runtime.shim_link import ShimLink
from minipod.runtime.shim_sandboxes import Sandboxes, sandbox_status, shim_steps
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
from minipod.runtime.streams import DescriptorStreams

THREADS = 4
REST_SECONDS = 0.1  # after which the shim is slow
A = TypeVar("A")
B = TypeVar("B")


class ShimRuntime:
    """`service.Runtime` over a shim. Open it before use; every call may raise RuntimeFailure("ShimUnavailable")."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.host = HostFacts(cgroup.this_host(), os.fspath(layout.run / "staging"))
        self._link = ShimLink(layout, self._on_event)
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="runtime")
        self._sandboxes = Sandboxes(self._link, self.host, self._perform)
        self._specs: dict[str, ContainerSpec] = {}  # of running containers, for exec
        self._exec_plans = ExecPlans(self.host)
        self._removals: dict[str, asyncio.Task[None]] = {}  # of containers, by ID
        self._sessions: dict[int, DescriptorStreams] = {}
        self._ended_early: dict[
            int, Message
        ] = {}  # sessions that ended before their caller had them
        self._listeners: list[asyncio.Queue[RuntimeEvent | None]] = []

    async def open(self, spawn: bool = True) -> None:
        """Connect to the shim, starting one when none answers; bring an older one up to date. Repeatable.

        Loads what the first Pod will need, and removes directories of containers that nobody knows any more.
        """
        await asyncio.gather(self._link.open(spawn), self._in_thread(_preload))
        answer = await self._link.call("list")
        known = {item["id"] for item in answer["containers"]} | set(answer.result["creating"])
        await self._in_thread(_remove_orphans, self.layout, known)

    @property
    def pod_cgroups(self) -> str:
        """The cgroup below which the Pods' own are made: a new shim may have another."""
        return self._link.pod_cgroups

    async def close(self) -> None:
        """Let go of the shim and leave everything running. Repeatable."""
        self._link.close()
        self._forget()
        for queue in self._listeners:
            queue.put_nowait(None)
        self._threads.shutdown(wait=False)

    async def shutdown(self) -> None:
        """Remove every sandbox and container, then end the shim."""
        state = await self.state()
        for sandbox in state.sandboxes:
            await self.remove_sandbox(sandbox.id)
        for container in state.containers:
            await self.remove_container(container.id)
        self._link.expect_end()
        await self._link.call("shutdown")
        await self._link.wait_end()

    async def perform(
        self, operations: Sequence[Operation], *, at_once: bool = False
    ) -> list[TracedStep]:
        """Perform host-side operations in order, off the event loop or at once. RuntimeFailure names the step."""
        steps = [Step(operation) for operation in operations]
        if not at_once:
            return await self._perform(steps, {})
        try:
            return execute.perform_steps(steps)
        except execute.StepFailed as failure:
            raise _failed(failure) from None

    async def _perform(
        self, steps: Sequence[Step], references: dict[str, int | str]
    ) -> list[TracedStep]:
        try:
            return await self._in_thread(execute.perform_steps, steps, references)
        except execute.StepFailed as failure:
            raise _failed(failure) from None

    async def _in_thread(self, function: Callable[..., A], *arguments: object) -> A:
        return await asyncio.get_running_loop().run_in_executor(self._threads, function, *arguments)

    # --- sandboxes ------------------------------------------------------------------------------------------------

    def expect_pod(self) -> None:
        """Have a shim that has had nothing to do for a while rehearse."""
        if self._link.idle_seconds > REST_SECONDS:
            with contextlib.suppress(RuntimeFailure):
                self._link.begin("expect-pod").add_done_callback(_ignore)

    async def run_sandbox(self, spec: SandboxSpec) -> tuple[SandboxStatus, list[TracedStep]]:
        """Make the sandbox, or return it when it is there and ready. A dead or half-made one is made anew."""
        return await self._sandboxes.run(spec)

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """Kill whatever still runs in the sandbox, take down its network, namespaces and cgroups, forget it."""
        await self._sandboxes.remove(sandbox_id)

    # --- containers -----------------------------------------------------------------------------------------------

    async def start_container(
        self, spec: ContainerSpec
    ) -> tuple[ContainerStatus, list[TracedStep]]:
        """Start a container. RuntimeFailure("StartError") when its program cannot be executed."""
        return await (await self.prepare_container(spec)).start()

    async def prepare_container(self, spec: ContainerSpec) -> PreparedContainer:
        """Make a container up to the point where it needs a whole sandbox. Start it, or abandon it."""
        await self._link.wait_connected()
        sandbox = await self._sandboxes.asked(spec.sandbox_id)
        steps = compute_container_plan(spec, sandbox, self.host)
        answer = self._link.begin(
            "start-container",
            spec=to_plain(spec),
            steps=shim_steps(steps),
            sandbox_id=spec.sandbox_id,
            cgroup=container_cgroup(spec, sandbox),
            held=True,
            pid_target=spec.pid_target,
        )
        return PreparedContainer(self, spec, steps, answer)

    def release_container(self, container_id: str) -> None:
        """Let a prepared container go on to its program."""
        self._link.begin("release-container", id=container_id)

    def keep_spec(self, spec: ContainerSpec) -> None:
        """Remember a running container's spec, for exec."""
        self._specs[spec.id] = spec

    async def stop_container(self, container_id: str, grace_seconds: float) -> ContainerStatus:
        """Send the stop signal, wait, send SIGKILL after the grace, return the exited status. 0: kill at once."""
        answer = await self._link.call(
            "stop-container", id=container_id, grace_seconds=grace_seconds
        )
        return from_plain(ContainerStatus, answer["status"])

    async def remove_container(self, container_id: str) -> None:
        """Kill the container if it still runs, remove its directory and cgroup, forget it.

        Who asks while another's removal is going on waits for that one: an old attempt is dropped as its Pod ends.
        """
        removal = self._removals.get(container_id)
        if removal is None:
            removal = asyncio.create_task(self._remove_container(container_id), name="removal")
            self._removals[container_id] = removal
            removal.add_done_callback(lambda _: self._removals.pop(container_id))
        await asyncio.shield(removal)

    async def _remove_container(self, container_id: str) -> None:
        try:
            await self.stop_container(container_id, 0)
        except RuntimeFailure as failure:
            if failure.reason != "NotFound":
                raise
        directory = os.fspath(self.layout.containers / container_id)
        await self._perform([Step(RemoveTree(directory))], {})
        point("runtime.container.directory-removed")
        await self._link.call("remove-container", id=container_id)
        self._specs.pop(container_id, None)

    async def signal_container(self, container_id: str, signal: str) -> None:
        """Send a signal ("SIGHUP", "HUP" or a number) to the container's first process."""
        await self._link.call("signal", id=container_id, signal=signal)

    async def limit_pods(self, resources: Resources) -> None:
        """Limit what all Pods together may have: their cgroups' parent, made now if it is not there."""
        try:
            await self._in_thread(_limit_pods, self.pod_cgroups, resources)
        except OSError as error:
            message = f'cgroup "{self.pod_cgroups}": {error.strerror or error}'
            raise RuntimeFailure("LimitFailed", message) from error

    async def update_resources(self, container_id: str, resources: Resources) -> None:
        """Change a running container's limits in place."""
        await self._link.call("update-resources", id=container_id, resources=asdict(resources))

    async def reopen_log(self, container_id: str) -> None:
        """Close and reopen the log file (after an outside rotation)."""
        await self._link.call("reopen-log", id=container_id)

    # --- streams --------------------------------------------------------------------------------------------------

    async def exec(self, container_id: str, spec: ExecSpec) -> DescriptorStreams:
        """Start one more process in a running container, in a v2 cgroup of its own where there is v2."""
        path, steps = await self._exec_steps(container_id, spec)
        answer = self._link.begin(
            "exec",
            id=container_id,
            cgroup=path,
            steps=steps,
            tty=spec.tty,
            stdin=spec.stdin,
            timeout_seconds=spec.timeout_seconds,
        )
        return await self._streams(answer, attach=False)

    async def exec_sync(self, container_id: str, spec: CommandSpec) -> CommandResult:
        """Run a command in a running container to its end: one round trip. Cancelled, it is left to its time limit."""
        path, steps = await self._exec_steps(container_id, ExecSpec(spec.args))
        answer = await self._link.begin(
            "exec-sync",
            id=container_id,
            cgroup=path,
            steps=steps,
            timeout_seconds=spec.timeout_seconds,
            output_limit=spec.output_limit,
        )
        return CommandResult(answer["exit_code"], answer["output"], answer["timed_out"])

    async def _exec_steps(self, container_id: str, spec: ExecSpec) -> tuple[str, list[Any]]:
        """Return the cgroup and the plan (as JSON) of one more process in a container."""
        container = await self._container_spec(container_id)
        sandbox = await self._sandboxes.reference(container.sandbox_id)
        return self._exec_plans.plan(container, spec, sandbox)

    async def attach(self, container_id: str) -> DescriptorStreams:
        """Join the streams of a running container: output from now on, input if it has `stdin`.

        The first client of one that takes input once (`stdin_once`) gets what was said before, too.
        """
        return await self._streams(self._link.begin("attach", id=container_id), attach=True)

    async def dial(self, sandbox_id: str, port: int) -> socket.socket:
        """Connect to a port on the sandbox's loopback. Raises ConnectionError, with the reason of both families."""
        sandbox = await self._sandboxes.reference(sandbox_id)
        pid = 0 if sandbox.host_network else self._sandboxes.pid(sandbox_id)
        if not pid and not sandbox.host_network:
            raise ConnectionError("the pod's network is gone: its sandbox does not run any more")
        return await dialling.dial(port, pid, sandbox.cgroup)

    async def _streams(self, pending: "asyncio.Future[Any]", *, attach: bool) -> DescriptorStreams:
        try:
            answer = await asyncio.shield(pending)
        except asyncio.CancelledError:
            pending.add_done_callback(self._close_unwanted)
            raise
        number, link = answer["session"], self._link

        async def close() -> None:
            self._sessions.pop(number, None)
            if not streams.ended.done():
                with contextlib.suppress(RuntimeFailure):
                    await link.call("close-session", session=number)

        async def hang_up() -> None:
            """Leave an exec'd process to itself: the shim tells when it has ended."""

        async def close_stdin() -> None:
            await link.call("close-stdin", session=number)

        async def resize(columns: int, rows: int) -> None:
            await link.call("resize", session=number, columns=columns, rows=rows)

        streams = DescriptorStreams(
            dict(zip(answer["streams"], answer.descriptors, strict=True)),
            on_close=close,
            on_hang_up=close if attach else hang_up,
            on_close_stdin=close_stdin if attach else None,
            resize=resize if attach else None,
            always_end=attach,  # the shim's own pipes: a client that lags finds the rest there
        )
        self._sessions[number] = streams
        if number in self._ended_early:
            self._end_session(self._ended_early.pop(number))
        return streams

    def _close_unwanted(self, pending: "asyncio.Future[Any]") -> None:
        """End a session whose caller was cancelled before it began."""
        if pending.cancelled() or pending.exception():
            return
        answer = pending.result()
        for descriptor in answer.descriptors:
            os.close(descriptor)
        with contextlib.suppress(RuntimeFailure):
            self._link.begin("close-session", session=answer["session"])

    async def _container_spec(self, container_id: str) -> ContainerSpec:
        if container_id not in self._specs:
            answer = await self._link.call("spec", id=container_id)
            self._specs[container_id] = from_plain(ContainerSpec, answer["spec"])
        return self._specs[container_id]

    # --- state and events -----------------------------------------------------------------------------------------

    async def ping(self) -> None:
        """Return as soon as the shim answers. RuntimeFailure when there is none."""
        await self._link.call("version")

    async def state(self) -> RuntimeState:
        """List all sandboxes and containers."""
        answer = await self._sandboxes.listing()
        return RuntimeState(
            tuple(sandbox_status(item) for item in answer["sandboxes"]),
            tuple(from_plain(ContainerStatus, item) for item in answer["containers"]),
        )

    async def networks(self) -> set[tuple[str, str]]:
        """Return the host interface and the address of every sandbox there is, dead ones included."""
        return await self._sandboxes.networks()

    async def readmit(self) -> None:
        """Write each sandbox into the packet rules once more: they may have been made anew. RuntimeFailure."""
        await self._sandboxes.readmit()

    def events(self) -> AsyncIterator[RuntimeEvent]:
        """Yield changes from now on, until the runtime is closed."""
        queue: asyncio.Queue[RuntimeEvent | None] = asyncio.Queue()
        self._listeners.append(queue)
        return self._drain(queue)

    async def _drain(
        self, queue: "asyncio.Queue[RuntimeEvent | None]"
    ) -> AsyncIterator[RuntimeEvent]:
        try:
            while (event := await queue.get()) is not None:
                yield event
        finally:
            self._listeners.remove(queue)

    def _on_event(self, message: Message) -> None:
        match message["event"]:
            case "sandbox-cloned":
                self._sandboxes.on_cloned(message["sandbox_id"], message["pid"])
            case "session-ended":
                self._end_session(message)
            case "container-exited":
                status = from_plain(ContainerStatus, message["container"])
                self._specs.pop(status.id, None)
                self._tell(RuntimeEvent("container-exited", status.sandbox_id, status))
            case "sandbox-exited":
                self._sandboxes.on_exited(message["sandbox_id"])
                self._tell(RuntimeEvent("sandbox-exited", message["sandbox_id"]))
            case "shim-lost":
                self._forget()
                self._tell(RuntimeEvent("shim-lost"))
            case "shim-connected":
                self._tell(RuntimeEvent("shim-connected"))

    def _tell(self, event: RuntimeEvent) -> None:
        for queue in self._listeners:
            queue.put_nowait(event)

    def _end_session(self, message: Message) -> None:
        streams = self._sessions.pop(message["session"], None)
        if streams is None:
            self._ended_early[message["session"]] = message
        elif not streams.ended.done():
            streams.timed_out = message["timed_out"]
            streams.ended.set_result(message["exit_code"])

    def _forget(self) -> None:
        """Forget what only a live shim could vouch for."""
        self._sandboxes.forget()
        self._specs.clear()
        self._ended_early.clear()
        for streams in self._sessions.values():
            if not streams.ended.done():
                streams.ended.set_exception(RuntimeFailure("ShimUnavailable", "the shim has ended"))
                streams.ended.exception()  # whoever waits gets it; nobody has to
        self._sessions.clear()


def _limit_pods(path: str, resources: Resources) -> None:
    layout = cgroup.this_host()
    cgroup.ensure(layout, path)
    limits = cgroup.settings(layout, **asdict(resources), dies_whole=False)
    cgroup.limit(layout, path, limits)


def _ignore(answer: "asyncio.Future[Answer]") -> None:
    """Take an answer that nobody waits for: an older shim may refuse."""
    if not answer.cancelled():
        answer.exception()


def _failed(failure: execute.StepFailed) -> RuntimeFailure:
    summary = failure.operation.summary()
    return RuntimeFailure("CreateContainerError", f"{summary}: {failure}", summary)


def _preload() -> None:
    """Load what the first sandbox will need: netlink and nftables take a quarter of a second."""
    importlib.import_module("minipod.runtime.execute_network")


def _remove_orphans(layout: Layout, known: set[str]) -> None:
    """Remove directories of containers that no shim knows: a daemon or a host died between two steps."""
    if layout.containers.is_dir():
        for entry in sorted(layout.containers.iterdir()):
            if entry.name not in known:
                execute.perform(RemoveTree(os.fspath(entry)))
