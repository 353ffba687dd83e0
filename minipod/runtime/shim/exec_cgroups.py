"""The v2 cgroup that each exec'd process is born into, so that it can be killed with everything it started."""

import errno
import os

from minipod.linux import cgroup
from minipod.runtime.shim.containers import explain
from minipod.runtime.shim.core import Core, Refusal
from minipod.runtime.shim.processes import kill_tree

REMOVAL_WAITS = (0.01, 0.1, 1.0)


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


def remove(core: Core, path: str, waits: tuple[float, ...] = REMOVAL_WAITS) -> None:
    """Remove an exec's own cgroup, unless what it left in the background still lives there.

    The process that made the program's may end a moment after it: it is tried again after each of the `waits`, seconds.
    """
    if not core.cgroups.unified:
        return
    try:
        os.rmdir(f"{core.cgroups.unified}/{path}")
    except OSError as error:
        if error.errno == errno.EBUSY and waits:
            core.loop.call_later(waits[0], lambda: remove(core, path, waits[1:]))
