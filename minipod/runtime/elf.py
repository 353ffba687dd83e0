"""Complete static programs of a few hundred bytes, to be executed from sealed memory files (elf(5)).

They are what runs where an interpreter must not be: its memory would hold what nobody in there shall read.
"""

import os
import platform
import struct

from minipod.linux.process import sealed_memory_file

MACHINES = {"x86_64": 62, "aarch64": 183}  # e_machine
_ADDRESS = 0x400000
_HEADERS = 64 + 2 * 56


def executable(name: str, codes: dict[str, bytes], data: bytes, machine: str | None) -> bytes:
    """Return an executable of `machine`'s code (this one's) and data after it. ValueError when there is no code."""
    wanted = machine or platform.machine()
    if wanted not in codes:
        raise ValueError(f'no {name} program for machine "{wanted}"; there is one for {[*codes]}')
    body = codes[wanted] + data
    size = _HEADERS + len(body)
    # Elf64_Ehdr: ident, type EXEC, machine, version, entry, phoff, shoff, flags, sizes and counts
    ident = b"\x7fELF\x02\x01\x01" + bytes(9)
    numbers = (2, MACHINES[wanted], 1, _ADDRESS + _HEADERS, 64, 0, 0, 64, 56, 2, 0, 0, 0)
    header = ident + struct.pack("<HHIQQQIHHHHHH", *numbers)
    # Elf64_Phdr: type, flags, offset, vaddr, paddr, filesz, memsz, align
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, _ADDRESS, _ADDRESS, size, size, 0x1000)
    stack = struct.pack("<IIQQQQQQ", 0x6474E551, 6, 0, 0, 0, 0, 0, 16)  # not executable
    return header + load + stack + body


def executable_file(name: str, content: bytes) -> int:
    """Return a descriptor of the program: sealed, executable by all, readable by nobody but root."""
    opened = sealed_memory_file(name, content)
    os.fchmod(opened, 0o111)
    return opened
