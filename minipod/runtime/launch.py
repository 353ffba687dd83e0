"""Starts a process from its plan: clone3, and the child makes its own world before it executes its program.

Runs inside the shim: single-threaded, standard library and `linux` only. `start` clones and returns at once, `advance`
takes what the child has said, `finish` waits until the program runs; `launch` does all. Parent and child share one
pair of sockets: the child waits on it where the plan wants a parent's step done first, sends its terminal, its timings
or its failure over it, and its close-on-exec end closing is what tells that the program runs.

The child is a copy of this interpreter until it executes: it is never in a PID namespace that others live in
(CVE-2019-5736). Where the program shall be in one, the child executes `spawn` instead, which makes the program's
process there and tells its pid. This process is non-dumpable besides before it ever clones, which the child inherits.
"""

import array
import contextlib
import json
import os
import signal
import socket
import struct
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from minipod.linux import cgroup
from minipod.linux.process import (
    ALL_SIGNALS,
    PR_GET_DUMPABLE,
    PR_SET_DUMPABLE,
    clone3,
    namespace_flags,
    pidfd_open,
    prctl,
    set_signal_mask,
)
from minipod.runtime import execute, launch_child, pause, spawn
from minipod.runtime.operations import (
    AwaitTurn,
    Clone,
    Exec,
    ExecPause,
    JoinNamespaces,
    OpenMountTree,
    Step,
)

References = Mapping[str, int | str]
Time = tuple[int, int, int]  # index of a step, its begin and duration in µs (operations.TracedStep)

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_LARGEST_MESSAGE = 65536
_ANCILLARY = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(_CREDENTIALS.size)


@dataclass(frozen=True)
class Stdio:
    """The new process's standard streams, as descriptors of this process; -1: the container's own /dev/null.

    Not used when the plan opens a terminal. The caller closes its copies afterwards.
    """

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


@dataclass(frozen=True)
class Launched:
    """A running program. `terminal` is the master side when the plan opened a terminal, else -1.

    `pidfd` is -1 when a spawned program has ended, and been waited for, before its pid was known.
    """

    pid: int
    pidfd: int
    times: tuple[Time, ...]
    terminal: int = -1


class LaunchError(Exception):
    """A process could not be started; nothing of it is left running.

    `step` is the summary of the step that failed, `errno` the kernel's number (0 when the failure is not the kernel's),
    `reason` a Kubernetes word: "StartError" when the program itself cannot be executed, "CreateContainerError" before.
    """

    def __init__(self, step: str, errno: int, message: str, reason: str) -> None:
        super().__init__(message)
        self.step = step
        self.errno = errno
        self.message = message
        self.reason = reason


def prepare() -> None:
    """Make the programs of ours that launches execute, so that no launch is the first."""
    pause.descriptor()
    spawn.descriptor()


def launch(steps: Sequence[Step], stdio: Stdio, references: References) -> Launched:
    """Perform the plan's shim and child steps and return once the program runs. Raises LaunchError."""
    return start(steps, stdio, references).finish()


def start(
    steps: Sequence[Step], stdio: Stdio, references: References, *, held: bool = False
) -> "Launching":
    """Perform the plan's shim steps up to and after its clone and return while the child is still preparing itself.

    A child that is `held` waits at the plan's `AwaitTurn` until it is released.
    `references` holds "pause_pid" or "container_pid" where the plan refers to them, and may hold "pause_pidfd",
    "container_pidfd" to save opening one. Steps for the daemon are left to it. Raises LaunchError.
    """
    at = next(index for index, step in enumerate(steps) if isinstance(step.operation, Clone))
    times = _perform(steps, range(at), references)
    clone = steps[at].operation
    assert isinstance(clone, Clone)
    with contextlib.ExitStack() as opened:
        child = launch_child.Child(
            steps=steps,
            first=at + 1,
            stdio=(stdio.stdin, stdio.stdout, stdio.stderr),
            targets=_open_targets(steps, references, opened),
            program=_program_descriptor(steps),
        )
        before = time.monotonic_ns()
        try:
            pid, pidfd, channel = _clone(clone, child)
        except OSError as failure:
            raise _failed(steps[at], failure.errno or 0, execute.describe(failure)) from failure
        times.append((at, *execute.since(before)))
    launching = Launching(pid, pidfd, channel, steps, times)
    launching.perform_after_clone(at, {**references, f"{clone.name}_pid": pid}, held)
    return launching


