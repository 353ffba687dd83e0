"""The child's side of a launch: from clone to exec, this process performs its steps on itself and never returns.

It runs with the parent's memory as it was, alone in its namespaces, without garbage collection. Whatever goes wrong is
told over the channel and ends the process; nothing is ever printed, for the streams belong to the container.
"""

import array
import errno
import fcntl
import gc
import json
import os
import resource
import signal
import socket
import stat
import termios
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from minipod.linux import capabilities, files, passwd
from minipod.linux.mount import move_mount, open_tree
from minipod.linux.process import (
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    capset,
    close_range_on_exec,
    join_session_keyring,
    namespace_flags,
    prctl,
    reset_signals,
    seccomp_set_mode_filter,
    set_signal_mask,
    sethostname,
    setns,
    signal_mask,
    unshare,
)
from minipod.runtime import spawn
from minipod.runtime.execute import since
from minipod.runtime.launch_mounts import MOUNT_ACTIONS
from minipod.runtime.operations import (
    AwaitTurn,
    ChangeDirectory,
    EnterCgroup,
    Exec,
    ExecPause,
    JoinNamespaces,
    LimitCapabilities,
    LoadSeccomp,
    NewSession,
    OpenTerminal,
    SetCapabilities,
    SetHostname,
    SetNoNewPrivileges,
    SetOomScoreAdj,
    SetUser,
    Step,
    Unshare,
    WriteSysctl,
)
from minipod.runtime.spec import User

_LONGEST = 4096  # characters of a failure's description
_TIOCSPTLCK, _TIOCGPTN = 0x40045431, 0x80045430  # ioctl_tty(2); not in Python's termios


TERMINAL = b"\n"  # the message that the terminal's master side comes with

open_files: tuple[int, int] | None = None  # RLIMIT_NOFILE of programs; None: as this process has it


@dataclass
class Child:
    """What the child knows when it begins, and what its steps hand on to later ones."""

    steps: Sequence[Step]
    first: int  # index of the step after the clone
    stdio: tuple[int, int, int]
    targets: dict[str, int]  # reference -> pidfd
    program: int = -1  # descriptor of the program of ours to execute: the pause, or the spawn
    trees: dict[str, int] = field(default_factory=dict)  # name -> detached mount
    proc_device: int = -1
    home: str = "/"
    terminal: int = -1  # this side of the container's terminal
    channel: socket.socket | None = None
    times: list[tuple[int, int, int]] = field(default_factory=list)


class StartFailed(Exception):
    """The program itself cannot be executed."""

    def __init__(self, number: int, message: str) -> None:
        super().__init__(message)
        self.errno = number


def run(child: Child, channel: socket.socket) -> NoReturn:
    """Perform the child's steps and execute its program; on failure tell the parent and exit."""
    gc.disable()
    index = child.first
    try:
        child.channel = channel
        _close_others(child)
        for index in range(child.first, len(child.steps)):
            step = child.steps[index]
            if step.where == "shim":
                _await_parent(channel)
            elif step.where == "child":
                before = time.monotonic_ns()
                _ACTIONS[type(step.operation)](step.operation, child)
                child.times.append((index, *since(before)))
    except StartFailed as failure:
        _report(channel, index, failure.errno, str(failure), "StartError")
    except OSError as failure:
        where = f' "{failure.filename}"' if failure.filename else ""
        _report(channel, index, failure.errno or 0, f"{failure.strerror or failure}{where}", "")
    except BaseException as failure:  # noqa: BLE001  (a child must never return into the parent's code)
        _report(channel, index, 0, str(failure) or type(failure).__name__, "")
    finally:
        os._exit(127)


def _report(channel: socket.socket, step: int, number: int, message: str, reason: str) -> None:
    report = {"step": step, "errno": number, "message": message[:_LONGEST], "reason": reason}
    channel.send(json.dumps(report).encode())


def _await_parent(channel: socket.socket) -> None:
    """Wait until the parent has done the step of its own that the plan has here."""
    if not channel.recv(1):
        os._exit(127)  # the parent is gone or has given up


