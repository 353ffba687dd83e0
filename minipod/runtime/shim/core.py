"""What the shim's parts share: the loop, the records, the children, and the way to tell the daemon.

Nothing here decides; `sandboxes`, `containers` and `sessions` do.
"""

import re
from collections.abc import Callable
from typing import Any

from minipod.linux import cgroup
from minipod.runtime.shim.loop import Loop
from minipod.runtime.shim.processes import Processes
from minipod.runtime.shim.records import Plain, RecordFiles

_IDENTIFIER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_CGROUP = re.compile(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.:-]+)*")


class Refusal(Exception):
    """A request that cannot be done: a Kubernetes word, a sentence, the step that failed."""

    def __init__(self, reason: str, message: str, step: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.step = step


class Core:
    """Shared state, owned by the server."""

    def __init__(self, loop: Loop, files: RecordFiles, publish: Callable[[Plain], None]) -> None:
        self.loop = loop
        self.files = files
        self.publish = publish  # sends an event to every subscribed daemon
        self.processes = Processes()
        self.cgroups = cgroup.this_host()
        self.busy = 0  # works in progress that an upgrade waits for
        # exec cgroups that somebody still lives in, by path: what looks whether they are gone
        self.emptying: dict[str, Callable[[int], None]] = {}


def text(arguments: Plain, name: str) -> str:
    """Return a string argument. Refusal when it is missing or something else."""
    value: Any = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise Refusal("InvalidArgument", f'argument "{name}" is missing')
    return value


def number(arguments: Plain, name: str) -> float:
    """Return a numeric argument. Refusal when it is missing or something else."""
    value: Any = arguments.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise Refusal("InvalidArgument", f'argument "{name}" is not a number')
    return value


def members(arguments: Plain, name: str) -> Plain:
    """Return an object argument. Refusal when it is missing or something else."""
    value: Any = arguments.get(name)
    if not isinstance(value, dict):
        raise Refusal("InvalidArgument", f'argument "{name}" is missing')
    return value


def identifier(arguments: Plain, name: str) -> str:
    """Return an argument that becomes a file's and a cgroup's name. Refusal when it could name something else."""
    value = text(arguments, name)
    if not _IDENTIFIER.fullmatch(value):
        raise Refusal("InvalidArgument", f'argument "{name}" is no identifier: "{value[:80]}"')
    return value


def cgroup_path(arguments: Plain, name: str) -> str:
    """Return an argument that is a path below the cgroup root. Refusal when it could lead out of it."""
    value = text(arguments, name)
    if not _CGROUP.fullmatch(value) or ".." in value.split("/"):
        raise Refusal("InvalidArgument", f'argument "{name}" is no cgroup path: "{value[:80]}"')
    return value
