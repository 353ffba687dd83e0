"""A process on its way to its program: what it says over its channel, and what its parent does meanwhile.

Parent and child share one pair of sockets: the child waits on it where the plan wants a parent's step done first, sends
its terminal, its timings or its failure over it, and its close-on-exec end closing is what tells that the program runs.
A spawned program's process is made by the child, which tells its pid once it has executed, or failed to.
"""

import array
import contextlib
import os
import signal
import socket
import struct
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from minipod.linux import passwd
from minipod.linux.passwd import Identity
from minipod.linux.process import pidfd_open
from minipod.runtime import execute
from minipod.runtime.assembly import FAILED, Note, Program
from minipod.runtime.child_operations import AwaitTurn, SetUser
from minipod.runtime.compile_program import explain_exec, pack_identity
from minipod.runtime.compiling import LOOKUP, READY, READY_HEAD, STAMP, program_of, spawns
from minipod.runtime.machine import PROGRAM
from minipod.runtime.operations import Step
from minipod.runtime.spec import User

References = Mapping[str, int | str]
Time = tuple[int, int, int]  # index of a step, its begin and duration in µs (operations.TracedStep)

_CREDENTIALS = struct.Struct("3i")  # struct ucred: pid, uid, gid (unix(7))
_FAILURE = struct.Struct("<QQ")
_LARGEST_MESSAGE = 65536
_ANCILLARY = socket.CMSG_SPACE(4) + socket.CMSG_SPACE(_CREDENTIALS.size)
_MOST_STRANGERS = 16
_MOST_ERRORS = 4096  # MAX_ERRNO, and one


@dataclass(frozen=True)
class Launched:
    """A running program. `terminal` is the master side when the plan opened a terminal, else -1.

    `pidfd` is -1 when a spawned program has ended, and been waited for, before its pid was known. `identity` is the
    user's that the program was started as, where the plan has one.
    """

    pid: int
    pidfd: int
    times: tuple[Time, ...]
    terminal: int = -1
    identity: Identity | None = None


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


class EndedEarly(LaunchError):
    """A process has ended, or was killed, without a word on whether its program ran."""


def failed(step: Step, number: int, message: str, reason: str = "") -> LaunchError:
    """Return the failure of a step."""
    summary = step.operation.summary()
    return LaunchError(
        summary,
        number,
        message if reason == "StartError" else f"{summary}: {message}",
        reason or "CreateContainerError",
    )


def perform(steps: Sequence[Step], indexes: Iterable[int], references: References) -> list[Time]:
    """Perform those of the steps that are the shim's; return when. Raises LaunchError."""
    times = []
    for index in indexes:
        if steps[index].where == "shim":
            before = time.monotonic_ns()
            try:
                execute.perform(steps[index].operation, references)
            except (OSError, ValueError, TimeoutError) as failure:
                number = failure.errno or 0 if isinstance(failure, OSError) else 0
                raise failed(steps[index], number, execute.describe(failure)) from failure
            times.append((index, *execute.since(before)))
    return times


def explain(note: Note, number: int) -> tuple[int, str]:
    """Return the number and the words of a failed instruction."""
    if note.call == "execve":
        return number, explain_exec(note.path or "", number)
    where = f' "{note.path}"' if note.path else ""
    if not note.sentence:
        return number, f"{note.call}: {os.strerror(number)}{where}"
    words = note.sentence.replace("{error}", os.strerror(number).lower())
    return number if note.errno is None else note.errno, words + where


@dataclass(frozen=True)
class Lookup:
    """Files that a child copies its root's files of users to: to read them may take for ever, so it is his to do."""

    passwd: int
    group: int

    @classmethod
    def open(cls) -> "Lookup":
        """Make both files. Raises OSError."""
        return cls(os.memfd_create("passwd"), os.memfd_create("group"))

    def close(self) -> None:
        """Close both files."""
        os.close(self.passwd)
        os.close(self.group)

    def identity(self, user: User) -> Identity:
        """Resolve a user. ValueError names one that is not there; OSError (EFBIG) a file that is too large."""
        texts = _read(self.passwd, "/etc/passwd"), _read(self.group, "/etc/group")
        name = user.name if user.uid is None else str(user.uid)
        found = passwd.resolve(name, *texts, merge_groups=user.merge_image_groups)
        gid = found.gid if user.gid is None else user.gid
        groups = tuple(sorted({gid, *found.groups, *user.supplementary}))
        uid = found.uid if user.uid is None else user.uid  # never what the image's files say of it
        return Identity(uid, gid, groups, found.home)


def _read(file: int, path: str) -> str:
    content = os.pread(file, passwd.LARGEST_FILE + 1, 0)
    if len(content) > passwd.LARGEST_FILE:
        raise OSError(27, "file too large", path)
    return content.decode(errors="surrogateescape")


def _tells_failure(message: bytes) -> bool:
    """Whether a message is that of an instruction that failed: the others begin with a small number."""
    if len(message) != FAILED:
        return False
    address, number = _FAILURE.unpack(message)
    return bool(address >= PROGRAM and 0 < number < _MOST_ERRORS)