def _close_others(child: Child) -> None:
    """Close every descriptor that is none of this child's: nothing of the host must be reachable from in here."""
    assert child.channel is not None
    kept = {0, 1, 2, child.channel.fileno(), child.program, *child.stdio, *child.targets.values()}
    last = -1
    for descriptor in sorted(kept - {-1}):
        if descriptor > last + 1:  # closerange takes an empty range starting at 0 for everything
            os.closerange(last + 1, descriptor)
        last = descriptor
    os.closerange(last + 1, 0x7FFFFFFF)


def _await_turn(_operation: AwaitTurn, child: Child) -> None:
    assert child.channel is not None
    _await_parent(child.channel)


# --- namespaces and sessions --------------------------------------------------------------------------------------


def _join_namespaces(operation: JoinNamespaces, child: Child) -> None:
    setns(child.targets[operation.target], namespace_flags(operation.namespaces))


def _unshare(operation: Unshare, _: Child) -> None:
    unshare(namespace_flags(operation.namespaces))


def _new_session(_operation: NewSession, _: Child) -> None:
    os.setsid()
    try:
        join_session_keyring()
    except OSError as failure:
        if failure.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def _set_hostname(operation: SetHostname, _: Child) -> None:
    sethostname(operation.name)


def _write(path: str, content: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(descriptor, content.encode())
    except OSError as failure:
        raise OSError(failure.errno, failure.strerror, path) from None
    finally:
        os.close(descriptor)


def _write_sysctl(operation: WriteSysctl, _: Child) -> None:
    _write("/proc/sys/" + operation.name.replace(".", "/"), operation.value)


def _set_oom_score_adj(operation: SetOomScoreAdj, _: Child) -> None:
    try:
        _write("/proc/self/oom_score_adj", str(operation.value))
    except PermissionError:
        # Lowering it needs CAP_SYS_RESOURCE, which a minipod inside a container may not have: the score is a hint.
        if operation.value >= 0:
            raise


def _enter_cgroup(operation: EnterCgroup, _: Child) -> None:
    from minipod.linux import cgroup

    cgroup.enter_v1(cgroup.this_host(), operation.path, 0)


# --- streams ------------------------------------------------------------------------------------------------------


def _open_terminal(operation: OpenTerminal, child: Child) -> None:
    """Open a terminal in the container's own devpts, so that ttyname(3) works there, and send its master side out."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    master = files.open_in_root(root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY)
    fcntl.ioctl(master, _TIOCSPTLCK, array.array("i", [0]))
    number = array.array("i", [0])
    fcntl.ioctl(master, _TIOCGPTN, number)
    path = f"/dev/pts/{number[0]}"
    slave = files.open_in_root(root, path, os.O_RDWR | os.O_NOCTTY)
    os.close(root)
    if not _spawns(child):  # else it is the controlling terminal of the spawned process
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
    if operation.columns or operation.rows:
        size = array.array("H", [operation.rows & 0xFFFF, operation.columns & 0xFFFF, 0, 0])
        fcntl.ioctl(slave, termios.TIOCSWINSZ, size)
    if operation.console:
        _bind_console(slave)
    assert child.channel is not None
    socket.send_fds(child.channel, [TERMINAL], [master])
    os.close(master)
    child.terminal = slave


def _bind_console(terminal: int) -> None:
    """Make the terminal /dev/console too: the very file that was opened, wherever its name leads by now."""
    console = os.open(
        "/dev/console", os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600
    )
    tree = open_tree("", directory=terminal)
    move_mount(tree, console, "/dev/console")
    os.close(tree)
    os.close(console)


def _arrange_streams(child: Child) -> None:
    """Put the streams at 0, 1 and 2. A missing one is the container's own /dev/null, never the host's."""
    wanted = (child.terminal,) * 3 if child.terminal >= 0 else child.stdio
    safe = [fcntl.fcntl(each, fcntl.F_DUPFD_CLOEXEC, 3) if each >= 0 else -1 for each in wanted]
    for number, descriptor in enumerate(safe):
        if descriptor < 0:
            descriptor = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
        os.dup2(descriptor, number)
    close_range_on_exec(3)


def _hand_over_streams(uid: int, wanted: tuple[int, ...]) -> None:
    """Give pipes and terminals to the user, who could otherwise not open /dev/stdout again (a log file, to nginx)."""
    for descriptor in set(wanted):
        if descriptor < 0:
            continue
        found = os.fstat(descriptor)
        pipe = stat.S_ISFIFO(found.st_mode) or stat.S_ISSOCK(found.st_mode)
        if found.st_uid != uid and (pipe or os.isatty(descriptor)):
            try:
                os.fchown(descriptor, uid, -1)
            except OSError as failure:
                if failure.errno not in (errno.EINVAL, errno.EPERM, errno.EROFS):
                    raise


# --- powers -------------------------------------------------------------------------------------------------------


def _change_directory(operation: ChangeDirectory, _: Child) -> None:
    """Enter the working directory. Links through /proc to descriptors are refused (CVE-2024-21626)."""
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    directory = files.make_in_root(root, operation.path, directory=True)
    os.fchdir(directory)
    os.close(directory)
    os.close(root)


def _limit_capabilities(operation: LimitCapabilities, _: Child) -> None:
    capabilities.drop_bounding_except(capabilities.mask(operation.names))


def _set_user(operation: SetUser, child: Child) -> None:
    identity = _identity(operation.user)
    child.home = identity.home
    streams = (child.terminal,) if child.terminal >= 0 else child.stdio
    _hand_over_streams(identity.uid, streams)
    os.setgroups(identity.groups)
    prctl(PR_SET_KEEPCAPS, 1)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)
    prctl(PR_SET_KEEPCAPS, 0)
    prctl(PR_SET_DUMPABLE, 0)  # a change of user may have set it to fs.suid_dumpable


def _identity(user: User) -> passwd.Identity:
    """Resolve the user in this root's files; a user given whole by numbers needs none."""
    if user.uid is not None and user.gid is not None and not user.merge_image_groups:
        groups = tuple(sorted({user.gid, *user.supplementary}))
        return passwd.Identity(user.uid, user.gid, groups, "/")
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    texts = passwd.read_in_root(root, "/etc/passwd"), passwd.read_in_root(root, "/etc/group")
    os.close(root)
    name = user.name if user.uid is None else str(user.uid)
    found = passwd.resolve(name, *texts, merge_groups=user.merge_image_groups)
    gid = found.gid if user.gid is None else user.gid
    groups = tuple(sorted({gid, *found.groups, *user.supplementary}))
    uid = found.uid if user.uid is None else user.uid  # never what the image's files say of it
    return passwd.Identity(uid, gid, groups, found.home)


def _set_capabilities(operation: SetCapabilities, _: Child) -> None:
    kept = capabilities.mask(operation.names) & capabilities.bounding()
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    capset(kept, kept, 0)


def _set_no_new_privileges(_operation: SetNoNewPrivileges, _: Child) -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def _load_seccomp(operation: LoadSeccomp, _: Child) -> None:
    seccomp_set_mode_filter(operation.program)


# --- the program --------------------------------------------------------------------------------------------------


def _before_exec(child: Child) -> None:
    """Put signals back as a program expects them, and tell the parent how long everything took."""
    reset_signals()
    if open_files:
        resource.setrlimit(resource.RLIMIT_NOFILE, open_files)
    assert child.channel is not None
    child.channel.send(json.dumps({"times": child.times}).encode())


def _exec_pause(_operation: ExecPause, child: Child) -> NoReturn:
    _before_exec(child)
    # Blocked already, as the program will have them: as PID 1 it would lose a signal that comes before it is ready.
    awaited = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)
    set_signal_mask(signal_mask(*awaited))
    for descriptor in (0, 1, 2):  # it has nothing to read and nothing to say
        os.close(descriptor)
    os.execve(child.program, ["/pause"], {})


