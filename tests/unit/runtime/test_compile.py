"""Programs of plans: what they call, in which order, and that nothing of the host's is left in their late half."""

import struct
from collections.abc import Iterator
from dataclasses import replace

import pytest

from minipod.linux.kernel import NUMBERS
from minipod.linux.passwd import Identity
from minipod.linux.process import CLONE_INTO_CGROUP, CLONE_NEWNS, CLONE_NEWPID, CLONE_PARENT
from minipod.runtime import machine
from minipod.runtime.assembly import Program
from minipod.runtime.child_operations import BindMount, Clone, Exec, LoadSeccomp, SetHostname
from minipod.runtime.compile import compile_steps
from minipod.runtime.compile_program import pack_identity
from minipod.runtime.compiling import Facts
from minipod.runtime.operations import Operation, Step
from minipod.runtime.plan import (
    SandboxRef,
    compute_container_plan,
    compute_exec_plan,
    compute_sandbox_plan,
)
from minipod.runtime.spec import ExecSpec, Mount
from tests.unit.runtime.plans import CONTAINER, POD, SANDBOX, V1, V2

NAMES = {number: name for name, number in NUMBERS.items()}
WHO = Identity(7, 8, (8, 9), "/home/app")
INSTRUCTION = 8 * machine.WORDS


def facts(**given: object) -> Facts:
    return Facts(
        **{"cgroups": V1.cgroups, "identity": WHO, "streams": (False, True, True), **given}
    )


def compiled(steps: tuple[Step, ...], *, noted: bool = True, **given: object) -> Program:
    first = 1 + next(i for i, step in enumerate(steps) if isinstance(step.operation, Clone))
    return compile_steps(steps, first, facts(**given), noted=noted)


def of(*operations: Operation, **given: object) -> Program:
    """Return the program of some operations and `true`."""
    program = Exec(("true",), ("PATH=/bin",))
    steps = [Step(each, "child") for each in (*operations, program)]
    return compile_steps([Step(Clone("c"), "shim"), *steps], 1, facts(**given), noted=True)


def memory(program: Program, address: int, size: int) -> bytes:
    for begin, content in program.regions:
        if begin <= address < begin + len(content):
            return content[address - begin : address - begin + size]
    raise AssertionError(f"nothing at {address:#x}")


