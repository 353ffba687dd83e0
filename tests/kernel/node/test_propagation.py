"""What is mounted later, seen in a mount namespace that is there already: ours to foretell, the kernel's to say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

_LATER_MOUNT = """
import json, os, subprocess, sys
from pathlib import Path
from minipod.linux.process import CLONE_NEWNS, unshare
from minipod.node.propagation import passes_on

propagation, place = sys.argv[1:]
unshare(CLONE_NEWNS)
for how in ("rprivate", propagation):  # first of all, away from whoever started this
    subprocess.run(["mount", f"--make-{how}", "/"], check=True)
foretold = passes_on(Path(place))
early = subprocess.Popen(
    ["unshare", "--mount", "--propagation", "slave", "sh", "-c", "echo; read _"],
    stdin=subprocess.PIPE, stdout=subprocess.PIPE,
)
early.stdout.readline()
subprocess.run(["mount", "-t", "tmpfs", "later", place], check=True)
seen = f" {place} " in Path(f"/proc/{early.pid}/mountinfo").read_text()
early.communicate(b"")
print(json.dumps([foretold, seen]))
"""


@pytest.mark.parametrize(("propagation", "expected"), [("rshared", True), ("rprivate", False)])
def test_what_is_mounted_later_is_seen_where_it_is_passed_on(
    tmp_path: Path, propagation: str, expected: bool
) -> None:
    command = [sys.executable, "-c", _LATER_MOUNT, propagation, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert json.loads(done.stdout) == [expected, expected]
