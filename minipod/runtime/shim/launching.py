"""From a plan's steps as JSON to a running process, and the pipes between it and us."""

import contextlib
import fcntl
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

from minipod.linux.passwd import Identity
from minipod.runtime.codec import step_from_json
from minipod.runtime.launch import Stdio, perform_first, start
from minipod.runtime.launched import EndedEarly, Launched, LaunchError, Launching, Time
from minipod.runtime.shim.core import Core
from minipod.runtime.shim.holding import Hold, is_stopped
from minipod.runtime.shim.loop import Timer
from minipod.runtime.shim.processes import cgroups_of
from minipod.runtime.shim.records import Plain

RESCUE_SECONDS = 0.1  # a spawned program runs within a millisecond, unless somebody stops it
RETRY_SECONDS = 0.01
PATIENCE_SECONDS = 5.0
HELD = "another process of the Pod holds the program before its first instruction (a tracer, or kill -STOP -1)"


class LaunchFailure(Exception):
    """A process could not be made: a Kubernetes word, a sentence, the step that failed."""

    def __init__(self, reason: str, message: str, step: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.step = step


class Started(NamedTuple):
    """A process that executes its program, when it did each of the steps that led there, and as whom.

    `pid` is 0 when it was killed with its container before it could be told of: whether its program ran (perhaps it is
    what ended the container) nobody knows, but what it has written is there.
    """

    pid: int
    times: tuple[Time, ...]
    identity: Identity | None = None


class Place(NamedTuple):
    """What a process will be among: the Pod's cgroup, and the user of the container where that is known."""

    pod: str = ""
    identity: Identity | None = None


NOWHERE = Place()


@dataclass
class Pipes:
    """Both ends of a process's standard streams. The child's are closed here once it has them."""

    child: list[int] = field(default_factory=list)  # stdin, stdout, stderr as the child gets them
    outputs: dict[str, int] = field(default_factory=dict)  # by stream name: what we read
    stdin: int = -1  # what we write to; with a terminal its master, a second time
    terminal: bool = False

    def close_child(self) -> None:
        """Close the child's ends. Repeatable."""
        for descriptor in self.child:
            if descriptor >= 0:
                os.close(descriptor)
        self.child = []

    def close(self) -> None:
        """Close everything. Repeatable."""
        self.close_child()
        for descriptor in (*self.outputs.values(), self.stdin):
            if descriptor >= 0:
                os.close(descriptor)
        self.outputs, self.stdin = {}, -1

    def take_terminal(self, master: int) -> None:
        """Use the terminal that the child opened: its output is all "stdout"."""
        self.outputs = {"stdout": master}
        self.stdin = os.dup(master)

    def hand_over(self) -> tuple[list[str], list[int]]:
        """Return names and descriptors of our ends, which belong to the caller from now on."""
        streams = dict(self.outputs)
        if self.terminal:
            os.close(self.stdin)
            streams = {"terminal": self.outputs["stdout"]}
        elif self.stdin >= 0:
            streams["stdin"] = self.stdin
        self.outputs, self.stdin = {}, -1
        return list(streams), list(streams.values())


def open_stdio(terminal: bool, stdin: bool) -> Pipes:
    """Return pipes for a process; with a terminal, nothing: the child opens it in its own /dev/pts. Raises OSError."""
    if terminal:
        pipes = open_null()
        pipes.terminal = True
        return pipes
    pipes = Pipes()
    try:
        if stdin:
            read_end, pipes.stdin = os.pipe2(os.O_CLOEXEC)
        else:
            read_end = -1  # the container's own /dev/null
        pipes.child.append(read_end)
        for name in ("stdout", "stderr"):
            pipes.outputs[name], write_end = os.pipe2(os.O_CLOEXEC)
            pipes.child.append(write_end)
    except OSError:
        pipes.close()
        raise
    return pipes


def open_combined() -> Pipes:
    """Return one pipe for standard output and error together, and no input. Raises LaunchFailure."""
    pipes = Pipes()
    try:
        pipes.outputs["stdout"], write_end = os.pipe2(os.O_CLOEXEC)
        pipes.child = [-1, write_end]
        pipes.child.append(fcntl.fcntl(write_end, fcntl.F_DUPFD_CLOEXEC, 3))
    except OSError as error:
        pipes.close()
        raise LaunchFailure("ExecError", f"no pipe: {error.strerror}") from None
    return pipes


def open_null() -> Pipes:
    """Return streams of a process that says and hears nothing: its own /dev/null, or its own terminal."""
    return Pipes()


class Launch:
    """A process on its way to its program. The loop turns meanwhile: a child may take long over a slow volume.

    A program that is spawned among others can be stopped by them before its first instruction (`kill -STOP -1`, or a
    tracer): it is continued while the others are held, or killed after a while.

    Calls `done` once, with Started or LaunchFailure; after a failure nothing of the process is left.
    """

    def __init__(
        self,
        core: Core,
        steps: list[Plain],
        pipes: Pipes,
        references: Plain,
        done: Callable[[Started | LaunchFailure], None],
        *,
        place: Place = NOWHERE,
        held: bool = False,
        has_lost_container: Callable[[], bool] = lambda: False,
    ) -> None:
        """Clone the process. Raises LaunchFailure when it comes to nothing at once; the pipes are closed then.

        One that is `held` is made in turns to come, so that nothing which is ready by then waits for it: its sandbox's
        word, or the release of another. It prepares itself, but does not go past the plan's `AwaitTurn` before
        `release`. Where `has_lost_container`, one that has ended without a word was killed with its container: it has
        not failed.
        """
        self._core = core
        self._plain = steps
        self._pipes = pipes
        self._references = references
        self._done = done
        self._place = place
        self._killed = False
        self.held = held
        self._has_lost_container = has_lost_container
        self._launching: Launching | None = None  # once it is cloned
        self.pid = 0
        self._others = Hold(core.cgroups, place.pod)
        self._held_since = 0.0
        self._rescue: Timer | None = None
        if not held:
            with self._explained():
                self._perform_first()
                self._clone()
        core.busy += 1
        if held:
            core.loop.work(partial(self._in_turn, self._perform_first, then=self._clone))

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Raise what goes wrong as LaunchFailure, with the pipes closed."""
        try:
            yield
        except LaunchError as error:
            self._pipes.close()
            raise LaunchFailure(error.reason, error.message, error.step) from None
        except Exception as error:  # noqa: BLE001  (a plan that makes no sense; whoever waits must be told)
            self._pipes.close()
            problem = f"the plan cannot be performed: {type(error).__name__}: {error}"
            raise LaunchFailure("InvalidArgument", problem) from None

    def _in_turn(self, work: Callable[[], None], then: Callable[[], None] | None = None) -> None:
        """Do a part of the making, unless the process was killed meanwhile; the next part comes in the next turn."""
        try:
            if self._killed:
                raise LaunchFailure("CreateContainerError", "it was ended before it was made")
            with self._explained():
                work()
        except LaunchFailure as failure:
            self._fail(failure)
            return
        if then:
            self._core.loop.work(partial(self._in_turn, then), next_=True)

    def _perform_first(self) -> None:
        self._steps = [step_from_json(step) for step in self._plain]
        self._times = perform_first(self._steps, self._references)

    def _clone(self) -> None:
        core, stdio = self._core, Stdio(*self._pipes.child)
        self._launching = launching = start(
            *(self._steps, stdio, self._references),
            done=self._times,
            held=self.held,
            identity=self._place.identity,
            reaped=True,
        )
        self.pid = launching.pid
        core.processes.expect(self.pid)
        if launching.spawns:
            core.processes.expect_unknown()
            again = partial(self._continue, launching)
            self._rescue = core.loop.call_later(RESCUE_SECONDS, again)
        self._pipes.close_child()
        self._watch(launching)

    def _watch(self, launching: Launching) -> None:
        self._descriptor = launching.fileno()
        on_ready = partial(self._on_ready, launching)
        self._core.loop.watch(self._descriptor, select.EPOLLIN, on_ready)

    def release(self) -> None:
        """Let a held process go on; nothing when it is not held."""
        self.held = False
        if self._launching:
            self._launching.release()

    def kill(self) -> None:
        """End the process before its program runs."""
        self._killed = True
        if self._launching:
            self._launching.kill()

    def _on_ready(self, launching: Launching, _events: int) -> None:
        self._core.loop.unwatch(self._descriptor)  # before it is closed
        try:
            launched = launching.advance()
        except EndedEarly as error:
            if self._has_lost_container():
                self._end_with_container()
            else:
                self._fail_by(error)
            return
        except LaunchError as error:
            self._fail_by(error)
            return
        except Exception as error:  # noqa: BLE001  (whoever waits must be told)
            launching.abandon()
            self._fail(LaunchFailure("InternalError", f"{type(error).__name__}: {error}"))
            return
        if launched is not None:
            self._succeed(launched)
            return
        self._watch(launching)

    def _continue(self, launching: Launching) -> None:
        """Let a spawned program go on that somebody in its PID namespace has stopped; end what cannot be helped."""
        processes = self._core.processes
        held = processes.find_unknown(cgroups_of(self.pid))
        if held and not self._held_since:
            self._held_since = time.monotonic()
        patient = not held or time.monotonic() - self._held_since < PATIENCE_SECONDS
        for pid in held:
            if patient and is_stopped(pid):
                self._others.take(pid, lambda child: not processes.is_known(child))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT if patient else signal.SIGKILL)
        if patient:
            again = RETRY_SECONDS if held else RESCUE_SECONDS
            self._rescue = self._core.loop.call_later(again, partial(self._continue, launching))
        else:
            self._core.loop.unwatch(self._descriptor)
            launching.abandon()
            self._fail(LaunchFailure("StartError", HELD))

    def _succeed(self, launched: Launched) -> None:
        self._let_go(launched.pid)
        if launched.pidfd >= 0:
            os.close(launched.pidfd)
        if launched.terminal >= 0:
            self._pipes.take_terminal(launched.terminal)
        self._done(Started(launched.pid, launched.times, launched.identity))

    def _end_with_container(self) -> None:
        self._let_go(None)
        self._core.processes.forget(self.pid)
        if self._pipes.terminal:
            master, slave = os.openpty()  # one that reads as its end
            os.close(slave)
            self._pipes.take_terminal(master)
        self._done(Started(0, ()))

    def _fail_by(self, error: LaunchError) -> None:
        reason = "CreateContainerError" if self._killed else error.reason or "StartError"
        self._fail(LaunchFailure(reason, error.message, error.step))

    def _fail(self, failure: LaunchFailure) -> None:
        self._let_go(None)
        self._core.processes.forget(self.pid)
        self._pipes.close()
        self._done(failure)

    def _let_go(self, program: int | None) -> None:
        """Stop waiting for the child; `program` is the process that runs, if one does."""
        self._core.busy -= 1
        self._others.release()
        if self._rescue:
            self._rescue.cancel()
        if self._launching and self._launching.spawns:
            self._core.processes.forget(self.pid)
            self._core.processes.introduce(program)
