"""The machine: its bytes are those of its commented sources, and it performs what it is told to, on both machines."""

import errno
import os
import platform
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from minipod.linux import kernel, vfork
from minipod.runtime import machine
from minipod.runtime.assembly import FAILED, Assembler, Label

SOURCES = Path(machine.__file__).parent
ASSEMBLERS = {
    "x86_64": ("", "qemu-x86_64-static"),
    "aarch64": ("aarch64-linux-gnu-", "qemu-aarch64-static"),
}


def assembled(source: Path, name: str, directory: Path) -> bytes:
    """Return the code that a source gives."""
    prefix = "" if name == platform.machine() else ASSEMBLERS[name][0] or "x86_64-linux-gnu-"
    if not shutil.which(f"{prefix}as"):
        pytest.skip(f"{prefix}as (binutils) is not installed")
    made, code = directory / "made.o", directory / "code"
    subprocess.run([f"{prefix}as", "-o", made, source], check=True)
    command = [f"{prefix}objcopy", "-O", "binary", "-j", ".text", made, code]
    subprocess.run(command, check=True)
    return code.read_bytes()


@pytest.mark.parametrize("name", machine.CODES)
def test_the_bytes_are_the_sources(name: str, tmp_path: Path) -> None:
    code = assembled(SOURCES / f"machine_{name}.s", name, tmp_path)

    assert code == machine.CODES[name]


@pytest.mark.parametrize("name", machine.CODES)
def test_the_bytes_of_the_clone_are_the_sources(name: str, tmp_path: Path) -> None:
    source = Path(vfork.__file__).parent / f"vfork_{name}.s"

    assert assembled(source, name, tmp_path) == vfork.CODES[name]


@pytest.fixture(params=["x86_64", "aarch64"])
def told(request: pytest.FixtureRequest, tmp_path: Path) -> "Told":
    """Run programs on one machine; on a foreign one in an emulator, where there is one."""
    emulator: list[str] = []
    if request.param != platform.machine():
        name = ASSEMBLERS[request.param][1]
        found = shutil.which(name) or shutil.which(name.removesuffix("-static"))
        if not found:
            pytest.skip(f"{ASSEMBLERS[request.param][1]} is not installed")
        emulator = [found]
    return Told(request.param, emulator, tmp_path)


class Told:
    """A program that is being written for one machine, and what it says on its standard output."""

    def __init__(self, name: str, emulator: list[str], directory: Path) -> None:
        self.emulator, self.directory = emulator, directory
        self.code = Assembler(("out",), kernel.numbers(name))
        self.executable = directory / "machine"
        self.executable.write_bytes(machine.program(name))
        self.executable.chmod(0o755)

    def begin(self) -> Label:
        """Say what fails, and end with 127; return the label of the end."""
        code, end, on = self.code, Label(), Label()
        code.jump(on)
        code.on_failure()
        code.call("write", code.inputs["out"], machine.PROGRAM, FAILED)
        code.place(end)
        code.call("exit_group", 127)
        code.place(on)
        return end

    def say(self, address: int, size: int) -> None:
        self.code.call("write", self.code.inputs["out"], address, size)

    def run(self) -> tuple[int, bytes]:
        """Perform the program; return exit code and output."""
        self.code.call("exit_group", 0)
        file = os.open(self.directory / "program", os.O_RDWR | os.O_CREAT)
        read, write = os.pipe()
        self.code.finish().write(file, {"out": write})
        command = [*self.emulator, os.fspath(self.executable)]
        if self.emulator:  # the emulator gives its program's path as argv[0] unless told otherwise
            command[1:1] = ["-0", str(file)]
            done = subprocess.run(command, pass_fds=(file, write), check=False)
        else:
            done = subprocess.run(
                [str(file)], executable=command[0], pass_fds=(file, write), check=False
            )
        os.close(write)
        with os.fdopen(read, "rb") as output:
            said = output.read()
        os.close(file)
        return done.returncode, said


def test_results_are_kept_and_read_as_arguments(told: Told) -> None:
    code = told.code
    told.begin()
    opened = code.cell()
    flags = os.O_RDWR | os.O_CREAT
    code.call(
        "openat", kernel.AT_FDCWD, os.fspath(told.directory / "file"), flags, 0o600, store=opened
    )
    code.call("write", opened, "written by the machine", 22)
    told.say(opened.address, 8)

    exit_code, said = told.run()
    assert exit_code == 0
    assert struct.unpack("<Q", said)[0] > 2
    assert (told.directory / "file").read_text() == "written by the machine"


def test_what_fails_is_told_with_its_address(told: Told) -> None:
    code = told.code
    told.begin()
    code.call("close", 4000, errors=(errno.ENOENT,))

    exit_code, said = told.run()
    address, number = struct.unpack("<QQ", said)
    assert (exit_code, number) == (127, errno.EBADF)
    assert code.finish().notes[address].call == "close"


def test_errors_that_are_none_lead_elsewhere(told: Told) -> None:
    code, after = told.code, Label()
    told.begin()
    code.call("close", 4000, errors=(errno.EBADF,))  # goes on
    code.call("close", 4000, errors=(errno.EIO, errno.EBADF), goto=after)
    code.call("exit_group", 1)
    code.place(after)
    told.say(code.text("here"), 4)

    assert told.run() == (0, b"here")


def test_memory_is_compared_and_copied(told: Told) -> None:
    code, equal, wrong = told.code, Label(), Label()
    told.begin()
    here, copied = code.cell(0x1234_5678_9ABC_DEF0), code.cell()
    code.jump_if(here, 0xFF, 0xF1, wrong)
    code.jump_if(here, 0xFF, 0xF0, equal)
    code.place(wrong)
    code.call("exit_group", 1)
    code.place(equal)
    code.copy(here.address, copied, mask=0xFFFF)
    code.jump_if(copied, -1, code.cell(0xDEF1), wrong)
    told.say(copied.address, 8)

    assert told.run() == (0, struct.pack("<Q", 0xDEF0))


def test_a_child_goes_on_elsewhere(told: Told) -> None:
    code, child, vfork_, parent = told.code, Label(), 0x4000, 0x11
    told.begin()
    code.call("clone", vfork_ | parent, 0, 0, 0, 0, child=child)
    told.say(code.text("parent"), 6)
    code.call("exit_group", 0)
    code.place(child)
    told.say(code.text("child "), 6)

    exit_code, said = told.run()
    assert exit_code == 0
    assert said in (b"child parent", b"parentchild ")  # the emulator does not suspend the parent


def test_what_came_early_is_given_back(told: Told) -> None:
    code = told.code
    told.begin()
    code.early()
    secret = code.text("early")
    told.say(secret, 5)
    code.late()
    code.forget_early()
    code.call("write", code.inputs["out"], secret, 5)

    exit_code, said = told.run()
    assert exit_code == 127
    assert said[:5] == b"early"
    assert struct.unpack("<QQ", said[5:])[1] == errno.EFAULT


def test_a_program_too_large_is_refused() -> None:
    code = Assembler()
    with pytest.raises(ValueError, match="too large"):
        code.data(bytes(machine.EARLY_CODE - machine.LATE_DATA + 1))


def test_a_text_is_placed_once() -> None:
    code = Assembler()

    assert code.text("one") == code.text("one") != code.text("other")
