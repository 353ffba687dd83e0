"""Starts a process from its plan, without copying this one: what is between a clone and a program is the machine.

Runs inside the shim: single-threaded, standard library and `linux` only. `start` compiles the plan's child steps
(`compile`), clones a process that executes the machine with them, and returns at once; what it says is for `Launching`.
`launch` does all.

Where the program shall be in a PID namespace that others live in, the child prepares itself outside and makes the
program's process there at last, with nothing that is not the program's (CVE-2019-5736).
"""

import contextlib
import errno
import fcntl
import functools
import os
import select
import signal
import socket
import stat
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from minipod.linux import capabilities, cgroup
from minipod.linux.passwd import Identity
from minipod.linux.process import (
    PR_GET_DUMPABLE,
    PR_SET_DUMPABLE,
    ignored_signals,
    pidfd_open,
    prctl,
)
from minipod.linux.vfork import clone_and_execute
from minipod.runtime import execute, machine, pause, rehearsal
from minipod.runtime.assembly import FAILED, Note, Program
from minipod.runtime.child_operations import (
    Clone,
    JoinNamespaces,
    MakeDevices,
    OpenMountTree,
    SetUser,
)
from minipod.runtime.compile import compile_again, compile_steps
from minipod.runtime.compiling import STREAMS, Facts, target_input
from minipod.runtime.launched import (
    Launched,
    LaunchError,
    Launching,
    Lookup,
    References,
    Time,
    failed,
    perform,
)
from minipod.runtime.operations import Step
from minipod.runtime.spec import User

REPEATED = "exec"  # the clone of a plan that may be asked for every second
_ALL_SEALS = 1 | 2 | 4 | 8  # F_SEAL_SEAL, SHRINK, GROW, WRITE (fcntl(2))
_BIRTH_MILLISECONDS = 10_000
_LOWEST = 4  # 0 to 2 are the program's streams, 3 is a spawned program's channel
_NOT_COPIED = {"pts", "shm", "mqueue", "console", "fd", "ptmx", "core"}  # of the host's /dev

open_files: tuple[int, int] | None = None  # RLIMIT_NOFILE of programs; None: as this process has it
_ignored: tuple[int, ...] | None = None  # signals; None: what this process ignores by then


@dataclass(frozen=True)
class Stdio:
    """The new process's standard streams, as descriptors of this process; -1: the container's own /dev/null.

    Not used when the plan opens a terminal. The caller closes its copies afterwards.
    """

    stdin: int = -1
    stdout: int = -1
    stderr: int = -1


def prepare() -> None:
    """Make the programs of ours that launches execute, so that no launch is the first.

    From now on this process does not change which signals it ignores.
    """
    global _ignored
    _ignored = ignored_signals()
    pause.descriptor()
    machine.descriptor()


def launch(steps: Sequence[Step], stdio: Stdio, references: References) -> Launched:
    """Perform the plan's shim and child steps and return once the program runs. Raises LaunchError."""
    return start(steps, stdio, references).finish()