def _perform(steps: Sequence[Step], indexes: Iterable[int], references: References) -> list[Time]:
    times = []
    for index in indexes:
        if steps[index].where == "shim":
            before = time.monotonic_ns()
            try:
                execute.perform(steps[index].operation, references)
            except (OSError, ValueError, TimeoutError) as failure:
                number = failure.errno or 0 if isinstance(failure, OSError) else 0
                raise _failed(steps[index], number, execute.describe(failure)) from failure
            times.append((index, *execute.since(before)))
    return times


def _failed(step: Step, number: int, message: str, reason: str = "") -> LaunchError:
    summary = step.operation.summary()
    return LaunchError(
        summary,
        number,
        message if reason == "StartError" else f"{summary}: {message}",
        reason or "CreateContainerError",
    )


def _open_targets(
    steps: Sequence[Step], references: References, held: contextlib.ExitStack
) -> dict[str, int]:
    """Open a pidfd of every process whose namespaces the plan joins: a child in another PID namespace cannot."""
    wanted = set()
    for step in steps:
        operation = step.operation
        if isinstance(operation, JoinNamespaces | OpenMountTree) and operation.target:
            wanted.add(operation.target)
    opened = {}
    for target in sorted(wanted):
        known = references.get(target[1:].removesuffix("_pid") + "_pidfd")
        if known is None:
            pid = int(execute.resolve(target, references))
            try:
                known = pidfd_open(pid)
            except OSError as failure:
                message = f'process {pid} ("{target}") is gone: {failure.strerror}'
                raise LaunchError(
                    "open pidfd", failure.errno or 0, message, "SandboxGone"
                ) from None
            held.callback(os.close, known)
        opened[target] = int(known)
    return opened


def _program_descriptor(steps: Sequence[Step]) -> int:
    """Open the program of ours that the child shall execute."""
    if any(isinstance(step.operation, ExecPause) for step in steps):
        return pause.descriptor()
    return spawn.descriptor() if _spawns(steps) else -1


def _spawns(steps: Sequence[Step]) -> bool:
    return any(isinstance(step.operation, Exec) and step.operation.spawn for step in steps)


