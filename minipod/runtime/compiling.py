"""What the functions that compile a plan share: the program so far, what is known of the host, and common sequences."""

import errno
import os
import stat
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field

from minipod.linux.cgroup import CgroupLayout
from minipod.linux.files import RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS
from minipod.linux.kernel import AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW
from minipod.linux.mount import (
    AT_RECURSIVE,
    MOVE_MOUNT_F_EMPTY_PATH,
    MOVE_MOUNT_T_EMPTY_PATH,
    OPEN_TREE_CLONE,
)
from minipod.linux.passwd import Identity
from minipod.linux.process import (
    CLONE_INTO_CGROUP,
    CLONE_PARENT,
    clone_arguments,
    namespace_flags,
)
from minipod.runtime.assembly import FAILED, Assembler, Cell, Label, Note, Part
from minipod.runtime.child_operations import Clone, Exec, ExecPause
from minipod.runtime.machine import PROGRAM
from minipod.runtime.operations import Step

ALL_DESCRIPTORS = 0xFFFFFFFF
MSG_NOSIGNAL = 0x4000
IN_ROOT = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
BENEATH = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS
PATH = os.O_PATH | os.O_CLOEXEC
HOW_BYTES = 24  # sizeof(struct open_how)
ANY_ERROR = range(64)  # as a mask: no number is without its bit

STREAMS = ("stdin", "stdout", "stderr")

# struct statx (statx(2)): offsets, the same on every machine
_STATX_BYTES = 256
_MODE, _DEVICE_NODE, _DEVICE = 28, 128, 136
_STATX_BASIC = 0x7FF
FORMAT = 0xF000  # of a mode: what kind of file it is (inode(7))

# What the program tells: a failure in FAILED bytes, all else begins with one of these.
READY = 1  # then the pid of a spawned program (or 0), and when each step was over
LOOKUP = 2  # the user's files are copied
TERMINAL = 3  # with the terminal's master side
READY_HEAD = struct.Struct("<QQ")
STAMP = struct.Struct("<qq")  # struct timespec


@dataclass(frozen=True)
class Facts:
    """What a program depends on beyond its plan."""

    cgroups: CgroupLayout
    streams: tuple[bool, bool, bool] = (
        False,
        False,
        False,
    )  # which the program is given; else /dev/null
    handed: tuple[bool, bool, bool] = (
        False,
        False,
        False,
    )  # which of them are to become the user's
    identity: Identity | None = (
        None  # the user's, where it need not be looked up in the root's files
    )
    bounding: int = (1 << 41) - 1  # capabilities that this process may have at all
    ignored: tuple[int, ...] = ()  # signals that this process ignores
    open_files: tuple[int, int] | None = (
        None  # RLIMIT_NOFILE of programs; None: as this process has it
    )
    devices: tuple[tuple[str, int, int], ...] = ()  # the host's /dev: path in it, mode, number


def target_input(target: str) -> str:
    """Return the input that is a pidfd of the process a step refers to ("$pause_pid")."""
    return target.removeprefix("$")


def program_of(steps: Sequence[Step]) -> Exec | ExecPause:
    """Return the step that a process ends with: its program. ValueError for a plan without one."""
    last = [step.operation for step in steps if step.where == "child"][-1:]
    if not last or not isinstance(last[0], Exec | ExecPause):
        raise ValueError("the plan ends without a program")
    return last[0]


def spawns(steps: Sequence[Step]) -> bool:
    """Whether the plan's program becomes a child of the process, in the PID namespace that it has joined."""
    program = program_of(steps)
    return isinstance(program, Exec) and program.spawn


