"""What a process may do and what it executes, compiled: terminal, directory, user, powers, and the program itself.

The last instructions, from `prepare_program` on, may be made where others can look: a process that is spawned in a PID
namespace of others has given back all that came before, and holds its streams and the channel.
"""

import errno
import os
import signal
import stat
import struct
import termios
from collections.abc import Callable
from typing import Any

from minipod.linux import capabilities
from minipod.linux.kernel import AT_EMPTY_PATH, AT_FDCWD
from minipod.linux.passwd import LARGEST_FILE, Identity
from minipod.linux.process import (
    CLOSE_RANGE_CLOEXEC,
    PR_CAP_AMBIENT,
    PR_CAP_AMBIENT_CLEAR_ALL,
    PR_CAPBSET_DROP,
    PR_SET_DUMPABLE,
    PR_SET_KEEPCAPS,
    PR_SET_NO_NEW_PRIVS,
    SECCOMP_SET_MODE_FILTER,
    capability_data,
    signal_mask,
)
from minipod.runtime.assembly import Cell, Label, Note
from minipod.runtime.child_operations import (
    ChangeDirectory,
    Exec,
    ExecPause,
    LimitCapabilities,
    LoadSeccomp,
    OpenTerminal,
    SetCapabilities,
    SetNoNewPrivileges,
    SetUser,
)
from minipod.runtime.compiling import (
    ALL_DESCRIPTORS,
    FORMAT,
    IN_ROOT,
    LOOKUP,
    MSG_NOSIGNAL,
    TERMINAL,
    Compiling,
)

CHANNEL = 3  # of a spawned program's process: all it has beside its streams
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441  # ioctl_tty(2); not in Python's termios
_CLONE_PARENT, _CLONE_VFORK, _SIGCHLD = 0x8000, 0x4000, 17
_SIG_SETMASK, _RLIMIT_NOFILE = 2, 7
_LOST = (errno.ENOENT, errno.EACCES, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)

# How a user is told: uid, gid, number of groups, "HOME=..." in 4104 bytes, groups of four bytes each.
IDENTITY = struct.Struct("<QQQ4104s")
MOST_GROUPS = 8192  # far more than files of users name; NGROUPS_MAX is 65536
_AWAITED = (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD)  # by the pause


def pack_identity(identity: Identity) -> bytes:
    """Return a user as a program takes it. ValueError when it is too large."""
    home = b"HOME=" + os.fsencode(identity.home) + b"\0"
    if len(home) > 4104 or len(identity.groups) > MOST_GROUPS:
        raise ValueError("the user's home or list of groups is too long")
    head = IDENTITY.pack(identity.uid, identity.gid, len(identity.groups), home)
    return head + struct.pack(f"<{len(identity.groups)}I", *identity.groups)


# --- terminal and directory ---------------------------------------------------------------------------------------


def _open_terminal(operation: OpenTerminal, state: Compiling) -> None:
    """Open a terminal in the container's own devpts, so that ttyname(3) works there, and send its master side out."""
    code, master = state.code, state.scratch()
    root = state.open_root()
    state.openat2(root, "/dev/pts/ptmx", os.O_RDWR | os.O_NOCTTY, IN_ROOT, master)
    code.call("close", root)
    code.call("ioctl", master, _TIOCSPTLCK, code.space(8))
    slave = state.terminal = state.scratch()
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    code.call("ioctl", master, _TIOCGPTPEER, flags, store=slave)
    if not state.spawns:  # else it is the controlling terminal of the spawned process
        code.call("ioctl", slave, termios.TIOCSCTTY, 0)
    if operation.columns or operation.rows:
        size = struct.pack("<4H", operation.rows & 0xFFFF, operation.columns & 0xFFFF, 0, 0)
        code.call("ioctl", slave, termios.TIOCSWINSZ, code.data(size))
    if operation.console:
        _bind_console(state, slave)
    _send_descriptor(state, master)
    code.call("close", master)


