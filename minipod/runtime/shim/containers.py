"""Containers: start, stop, signal, remove, and what happens when one ends."""

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial

from minipod.fault import point
from minipod.linux import cgroup
from minipod.linux.passwd import Identity
from minipod.runtime.shim.connection import Request
from minipod.runtime.shim.core import Core, Refusal, cgroup_path, identifier, members, number, text
from minipod.runtime.shim.launching import Launch, LaunchFailure, Pipes, Place, Started, open_stdio
from minipod.runtime.shim.logs import LineStream, LogFile
from minipod.runtime.shim.loop import Timer
from minipod.runtime.shim.output import EarlyOutput, Output
from minipod.runtime.shim.processes import Exit
from minipod.runtime.shim.records import ContainerRecord, Plain, SandboxRecord
from minipod.runtime.shim.removal import CgroupRemoval

START_ERROR_CODE = 128  # what containerd reports for a program that could not be executed
DRAIN_SECONDS = 1.0  # how long an ended container's pipes may be held open by others


class Container:
    """A container's record with what only a live shim holds: its streams and who waits for it."""

    def __init__(self, record: ContainerRecord) -> None:
        self.record = record
        self.output: Output | None = None
        self.stdin = -1
        self.launch: Launch | None = None  # while it is being made
        self.ended: Exit | None = None  # the program has ended; its last output is still read
        self.ended_at = 0.0
        self.stopping = False
        self.kill_timer: Timer | None = None
        self.drain_timer: Timer | None = None
        self.starters: list[Request] = []
        self.waiters: list[Request] = []

    @property
    def place(self) -> Place:
        """What a process in here is among. The Pod's cgroup is above the container's own."""
        known = self.record.identity
        identity = Identity(**{**known, "groups": tuple(known["groups"])}) if known else None
        return Place(self.record.cgroup.rpartition("/")[0], identity)

    @property
    def has_streams(self) -> bool:
        """Whether a client finds anything to read, or somebody to write to.

        A program that ends closes its streams first, and has ended only when the kernel has taken its mounts down:
        a good while later, in which it counts as running.
        """
        if self.output is None:
            return False
        return self.output.has_more or (
            self.record.stdin and self.stdin >= 0 and is_read(self.stdin)
        )

    def close_stdin(self) -> None:
        """End the program's standard input. Repeatable."""
        if self.stdin >= 0:
            os.close(self.stdin)
            self.stdin = -1