def start(
    steps: Sequence[Step],
    stdio: Stdio,
    references: References,
    *,
    done: list[Time] | None = None,
    held: bool = False,
    identity: Identity | None = None,
    reaped: bool = False,
) -> Launching:
    """Perform the plan's shim steps up to and after its clone and return while the child is still preparing itself.

    What comes before the clone may be `done` already (`perform_first`). A child that is `held` waits at the plan's
    `AwaitTurn` until it is released. `identity` is the user's where it is known already.
    `references` holds "pause_pid" or "container_pid" where the plan refers to them, and may hold "pause_pidfd",
    "container_pidfd" to save opening one. Steps for the daemon are left to it. Raises LaunchError.
    A caller whose children are all `reaped` whenever they end does not wait for the end of the machine's own process.
    """
    at = _find_clone(steps)
    times = perform(steps, range(at), references) if done is None else done
    clone = steps[at].operation
    assert isinstance(clone, Clone)
    streams = (stdio.stdin, stdio.stdout, stdio.stderr)
    with contextlib.ExitStack() as opened:
        inputs = _open_targets(steps, references, opened)
        before = time.monotonic_ns()
        try:
            facts = _compute_facts(steps, streams, identity)
            inputs |= dict(zip(STREAMS, streams, strict=True))
            program = _compile(clone.name, steps, at + 1, facts)
            pid, pidfd, channel, lookup = _clone(clone, program, inputs, opened, reaped)
        except OSError as failure:
            number, problem = failure.errno or 0, execute.describe(failure)
            if number in (
                errno.EAGAIN,
                errno.ENOMEM,
            ):  # nothing is wrong with the container: try again
                problem = f"{clone.summary()}: {problem}"
                raise failed(steps[at], number, problem, "StartError") from failure
            raise failed(steps[at], number, problem) from failure
        times.append((at, *execute.since(before)))

    def explain(address: int) -> Note | None:
        return compile_steps(steps, at + 1, facts, noted=True).notes.get(address)

    who = lookup or facts.identity
    launching = Launching(pid, pidfd, channel, program, explain, who)
    launching.begin(steps, times, at, {**references, f"{clone.name}_pid": launching.pid}, held)
    return launching


def _compile(name: str, steps: Sequence[Step], first: int, facts: Facts) -> Program:
    if name == REPEATED:
        return compile_again(steps, first, facts)
    rehearsal.remember(name, steps, first, facts)
    return compile_steps(steps, first, facts)


def perform_first(steps: Sequence[Step], references: References) -> list[Time]:
    """Perform the shim's steps before the plan's clone; return when. Raises LaunchError."""
    return perform(steps, range(_find_clone(steps)), references)


def _find_clone(steps: Sequence[Step]) -> int:
    return next(index for index, step in enumerate(steps) if isinstance(step.operation, Clone))


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
        opened[target_input(target)] = int(known)
    return opened


# --- what a program depends on ------------------------------------------------------------------------------------


def _compute_facts(
    steps: Sequence[Step], streams: tuple[int, int, int], identity: Identity | None
) -> Facts:
    user = next(
        (each.operation.user for each in steps if isinstance(each.operation, SetUser)), None
    )
    if user and identity is None:
        identity = _known_identity(user)
    every = any(isinstance(each.operation, MakeDevices) and each.operation.all for each in steps)
    return Facts(
        cgroups=cgroup.this_host(),
        streams=tuple(each >= 0 for each in streams),  # type: ignore[arg-type]
        handed=tuple(_is_handed_over(each, identity) for each in streams),  # type: ignore[arg-type]
        identity=identity,
        bounding=_bounding(),
        ignored=ignored_signals() if _ignored is None else _ignored,
        open_files=open_files,
        devices=tuple(_devices("/dev", "")) if every else (),
    )


def _known_identity(user: User) -> Identity | None:
    """Return a user that is given whole by numbers; None for one that the root's own files tell of."""
    if user.uid is None or user.gid is None or user.merge_image_groups:
        return None
    return Identity(user.uid, user.gid, tuple(sorted({user.gid, *user.supplementary})), "/")


@functools.cache
def _bounding() -> int:
    """Return what this process may have at all: it never gives any of it up."""
    return capabilities.bounding()


def _is_handed_over(descriptor: int, identity: Identity | None) -> bool:
    """Whether a stream is to become the user's: pipes and terminals that are somebody else's."""
    if descriptor < 0:
        return False
    found = os.fstat(descriptor)
    if identity and identity.uid == found.st_uid:
        return False
    pipe = stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)
    return pipe or os.isatty(descriptor)