def _exec(operation: Exec, child: Child) -> NoReturn:
    environment = dict(item.partition("=")[::2] for item in operation.env)
    environment.setdefault("HOME", child.home)
    program = operation.args[0]
    _arrange_streams(child)
    path = _find_program(program, environment.get("PATH", ""))
    if operation.spawn:
        _exec_spawn(operation, child, path, environment)
    _before_exec(child)
    set_signal_mask(signal_mask())
    try:
        os.execve(path, operation.args, environment)
    except OSError as failure:
        number = failure.errno or 0
        raise StartFailed(number, explain_exec(program, number)) from None


def explain_exec(program: str, number: int) -> str:
    """Return why execve(2) has failed, in the words of other runtimes."""
    detail = os.strerror(number).lower()
    if number == errno.ENOENT:  # it is there: what it asks for to run it is not
        detail = "no such file or directory (its interpreter or loader is missing)"
    return f'exec: "{program}": {detail}'


def _exec_spawn(operation: Exec, child: Child, path: str, environment: dict[str, str]) -> NoReturn:
    """Execute the spawn, which has nothing of this process but the streams and, as its parent, the channel."""
    assert child.channel is not None
    ours = fcntl.fcntl(child.program, fcntl.F_DUPFD_CLOEXEC, spawn.CHANNEL + 1)
    _before_exec(child)
    if child.channel.fileno() == spawn.CHANNEL:
        child.channel.set_inheritable(True)
    else:
        os.dup2(child.channel.fileno(), spawn.CHANNEL)
    set_signal_mask(signal_mask())
    arguments = spawn.arguments(path, operation.args, terminal=child.terminal >= 0)
    os.execve(ours, arguments, environment)


