"""From a plan's child steps to a program for the machine: a function for each operation, all of them pure.

What needs the host (descriptors, a user's groups) is an input of the program, or is asked of the parent on the way.
What depends on the kernel's answers is a jump. Here are processes, namespaces and cgroups; `compile_mounts` has what a
container sees, `compile_program` what it may do and what it executes.
"""

import errno
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any, NamedTuple

from minipod.linux.kernel import AT_FDCWD
from minipod.linux.process import (
    CLOSE_RANGE_CLOEXEC,
    KEYCTL_JOIN_SESSION_KEYRING,
    namespace_flags,
)
from minipod.runtime.assembly import Assembler, Cell, Part, Program, TooLargeError
from minipod.runtime.child_operations import (
    AwaitTurn,
    BindMount,
    ChangeDirectory,
    Clone,
    ExecPause,
    JoinNamespaces,
    LimitCapabilities,
    LoadSeccomp,
    MakeDevices,
    MakeMountPoints,
    MakeReadOnly,
    MaskPaths,
    MountCgroups,
    MountFilesystem,
    NewSession,
    OpenMountTree,
    PivotRoot,
    RemountReadOnly,
    SetHostname,
    SetOomScoreAdj,
    SetPropagation,
    SetUser,
    Unshare,
    WriteSysctl,
)
from minipod.runtime.compile_mounts import MOUNTS
from minipod.runtime.compile_program import PROGRAMS
from minipod.runtime.compiling import (
    ALL_DESCRIPTORS,
    STREAMS,
    Compiling,
    Facts,
    spawns,
    target_input,
)
from minipod.runtime.operations import EnterCgroup, Operation, Step


def compile_steps(
    steps: Sequence[Step], first: int, facts: Facts, *, noted: bool = False
) -> Program:
    """Return the program that performs the child's steps from `first` on, and waits where the parent has one.

    What to say of a failure takes most of the time and of a program's memory: who needs it compiles the same steps
    `noted`, and finds it at the same addresses. ValueError for a plan that no process can perform.
    """
    state = Compiling(Assembler(compute_inputs(steps, facts), noted=noted), facts, steps)
    code = state.code
    state.place_failure()
    state.place_birth(first - 1)
    if state.spawns:
        code.early()
        code.move_late(code.inputs["program"])
    code.call("close_range", 3, ALL_DESCRIPTORS, CLOSE_RANGE_CLOEXEC)
    state.stamp(-1)
    parts = 0
    for kind, group in groupby(range(first, len(steps)), lambda index: _kind_of(index, state)):
        indices = tuple(group)
        begin, end = indices[0], indices[-1] + 1
        if kind and parts < _MOST_PARTS:
            _insert_part(parts, begin, end, state)
            parts += 1
        else:
            _compile_range(begin, end, state)
    return code.finish(state.stamps)


_repeated: dict[object, Program] = {}


def compile_again(steps: Sequence[Step], first: int, facts: Facts) -> Program:
    """Return the program of a plan that is likely to come again (a probe's), compiled once."""
    clone = steps[first - 1].operation
    assert isinstance(clone, Clone)
    key = tuple(steps[first:]), clone.namespaces, bool(clone.cgroup), first, facts
    known = _repeated.get(key)
    if known is None:
        known = compile_steps(steps, first, facts)
        if sum(len(content) for _, content in known.regions) > _LARGEST_REPEATED:
            return known
        if len(_repeated) >= _MOST_REPEATED:
            del _repeated[next(iter(_repeated))]
        _repeated[key] = known
    return known


def _compile_range(first: int, end: int, state: Compiling) -> None:
    for index in range(first, end):
        step = state.steps[index]
        state.code.step = index
        if step.where == "shim":
            _await_parent(state)
        elif step.where == "child":
            action = _ACTIONS.get(type(step.operation))
            if action is None:
                raise ValueError(f"{type(step.operation).__name__} is no step of a new process")
            action(step.operation, state)
        else:
            continue
        if step.operation is not state.program:
            state.stamp(index)


