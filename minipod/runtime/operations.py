"""The vocabulary of a plan: small operations, each one Linux step that a learner can name.

A plan is an ordered list of `Step`s. The executor performs them with system calls, the renderer prints them as
shell. Operations are immutable values of JSON-able members, so that they travel to the shim as they are.
"""

from dataclasses import dataclass
from typing import Literal

Where = Literal["daemon", "shim", "child"]


@dataclass(frozen=True)
class Operation:
    """The base of every operation; subclasses add their fields and nothing else."""


@dataclass(frozen=True)
class MakeDirectory(Operation):
    """Ensure a directory (and its parents, 0755) with the given mode and owner."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class WriteFile(Operation):
    """Ensure a file with this content and mode, replaced atomically."""

    path: str
    content: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class MountTmpfs(Operation):
    """Ensure a tmpfs at `path` on the host (an emptyDir of `medium: Memory`, secrets)."""

    path: str
    size_bytes: int | None = None
    mode: int = 0o777
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class Unmount(Operation):
    """Ensure that nothing is mounted at or below `path`."""

    path: str


@dataclass(frozen=True)
class RemoveTree(Operation):
    """Remove a directory tree without crossing mounts or following links."""

    path: str


@dataclass(frozen=True)
class CheckHostPath(Operation):
    """Hold a hostPath volume to its `type`, making what the `...OrCreate` types make."""

    path: str
    type: Literal[
        "",
        "DirectoryOrCreate",
        "Directory",
        "FileOrCreate",
        "File",
        "Socket",
        "CharDevice",
        "BlockDevice",
    ] = ""


@dataclass(frozen=True)
class Step:
    """One operation, where it runs, and why it is there (rendered as the comment above it)."""

    operation: Operation
    where: Where = "daemon"
    comment: str = ""