class Containers:
    """All containers, exited ones included until they are removed."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.all: dict[str, Container] = {}
        self.on_finished: Callable[[Container], None] = lambda _container: None

    def start(self, request: Request, sandbox: SandboxRecord, references: Plain) -> None:
        """Start a container and answer with its status and times. Asked again, answer with what is."""
        spec = members(request.arguments, "spec")
        identity = identifier(spec, "id")
        if known := self.all.get(identity):
            if known.record.state == "creating":
                known.starters.append(request)
            else:
                request.reply({"status": known.record.status(), "times": []})
            return
        path = cgroup_path(request.arguments, "cgroup")
        steps = members_list(request.arguments, "steps")
        container = Container(compute_record(spec, sandbox, path))
        container.starters.append(request)
        self._core.files.write(container.record, spec)
        self.all[identity] = container
        point("shim.container.recorded")
        try:
            self._launch(container, steps, references, bool(request.arguments.get("held")))
        except LaunchFailure as failure:
            self._on_start_failed(container, failure)
        except OSError as error:
            problem = LaunchFailure("CreateContainerError", explain(error))
            self._on_start_failed(container, problem)

    def _launch(
        self, container: Container, steps: list[Plain], references: Plain, held: bool
    ) -> None:
        record = container.record
        log = LogFile(record.log_path, record.log_max_bytes, record.log_max_files)
        log.open()
        log.close()  # it is opened again with the first line: a failed start leaves no descriptor

        def done(result: Started | LaunchFailure) -> None:
            container.launch = None
            if isinstance(result, LaunchFailure):
                self._on_start_failed(container, result)
            else:
                self._on_started(container, result, log, pipes)

        pipes = open_stdio(record.tty, record.stdin)
        place = container.place
        container.launch = Launch(
            self._core, steps, pipes, references, done, place=place, held=held
        )

    def release(self, request: Request) -> None:
        """Let a held container go on to its program; nothing when it has failed meanwhile."""
        container = self.all.get(identifier(request.arguments, "id"))
        if container and container.launch:
            container.record.created_at = time.time()  # it may have been ready for a while
            container.launch.release()
        request.reply({})

    def close_connection(self) -> None:
        """End what is held for daemons that are gone: nobody will ever release it."""
        for container in self.all.values():
            waiting = any(not each.connection.closed for each in container.starters)
            if container.launch and container.launch.held and not waiting:
                container.launch.kill()

    def _on_started(
        self, container: Container, started: Started, log: LogFile, pipes: Pipes
    ) -> None:
        record = container.record
        record.pid, record.state, record.started_at = started.pid, "running", time.time()
        record.identity = asdict(started.identity) if started.identity else None
        point("shim.container.started")
        for request in container.starters:
            request.reply({"status": record.status(), "times": started.times})
        container.starters.clear()
        self._adopt(container, log, pipes)

    def _on_start_failed(self, container: Container, failure: LaunchFailure) -> None:
        """Undo a start that made no container; keep one whose program cannot be executed as an exited one."""
        if failure.reason == "StartError":
            container.record.started_at = time.time()
            container.record.finish(time.time(), START_ERROR_CODE, "StartError", str(failure))
            self._core.files.follow(container.record)
        else:
            self.forget(container)
            CgroupRemoval(self._core, container.record.cgroup, lambda _problem: None)
        for request in container.starters + container.waiters:
            request.fail(failure.reason, str(failure), failure.step)
        container.starters.clear()
        container.waiters.clear()

    def _adopt(self, container: Container, log: LogFile, pipes: Pipes) -> None:
        container.stdin = pipes.stdin
        streams = {fd: LineStream(name) for name, fd in pipes.outputs.items()}
        self.resume(container, log, streams, EarlyOutput() if container.record.stdin_once else None)

    def keep(self, record: ContainerRecord) -> None:
        """Keep an exited container's record."""
        self.all[record.id] = Container(record)

    def resume(
        self,
        container: Container,
        log: LogFile,
        streams: dict[int, LineStream],
        early: EarlyOutput | None,
    ) -> None:
        """Look after a container whose streams are known by descriptor."""
        self.all[container.record.id] = container
        container.output = Output(
            self._core.loop, log, streams, lambda: self._on_output_end(container), early
        )
        if container.ended:
            self._wait_for_output(container)
            return
        on_exit = partial(self._on_exit, container)
        if ended := self._core.processes.watch(container.record.pid, on_exit):
            on_exit(ended)

    def _on_exit(self, container: Container, ended: Exit) -> None:
        container.ended, container.ended_at = ended, time.time()
        record = container.record
        record.oom_killed = cgroup.oom_kills(self._core.cgroups, record.cgroup) > 0
        cgroup.signal_all(
            self._core.cgroups, record.cgroup
        )  # what it left in a shared PID namespace
        self._wait_for_output(container)

    def _wait_for_output(self, container: Container) -> None:
        output = container.output
        if output is None or output.ended:
            self._finish(container)
        else:
            container.drain_timer = self._core.loop.call_later(DRAIN_SECONDS, output.drain)

    def _on_output_end(self, container: Container) -> None:
        if container.ended and container.record.state != "exited":
            self._finish(container)

    def _finish(self, container: Container) -> None:
        """Record the end, tell everybody, let go of every descriptor."""
        record, ended = container.record, container.ended or Exit(0, 0)
        record.signal = ended.signal
        reason = compute_reason(ended.code, record.oom_killed)
        record.finish(container.ended_at, ended.code, reason)
        self._core.files.follow(record)
        point("shim.container.finished")
        self._release(container)
        self._core.publish({"event": "container-exited", "container": record.status()})
        for request in container.waiters:
            request.reply({"status": record.status()})
        container.waiters.clear()
        self.on_finished(container)

    def _release(self, container: Container) -> None:
        for timer in (container.kill_timer, container.drain_timer):
            if timer:
                timer.cancel()
        container.close_stdin()
        if container.output:
            container.output.close()
            container.output = None

    def stop(self, request: Request) -> None:
        """Send the stop signal, kill after the grace, answer once it has ended. A shorter grace shortens."""
        container = self.require(request.arguments)
        grace = number(request.arguments, "grace_seconds")
        if container.record.state == "exited":
            request.reply({"status": container.record.status()})
            return
        container.waiters.append(request)
        if grace > 0 and not container.stopping:
            self._signal(container, signal_number(container.record.stop_signal))
        container.stopping = True
        self.set_deadline(container, time.monotonic() + max(0.0, grace))

    def set_deadline(self, container: Container, when: float) -> None:
        """Kill the container at `when` (CLOCK_MONOTONIC), or at the earlier time that was set before."""
        if when <= time.monotonic():
            self.kill(container)
            return
        timer = container.kill_timer
        if timer and timer.callback and timer.when <= when:
            return
        if timer:
            timer.cancel()
        container.kill_timer = self._core.loop.call_at(when, lambda: self.kill(container))

    def kill(self, container: Container) -> None:
        """Kill every process of the container at once, one that is still being made included."""
        if container.launch:
            container.launch.kill()
        cgroup.signal_all(self._core.cgroups, container.record.cgroup)
        self._signal(container, signal.SIGKILL)

    def _signal(self, container: Container, signal_: int) -> None:
        if container.record.pid:
            self._core.processes.kill(container.record.pid, signal_)

    def signal(self, request: Request) -> None:
        """Send a signal to the container's first process."""
        container = self.require(request.arguments)
        self._signal(container, signal_number(text(request.arguments, "signal")))
        request.reply({})

    def remove(self, request: Request) -> None:
        """Forget an exited container and its cgroup. Asked for an unknown one, there is nothing to do."""
        container = self.all.get(identifier(request.arguments, "id"))
        if container is None:
            request.reply({})
            return
        if container.record.state != "exited":
            raise Refusal("Running", f'container "{container.record.id}" still runs: stop it first')

        def removed(problem: str) -> None:
            if problem:
                request.fail("CgroupBusy", problem)
                return
            point("shim.container.cgroup-removed")
            self.forget(container)
            request.reply({})

        CgroupRemoval(self._core, container.record.cgroup, removed)

    def forget(self, container: Container) -> None:
        """Drop the record of an exited container."""
        self._core.files.remove(container.record)
        self.all.pop(container.record.id, None)

    def reopen_log(self, request: Request) -> None:
        """Open the log file again, after somebody renamed it."""
        container = self.require(request.arguments)
        if container.output:
            try:
                container.output.log.open()
            except OSError as error:
                raise Refusal("LogError", explain(error)) from None
        request.reply({})

    def update_resources(self, request: Request) -> None:
        """Write new limits into a running container's cgroup."""
        container = self.require(request.arguments)
        limits = cgroup.settings(self._core.cgroups, **members(request.arguments, "resources"))
        try:
            cgroup.limit(self._core.cgroups, container.record.cgroup, limits)
        except OSError as error:
            raise Refusal("UpdateError", explain(error)) from None
        request.reply({})

    def spec(self, request: Request) -> None:
        """Answer with the spec that a running container was started by."""
        container = self.require(request.arguments)
        spec = None
        with contextlib.suppress(OSError, ValueError):
            spec = self._core.files.read_spec(container.record)
        if spec is None:
            raise Refusal("NotFound", f'container "{container.record.id}" does not run any more')
        request.reply({"spec": spec})

    def require(self, arguments: Plain) -> Container:
        """Return the container that the arguments name. Refusal when there is none."""
        identity = identifier(arguments, "id")
        if identity not in self.all:
            raise Refusal("NotFound", f'container "{identity}" does not exist')
        return self.all[identity]

    def require_running(self, arguments: Plain) -> Container:
        """Return the running container that the arguments name. Refusal when there is none."""
        container = self.require(arguments)
        if container.record.state != "running" or container.ended:
            raise Refusal("NotFound", f'container "{container.record.id}" does not run')
        return container

    def records(self) -> list[ContainerRecord]:
        """Return every record, but those of containers that are still being made."""
        records = [item.record for item in self.all.values()]
        return [record for record in records if record.state != "creating"]

    def creating(self) -> list[str]:
        """Return the ids of containers that are still being made."""
        return [each for each, item in self.all.items() if item.record.state == "creating"]

    def of(self, sandbox_id: str) -> list[Container]:
        """Return the containers of a sandbox."""
        return [item for item in self.all.values() if item.record.sandbox_id == sandbox_id]