# --- what many programs have in common ----------------------------------------------------------------------------


def _kind_of(index: int, state: Compiling) -> str:
    """Return "" for a step that is compiled for each program; others are likely to be the same in many plans.

    Those touch nothing of the steps around them. A "bind" is the same but for its source.
    """
    step = state.steps[index]
    operation = step.operation
    if step.where != "child" or operation is state.program:
        return ""
    if isinstance(operation, BindMount) and operation.source:
        return "bind"
    if isinstance(operation, LoadSeccomp):
        common = state.steps[index + 1].operation is not state.program
    elif isinstance(operation, MakeDevices):
        common = not operation.all  # the host may have any number of them
    elif isinstance(operation, OpenMountTree):
        common = bool(operation.target)
    else:
        common = isinstance(operation, _COMMON)
    return "common" if common else ""


class _Known(NamedTuple):
    """A part, what its compilation has left behind, and where its mounts' sources are to be pointed to."""

    part: Part
    trees: dict[str, Cell]
    stamps: tuple[int, ...]
    sealed: bool
    sources: tuple[Cell, ...]


_parts: dict[object, _Known | None] = {}  # None: too large for a part


def _insert_part(number: int, first: int, end: int, state: Compiling) -> None:
    """Compile some steps once, and take what they gave from then on."""
    operations = [step.operation for step in state.steps[first:end]]
    facts = state.facts
    trees = tuple(state.trees.items())
    around = number, first, len(state.stamps), trees, state.spawns, state.sealed
    shapes = tuple(map(_without_source, operations))
    key = around, shapes, facts.cgroups, facts.bounding, facts.devices, tuple(state.code.inputs)
    if state.code.noted or key not in _parts:
        known = _compile_part(number, first, end, state)
        if not state.code.noted:
            _remember(key, known)
    else:
        known = _parts[key]
    if known is None:
        _compile_range(first, end, state)
        return
    state.trees, state.sealed = dict(known.trees), known.sealed
    state.stamps += known.stamps
    sources = [each.source for each in operations if isinstance(each, BindMount) and each.source]
    pointers = zip(known.sources, map(state.code.text, sources), strict=True)
    state.code.insert(known.part, {cell.address: text for cell, text in pointers})


def _without_source(operation: Operation) -> object:
    """Return all of an operation that its code depends on."""
    if isinstance(operation, BindMount) and operation.source:
        return replace(operation, source="/")
    return operation


def _compile_part(number: int, first: int, end: int, state: Compiling) -> _Known | None:
    """Return the part for some steps, and leave all else as it was; None when it is too large for one."""
    trees, stamps, sealed = dict(state.trees), len(state.stamps), state.sealed
    state.begin_part(number)
    try:
        _compile_range(first, end, state)
        part, sources = state.end_part()
        return _Known(part, state.trees, tuple(state.stamps[stamps:]), state.sealed, sources)
    except TooLargeError:
        return None
    finally:
        state.drop_part()
        state.trees, state.sealed = trees, sealed
        del state.stamps[stamps:]


def _remember(key: object, known: _Known | None) -> None:
    if len(_parts) >= _MOST_KNOWN:
        del _parts[next(iter(_parts))]
    _parts[key] = known


def compute_inputs(steps: Sequence[Step], facts: Facts) -> tuple[str, ...]:
    """Return the names of what the program is given with each start: descriptors."""
    names = ["channel", "birth"] + (["program"] if spawns(steps) else [])
    if facts.cgroups.unified and any(
        isinstance(e.operation, Clone) and e.operation.cgroup for e in steps
    ):
        names.append("cgroup")
    names += [name for name, given in zip(STREAMS, facts.streams, strict=True) if given]
    operations = [step.operation for step in steps]
    names += sorted(
        {
            target_input(each.target)
            for each in operations
            if isinstance(each, JoinNamespaces | OpenMountTree) and each.target
        }
    )
    if any(isinstance(each, ExecPause) for each in operations):
        names.append("pause")
    if facts.identity is None and any(isinstance(each, SetUser) for each in operations):
        names += ["passwd", "group"]
    return tuple(names)


