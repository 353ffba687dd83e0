"""A rendered plan, run as a script, makes what launching the same plan makes."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from minipod.linux import cgroup, mounts
from minipod.runtime.operations import Step
from minipod.runtime.plan import compute_sandbox_plan
from minipod.runtime.render import render
from minipod.runtime.spec import ContainerSpec, Mount, User
from tests.kernel.runtime.world import SECURITY, World, end, wait_until
from tests.patience import patience

pytestmark = pytest.mark.kernel

NAMESPACES = ("mnt", "net", "uts", "ipc", "pid", "cgroup")


def namespaces(pid: int, pause: int) -> dict[str, str]:
    """Tell of each namespace whether it is the host's, the pause's, or the process's own."""
    found = {}
    for name in NAMESPACES:
        here = os.readlink(f"/proc/{pid}/ns/{name}")
        owners = {os.readlink(f"/proc/{each}/ns/{name}"): who for each, who in ((pause, "pause"),)}
        owners.setdefault(os.readlink(f"/proc/self/ns/{name}"), "host")
        found[name] = owners.get(here, "own")
    return found


def mount_table(pid: int) -> list[tuple[str, str, tuple[str, ...], bool]]:
    """Return what a process sees mounted: where, what, how; in order."""
    return [
        (entry.point, entry.type, tuple(sorted(entry.options)), bool(entry.propagation))
        for entry in sorted(mounts.mounts(pid), key=lambda each: each.point)
    ]


def powers(pid: int) -> list[str]:
    wanted = ("Uid", "Gid", "Groups", "NoNewPrivs", "CapInh", "CapBnd", "CapAmb", "CapPrm")
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line.strip() for line in lines if line.partition(":")[0] in wanted]


def oom_score(pid: int | str) -> str:
    return Path(f"/proc/{pid}/oom_score_adj").read_text()


def program(pid: int) -> tuple[bytes, bytes, str]:
    proc = Path(f"/proc/{pid}")
    environment = sorted((proc / "environ").read_bytes().split(b"\0"))
    dropped = (b"PWD=", b"OLDPWD=", b"SHLVL=", b"_=")
    kept = [item for item in environment if not item.startswith(dropped)]
    return (proc / "cmdline").read_bytes(), b"\0".join(kept), os.readlink(proc / "cwd")


def run_script(world: World, spec: ContainerSpec) -> tuple[int, int]:
    """Render sandbox and container, run the script, and return the pids that it tells."""
    steps: list[Step] = [
        step for step in compute_sandbox_plan(world.sandbox, world.host) if step.where != "daemon"
    ]
    script = world.directory / "plan.sh"
    script.write_text(render([*steps, *world.plan(spec)]))
    said = world.directory / "said"
    with said.open("w") as output:
        subprocess.run(
            ["sh", script],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
            timeout=patience(60),
        )
    told = [line.split() for line in said.read_text().splitlines() if " is process " in line]
    assert [words[0] for words in told] == ["pause", "container"], said.read_text()
    pause, container = (int(words[-1]) for words in told)
    return pause, container


CASES = {
    "ordinary": {},
    "user": {"user": User(name="app", supplementary=(50,))},
    "oom score": {"security": replace(SECURITY, oom_score_adj=345)},
    "directory": {"cwd": "/made/here", "env": ("A=it's $HOME", "B=")},
}


@pytest.mark.parametrize("fields", CASES.values(), ids=CASES)
@pytest.mark.parametrize("pid", ["container", "pod"])
def test_script_makes_what_launch_makes(
    world: World, request: pytest.FixtureRequest, fields: dict[str, object], pid: str
) -> None:
    volume = world.directory / "volume"
    (volume / "below").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "mp-test", volume / "below"], check=True)
    request.addfinalizer(lambda: subprocess.run(["umount", volume / "below"], check=True))
    (volume / "file").touch()
    (world.layer / "run").mkdir()
    (world.layer / "var").mkdir()
    (world.layer / "var/run").symlink_to("/run")  # as Debian's; in there, and not on the host
    bound = (
        Mount("/var/run/secrets/here", str(volume), read_only=True),
        Mount("/etc/missing/file", str(volume / "file")),
        Mount("/shared", str(volume), "sub", propagation="rshared"),
        Mount("/data", str(volume)),
        Mount("/etc/sub", str(volume), "sub", read_only=True),
        Mount("/ro", str(volume), read_only=True),
        Mount("/rro", str(volume), read_only=True, recursive_read_only=True),
    )
    world.start_sandbox(pid=pid)
    assert world.pause is not None
    launched = world.start(world.spec("sleep", "1000", mounts=bound, **fields))
    # an execve closes descriptors, which tells of it, before its arguments are to be seen
    wait_for_program(launched.pid, b"sleep\0001000\0", world.directory / "said")
    expected = (
        namespaces(launched.pid, world.pause.pid),
        mount_table(launched.pid),
        powers(launched.pid),
        program(launched.pid),
        namespaces(world.pause.pid, world.pause.pid),
        powers(world.pause.pid),
        mount_table(world.pause.pid),
        oom_score(launched.pid),
        oom_score(1),  # the host's first process, which the script must not take for its own
    )
    end(launched)

    world.sandbox = replace(world.sandbox, cgroup=f"{world.name}/script")
    again = world.spec("sleep", "1000", name="c2", mounts=bound, **fields)
    pause, container = run_script(world, again)
    try:
        wait_for_program(container, b"sleep\0001000\0", world.directory / "said")
        made = (
            namespaces(container, pause),
            mount_table(container),
            powers(container),
            program(container),
            namespaces(pause, pause),
            powers(pause),
            mount_table(pause),
            oom_score(container),
            oom_score(1),
        )
        for got, wanted in zip(made, expected, strict=True):
            assert got == wanted
        for point in world.host.cgroups.hierarchies:
            members = Path(point, world.sandbox.cgroup, "c2/cgroup.procs").read_text().split()
            assert str(container) in members
    finally:
        cgroup.kill(world.host.cgroups, world.sandbox.cgroup)


def wait_for_program(pid: int, command: bytes, said: Path) -> None:
    """Wait until the process has executed its program: the script lets it go and ends."""
    file = Path(f"/proc/{pid}/cmdline")

    def is_there() -> bool:
        assert file.exists(), said.read_text()
        return file.read_bytes() == command

    wait_until(is_there)