@dataclass
class Compiling:
    """A plan that is being compiled."""

    code: Assembler
    facts: Facts
    steps: Sequence[Step]
    trees: dict[str, Cell] = field(default_factory=dict)  # detached mounts, by name
    end: Label = field(default_factory=Label)  # end without a word
    terminal: Cell | None = None  # the container's side
    stamps: list[int] = field(
        default_factory=list
    )  # the step (-1: the begin) that each time is the end of
    sealed: bool = False  # a filter may refuse calls: none is made that is not needed
    prepared: bool = False  # streams, signals and limits are as the program will have them
    home: int = 0  # where "HOME=..." of the user is

    def __post_init__(self) -> None:
        self.program = program_of(self.steps)
        self.spawns = spawns(self.steps)
        self.channel = self.code.inputs["channel"]
        self.proc_device = self.code.cell(-1)  # of the /proc mounted in the new root
        # Parts that many programs have in common know where these are: nothing of varying length comes before.
        self.found = self.code.space(_STATX_BYTES)
        self._ready = self.code.space(READY_HEAD.size + STAMP.size * (len(self.steps) + 1))
        self._hows: dict[tuple[int, int], int] = {}
        self._outside_hows = self._hows
        self._sources: list[Cell] | None = None  # of the part that is being compiled

    @property
    def pid(self) -> Cell:
        """Where the pid of a spawned program is told from."""
        return Cell(self._ready + 8)

    def streams(self) -> list[Cell | None]:
        """Return the standard streams that the program is given; None for /dev/null."""
        return [self.code.inputs.get(name) for name in STREAMS]

    def handed(self) -> list[Cell]:
        """Return the streams that are to become the user's."""
        named = zip(STREAMS, self.facts.handed, strict=True)
        return [self.code.inputs[name] for name, handed in named if handed]

    def scratch(self) -> Cell:
        """Return a cell for a descriptor."""
        return self.code.cell()

    def note(self, call: str, path: str | None = None) -> Note | None:
        """Return what to say when a call fails; None where nobody wants to know."""
        return Note(self.code.step, call, path) if self.code.noted else None

    def fail(self, number: int, sentence: str, path: str | None = None) -> None:
        """End, and say this."""
        self.code.fail(Note(self.code.step, "", path, sentence, number))

    def place_failure(self) -> None:
        """Put here what is done after a failed call: tell it, and end."""
        code, on = self.code, Label()
        code.jump(on)
        code.on_failure()
        code.call("sendto", self.channel, PROGRAM, FAILED, MSG_NOSIGNAL, 0, 0, errors=ANY_ERROR)
        code.place(self.end)
        code.call("exit_group", 127)
        code.place(on)

    def place_birth(self, at: int) -> None:
        """Make the process itself, in its namespaces and cgroup: a child of whoever started the machine.

        The machine was started where its parent is, and waits for nothing that is born in a Pod: it tells the pid, and
        ends.
        """
        code, born = self.code, Label()
        clone = self.steps[at].operation
        assert isinstance(clone, Clone)
        flags = namespace_flags(clone.namespaces) | CLONE_PARENT
        into = code.inputs.get("cgroup")
        arguments = code.data(clone_arguments(flags | (CLONE_INTO_CGROUP if into else 0)))
        if into:
            code.copy(into.address, Cell(arguments + 80))
        pid = self.scratch()
        code.call("clone3", arguments, 88, store=pid, child=born)
        code.call("write", code.inputs["birth"], pid.address, 8)
        code.call("exit_group", 0)
        code.place(born)
        code.call("close", code.inputs["birth"])

    def stamp(self, step: int) -> None:
        """Note when a step is over."""
        if self.sealed:
            return
        place = self._ready + READY_HEAD.size + STAMP.size * len(self.stamps)
        self.stamps.append(step)
        clock_monotonic = 1
        self.code.call("clock_gettime", clock_monotonic, place)

    def send_ready(self) -> None:
        """Tell the parent that all is done but the last. It may have given up: then this is the end."""
        size = READY_HEAD.size + STAMP.size * len(self.stamps)
        self.code.copy(self.code.data(READY.to_bytes(8, "little")), Cell(self._ready))
        self.code.call("sendto", self.channel, self._ready, size, MSG_NOSIGNAL, 0, 0)

    def begin_part(self, number: int) -> None:
        """Compile what follows for a place of its own (`Assembler.begin_part`)."""
        self.code.begin_part(number)
        self._outside_hows, self._hows, self._sources = self._hows, {}, []

    def end_part(self) -> tuple[Part, tuple[Cell, ...]]:
        """Return what has been compiled since `begin_part`, and where each of its `source`s is to be pointed to.

        TooLargeError when it does not fit.
        """
        assert self._sources is not None
        return self.code.end_part(), tuple(self._sources)

    def drop_part(self) -> None:
        """Go on where `begin_part` was called."""
        self._hows, self._sources = self._outside_hows, None
        self.code.drop_part()

    def source(self, path: str) -> str | Cell:
        """Return a path of the host's as the argument of a call: in a part a cell, for it differs between programs."""
        if self._sources is None:
            return path
        self._sources.append(self.code.cell())
        return self._sources[-1]

    # --- files ----------------------------------------------------------------------------------------------------

    def try_to_open(self, root: Cell, path: str, store: Cell, otherwise: Label) -> None:
        """Open a directory inside `root` (O_PATH); whatever the error, go on `otherwise`."""
        arguments = root, path, self._how(os.O_PATH | os.O_DIRECTORY, IN_ROOT), HOW_BYTES
        self.code.call("openat2", *arguments, store=store, errors=ANY_ERROR, goto=otherwise)

    def _how(self, flags: int, resolve: int) -> int:
        """Return where the rules of resolution are (struct open_how, openat2(2))."""
        key = flags | os.O_CLOEXEC, resolve
        if key not in self._hows:
            self._hows[key] = self.code.data(struct.pack("<3Q", key[0], 0, resolve))
        return self._hows[key]

    def openat2(
        self,
        directory: Cell | int,
        path: str,
        flags: int,
        resolve: int,
        store: Cell,
        missing: Label | None = None,
        also: tuple[int, ...] = (),
    ) -> None:
        """Open under rules of resolution; go on at `missing` if nothing is there, or for `also` other errors."""
        code = self.code
        arguments = directory, path, self._how(flags, resolve), HOW_BYTES
        note = self.note("openat2", path)
        again, other, opened = Label(), Label(), Label()
        code.place(again)
        errors = (errno.EAGAIN, *((errno.ENOENT, *also) if missing else ()))
        code.call("openat2", *arguments, store=store, errors=errors, goto=other, note=note)
        code.jump(opened)
        code.place(other)
        if missing:
            code.jump_if(store, -1, -errno.EAGAIN, again)
            code.jump(missing)
        else:
            code.jump(again)  # a rename raced with "..": the kernel asks to try again
        code.place(opened)

    def make_in_root(
        self, root: Cell | int, path: str, store: Cell, *, directory: bool | Cell = True
    ) -> None:
        """Open `path` inside `root` (O_PATH), making it and its parents where missing.

        `directory` tells what to make at the end: a directory, or an empty file; or a cell that holds S_IFDIR or not.
        """
        code, missing, found, holder = self.code, Label(), Label(), self.scratch()
        self.openat2(root, path, os.O_PATH, IN_ROOT, store, missing)
        code.jump(found)
        code.place(missing)
        parts = [part for part in path.split("/") if part not in ("", ".")]
        for end, part in enumerate(parts):
            parent = "/".join(parts[:end]) or "."
            self.openat2(root, parent, os.O_PATH | os.O_DIRECTORY, IN_ROOT, holder)
            self._make_entry(holder, part, True if end < len(parts) - 1 else directory)
            code.call("close", holder)
        self.openat2(root, path, os.O_PATH, IN_ROOT, store)
        code.place(found)

    def _make_entry(self, holder: Cell, name: str, directory: bool | Cell) -> None:
        """Make a directory or an empty file when nothing is there. A dangling link stays, and fails later."""
        code, file, done, there = self.code, Label(), Label(), (errno.EEXIST,)
        if isinstance(directory, Cell):
            as_directory = Label()
            code.jump_if(directory, FORMAT, stat.S_IFDIR, as_directory)
            code.jump(file)
            code.place(as_directory)
        if directory:
            note = self.note("mkdirat", name)
            code.call("mkdirat", holder, name, 0o755, errors=there, goto=done, note=note)
            code.jump(done)
        code.place(file)
        if directory is not True:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            made, note = self.scratch(), self.note("openat", name)
            arguments = holder, name, flags, 0o644
            code.call("openat", *arguments, store=made, errors=there, goto=done, note=note)
            code.call("close", made)
        code.place(done)

    def statx(
        self,
        directory: Cell | int,
        name: str = "",
        *,
        errors: Sequence[int] = (),
        goto: Label | None = None,
        note: Note | None = None,
    ) -> None:
        """Look at a file (not through a link at its end unless it is a path of its own); see `mode`, `device`."""
        flags = AT_SYMLINK_NOFOLLOW | (0 if name else AT_EMPTY_PATH)
        if directory == AT_FDCWD:
            flags = 0
        arguments = directory, name, flags, _STATX_BASIC, self.found
        self.code.call(
            "statx",
            *arguments,
            errors=errors,
            goto=goto,
            note=note or self.note("statx", name or None),
        )

    @property
    def mode(self) -> int:
        """Where the last `statx` has put the mode."""
        return self.found + _MODE

    @property
    def node(self) -> int:
        """Where the last `statx` has put the number of a device node."""
        return self.found + _DEVICE_NODE

    @property
    def device(self) -> int:
        """Where the last `statx` has put the filesystem's number."""
        return self.found + _DEVICE

    def refuse_inside_proc(self, target: Cell, path: str) -> None:
        """What /proc says must be true: nothing is mounted inside it (CVE-2019-16884)."""
        inside, outside = Label(), Label()
        self.statx(target)
        self.code.jump_if(self.device, -1, self.proc_device, inside)
        self.code.jump(outside)
        self.code.place(inside)
        self.fail(errno.EPERM, "nothing may be mounted inside /proc", path)
        self.code.place(outside)

    def open_root(self, path: str = "/") -> Cell:
        """Open the directory that paths are resolved in."""
        root = self.scratch()
        arguments = AT_FDCWD, path, PATH | os.O_DIRECTORY
        self.code.call("openat", *arguments, store=root, note=self.note("openat", path))
        return root

    def move_mount(self, tree: Cell, target: Cell, path: str) -> None:
        """Attach a detached mount at an open file or directory."""
        flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH
        note = self.note("move_mount", path)
        self.code.call("move_mount", tree, "", target, "", flags, note=note)

    def open_tree(
        self,
        store: Cell,
        path: str = "",
        *,
        directory: Cell | int = AT_FDCWD,
        recursive: bool = False,
        varies: bool = False,
    ) -> None:
        """Take a detached copy of a mount, with those below if `recursive`; `varies`: the path is a `source`."""
        flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
        if recursive:
            flags |= AT_RECURSIVE
        note, given = self.note("open_tree", path or None), self.source(path) if varies else path
        self.code.call("open_tree", directory, given, flags, store=store, note=note)

    def set_attributes(
        self,
        mount: Cell | int,
        path: str = "",
        *,
        attributes: int = 0,
        propagation: int = 0,
        recursive: bool = False,
    ) -> None:
        """Set attributes and the propagation of a mount (mount_setattr(2))."""
        given = self.code.data(struct.pack("<4Q", attributes, 0, propagation, 0))
        flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
        note = self.note("mount_setattr", path or None)
        self.code.call("mount_setattr", mount, path, flags, given, 32, note=note)