def _devices(directory: str, below: str) -> Iterator[tuple[str, int, int]]:
    """List the nodes and directories of the host's /dev."""
    for entry in list(os.scandir(directory)):
        if entry.name in _NOT_COPIED:
            continue
        try:
            found = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue  # unplugged just now
        mode, path = found.st_mode, below + entry.name
        if stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            yield path, mode, found.st_rdev
        elif stat.S_ISDIR(mode):
            yield path, mode, 0
            yield from _devices(entry.path, path + "/")


# --- the clone ----------------------------------------------------------------------------------------------------


def _clone(
    clone: Clone,
    program: Program,
    inputs: dict[str, int],
    opened: contextlib.ExitStack,
    reaped: bool,
) -> tuple[int, int, socket.socket, Lookup | None]:
    """Clone a process that performs the program: its pid, pidfd, this side of the channel, and files for a lookup."""
    if prctl(PR_GET_DUMPABLE) != 0:
        prctl(PR_SET_DUMPABLE, 0)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    opened.callback(theirs.close)
    ours.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)  # the kernel tells who says what
    lookup = None
    try:
        given = {"channel": theirs.fileno(), **inputs, "pause": pause.descriptor()}
        if "passwd" in program.inputs:
            lookup = Lookup.open()
            given |= {"passwd": lookup.passwd, "group": lookup.group}
        pid = _execute(clone, program, given, opened, reaped)
        if not pid:
            number = _told_error(ours)
            raise OSError(number, f"clone3: {os.strerror(number)}")
        pidfd = pidfd_open(pid)
    except BaseException:
        ours.close()
        if lookup:
            lookup.close()
        raise
    return pid, pidfd, ours, lookup


def _told_error(channel: socket.socket) -> int:
    """Return the number of the error that the machine has told before it ended."""
    with contextlib.suppress(BlockingIOError):
        return int.from_bytes(channel.recv(FAILED, socket.MSG_DONTWAIT)[8:], "little")
    return errno.EAGAIN


def _execute(
    clone: Clone,
    program: Program,
    given: dict[str, int],
    opened: contextlib.ExitStack,
    reaped: bool,
) -> int:
    """Start the machine, which makes the process, and return the process's pid. Raises OSError."""
    file = os.memfd_create("program", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    opened.callback(os.close, file)
    read, given["birth"] = os.pipe2(os.O_CLOEXEC)
    opened.callback(os.close, read)
    if "program" in program.inputs:  # the machine closes the one that it is given
        given["program"] = os.dup(file)
        opened.callback(os.close, given["program"])
    if "cgroup" in program.inputs:
        path, flags = f"{cgroup.this_host().unified}/{clone.cgroup}", os.O_RDONLY | os.O_DIRECTORY
        given["cgroup"] = os.open(path, flags | os.O_CLOEXEC)
        opened.callback(os.close, given["cgroup"])
    try:
        values = {name: _out_of_the_way(given[name], opened) for name in program.inputs}
        program.write(file, values)
        fcntl.fcntl(
            file, fcntl.F_ADD_SEALS, _ALL_SEALS
        )  # whoever finds a way to it changes nothing
        inherited = {*values.values(), file}
        maker, pidfd = clone_and_execute(machine.descriptor(), [str(file)], [*inherited])
    finally:
        os.close(given["birth"])
    try:
        return _await_birth(read)
    finally:
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        if not reaped:
            os.waitpid(maker, 0)
        os.close(pidfd)


def _await_birth(read: int) -> int:
    """Return the pid that the machine tells; 0 when it has failed. It is beside us, and waits for nobody."""
    poller = select.poll()
    poller.register(read, select.POLLIN)
    if not poller.poll(_BIRTH_MILLISECONDS):
        raise TimeoutError(errno.ETIMEDOUT, "clone3: the kernel makes no process")
    return int.from_bytes(os.read(read, 8), "little")


def _out_of_the_way(descriptor: int, opened: contextlib.ExitStack) -> int:
    """Return a descriptor that no stream of the program's will take the place of."""
    if descriptor >= _LOWEST:
        return descriptor
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, _LOWEST)
    opened.callback(os.close, moved)
    return moved
