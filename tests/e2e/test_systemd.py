"""The systemd units under a real systemd: booted in namespaces of its own, on a copy of this host's file system.

Only pure cgroup v2 is mounted there (without controllers, where this host has them on v1): what is seen is what a
current Debian does with the units, and that nobody but its owner enters, moves or removes the Pods' subtree.
"""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from minipod.linux.cgroup import discover
from tests import lanes
from tests.e2e.instance import REPOSITORY, wait_until

BOOT = """
set -e
echo $$ >"$4/cgroup.procs"
exec unshare --mount --pid --fork --uts --ipc --net --cgroup --kill-child sh -c '
set -e
mount --make-rprivate /
mount -t tmpfs none "$1"; cd "$1"; mkdir upper work root
mount -t overlay overlay -o lowerdir=/,upperdir=upper,workdir=work root; cd root
mount -t proc proc proc; mount -t sysfs -o ro sysfs sys; mount -t cgroup2 none sys/fs/cgroup
mount --rbind /dev dev
for place in run tmp var/log; do mount -t tmpfs none $place; done
mkdir -p var/lib/minipod run/systemd/system run/lock run/old ".$2"
mount -t tmpfs none var/lib/minipod; mount --rbind "$2" ".$2"
cp "$3"/*.service "$3"/*.target run/systemd/system/; cp "$3"/busybox.tar run/
hostname machine; ip link set lo up
pivot_root . run/old; cd /; umount -l run/old
exec env -i container=other PATH="$PATH" /lib/systemd/systemd --unit=machine.target --show-status=0 --log-target=null
' sh "$@"
"""
TARGET = "[Unit]\nDescription=Nothing but systemd itself\n"
COUNTING = "i=0; while :; do i=$((i+1)); echo $i; sleep 0.1; done"
POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "stays"},
    "spec": {
        "terminationGracePeriodSeconds": 1,
        "containers": [{"name": "c0", "image": "busybox", "command": ["sh", "-c", COUNTING]}],
    },
}


class Machine:
    """A booted systemd; `pid` is its process on this host."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def run(self, *command: str, check: bool = True, **more: Any) -> str:
        """Run a command in the machine and return what it prints."""
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        done = subprocess.run(
            ["nsenter", f"--target={self.pid}", "--all", "env", "-i", f"PATH={path}", *command],
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
            **more,
        )
        if check and done.returncode:
            raise AssertionError(f"{command}: {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    def get_pod(self) -> Any:
        """Return the Pod as the API has it."""
        return json.loads(self.run("minipod", "get", "pod", "stays", "-o", "json"))

    def container(self) -> tuple[str, str]:
        """Return the container's process, and its cgroup as the kernel has it."""
        found = json.loads(self.run("minipod", "inspect", "pod/stays", "-o", "json"))
        (pid,) = [str(c["pid"]) for c in found["containers"] if c["state"] == "running"]
        return pid, self.run("sed", "-n", "s/^0:://p", f"/proc/{pid}/cgroup").strip()

    def scopes(self) -> list[str]:
        """Return the scopes that systemd has for Pods."""
        listed = self.run("systemctl", "list-units", "--no-legend", "minipod-shim-*.scope")
        return [line.split()[0] for line in listed.splitlines()]


def _is_ready(machine: Machine, restarts: int) -> bool:
    (status,) = machine.get_pod()["status"]["containerStatuses"]
    return status["ready"] and status["restartCount"] >= restarts


@pytest.fixture
def machine(tmp_path: Path, busybox_archive: Path, outer_namespace: int) -> Iterator[Machine]:
    """A machine with minipod's units started and one Pod running."""
    unified = discover().unified
    if not unified:
        pytest.skip("needs a cgroup v2 mount, for the machine to have one of its own")
    own = re.search("^0::/?(.*)$", Path("/proc/self/cgroup").read_text(), re.M)
    assert own
    group = Path(unified, own[1], lanes.note(f"minipod-machine-{os.getpid()}"))
    group.mkdir()
    files = tmp_path / "files"
    files.mkdir()
    (files / "machine.target").write_text(TARGET)
    (files / "busybox.tar").write_bytes(busybox_archive.read_bytes())
    for unit in (REPOSITORY / "minipod" / "systemd").glob("*.service"):
        program = str(Path(sys.executable).with_name("minipod"))
        (files / unit.name).write_text(unit.read_text().replace("@MINIPOD@", program))
    (tmp_path / "root").mkdir()
    arguments = [f"{each}" for each in (tmp_path / "root", REPOSITORY, files, group)]
    booted = subprocess.Popen(["sh", "-c", BOOT, "sh", *arguments], stdin=subprocess.DEVNULL)
    try:
        yield _start(booted.pid)
    finally:
        booted.send_signal(signal.SIGKILL)
        booted.wait()
        wait_until(lambda: "populated 0" in (group / "cgroup.events").read_text(), "its end")
        for directory, _, _ in os.walk(group, topdown=False):
            os.rmdir(directory)


def _start(booted: int) -> Machine:
    children = Path(f"/proc/{booted}/task/{booted}/children")
    machine = Machine(int(wait_until(lambda: children.read_text().split(), "systemd")[0]))
    ready = ("systemctl", "is-active", "machine.target")
    wait_until(lambda: machine.run(*ready, check=False).strip() == "active", "a booted systemd")
    machine.run("minipod", "image", "load", "/run/busybox.tar")
    machine.run("systemctl", "start", "minipod-shim", "minipod")
    machine.run("minipod", "apply", "-f", "-", "--until-ready", input=json.dumps(POD))
    return machine


def test_pods_outlive_whatever_is_done_to_the_units(machine: Machine) -> None:
    before = machine.container()
    (scope,) = machine.scopes()
    assert before[1].startswith(f"/minipod.slice/{scope}/minipod/pod")
    for command in (
        "daemon-reload",
        "restart minipod-shim",
        "restart minipod",
        "reload minipod-shim",
        "daemon-reexec",
        "stop minipod minipod-shim",
        "start minipod-shim minipod",
    ):
        machine.run("systemctl", *command.split())
        assert machine.run("test", "-d", f"/proc/{before[0]}") == "", command
    assert machine.container() == before
    assert machine.scopes() == [scope]
    assert _is_ready(machine, 0)
    assert machine.get_pod()["status"]["containerStatuses"][0]["restartCount"] == 0
    lines = [int(line) for line in machine.run("minipod", "logs", "stays").split()]
    assert lines == list(range(1, len(lines) + 1))


def test_a_new_shim_gets_a_new_scope_and_the_old_one_goes(machine: Machine) -> None:
    (old,) = machine.scopes()
    shim = machine.run("cat", f"/sys/fs/cgroup/minipod.slice/{old}/shim/cgroup.procs").strip()
    machine.run("kill", "-9", shim)
    wait_until(lambda: _is_ready(machine, 1), "the restarted container")
    wait_until(
        lambda: len(machine.scopes()) == 1 and machine.scopes() != [old], "the old scope's end"
    )
    assert machine.container()[1].startswith(f"/minipod.slice/{machine.scopes()[0]}/")
    machine.run("minipod", "down", "--pods")
    wait_until(lambda: machine.scopes() == [], "the end of the last scope")
    left = machine.run("find", "/sys/fs/cgroup", "-name", "*minipod*", "-type", "d").split()
    assert left == ["/sys/fs/cgroup/minipod.slice"]