def _bind_console(state: Compiling, terminal: Cell) -> None:
    """Make the terminal /dev/console too: the very file that was opened, wherever its name leads by now."""
    code, console, tree, path = state.code, state.scratch(), state.scratch(), "/dev/console"
    flags = os.O_CREAT | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
    note = state.note("openat", path)
    code.call("openat", AT_FDCWD, path, flags, 0o600, store=console, note=note)
    state.open_tree(tree, directory=terminal)
    state.move_mount(tree, console, path)
    code.call("close", tree)
    code.call("close", console)


def _send_descriptor(state: Compiling, descriptor: Cell) -> None:
    """Send a descriptor to the parent (struct msghdr, struct cmsghdr: sendmsg(2), cmsg(3))."""
    code = state.code
    content = code.data(TERMINAL.to_bytes(8, "little"))
    vector = code.data(struct.pack("<QQ", content, 8))
    control = code.data(struct.pack("<QiiQ", 20, 1, 1, 0))  # SOL_SOCKET, SCM_RIGHTS
    code.copy(descriptor.address, Cell(control + 16))
    header = code.data(struct.pack("<QQQQQQQ", 0, 0, vector, 1, control, 24, 0))
    code.call("sendmsg", state.channel, header, MSG_NOSIGNAL)


def _change_directory(operation: ChangeDirectory, state: Compiling) -> None:
    """Enter the working directory. Links through /proc to descriptors are refused (CVE-2024-21626)."""
    code, directory = state.code, state.scratch()
    root = state.open_root()
    state.make_in_root(root, operation.path, directory)
    code.call("fchdir", directory, note=state.note("fchdir", operation.path))
    code.call("close", directory)
    code.call("close", root)


# --- user and powers ----------------------------------------------------------------------------------------------


def _set_user(_operation: SetUser, state: Compiling) -> None:
    code, known = state.code, state.facts.identity
    content = pack_identity(known) if known else bytes(IDENTITY.size + 4 * MOST_GROUPS)
    whom = code.late_data(content)
    if known is None:
        _look_up(state, whom, len(content))
    state.home = whom + 24
    uid, gid, count = Cell(whom), Cell(whom + 8), Cell(whom + 16)
    _hand_over_streams(state, uid)
    code.call("setgroups", count, whom + IDENTITY.size)
    code.call("prctl", PR_SET_KEEPCAPS, 1, 0, 0, 0)
    code.call("setresgid", gid, gid, gid)
    code.call("setresuid", uid, uid, uid)
    code.call("prctl", PR_SET_KEEPCAPS, 0, 0, 0, 0)
    # A change of user may have set it to fs.suid_dumpable.
    code.call("prctl", PR_SET_DUMPABLE, 0, 0, 0, 0)


def _look_up(state: Compiling, whom: int, size: int) -> None:
    """Copy the root's own files of users to the parent, and take its answer: reading them may take for ever."""
    code, opened = state.code, state.scratch()
    root = state.open_root()
    for path, copy in (("/etc/passwd", "passwd"), ("/etc/group", "group")):
        absent = Label()
        flags = os.O_RDONLY | os.O_NONBLOCK
        state.openat2(root, path, flags, IN_ROOT, opened, absent, also=(errno.ENOTDIR,))
        # What is no file (a pipe, say) has nothing to copy: EINVAL.
        note, none = state.note("sendfile", path), (errno.EINVAL,)
        target = code.inputs[copy]
        code.call("sendfile", target, opened, 0, LARGEST_FILE + 1, errors=none, note=note)
        code.call("close", opened)
        code.place(absent)
    code.call("close", root)
    told = code.data(LOOKUP.to_bytes(8, "little"))
    code.call("sendto", state.channel, told, 8, MSG_NOSIGNAL, 0, 0)
    code.call("read", state.channel, whom, size, child=state.end)


def _hand_over_streams(state: Compiling, uid: Cell) -> None:
    """Give pipes and terminals to the user, who could otherwise not open /dev/stdout again (a log file, to nginx)."""
    tolerated = (errno.EINVAL, errno.EPERM, errno.EROFS)
    streams = [state.terminal] if state.terminal else state.handed()
    for each in streams:
        state.code.call("fchown", each, uid, -1, errors=tolerated)


