"""After a predecessor died (kill -9, a reboot): end what it left, keep what is known of it.

A container whose parent is gone cannot be adopted: its exit code and its output are lost. It is killed by its
cgroup and listed as exited, "ContainerStatusUnknown", 137, as the kubelet has it, and the node restarts it by policy.
"""

import contextlib
import os
import time
from collections.abc import Iterable
from pathlib import Path

from minipod.linux import cgroup
from minipod.linux.cgroup import CgroupLayout
from minipod.runtime.shim.records import (
    UNKNOWN_EXIT_CODE,
    ContainerRecord,
    RecordFiles,
    SandboxRecord,
)

UNKNOWN_REASON = "ContainerStatusUnknown"
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def recover(
    files: RecordFiles, run: Path, parents: Iterable[str], cgroups: CgroupLayout
) -> tuple[list[SandboxRecord], list[ContainerRecord], list[str]]:
    """End and clean up what a dead predecessor left, below the cgroups `parents` for one.

    Returns its sandboxes and containers, all of them ended, and the problems met. Blocks until the kernel has no such
    process any more (bounded by cgroup.kill).
    """
    sandboxes, containers = files.sandboxes(), files.containers()
    message = _explain(run)
    problems = []
    recorded = [item.cgroup for item in containers] + [item.cgroup for item in sandboxes]
    left = [path for parent in parents for path in _left_cgroups(parent, cgroups)]
    for path in dict.fromkeys((*recorded, *left)):
        try:
            cgroup.kill(cgroups, path)
            cgroup.remove(cgroups, path)
        except (OSError, TimeoutError) as error:
            problems.append(f'cgroup "{path}" of a former shim is still there: {error}')
    for container in containers:
        if container.state != "exited":
            container.finish(time.time(), UNKNOWN_EXIT_CODE, UNKNOWN_REASON, message)
            files.follow(container)
    for sandbox in sandboxes:
        sandbox.pid = 0
        files.follow(sandbox)
    return sandboxes, containers, problems


def _explain(run: Path) -> str:
    """Say why the predecessor's containers ended, and note this boot for the successor."""
    noted, current = run / "shim" / "boot_id", BOOT_ID.read_text()
    try:
        rebooted = noted.read_text() != current
    except FileNotFoundError:
        rebooted = False
    with contextlib.suppress(
        OSError
    ):  # a full disk: the next one may explain it wrongly, but starts
        noted.write_text(current)
    if rebooted:
        return "the host was restarted while the container ran"
    return "the shim ended while the container ran, so its exit code is not known"


def _left_cgroups(parent: str, cgroups: CgroupLayout) -> list[str]:
    """Return the Pods' cgroups by their place, recorded or not."""
    found: dict[str, None] = {}
    for point in cgroups.hierarchies:
        try:
            with os.scandir(f"{point}/{parent}") as entries:
                found |= {f"{parent}/{entry.name}": None for entry in entries if entry.is_dir()}
        except FileNotFoundError:
            continue
    return list(found)
