"""Performs the operations that run outside the new process: directories, files, volumes, cgroups, the network.

Every one is idempotent: done twice, or interrupted and done again, it leaves the same state. The network's modules
are imported when first needed, so that the shim, which performs none of those, never loads them.
"""

import contextlib
import errno
import importlib
import os
import secrets
import stat
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from minipod.linux import cgroup, devices
from minipod.linux.mount import MS_NODEV, MS_NOSUID, MS_RDONLY, UMOUNT_NOFOLLOW, mount, umount2
from minipod.linux.mounts import mounts_below
from minipod.linux.trees import remove_tree
from minipod.runtime.operations import (
    AddNftElements,
    AddVeth,
    CheckHostPath,
    ConfigureNetwork,
    DeleteLink,
    EnterCgroup,
    KeepOnly,
    MakeCgroup,
    MakeDirectory,
    MakeSymlink,
    MountLayers,
    MountTmpfs,
    Operation,
    RemoveCgroup,
    RemoveNftElements,
    RemoveTree,
    Step,
    TracedStep,
    Unmount,
    Where,
    WriteFile,
)
from minipod.runtime.overlay import OPTIONS_LIMIT, lower_directories

References = Mapping[str, int | str]


class StepFailed(Exception):
    """One step could not be done: `step` is its place in the list, `operation` what it was, `cause` the OSError."""

    def __init__(self, step: int, operation: Operation, cause: Exception) -> None:
        super().__init__(describe(cause))
        self.step = step
        self.operation = operation
        self.cause = cause

    @property
    def errno(self) -> int:
        """The kernel's error number, 0 when the failure is not the kernel's."""
        return self.cause.errno or 0 if isinstance(self.cause, OSError) else 0


def describe(failure: Exception) -> str:
    """Return one line for a failure: the path it is about, quoted, and what went wrong."""
    if isinstance(failure, OSError) and failure.strerror:
        where = f' "{failure.filename}"' if failure.filename else ""
        return f"{failure.strerror}{where}"
    return str(failure) or type(failure).__name__


def perform_steps(
    steps: Sequence[Step],
    references: References | None = None,
    *,
    where: Where = "daemon",
) -> list[TracedStep]:
    """Perform those of `steps` that run at `where`, in order, and return what each took. Raises StepFailed."""
    known = references or {}
    traced = []
    for index, step in enumerate(steps):
        if step.where != where:
            continue
        start = time.monotonic_ns()
        try:
            perform(step.operation, known)
        except (OSError, ValueError, TimeoutError) as failure:
            raise StepFailed(index, step.operation, failure) from failure
        traced.append(TracedStep(step, *since(start)))
    return traced


def since(start_ns: int) -> tuple[int, int]:
    """Return when something began (CLOCK_MONOTONIC) and how long it has taken until now, in microseconds."""
    return start_ns // 1000, (time.monotonic_ns() - start_ns) // 1000


def perform(operation: Operation, references: References | None = None) -> None:
    """Perform one operation. OSError or ValueError says what failed; TypeError for one of a child's own."""
    actions = _network_actions() if isinstance(operation, _NETWORK) else _ACTIONS
    action = actions.get(type(operation))
    if action is None:
        raise TypeError(f"{type(operation).__name__} runs inside a new process only")
    action(operation, references or {})


def resolve(reference: str, references: References) -> int | str:
    """Return the value of "$NAME", or the text itself. ValueError for a reference that nobody set."""
    if not reference.startswith("$"):
        return reference
    if reference[1:] not in references:
        raise ValueError(f'"{reference}" is not known yet')
    return references[reference[1:]]


# --- directories and files ----------------------------------------------------------------------------------------


def _make_directory(operation: MakeDirectory, _: References) -> None:
    try:
        os.makedirs(os.path.dirname(operation.path) or "/", 0o755, exist_ok=True)
        os.mkdir(operation.path, operation.mode)
    except FileExistsError:
        if not os.path.isdir(operation.path):
            raise
    found = os.stat(operation.path)
    if (found.st_uid, found.st_gid) != (operation.uid, operation.gid):
        os.chown(operation.path, operation.uid, operation.gid)
    if stat.S_IMODE(found.st_mode) != operation.mode:  # the umask took bits, or somebody changed it
        os.chmod(operation.path, operation.mode)


