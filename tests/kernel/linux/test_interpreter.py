"""The interpreter's file is out of reach of a program that runs as it (CVE-2019-5736)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.kernel

PROTECT = """
import os, sys
from minipod.linux import interpreter
if not interpreter.is_protected():
    interpreter.execute_protected([sys.executable, *sys.orig_argv[1:]], os.environ)
"""
# What a container does that was made to run our file: keep it open, let nobody execute it, write.
ATTACK = """
held = os.open("/proc/self/exe", os.O_RDONLY)
os.set_inheritable(held, True)
os.execv("/bin/sh", ["sh", "-c", f"echo changed > /proc/self/fd/{held}"])
"""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the interpreter, which nobody else executes: what is at stake is a plain file."""
    made = tmp_path / "python3"
    shutil.copy(os.path.realpath(sys.executable), made)
    return made


def run(copy: Path, script: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).parents[3]
    return subprocess.run(
        [copy, "-c", script],
        env={"PYTHONPATH": str(root), "PYTHONHOME": sys.base_prefix},
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )


def test_attack_reaches_an_unprotected_interpreter(copy: Path) -> None:
    run(copy, "import os\n" + ATTACK)

    assert copy.read_bytes() == b"changed\n"


def test_attack_fails_on_a_protected_interpreter(copy: Path) -> None:
    before = copy.read_bytes()
    finished = run(copy, PROTECT + ATTACK)

    assert "Read-only file system" in finished.stderr
    assert copy.read_bytes() == before


def test_protected_interpreter_runs_as_before() -> None:
    script = PROTECT + "print(sys.prefix, interpreter.is_protected(), sys.argv[1:])"
    command = [sys.executable, "-c", script, "one", "two"]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)

    assert finished.stdout == f"{sys.prefix} True ['one', 'two']\n"