def _limit_capabilities(operation: LimitCapabilities, state: Compiling) -> None:
    code, kept, end = state.code, capabilities.mask(operation.names), Label()
    for number in range(state.facts.bounding.bit_length()):
        if not kept >> number & 1:
            code.call("prctl", PR_CAPBSET_DROP, number, 0, 0, 0, errors=(errno.EINVAL,), goto=end)
    code.place(end)


def _set_capabilities(operation: SetCapabilities, state: Compiling) -> None:
    kept = capabilities.mask(operation.names) & state.facts.bounding
    state.code.call("prctl", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header, data = capability_data(kept, kept, 0)
    state.code.call("capset", state.code.data(header), state.code.data(data))


def _set_no_new_privileges(_operation: SetNoNewPrivileges, state: Compiling) -> None:
    state.code.call("prctl", PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def _load_seccomp(operation: LoadSeccomp, state: Compiling) -> None:
    """Load the filter. It need not allow what comes before the program, where it comes last."""
    code = state.code
    state.stamp(code.step)
    if state.steps[code.step + 1].operation is state.program:
        prepare_program(state)
        if not state.spawns:
            state.send_ready()
    given = code.data(operation.program)
    header = code.data(struct.pack("<H6xQ", len(operation.program) // 8, given))
    code.call("seccomp", SECCOMP_SET_MODE_FILTER, 0, header)
    state.sealed = True


# --- the program --------------------------------------------------------------------------------------------------


def prepare_program(state: Compiling) -> None:
    """Arrange streams, signals and limits; hold nothing else any more."""
    if state.prepared:
        return
    state.prepared = True
    if isinstance(state.program, ExecPause):
        _reset(state)
        return
    code = state.code
    if state.spawns:
        code.late()
        code.forget_early()
    given = [state.terminal] * 3 if state.terminal else state.streams()
    for number, source in enumerate(given):
        _place_stream(state, number, source)
    if state.spawns:
        code.call("dup3", state.channel, CHANNEL, os.O_CLOEXEC, store=state.channel)
        code.call("close_range", CHANNEL + 1, ALL_DESCRIPTORS, 0)
    else:
        code.call("close_range", 3, ALL_DESCRIPTORS, CLOSE_RANGE_CLOEXEC)
    _reset(state)


def _place_stream(state: Compiling, number: int, source: Cell | None) -> None:
    """Put a stream in its place. A missing one is the container's own /dev/null, never the host's."""
    code = state.code
    if source is None:
        source, path = state.scratch(), "/dev/null"
        flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
        note = state.note("openat", path)
        code.call("openat", AT_FDCWD, path, flags, store=source, note=note)
    code.call("dup3", source, number, 0)


def _reset(state: Compiling) -> None:
    """Put signals and limits back as a program expects them."""
    code, default = state.code, state.code.space(32)  # struct sigaction: handler SIG_DFL
    for number in state.facts.ignored:
        code.call("rt_sigaction", number, default, 0, 8)
    if state.facts.open_files:
        limit = code.data(struct.pack("<QQ", *state.facts.open_files))
        code.call("prlimit64", 0, _RLIMIT_NOFILE, limit, 0)


def _set_mask(state: Compiling, mask: bytes) -> None:
    state.code.call("rt_sigprocmask", _SIG_SETMASK, state.code.data(mask), 0, 8)


def _exec_pause(_operation: ExecPause, state: Compiling) -> None:
    code = state.code
    if not state.prepared:
        prepare_program(state)
        state.send_ready()
    # Blocked already, as the program will have them: as PID 1 it would lose a signal that comes before it is ready.
    _set_mask(state, signal_mask(*_AWAITED))
    for descriptor in (0, 1, 2):  # it has nothing to read and nothing to say
        code.call("close", descriptor, errors=(errno.EBADF,))
    arguments = code.data(struct.pack("<QQ", code.text("/pause"), 0))
    empty = code.space(8)
    code.call("execveat", code.inputs["pause"], "", arguments, empty, AT_EMPTY_PATH)


def _exec(operation: Exec, state: Compiling) -> None:
    code = state.code
    filtered = state.sealed and state.prepared
    prepare_program(state)
    arguments = _strings(state, operation.args)
    environment = _environment(operation, state)
    if state.spawns:
        _spawn(state)
    elif not filtered:
        state.stamp(code.step)
        state.send_ready()
    _set_mask(state, bytes(8))
    _try_all(operation, state, arguments, environment)


def _spawn(state: Compiling) -> None:
    """Go on as a child in the PID namespace that was joined; the one that stays outside tells its pid, and ends."""
    code, inside = state.code, Label()
    flags = _CLONE_PARENT | _CLONE_VFORK | _SIGCHLD
    note = Note(code.step, "clone", None, f"{_said(state)}: clone: {{error}}", None, "StartError")
    code.call("clone", flags, 0, 0, 0, 0, store=state.pid, child=inside, note=note)
    state.stamp(code.step)
    state.send_ready()
    code.call("exit_group", 0)
    code.place(inside)
    code.call("setsid")
    if state.terminal:
        code.call("ioctl", 0, termios.TIOCSCTTY, 0)


def _said(state: Compiling) -> str:
    operation = state.program
    assert isinstance(operation, Exec)
    return f'exec: "{operation.args[0] if operation.args else ""}"'


def _strings(state: Compiling, texts: tuple[str, ...]) -> int:
    """Place an array of strings that a null pointer ends."""
    pointers = [state.code.text(each) for each in texts]
    return state.code.data(struct.pack(f"<{len(pointers) + 1}Q", *pointers, 0))


def _environment(operation: Exec, state: Compiling) -> int:
    """Place the environment, the last value of a name winning; HOME is the user's unless it is given."""
    values = dict(item.partition("=")[::2] for item in operation.env)
    pointers = [state.code.text(f"{name}={value}") for name, value in values.items()]
    if "HOME" not in values and state.home:
        pointers.append(state.home)
    return state.code.data(struct.pack(f"<{len(pointers) + 1}Q", *pointers, 0))


def _try_all(operation: Exec, state: Compiling, arguments: int, environment: int) -> None:
    """Execute the program, or the first of its name in PATH that can be; say why not in the words of other runtimes."""
    program, given = operation.args[0] if operation.args else "", (arguments, environment)
    if not program:
        _refuse(state, errno.ENOENT, "no command specified")
    elif "/" not in program:
        _search(operation, state, given)
    else:
        directory = Label()
        _try(state, program, given, _LOST)
        sentence = f"{_said(state)}: stat {program}: {{error}}"
        absent = Note(state.code.step, "", None, sentence, None, "StartError")
        state.statx(AT_FDCWD, program, note=absent)
        state.code.jump_if(state.mode, FORMAT, stat.S_IFDIR, directory)
        _try(state, program, given)
        state.code.place(directory)
        _refuse(state, errno.EACCES, f"{_said(state)}: is a directory")


def _search(operation: Exec, state: Compiling, given: tuple[int, int]) -> None:
    """Try one directory of PATH after the other; when none will do, look for the first that has the program."""
    code = state.code
    search = next((each[5:] for each in reversed(operation.env) if each.startswith("PATH=")), "")
    paths = [os.path.join(each or ".", operation.args[0]) for each in search.split(":")]
    for path in paths:
        _try(state, path, given, _LOST)
    for path in paths:
        following = Label()
        state.statx(AT_FDCWD, path, errors=_LOST, goto=following)
        _try(state, path, given)
        code.place(following)
    _refuse(state, errno.ENOENT, f"{_said(state)}: executable file not found in $PATH")


def _try(state: Compiling, path: str, given: tuple[int, int], errors: tuple[int, ...] = ()) -> None:
    operation = state.program
    assert isinstance(operation, Exec)
    note = Note(state.code.step, "execve", operation.args[0], reason="StartError")
    state.code.call("execve", path, *given, errors=errors, note=note)


def _refuse(state: Compiling, number: int, sentence: str) -> None:
    state.code.fail(Note(state.code.step, "", None, sentence, number, "StartError"))


def explain_exec(program: str, number: int) -> str:
    """Return why execve(2) has failed, in the words of other runtimes."""
    detail = os.strerror(number).lower()
    if number == errno.ENOENT:  # it is there: what it asks for to run it is not
        detail = "no such file or directory (its interpreter or loader is missing)"
    return f'exec: "{program}": {detail}'


PROGRAMS: dict[type, Callable[[Any, Compiling], None]] = {
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
