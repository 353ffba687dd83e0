"""Where the Pods' cgroups are made. On a host that systemd runs: in a subtree that systemd has handed over.

systemd owns the tree (https://systemd.io/CGROUP_DELEGATION/): whoever makes cgroups of his own asks for a unit with
`Delegate=yes` and stays within it. The unit is a scope around the shim, not the shim's service: on v2 the top of the
subtree may hold no process once its controllers are handed down, and a service that is started again (`systemctl
restart`) puts its process just there, which the kernel then refuses (before systemd 254 there is no DelegateSubgroup=).
A scope is entered once and lasts for as long as anything runs in it:

    minipod.slice/minipod-shim-4f1c.scope/        no process
                                          shim    the shim itself
                                          minipod/podUID/...

Without systemd, or on cgroup v1 alone, the Pods' cgroups are in `/INSTANCE` of every hierarchy.
"""

import contextlib
import os
import secrets
import socket
import sys
from collections.abc import Sequence

from minipod.linux.cgroup import CgroupLayout

SYSTEMD = "/run/systemd/private"  # where its manager listens for root (sd_booted(3): /run/systemd/system is there)
LAUNCHER = "/usr/bin/systemd-run"
LEAF = "shim"
_TRIED = "MINIPOD_SHIM_SCOPE"  # in the environment of a shim that has asked for its scope


def enter_scope(instance: str, program: Sequence[str]) -> None:
    """Execute `program` (this one) once more in a scope of its own, if there is a systemd to ask. Returns otherwise."""
    if os.environ.pop(_TRIED, None) or not _systemd_answers():
        return
    arguments = compute_scope_command(instance, secrets.token_hex(4), program)
    os.execve(LAUNCHER, arguments, os.environ | {_TRIED: "1"})


def compute_scope_command(instance: str, token: str, program: Sequence[str]) -> list[str]:
    """Return the command that executes `program` in place, in a new delegated scope. Pure.

    When the host goes down, the daemon (system's own) is ended before the Pods: it must not restart them.
    """
    own = instance == "minipod"
    properties = ["Delegate=yes", "TasksMax=infinity", *(["Before=minipod.service"] if own else [])]
    return [
        LAUNCHER,
        "--scope",
        "--quiet",
        "--collect",
        f"--unit={instance}-shim-{token}.scope",
        f"--slice={'minipod.slice' if own else 'system.slice'}",
        f"--description=The Pods of {instance} and their parent process",
        *(f"--property={each}" for each in properties),
        "--",
        *program,
    ]


def _systemd_answers() -> bool:
    if not (os.path.isdir("/run/systemd/system") and os.access(LAUNCHER, os.X_OK)):
        return False
    with socket.socket(socket.AF_UNIX) as manager:
        try:
            manager.connect(SYSTEMD)
        except OSError as error:
            print(f"minipod shim: systemd does not answer ({error})", file=sys.stderr, flush=True)
            return False
    return True


def claim(layout: CgroupLayout, instance: str) -> str:
    """Return the cgroup below which the Pods' are made; in a scope, this process makes room for them. Repeatable."""
    scope = find_scope(layout, _own_cgroup())
    if not scope:
        return instance
    leaf = f"{layout.unified}/{scope}/{LEAF}"
    with contextlib.suppress(FileExistsError):
        os.mkdir(leaf)
    with open(f"{leaf}/cgroup.procs", "w") as file:
        file.write("0")
    return f"{scope}/{instance}"


def find_scope(layout: CgroupLayout, own: str) -> str:
    """Return the delegated scope that the cgroup `own` ("/a/b.scope") is or is the leaf of, or ""."""
    path = own.strip("/").removesuffix(f"/{LEAF}")
    if not layout.unified or not path.endswith(".scope"):
        return ""
    try:
        mark = os.getxattr(f"{layout.unified}/{path}", "trusted.delegate")
    except OSError:
        return ""
    return path if mark == b"1" else ""


def _own_cgroup() -> str:
    with open("/proc/self/cgroup") as file:
        return next((line[3:].strip() for line in file if line.startswith("0::")), "")
