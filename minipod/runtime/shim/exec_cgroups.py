"""Processes beside a container's own, each in a v2 cgroup of its own, to be killed with everything it started."""

import contextlib
import os
import select
from collections.abc import Callable

from minipod.linux import cgroup
from minipod.runtime.shim.connection import Request
from minipod.runtime.shim.containers import Container, explain, members_list
from minipod.runtime.shim.core import Core, Refusal, cgroup_path
from minipod.runtime.shim.launching import Launch, LaunchFailure, Pipes, Started
from minipod.runtime.shim.processes import kill_tree

OnStarted = Callable[[str, Started, Pipes], None]  # the cgroup, the process, its pipes

MOST_EMPTYING = 256  # execs whose leftovers are waited for at once


def start(
    core: Core,
    container: Container,
    request: Request,
    open_pipes: Callable[[], Pipes],
    on_started: OnStarted,
) -> None:
    """Start the process that a request describes (`cgroup`, `steps`) in a container, or answer why it cannot be."""
    path = cgroup_path(request.arguments, "cgroup")
    steps = members_list(request.arguments, "steps")
    make(core, path)

    def done(result: Started | LaunchFailure) -> None:
        if isinstance(result, LaunchFailure):
            remove(core, path)
            request.fail(result.reason, str(result), result.step)
        else:
            on_started(path, result, pipes)

    try:
        pipes = _opened(open_pipes)
        Launch(
            core,
            steps,
            pipes,
            {"container_pid": container.record.pid},
            done,
            place=container.place,
            has_lost_container=lambda: container.ended is not None,
        )
    except LaunchFailure as failure:
        done(failure)


def _opened(open_pipes: Callable[[], Pipes]) -> Pipes:
    """Return the pipes; LaunchFailure when this process has no descriptors left."""
    try:
        return open_pipes()
    except OSError as error:
        raise LaunchFailure("ExecError", f"no pipe: {explain(error)}") from None


def make(core: Core, path: str) -> None:
    """Make an exec's own cgroup. Refusal when the kernel will not; nothing on hosts without v2."""
    if core.cgroups.unified:
        try:
            os.mkdir(f"{core.cgroups.unified}/{path}")
        except OSError as error:
            raise Refusal("ExecError", explain(error)) from None


def kill(core: Core, path: str, pid: int) -> None:
    """Kill an exec'd process with everything it started."""
    if core.cgroups.unified:
        cgroup.signal_all(core.cgroups, path)
    kill_tree(pid)


def remove(core: Core, path: str) -> None:
    """Remove an exec's own cgroup, now or when the last of what it left in the background has ended.

    The kernel tells, but not of one that is removed with its container within 10 ms of its last word: that is looked
    at by whoever removes it. Beyond some descriptors for that, what is left goes with the container.
    """
    directory = f"{core.cgroups.unified}/{path}"
    if not core.cgroups.unified or _is_removed(directory) or len(core.emptying) >= MOST_EMPTYING:
        return
    try:
        events = os.open(f"{directory}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return  # it has gone meanwhile

    def look(_events: int) -> None:
        with contextlib.suppress(OSError):  # ENODEV: it has gone with its container
            os.pread(events, 256, 0)  # or the kernel tells for ever
        if _is_removed(directory):
            core.loop.unwatch(events)
            del core.emptying[path]
            os.close(events)

    core.emptying[path] = look
    core.loop.watch(events, select.EPOLLPRI, look)
    look(0)


def _is_removed(directory: str) -> bool:
    """Remove a cgroup unless somebody lives there; whether it is gone."""
    try:
        os.rmdir(directory)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
