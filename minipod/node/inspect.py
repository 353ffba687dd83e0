"""A Pod as the kernel has it: namespaces, mounts, cgroups and processes, read from /proc and the cgroup mounts.

Nothing here is remembered or computed from the spec: what it shows is what is.
"""

import os
from pathlib import Path
from typing import Any

from minipod.linux import cgroup
from minipod.runtime.service import RuntimeState

Facts = dict[str, Any]
_NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user", "time")


def inspect_pod(state: RuntimeState) -> Facts:
    """Return the facts of one Pod's sandboxes and containers. Blocks for some reads of /proc."""
    layout = cgroup.this_host()
    pod_cgroup = state.sandboxes[-1].cgroup if state.sandboxes else ""
    return {
        "host": {"namespaces": namespaces_of(os.getpid())},
        "cgroup": {"path": pod_cgroup, **_usage(layout, pod_cgroup)},
        "sandboxes": [
            {
                "id": each.id,
                "pid": each.pid,
                "ready": each.ready,
                "address": each.address,
                **_process_facts(each.pid),
            }
            for each in state.sandboxes
        ],
        "containers": [
            {
                "id": each.id,
                "name": each.labels.get("io.kubernetes.container.name", ""),
                "state": each.state,
                "pid": each.pid,
                "logPath": each.log_path,
                **_process_facts(each.pid),
                "processes": _processes(layout, f"{pod_cgroup}/{each.id}"),
                "usage": _usage(layout, f"{pod_cgroup}/{each.id}"),
            }
            for each in state.containers
        ],
    }


def namespaces_of(pid: int) -> dict[str, str]:
    """Return a process's namespaces as /proc/PID/ns has them: {"net": "net:[4026531840]"}."""
    found = {}
    for name in _NAMESPACES:
        try:
            found[name] = os.readlink(f"/proc/{pid}/ns/{name}")
        except OSError:
            continue
    return found


def _process_facts(pid: int) -> Facts:
    if not pid:
        return {}
    return {
        "namespaces": namespaces_of(pid),
        "mounts": _read_mounts(pid),
        "cgroups": _read(f"/proc/{pid}/cgroup").splitlines(),
        "status": _status(pid),
    }


def _read_mounts(pid: int) -> list[str]:
    lines = []
    for line in filter(None, _read(f"/proc/{pid}/mountinfo").split("\n")):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(" "), after.split(" ")
        lines.append(f"{fields[4]} {kind[0]} {kind[1]} {fields[5]}")
    return lines


def _status(pid: int) -> Facts:
    """Return what of /proc/PID/status says who the process is and what it may do, and how soon it is killed."""
    wanted = (
        "Uid",
        "Gid",
        "Groups",
        "NSpid",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "NoNewPrivs",
        "Seccomp",
    )
    pairs = (line.partition(":") for line in _read(f"/proc/{pid}/status").splitlines())
    found = {name: value.strip() for name, _, value in pairs if name in wanted}
    return {**found, "OomScoreAdj": _read(f"/proc/{pid}/oom_score_adj").strip()}


def _processes(layout: cgroup.CgroupLayout, path: str) -> list[Facts]:
    try:
        pids = cgroup.processes(layout, path)
    except OSError:
        return []
    return [_process(pid) for pid in sorted(pids)]


def _process(pid: int) -> Facts:
    command = _read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
    return {"pid": pid, "command": command or f"[{_read(f'/proc/{pid}/comm').strip()}]"}


def _usage(layout: cgroup.CgroupLayout, path: str) -> Facts:
    if not path:
        return {}
    try:
        return dict(vars(cgroup.stats(layout, path)))
    except OSError:
        return {}


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""