def _await_parent(state: Compiling) -> None:
    """Wait until the parent has done the step of its own that the plan has here; end when it has given up."""
    byte = state.code.space(8)
    state.code.call("read", state.channel, byte, 1, child=state.end)


def _await_turn(_operation: AwaitTurn, state: Compiling) -> None:
    _await_parent(state)


# --- namespaces and sessions --------------------------------------------------------------------------------------


def _join_namespaces(operation: JoinNamespaces, state: Compiling) -> None:
    target = state.code.inputs[target_input(operation.target)]
    state.code.call("setns", target, namespace_flags(operation.namespaces))


def _unshare(operation: Unshare, state: Compiling) -> None:
    state.code.call("unshare", namespace_flags(operation.namespaces))


def _new_session(_operation: NewSession, state: Compiling) -> None:
    state.code.call("setsid")
    tolerated = (errno.ENOSYS, errno.EPERM, errno.EDQUOT)
    state.code.call("keyctl", KEYCTL_JOIN_SESSION_KEYRING, 0, errors=tolerated)


def _set_hostname(operation: SetHostname, state: Compiling) -> None:
    name = os.fsencode(operation.name)
    state.code.call(
        "sethostname", operation.name, len(name), note=state.note("sethostname", operation.name)
    )


def _write(state: Compiling, path: str, content: str, *tolerated: int) -> None:
    code, opened = state.code, state.scratch()
    note = state.note("open", path)
    code.call("openat", AT_FDCWD, path, os.O_WRONLY | os.O_CLOEXEC, store=opened, note=note)
    note = state.note(f'write "{content}"', path)
    code.call("write", opened, content, len(content.encode()), errors=tolerated, note=note)
    code.call("close", opened)


def _write_sysctl(operation: WriteSysctl, state: Compiling) -> None:
    _write(state, "/proc/sys/" + operation.name.replace(".", "/"), operation.value)


def _set_oom_score_adj(operation: SetOomScoreAdj, state: Compiling) -> None:
    # Lowering it needs CAP_SYS_RESOURCE, which a minipod inside a container may not have: the score is a hint.
    tolerated = (errno.EACCES, errno.EPERM) if operation.value < 0 else ()
    _write(state, "/proc/self/oom_score_adj", str(operation.value), *tolerated)


def _enter_cgroup(operation: EnterCgroup, state: Compiling) -> None:
    """Move into the v1 hierarchies: a thread that moves itself needs no lock of all clones (linux/cgroup.py)."""
    for point in state.facts.cgroups.v1_hierarchies:
        _write(state, f"{point}/{operation.path}/tasks", "0")


_COMMON = (
    AwaitTurn,
    BindMount,
    MountFilesystem,
    MakeMountPoints,
    PivotRoot,
    Unshare,
    MountCgroups,
    MakeReadOnly,
    MaskPaths,
    RemountReadOnly,
    ChangeDirectory,
    LimitCapabilities,
    SetPropagation,
)
_MOST_PARTS, _MOST_KNOWN = 8, 64
_MOST_REPEATED, _LARGEST_REPEATED = 256, 32 * 1024

_ACTIONS: dict[type, Callable[[Any, Compiling], None]] = {
    **MOUNTS,
    **PROGRAMS,
    AwaitTurn: _await_turn,
    JoinNamespaces: _join_namespaces,
    Unshare: _unshare,
    NewSession: _new_session,
    SetHostname: _set_hostname,
    WriteSysctl: _write_sysctl,
    SetOomScoreAdj: _set_oom_score_adj,
    EnterCgroup: _enter_cgroup,
}