def compute_record(spec: Plain, sandbox: SandboxRecord, path: str) -> ContainerRecord:
    """Return the record that a spec.ContainerSpec (as JSON) begins with. Refusal when it does not fit."""
    chosen = (
        *("id", "labels", "log_path", "log_max_bytes", "log_max_files"),
        *("stdin", "stdin_once", "tty", "stop_signal"),
    )
    given = {name: spec[name] for name in chosen if name in spec}
    signal_number(str(given.get("stop_signal", "SIGTERM")))
    return ContainerRecord(sandbox_id=sandbox.id, cgroup=path, created_at=time.time(), **given)


def compute_reason(exit_code: int, oom_killed: bool) -> str:
    """Return the kubelet's word for how a container ended."""
    if oom_killed:
        return "OOMKilled"
    return "Completed" if exit_code == 0 else "Error"


def signal_number(name: str) -> int:
    """Return the number of "SIGTERM", "TERM", "15" or "SIGRTMIN+3". Refusal when there is no such signal."""
    word = name.upper().removeprefix("SIG")
    if word.isdigit() and 0 < int(word) < signal.NSIG:
        return int(word)
    if word.startswith("RTMIN+") and word[6:].isdigit() and int(word[6:]) <= 30:
        return signal.SIGRTMIN + int(word[6:])
    with contextlib.suppress(KeyError):
        return signal.Signals[f"SIG{word}"]
    raise Refusal("InvalidArgument", f'there is no signal "{name[:40]}"')


def members_list(arguments: Plain, name: str) -> list[Plain]:
    """Return an argument that is a list of objects. Refusal when it is something else."""
    value = arguments.get(name)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise Refusal("InvalidArgument", f'argument "{name}" is no list of steps')
    return value


def is_read(descriptor: int) -> bool:
    """Whether anybody holds the other end of a pipe or a terminal."""
    poll = select.poll()
    poll.register(descriptor, 0)  # errors and hang-ups alone
    return not poll.poll(0)


def explain(error: OSError) -> str:
    """Return a failed system call as one line."""
    where = f' "{error.filename}"' if error.filename else ""
    return f"{(error.strerror or str(error)).lower()}{where}"
