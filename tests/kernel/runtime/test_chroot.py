"""A minipod that itself lives in a chroot (an installer's, a rescue system's): its paths stay the chroot's."""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import lanes

REPOSITORY = Path(__file__).parents[3]
PROGRAM = """
import sys
from pathlib import Path
from minipod.runtime.spec import ExecSpec
from tests.kernel.runtime.world import World

world = World(Path("/mnt/world"), sys.argv[1])
try:
    world.start_sandbox()
    print(world.run("sh", "-c", "echo from inside a chroot").output, end="")
    container = world.spec("sleep", "60", name="c2")
    launched = world.start(container)
    print(world.exec(container, launched, ExecSpec(args=("ls", "/home"))).output, end="")
    print(len(Path(f"/proc/{world.pause.pid}/mountinfo").read_text().splitlines()))
finally:
    world.close()
"""
ENTER = """
mount --make-rprivate / && mount --bind / "$1" && mount --rbind /proc "$1/proc" &&
mount --rbind /sys "$1/sys" && mount --rbind /dev "$1/dev" && mount -t tmpfs none "$1/mnt" || exit 1
root=$1; shift
exec chroot "$root" "$@"
"""


def test_a_container_starts_with_layers_that_only_the_chroot_has() -> None:
    root = tempfile.mkdtemp(prefix="mpchroot", dir="/var/tmp")
    name = lanes.note(f"mp-test-{os.getpid()}-chroot")
    command = ["unshare", "-m", "sh", "-c", ENTER, "sh", root, sys.executable, "-c", PROGRAM, name]
    done = subprocess.run(
        command,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    os.rmdir(root)
    # An exec sees the container's files, and the pause's namespace holds its own two mounts alone.
    assert (done.returncode, done.stdout) == (0, "from inside a chroot\napp\n2\n"), done.stderr