def _end_program(pid: int, wait: bool) -> None:
    """End a spawned process that says that it has failed. Whoever traced it may have made up the failure.

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
        program: Program,
        explain: Callable[[int], Note | None],
        who: Identity | Lookup | None,
    ) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.spawns = False  # the program will be another process than this child
        self._channel = channel
        self._stamps = program.stamps
        self._explain = explain  # from a failed instruction's address
        self._identity = who if isinstance(who, Identity) else None
        self._lookup = who if isinstance(who, Lookup) else None
        self._steps: Sequence[Step] = ()
        self._times: list[Time] = []
        self._prepared = False  # the child has done all its steps but the last
        self._terminal = -1
        self._strangers: dict[
            int, bytes
        ] = {}  # what others say: one of them may be the spawned process
        self._rest: Iterator[None] = iter(())

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._channel.fileno()

    def begin(
        self, steps: Sequence[Step], times: list[Time], at: int, references: References, held: bool
    ) -> None:
        """Perform the shim's steps that follow the clone at `at`, up to the child's turn if it is held."""
        self._steps, self._times = steps, times
        self.spawns = spawns(steps)
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
                self._times += perform(self._steps, (index,), references)
            except LaunchError:
                self.abandon()
                raise
            self._send(b"+")

    def _send(self, message: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has failed: advance() tells why
            self._channel.send(message)

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
        kind = int.from_bytes(message[:8], "little")
        if _tells_failure(message):
            self._close()
            self._raise(message)
        if kind == READY:
            return self._on_ready(message, wait)
        if kind == LOOKUP:
            self._on_lookup()
        return None

    def _raise(self, message: bytes) -> None:
        """Raise what a message says of a failure."""
        address, number = _FAILURE.unpack(message)
        note = self._explain(address)
        if note is None:
            raise LaunchError("clone", number, f"the child has lost its way at {address:#x}", "")
        raise failed(self._steps[note.step], *explain(note, number), note.reason)

    def _on_ready(self, message: bytes, wait: bool) -> Launched | None:
        _, pid = READY_HEAD.unpack_from(message)
        self._take_times(message[READY_HEAD.size :])
        self._prepared = True
        return self._on_spawned(pid, wait) if self.spawns else None

    def _take_times(self, stamps: bytes) -> None:
        """Turn the moments at which steps were over into times. Behind a filter there are none: they took no time."""
        before, timed = 0, set()
        moments = STAMP.iter_unpack(stamps[: len(stamps) - len(stamps) % STAMP.size])
        for index, (seconds, nanoseconds) in zip(self._stamps, moments, strict=False):
            now = seconds * 1_000_000 + nanoseconds // 1000
            if self._is_timed(index):
                self._times.append((index, before, now - before))
                timed.add(index)
            before = now
        self._times += [
            (index, before, 0)
            for index in range(len(self._steps))
            if self._is_timed(index) and index not in timed
        ]
        self._times.sort(key=lambda each: each[1])

    def _is_timed(self, index: int) -> bool:
        """Whether the step is the child's, and not the last: that one is over when nobody is left to tell."""
        step = self._steps[index]
        ours = step.where == "child" and step.operation is not program_of(self._steps)
        return index >= 0 and ours

    def _on_lookup(self) -> None:
        """Tell the child who its user is."""
        assert self._lookup is not None
        index, step = next(
            (index, step)
            for index, step in enumerate(self._steps)
            if isinstance(step.operation, SetUser)
        )
        assert isinstance(step.operation, SetUser)
        try:
            self._identity = self._lookup.identity(step.operation.user)
            self._send(pack_identity(self._identity))
        except (OSError, ValueError) as failure:
            self.abandon()
            number = failure.errno or 0 if isinstance(failure, OSError) else 0
            raise failed(self._steps[index], number, execute.describe(failure)) from None

    def _on_end(self) -> Launched:
        """The channel's other end is closed: by executing the program, or by the child's end."""
        if self.spawns or not self._prepared:
            code = self._close()
            raise EndedEarly("clone", 0, f"the child ended before its program ran ({code})", "")
        self._let_go()
        return Launched(self.pid, self.pidfd, tuple(self._times), self._terminal, self._identity)

    def _on_spawned(self, pid: int, wait: bool) -> Launched:
        """Take over the spawned process. Its maker has nothing left to do but to end: it is not waited for."""
        self._let_go()
        os.close(self.pidfd)
        self.pidfd = -1
        if wait:
            os.waitpid(self.pid, 0)
        if said := self._strangers.get(pid):
            if self._terminal >= 0:
                os.close(self._terminal)
                self._terminal = -1
            _end_program(pid, wait)
            self._raise(said)
        pidfd = -1
        with contextlib.suppress(ProcessLookupError):  # it has ended and been waited for already
            pidfd = pidfd_open(pid)
        return Launched(pid, pidfd, tuple(self._times), self._terminal, self._identity)

    def kill(self) -> None:
        """Kill the child; finish() reaps it."""
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def abandon(self) -> None:
        """Kill the child and reap it."""
        self._close()

    def _receive(self, flags: int) -> bytes | None:
        """Return the child's next message, b"" at the end; None for one that somebody else has sent.

        Before it executes the container's program, a process in there has the other end for some microseconds: what it
        says of its failure is kept until the child tells its pid.
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
            self._keep_stranger(sender, message)
            return None
        if descriptors:
            self._terminal = descriptors[0]
            os.set_inheritable(self._terminal, False)
        return message

    def _keep_stranger(self, sender: int, message: bytes) -> None:
        if self.spawns and _tells_failure(message) and len(self._strangers) < _MOST_STRANGERS:
            self._strangers.setdefault(sender, message)

    def _let_go(self) -> None:
        self._channel.close()
        if self._lookup:
            self._lookup.close()
            self._lookup = None

    def _close(self) -> str:
        """Kill and reap the child, close everything; return how it ended. Repeatable."""
        self._let_go()
        if self.pidfd < 0:
            return "ended before"
        code: int | str = "unknown"
        self.kill()
        with contextlib.suppress(ChildProcessError):
            _, status = os.waitpid(self.pid, 0)
            code = os.waitstatus_to_exitcode(status)
        os.close(self.pidfd)
        self.pidfd = -1
        if self._terminal >= 0:
            os.close(self._terminal)
            self._terminal = -1
        return f"exit code {code}"