def _spawns(child: Child) -> bool:
    last = child.steps[-1].operation
    return isinstance(last, Exec) and last.spawn


def _find_program(program: str, search: str) -> str:
    """Return the path to execute, in the words of other runtimes when there is none."""
    if not program:
        raise StartFailed(errno.ENOENT, "no command specified")
    if "/" in program:
        return _check_program(program, program)
    denied = False
    for directory in search.split(":"):
        path = os.path.join(directory or ".", program)
        try:
            return _check_program(path, program)
        except StartFailed as failure:
            denied = denied or failure.errno == errno.EACCES
    if denied:
        raise StartFailed(errno.EACCES, f'exec: "{program}": permission denied')
    raise StartFailed(errno.ENOENT, f'exec: "{program}": executable file not found in $PATH')


def _check_program(path: str, program: str) -> str:
    try:
        mode = os.stat(path).st_mode
    except OSError as failure:
        detail = os.strerror(failure.errno or 0).lower()
        message = f'exec: "{program}": stat {path}: {detail}'
        raise StartFailed(failure.errno or 0, message) from None
    if stat.S_ISDIR(mode):
        raise StartFailed(errno.EACCES, f'exec: "{program}": is a directory')
    if not os.access(path, os.X_OK, effective_ids=True):
        raise StartFailed(errno.EACCES, f'exec: "{program}": permission denied')
    return path


_ACTIONS: dict[type, Callable[[Any, Child], None]] = {
    **MOUNT_ACTIONS,
    AwaitTurn: _await_turn,
    JoinNamespaces: _join_namespaces,
    Unshare: _unshare,
    NewSession: _new_session,
    SetHostname: _set_hostname,
    WriteSysctl: _write_sysctl,
    SetOomScoreAdj: _set_oom_score_adj,
    EnterCgroup: _enter_cgroup,
    OpenTerminal: _open_terminal,
    ChangeDirectory: _change_directory,
    LimitCapabilities: _limit_capabilities,
    SetUser: _set_user,
    SetCapabilities: _set_capabilities,
    SetNoNewPrivileges: _set_no_new_privileges,
    LoadSeccomp: _load_seccomp,
    ExecPause: _exec_pause,
    Exec: _exec,
}