def listed(program: Program, begin: int, end: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Return the calls, with their arguments, of the code between two addresses."""
    for address in sorted(program.notes):
        if begin <= address < end:
            number, _, *words = struct.unpack("<II9Q", memory(program, address, INSTRUCTION))
            yield NAMES[number], tuple(words[:6])


def late(program: Program) -> list[tuple[str, tuple[int, ...]]]:
    return list(listed(program, machine.LATE_CODE, machine.LATE_DATA))


def names(program: Program) -> list[str]:
    return [name for name, _ in late(program)]


def test_what_a_process_inherits_does_not_reach_the_program() -> None:
    called = names(of())

    birth = ["clone3", "write", "exit_group", "close"]  # the maker ends, what is born goes on
    assert called[:7] == ["sendto", "exit_group", *birth, "close_range"]
    assert called.index("dup3") < called.index("execve")
    assert called[called.index("execve") - 1] == "rt_sigprocmask"


def test_each_step_is_timed_and_told_before_the_program() -> None:
    program = of(SetHostname("pod-1"))

    assert program.stamps == (-1, 1, 2)
    called = names(program)
    told = called.index("sendto", called.index("sethostname"))
    assert (
        called.index("clock_gettime") < called.index("sethostname") < told < called.index("execve")
    )


def test_a_filter_is_followed_by_nothing_that_it_need_not_allow() -> None:
    called = names(of(LoadSeccomp(bytes(8))))

    assert called[called.index("seccomp") + 1 :][:2] == ["rt_sigprocmask", "execve"]


def test_strings_are_pointers() -> None:
    program = of(SetHostname("pod-1"))
    arguments = next(given for name, given in late(program) if name == "sethostname")

    assert memory(program, arguments[0], 6) == b"pod-1\0"
    assert arguments[1] == 5


def test_a_string_that_the_kernel_would_cut_off_is_refused() -> None:
    """A mount at "/proc" that is none by its name, say."""
    with pytest.raises(ValueError, match="NUL"):
        of(SetHostname("pod\0-1"))


def test_a_process_is_born_in_its_namespaces_and_cgroup_by_another_than_the_shim() -> None:
    program = compiled(PLANS["container on v2"], cgroups=V2.cgroups)
    (arguments, size, *_) = next(given for name, given in late(program) if name == "clone3")
    flags, *_, exit_signal, _, _, _, _, _, into = struct.unpack(
        "<11Q", memory(program, arguments, size)
    )

    assert flags == CLONE_PARENT | CLONE_INTO_CGROUP | CLONE_NEWNS | CLONE_NEWPID
    assert (exit_signal, into) == (0, 0)  # the kernel wants none; the cgroup is filled in
    assert "cgroup" in program.inputs


def test_what_cannot_be_a_program_is_refused() -> None:
    steps = [Step(Clone("c"), "shim"), Step(SetHostname("x"), "child")]
    with pytest.raises(ValueError, match="without a program"):
        compile_steps(steps, 1, facts())


PLANS = {
    "container": compute_container_plan(CONTAINER, POD, V1),
    "container on v2": compute_container_plan(CONTAINER, POD, V2),
    "shared": compute_container_plan(CONTAINER, SandboxRef("minipod/pod1", pid="pod"), V1),
    "exec": compute_exec_plan(CONTAINER, ExecSpec(("ls",)), POD, V1),
    "terminal": compute_exec_plan(CONTAINER, ExecSpec(("sh",), tty=True), POD, V1),
}
SPAWNING = ["shared", "exec", "terminal"]


@pytest.mark.parametrize("name", PLANS)
@pytest.mark.parametrize("identity", [WHO, None])
def test_every_place_that_a_program_goes_to_is_an_instruction(
    name: str, identity: Identity | None
) -> None:
    program = compiled(PLANS[name], identity=identity)
    handler = struct.unpack_from("<Q", memory(program, machine.PROGRAM, 64), 16)[0]
    assert memory(program, handler, 1)
    for address in program.notes:
        goto, child = struct.unpack_from("<2I", memory(program, address, INSTRUCTION), 72)
        for each in (goto, child):
            assert not each or len(memory(program, each, INSTRUCTION)) == INSTRUCTION


@pytest.mark.parametrize("name", SPAWNING)
def test_nothing_of_the_host_is_in_what_others_can_look_at(name: str) -> None:
    program = compiled(PLANS[name])
    kept = b"".join(content for begin, content in program.regions if begin < machine.EARLY_CODE)

    for word in (b"/lib/c1", b"/images", b"/pods/1", b"/cg", b"tasks", b"oom_score_adj"):
        assert word not in kept
    early = b"".join(content for begin, content in program.regions if begin >= machine.EARLY_CODE)
    assert b"oom_score_adj" in early


@pytest.mark.parametrize("name", SPAWNING)
def test_it_is_given_back_and_all_is_closed_before_the_last_clone(name: str) -> None:
    called = late(compiled(PLANS[name]))
    order = [each for each, _ in called]
    clone, given_back = order.index("clone"), order.index("munmap")
    closed = order.index("close_range")

    assert called[given_back][1][:2] == (machine.EARLY_CODE, machine.END - machine.EARLY_CODE)
    assert called[closed][1][:3] == (4, 0xFFFFFFFF, 0)
    assert max(closed, given_back) < clone
    assert not {"setresuid", "capset", "prctl", "seccomp"} & set(order[clone:])


@pytest.mark.parametrize("name", SPAWNING)
def test_what_stays_is_moved_to_memory_of_its_own_first(name: str) -> None:
    """The file of the program, which whoever may look at a process's maps can open, holds all of it."""
    program = compiled(PLANS[name])
    called = list(listed(program, machine.EARLY_CODE, machine.EARLY_DATA))

    assert [each for each, _ in called[:5]] == ["mmap", *["pread64"] * 3, "close"]
    assert called[0][1][:2] == (machine.PROGRAM, machine.EARLY_CODE - machine.PROGRAM)
    regions = dict(program.regions)
    for _, (_, begin, length, offset, *_) in called[1:4]:
        size = struct.unpack("<Q", memory(program, length, 8))[0]
        assert (offset, size) == (begin - machine.PROGRAM, len(regions[begin]))


def test_common_parts_are_the_same_in_other_containers() -> None:
    mounts = tuple(replace(each, source=f"/elsewhere{each.source}") for each in CONTAINER.mounts)
    rootfs = replace(CONTAINER.rootfs, upper="/u")
    other = replace(CONTAINER, id="c2", args=("other",), rootfs=rootfs, mounts=mounts)
    first, second = (
        dict(compiled(compute_container_plan(each, POD, V1), noted=False).regions)
        for each in (CONTAINER, other)
    )
    shared = [
        begin
        for begin, content in first.items()
        if begin >= machine.PARTS and second[begin] is content
    ]

    assert len(shared) >= 2


@pytest.mark.parametrize("name", PLANS)
def test_a_program_of_known_parts_is_the_one_that_is_compiled_whole(name: str) -> None:
    """Only their mounts' sources differ: each program points to its own."""
    moved = [
        replace(step, operation=replace(step.operation, source=f"/x{step.operation.source}"))
        if isinstance(step.operation, BindMount) and step.operation.source
        else step
        for step in PLANS[name]
    ]
    for steps in (PLANS[name], tuple(moved), PLANS[name]):
        quick = compiled(steps, noted=False)
        assert not quick.notes
        assert quick.regions == compiled(steps).regions


def test_what_is_too_large_for_a_part_lies_among_the_rest() -> None:
    for count in (1, 300, 1):
        mounts = tuple(Mount(f"/a/b/c/d/{n}", f"/pods/1/{n}", kind="file") for n in range(count))
        plan = compute_container_plan(replace(CONTAINER, mounts=mounts), POD, V1)
        program = compiled(plan, noted=False)
        assert program.regions == compiled(plan).regions


def test_the_pauses_program_ends_with_the_pause() -> None:
    called = names(compiled(compute_sandbox_plan(SANDBOX, V1), streams=(False,) * 3))

    assert called[called.index("execveat") - 3 :][:3] == ["close"] * 3


def test_there_is_room_for_pods_of_any_reasonable_size() -> None:
    devices = tuple((f"disk/{number}", 0o60600, number) for number in range(3000))
    many = tuple(
        Mount(f"/a/b/c/d/e/f/g/{n}", "/pods/1/data", source_subpath="x") for n in range(300)
    )
    security = replace(CONTAINER.security, privileged=True)
    container = replace(CONTAINER, mounts=many, security=security)

    assert compiled(compute_container_plan(container, POD, V1), devices=devices).notes


def test_users_are_packed() -> None:
    packed = pack_identity(WHO)

    assert struct.unpack_from("<3Q", packed) == (7, 8, 2)
    assert packed[24:].startswith(b"HOME=/home/app\0")
    assert packed[-8:] == struct.pack("<2I", 8, 9)
    with pytest.raises(ValueError, match="too long"):
        pack_identity(replace(WHO, home="/" * 5000))
