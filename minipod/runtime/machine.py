"""The machine: a static program of 500 bytes that performs a list of system calls which it is given as data.

It is what a process is between its clone and its own program: no interpreter, no memory of the shim's, nothing but the
list. Each instruction is a system call with six arguments, where to keep the result, which errors are none, and where
to go on after one, or after a result of 0 (as of clone in the child). One more kind compares memory and jumps.

The list lies in a file that only its maker holds, mapped privately at a fixed address, so that its pointers are known
beforehand. `argv[0]` is the file's descriptor in decimal. Sources: machine_x86_64.s, machine_aarch64.s.
"""

import functools

from minipod.runtime import elf

PROGRAM = 0x10000000  # where the list is mapped: first what failed, its errno, where to go on then
CELLS = PROGRAM + 64  # results
LATE_CODE = PROGRAM + 0x10000  # where it begins
LATE_DATA = PROGRAM + 0x800000  # the file is sparse: room costs nothing
# From here on it is given back before anybody else can look at the process.
EARLY_CODE = PROGRAM + 0x1000000
EARLY_DATA = PROGRAM + 0x1800000
# Parts of a program that many have in common, each at a place of its own.
PARTS = PROGRAM + 0x2000000
PART_BYTES = 0x20000  # half of them code
END = PARTS + 8 * PART_BYTES

WORDS = 10  # of an instruction: number and which arguments are read, six arguments, result, errors, where to go on
COMPARE = 0x80000000  # instead of a call's number: if (*first & second) == third, go on elsewhere

_X86_64 = bytes.fromhex(
    "b89d000000bf0400000031f60f05488b74240831ed0fb60648ffc683e83072076bed0a01c5ebeeb808000000"
    "89ef31f6ba020000000f054889c6b809000000bf00000010ba0300000041ba020010004189e84531c90f05b8"
    "0300000089ef0f05bb00000110488b7b08488b7310488b53184c8b53204c8b43284c8b4b308b6b04d1ed7303"
    "488b3fd1ed7303488b36d1ed7303488b12d1ed73034d8b12d1ed73034d8b00d1ed73034d8b098b0385c07821"
    "0f05488b4b38488901483d01f0ffff73334885c075258b4b4c85c9741e89cbeb94488b074821f0488b4b3848"
    "89014839d075088b5b48e97affffff4883c350e971fffffff7d8488b4b40480fa3c173088b5b48e95dffffff"
    "b900000010488919488941088b5910e949ffffff"
)
_AARCH64 = bytes.fromhex(
    "e81480d2800080d2010080d2010000d4e90740f9140080d24b0180d22a1540384ac1007163000054942a0b9b"
    "fcffff17c80780d2e00314aa010080d2420080d2010000d4e10300aac81b80d20000a2d2620080d2430080d2"
    "0302a0f2e40314aa050080d2010000d4280780d2e00314aa010000d41500a2d2b3424091608640a9628e41a9"
    "649642a96826402949000036000040f949000836210040f949001036420040f949001836630040f949002036"
    "840040f949002836a50040f96c1e40f94801f837010000d4800100f91ffc3fb1e2010054800100b56a4e40b9"
    "4a010034f3030aaae6ffff17000040f90000018a800100f91f0002eb61000054734a40b9dfffff1773420191"
    "ddffff17e00300cb6a2240f94a25c09a6a000036734a40b9d7ffff17b30200f9a00600f9b31240b9d3ffff17"
)
CODES = {"x86_64": _X86_64, "aarch64": _AARCH64}


def program(machine: str | None = None) -> bytes:
    """Return the machine as an ELF executable for `machine` (this one's). ValueError for one it is not written for."""
    return elf.executable("machine", CODES, b"", machine)


@functools.cache
def descriptor() -> int:
    """Return this process's descriptor of the machine."""
    return elf.executable_file("machine", program())