def _clone(clone: Clone, child: "launch_child.Child") -> tuple[int, int, socket.socket]:
    """Clone the child (which never returns from here) and return its pid, pidfd and this side of the channel."""
    if prctl(PR_GET_DUMPABLE) != 0:
        prctl(PR_SET_DUMPABLE, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # the kernel tells who says what
    flags = namespace_flags(clone.namespaces)
    layout = cgroup.this_host()
    with contextlib.ExitStack() as held:
        held.callback(theirs.close)
        directory = -1
        if clone.cgroup and layout.unified:
            path = f"{layout.unified}/{clone.cgroup}"
            directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            held.callback(os.close, directory)
        try:
            # Signals stay blocked until the child has its own handlers, and none is lost to the parent.
            held.callback(set_signal_mask, set_signal_mask(ALL_SIGNALS))
            pid, pidfd = clone3(flags, directory)
        except OSError:
            ours.close()
            raise
        if pid == 0:
            launch_child.run(child, theirs)
    return pid, pidfd, ours


def _end_program(pid: int, wait: bool) -> None:
    """End what a spawn says has failed to execute its program. Whoever traced it may have made up the failure.

    It is not waited for unless we may wait for ever: a tracer can hold a process at its end.
    """
    with contextlib.suppress(ChildProcessError, ProcessLookupError):
        os.waitid(
            os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT
        )  # it is a child of ours still
        os.kill(pid, signal.SIGKILL)
        if wait:
            os.waitpid(pid, 0)


class Launching:
    """A child on its way to its program. `fileno()` becomes readable when `advance` has something to take."""

    def __init__(
        self,
        pid: int,
        pidfd: int,
        channel: socket.socket,
        steps: Sequence[Step],
        times: list[Time],
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.spawns = _spawns(steps)  # the program will be another process than this child
        self.prepared = False  # the child has done all its steps but the last
        self._channel = channel
        self._steps = steps
        self._times = times
        self._terminal = -1
        self._rest: Iterator[None] = iter(())

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._channel.fileno()

    def perform_after_clone(self, at: int, references: References, held: bool) -> None:
        """Perform the shim's steps that follow the clone, up to the child's turn if it is held."""
        self._rest = self._follow(at, references, held)
        self.release()

    def release(self) -> None:
        """Let a held child go on; nothing when it is not held."""
        for _ in self._rest:
            return

    def _follow(self, at: int, references: References, held: bool) -> Iterator[None]:
        """Tell the child of each step that it waits for; yield where it is held."""
        for index in range(at + 1, len(self._steps)):
            step = self._steps[index]
            if isinstance(step.operation, AwaitTurn):
                if held:
                    yield
            elif step.where != "shim":
                continue
            try:
                self._times += _perform(self._steps, (index,), references)
            except LaunchError:
                self.abandon()
                raise
            with contextlib.suppress(BrokenPipeError):  # it has failed: finish() tells why
                self._channel.send(b"+")

    def finish(self) -> Launched:
        """Wait until the program runs. Raises LaunchError, having reaped the child, when it does not."""
        while (launched := self.advance(wait=True)) is None:
            pass
        return launched

    def advance(self, *, wait: bool = False) -> Launched | None:
        """Take what the child has said by now: Launched when the program runs, None when it is still on its way.

        Never waits unless told to. Raises LaunchError, having reaped the child, when it has failed.
        """
        try:
            message = self._receive(0 if wait else socket.MSG_DONTWAIT)
        except BlockingIOError:
            return None
        if message is None:
            return None
        if not message:
            return self._on_end()
        told = spawn.parse(message) if self.prepared else None
        if told is not None:
            return self._on_spawned(told, wait)
        if message != launch_child.TERMINAL:
            self._on_report(json.loads(message))
        return None

    def _on_report(self, report: dict[str, Any]) -> None:
        if "errno" in report:
            self._channel.close()
            self._reap()
            step = self._steps[report["step"]]
            raise _failed(step, report["errno"], report["message"], report["reason"])
        self._times += [(index, begin, took) for index, begin, took in report["times"]]
        self._times.sort(key=lambda each: each[1])
        self.prepared = True

    def _on_end(self) -> Launched:
        """The channel's other end is closed: by executing the program, or by the child's end."""
        self._channel.close()
        if self.spawns or not self.prepared:
            code = self._reap()
            raise LaunchError("clone", 0, f"the child ended before its program ran ({code})", "")
        return Launched(self.pid, self.pidfd, tuple(self._times), self._terminal)

    def _on_spawned(self, told: spawn.Told, wait: bool) -> Launched:
        self._channel.close()
        operation = self._steps[-1].operation
        assert isinstance(operation, Exec)
        program = operation.args[0]
        if told.pid <= 0:
            self._reap()
            problem = f'exec: "{program}": clone: {os.strerror(-told.pid).lower()}'
            raise _failed(self._steps[-1], -told.pid, problem, "StartError")
        if told.errno:
            self._reap()
            _end_program(told.pid, wait)
            failure = launch_child.explain_exec(program, told.errno)
            raise _failed(self._steps[-1], told.errno, failure, "StartError")
        terminal, self._terminal = self._terminal, -1
        self._reap()
        pidfd = -1
        with contextlib.suppress(ProcessLookupError):  # it has ended and been waited for already
            pidfd = pidfd_open(told.pid)
        return Launched(told.pid, pidfd, tuple(self._times), terminal)

    def kill(self) -> None:
        """Kill the child; finish() reaps it."""
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def abandon(self) -> None:
        """Kill the child and reap it."""
        self._channel.close()
        self._reap()

    def _receive(self, flags: int) -> bytes | None:
        """Return the child's next message, b"" at the end; None for one that somebody else has sent.

        Before it executes the container's program, a process in there has the other end for some microseconds.
        """
        try:
            message, ancillary, _, _ = self._channel.recvmsg(_LARGEST_MESSAGE, _ANCILLARY, flags)
        except ConnectionResetError:  # it ended without having read all that it was told;
            return None  # what it said before that is still to be taken (unix(7))
        sender, descriptors = self.pid, array.array("i")
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            elif (level, kind) == (socket.SOL_SOCKET, socket.SCM_CREDENTIALS):
                sender = _CREDENTIALS.unpack(data)[0]
        if message and sender != self.pid:
            for descriptor in descriptors:
                os.close(descriptor)
            return None
        if descriptors:
            self._terminal = descriptors[0]
            os.set_inheritable(self._terminal, False)
        return message

    def _reap(self) -> str:
        code: int | str = "unknown"
        self.kill()
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
        os.close(self.pidfd)
        if self._terminal >= 0:
            os.close(self._terminal)
        return f"exit code {code}"