def _write_file(operation: WriteFile, _: References) -> None:
    content = operation.content.encode(errors="surrogateescape")
    temporary = f"{operation.path}.{secrets.token_hex(4)}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(temporary, flags, 0o600), "wb") as opened:
            opened.write(content)
            os.fchown(opened.fileno(), operation.uid, operation.gid)
            os.fchmod(opened.fileno(), operation.mode)
        os.replace(temporary, operation.path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _make_symlink(operation: MakeSymlink, _: References) -> None:
    temporary = f"{operation.path}.{secrets.token_hex(4)}.new"
    try:
        os.symlink(operation.target, temporary)
        os.replace(temporary, operation.path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _remove_tree(operation: RemoveTree, _: References) -> None:
    remove_tree(operation.path)


def _keep_only(operation: KeepOnly, _: References) -> None:
    for name in set(os.listdir(operation.path)) - set(operation.names):
        _remove_tree(RemoveTree(f"{operation.path}/{name}"), {})


# --- volumes ------------------------------------------------------------------------------------------------------


def _mount_tmpfs(operation: MountTmpfs, _: References) -> None:
    os.makedirs(operation.path, exist_ok=True)
    path = os.path.realpath(operation.path)
    if _is_mounted(path, "tmpfs"):
        return
    options = f"mode={operation.mode:o},uid={operation.uid},gid={operation.gid}"
    if operation.size_bytes is not None:
        options += f",size={operation.size_bytes}"
    mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options)


def _mount_layers(operation: MountLayers, _: References) -> None:
    """Mount an overlay without a writable layer. It takes two lower ones: the mount point itself is the lowest."""
    os.makedirs(operation.path, exist_ok=True)
    path = os.path.realpath(operation.path)
    if _is_mounted(path, "overlay"):
        return
    layers = operation.layers
    options = f"lowerdir={lower_directories((*layers, path))}"
    if len(os.fsencode(options)) > OPTIONS_LIMIT:
        raise OSError(errno.E2BIG, f"{len(layers)} layers are more than one mount can name", path)
    mount("overlay", path, "overlay", MS_RDONLY | MS_NOSUID | MS_NODEV, options)


def _is_mounted(path: str, kind: str) -> bool:
    """Whether a filesystem of this kind is mounted at a path (without links)."""
    if os.stat(path).st_dev == os.stat(os.path.dirname(path)).st_dev:
        return False  # it begins none: no need to look for it among hundreds of mounts
    return any(entry.point == path and entry.type == kind for entry in mounts_below(path))


def _unmount(operation: Unmount, _: References) -> None:
    path = os.path.realpath(operation.path)
    for entry in mounts_below(path):
        try:
            umount2(entry.point, UMOUNT_NOFOLLOW)
        except OSError as failure:
            if failure.errno not in (errno.EINVAL, errno.ENOENT):  # gone already
                raise


_TYPES: dict[str, tuple[Callable[[int], bool], str]] = {  # what it must be, in the kubelet's words
    "Directory": (stat.S_ISDIR, "is not a directory"),
    "DirectoryOrCreate": (stat.S_ISDIR, "is not a directory"),
    "File": (stat.S_ISREG, "is not a file"),
    "FileOrCreate": (stat.S_ISREG, "is not a file"),
    "Socket": (stat.S_ISSOCK, "is not a socket file"),
    "CharDevice": (stat.S_ISCHR, "is not a character device"),
    "BlockDevice": (stat.S_ISBLK, "is not a block device"),
}


def _check_host_path(operation: CheckHostPath, _: References) -> None:
    path, wanted = operation.path, operation.type
    if not wanted:
        os.makedirs(path, exist_ok=True) if not os.path.exists(path) else None
        return
    if wanted == "DirectoryOrCreate" and not os.path.lexists(path):
        os.makedirs(path, 0o755, exist_ok=True)
    elif wanted == "FileOrCreate" and not os.path.lexists(path):
        with contextlib.suppress(FileExistsError):  # a link that somebody has put there meanwhile
            flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(path, flags, 0o644))
    accepts, complaint = _TYPES[wanted]
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        mode = 0
    if not accepts(mode):
        raise ValueError(f"hostPath type check failed: {path} {complaint}")


# --- control groups -----------------------------------------------------------------------------------------------


def _make_cgroup(operation: MakeCgroup, _: References) -> None:
    layout = cgroup.this_host()
    cgroup.ensure(layout, operation.path)
    cgroup.limit(layout, operation.path, cgroup.settings(layout, **asdict(operation.resources)))
    if operation.limit_devices:
        devices.limit(layout, operation.path)


def _enter_cgroup(operation: EnterCgroup, references: References) -> None:
    pid = 0 if operation.pid == "self" else int(resolve(operation.pid, references))
    cgroup.enter_v1(cgroup.this_host(), operation.path, pid)


def _remove_cgroup(operation: RemoveCgroup, _: References) -> None:
    layout = cgroup.this_host()
    cgroup.kill(layout, operation.path)
    cgroup.remove(layout, operation.path)


# --- the network: a module of its own, so that the shim, which performs none of it, never loads netlink ----------

_NETWORK = (AddVeth, ConfigureNetwork, DeleteLink, AddNftElements, RemoveNftElements)


def _network_actions() -> dict[type[Operation], Callable[[Any, References], None]]:
    loaded: dict[type[Operation], Callable[[Any, References], None]]
    loaded = importlib.import_module("minipod.runtime.execute_network").ACTIONS
    return loaded


_ACTIONS: dict[type[Operation], Callable[[Any, References], None]] = {
    MakeDirectory: _make_directory,
    WriteFile: _write_file,
    MakeSymlink: _make_symlink,
    KeepOnly: _keep_only,
    RemoveTree: _remove_tree,
    MountTmpfs: _mount_tmpfs,
    MountLayers: _mount_layers,
    Unmount: _unmount,
    CheckHostPath: _check_host_path,
    MakeCgroup: _make_cgroup,
    EnterCgroup: _enter_cgroup,
    RemoveCgroup: _remove_cgroup,
}
