"""The pause's bytes: a loadable program, and the instructions that its comments promise."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from minipod.runtime import pause


@pytest.mark.parametrize(("machine", "number"), [("x86_64", 62), ("aarch64", 183)])
def test_is_a_static_program_of_one_page(machine: str, number: int) -> None:
    program = pause.program(machine)

    assert program[:4] == b"\x7fELF"
    assert struct.unpack_from("<HH", program, 16) == (2, number)  # executable, machine
    entry, headers = struct.unpack_from("<QQ", program, 24)
    _, flags, offset, address, _, size, in_memory, _ = struct.unpack_from(
        "<IIQQQQQQ", program, headers
    )
    assert (flags, offset, size, in_memory) == (5, 0, len(program), len(program))  # read, execute
    assert address + 64 + 2 * 56 == entry
    assert len(program) < 512


def test_unknown_machine_is_named() -> None:
    with pytest.raises(ValueError, match='"vax"'):
        pause.program("vax")


def test_instructions(tmp_path: Path) -> None:
    if not shutil.which("objdump"):
        pytest.skip("objdump (binutils) is not installed")
    code = tmp_path / "code"
    code.write_bytes(pause.program("x86_64")[176:-14])
    command = ["objdump", "-D", "-b", "binary", "-m", "i386:x86-64", "-M", "intel", code]
    shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout

    assert "(bad)" not in shown
    numbers = [
        int(line.split("eax,")[1], 16) for line in shown.splitlines() if "mov    eax," in line
    ]
    # prctl, prctl, rt_sigprocmask, rt_sigtimedwait, exit_group, wait4 (syscalls(2))
    assert numbers == [157, 157, 14, 128, 231, 61]
