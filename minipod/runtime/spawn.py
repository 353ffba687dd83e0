"""The spawn: a static program of under 400 bytes that starts a container's program in a PID namespace of others.

Only a child is in a PID namespace that was joined with setns(2), and until it executes its program, everybody in the
namespace with CAP_SYS_PTRACE can read its memory and take its descriptors. So the child is no copy of the shim's
interpreter but of this program: it holds the container's own root, powers, arguments and streams, and nothing else.

`argv` is a mode ("t": the standard input becomes the controlling terminal), the program's path, and the program's own
arguments. Descriptor 3 is a socket, where it tells two 32-bit integers once the child has executed its program, or
ended before: the child's pid (negative: the number of clone's error) and the number of execve's error, or 0. The child
is made with CLONE_PARENT: whoever started the spawn is its parent and learns of its end.
"""

import functools
import struct
from typing import NamedTuple

from minipod.runtime import elf

CHANNEL = 3
_TOLD = struct.Struct("=2i")

_X86_64 = bytes.fromhex(
    "4889e5"  # rbp = rsp: argc, argv, 0, environment
    "b89d000000 bf04000000 31f6 0f05"  # prctl(PR_SET_DUMPABLE, 0)
    "b809000000 31ff be00100000 ba03000000 41ba21000000 4983c8ff 4531c9 0f05"
    "4889c3"  # rbx = mmap(0, 4096, READ | WRITE, SHARED | ANONYMOUS, -1, 0)
    "b838000000 bf11c00000 31f6 31d2 4531d2 4531c0 0f05"
    "85c0 742a"  # eax = clone(CLONE_PARENT | CLONE_VFORK | SIGCHLD, 0...); if eax == 0: goto child
    "4883ec08 890424 8b0b 894c2404"  # two integers on the stack: eax, *rbx
    "b801000000 bf03000000 4889e6 ba08000000 0f05"  # write(3, them, 8)
    "b8e7000000 31ff 0f05"  # exit_group(0)
    # child:
    "b803000000 bf03000000 0f05"  # close(3)
    "b870000000 0f05"  # setsid()
    "488b4508 803874 7510"  # if *argv[0] != 't': goto run
    "b810000000 31ff be0e540000 31d2 0f05"  # ioctl(0, TIOCSCTTY, 0)
    # run:
    "b83b000000 488b7d10 488d7518 488b5500 488d54d510 0f05"  # execve(argv[1], argv + 2, environment)
    "f7d8 8903"  # *rbx = -eax
    "b8e7000000 bf7f000000 0f05"  # exit_group(127)
)
_AARCH64 = b"".join(
    struct.pack("<I", instruction)
    for instruction in (
        0x910003F3,  # x19 = sp
        *(0xD28014E8, 0xD2800080, 0xD2800001, 0xD4000001),  # prctl(PR_SET_DUMPABLE, 0)
        *(0xD2801BC8, 0xD2800000, 0xD2820001, 0xD2800062, 0xD2800423, 0x92800004),
        *(0xD2800005, 0xD4000001, 0xAA0003F4),  # x20 = mmap(0, 4096, 3, 0x21, -1, 0)
        *(0xD2801B88, 0xD2980220, 0xD2800001, 0xD2800002, 0xD2800003, 0xD2800004),
        *(0xD4000001, 0xB40001A0),  # x0 = clone(...); if x0 == 0: goto child
        *(0xD10043FF, 0xB90003E0, 0xB9400281, 0xB90007E1),  # w0, *x20 on the stack
        *(0xD2800808, 0xD2800060, 0x910003E1, 0xD2800102, 0xD4000001),  # write(3, sp, 8)
        *(0xD2800BC8, 0xD2800000, 0xD4000001),  # exit_group(0)
        # child:
        *(0xD2800728, 0xD2800060, 0xD4000001),  # close(3)
        *(0xD28013A8, 0xD4000001),  # setsid()
        *(0xF9400660, 0x39400000, 0x7101D01F, 0x540000C1),  # if *argv[0] != 't': goto run
        *(0xD28003A8, 0xD2800000, 0xD28A81C1, 0xD2800002, 0xD4000001),  # ioctl(0, TIOCSCTTY, 0)
        # run:
        *(0xD2801BA8, 0xF9400A60, 0x91006261, 0xF9400262, 0x8B020E62, 0x91004042, 0xD4000001),
        *(0x4B0003E0, 0xB9000280),  # *x20 = -execve(argv[1], argv + 2, environment)
        *(0xD2800BC8, 0xD2800FE0, 0xD4000001),  # exit_group(127)
    )
)


class Told(NamedTuple):
    """What the spawn says of the program."""

    pid: int
    errno: int


def program(machine: str | None = None) -> bytes:
    """Return the spawn as an ELF executable for `machine` (this one's). ValueError for one it is not written for."""
    return elf.executable("spawn", {"x86_64": _X86_64, "aarch64": _AARCH64}, b"", machine)


@functools.cache
def descriptor() -> int:
    """Return this process's descriptor of the spawn."""
    return elf.executable_file("spawn", program())


def arguments(path: str, args: tuple[str, ...], *, terminal: bool) -> list[str]:
    """Return what the spawn is executed with."""
    return ["t" if terminal else "-", path, *args]


def parse(message: bytes) -> Told | None:
    """Return what a message says; None for one that is not the spawn's."""
    return Told(*_TOLD.unpack(message)) if len(message) == _TOLD.size else None
