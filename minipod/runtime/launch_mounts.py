"""The child's mounts: each target is found inside the new root by the kernel's own rules, never by a string alone.

An image or a volume may hold symbolic links that lead anywhere; targets are opened with RESOLVE_IN_ROOT and mounts are
attached to the descriptor, so nothing can be exchanged between the look and the mount.
"""

import contextlib
import errno
import os
import stat
from collections.abc import Callable
from typing import Any, Protocol

from minipod.linux import cgroup, files
from minipod.linux.mount import (
    MNT_DETACH,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_RDONLY,
    MS_REC,
    MS_RELATIME,
    MS_SHARED,
    MS_SLAVE,
    MS_STRICTATIME,
    mount,
    mount_setattr,
    move_mount,
    open_tree,
    pivot_root,
    umount2,
)
from minipod.linux.process import CLONE_NEWNS, setns, unshare
from minipod.runtime.operations import (
    BindMount,
    MakeDevices,
    MakeReadOnly,
    MaskPaths,
    MountCgroups,
    MountFilesystem,
    MountOverlay,
    OpenMountTree,
    PivotRoot,
    RemountReadOnly,
    SetPropagation,
)

_FLAGS = {
    "ro": MS_RDONLY,
    "nosuid": MS_NOSUID,
    "nodev": MS_NODEV,
    "noexec": MS_NOEXEC,
    "relatime": MS_RELATIME,
    "strictatime": MS_STRICTATIME,
    "rw": 0,
}
_ATTRIBUTES = {
    "nosuid": MOUNT_ATTR_NOSUID,
    "nodev": MOUNT_ATTR_NODEV,
    "noexec": MOUNT_ATTR_NOEXEC,
}
_PROPAGATIONS = {"private": MS_PRIVATE, "rslave": MS_SLAVE, "rshared": MS_SHARED}
_DEVICES = (  # name, major, minor: what the OCI runtime spec wants in every container
    ("null", 1, 3),
    ("zero", 1, 5),
    ("full", 1, 7),
    ("random", 1, 8),
    ("urandom", 1, 9),
    ("tty", 5, 0),
)
_LINKS = (
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("ptmx", "pts/ptmx"),
    ("core", "/proc/kcore"),
)
_ORDINARY = ("/proc", "/sys", "/dev")  # where a container finds the kernel
_OPTIONS_LIMIT = 4095  # mount(2) copies one page of options


class Trees(Protocol):
    """What mounting needs of the child: pidfds of other processes and the mounts taken so far."""

    targets: dict[str, int]
    trees: dict[str, int]
    proc_device: int  # of the /proc mounted in the new root


def _set_propagation(operation: SetPropagation, _: Trees) -> None:
    flag = {"rprivate": MS_PRIVATE, "rslave": MS_SLAVE, "rshared": MS_SHARED}
    mount("", operation.path, "", MS_REC | flag[operation.propagation])


def _open_mount_tree(operation: OpenMountTree, child: Trees) -> None:
    if not operation.target:
        tree = _open_source(operation.source, operation.subpath, operation.recursive)
        child.trees[operation.name] = tree
        return
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    setns(child.targets[operation.target], CLONE_NEWNS)
    try:
        if operation.covered:
            unshare(CLONE_NEWNS)  # a copy: the cover stays on what others see
            umount2(operation.source, MNT_DETACH)
        child.trees[operation.name] = open_tree(operation.source, recursive=operation.recursive)
    finally:
        setns(own, CLONE_NEWNS)
        # setns(2) has left us at the namespace's root, which a minipod run in a chroot is not at.
        os.fchdir(root)
        os.chroot(".")
        os.close(root)
        os.close(own)


def _open_source(source: str, subpath: str, recursive: bool) -> int:
    """Return a detached copy of the mount at `subpath` beneath `source`; the subpath is made when missing."""
    if not subpath:
        return open_tree(source, recursive=recursive)
    base = os.open(source, os.O_PATH | os.O_CLOEXEC)
    try:
        entry = _ensure_beneath(base, subpath)
        try:
            return open_tree("", recursive=recursive, directory=entry)
        finally:
            os.close(entry)
    finally:
        os.close(base)


def _ensure_beneath(base: int, path: str) -> int:
    """Open `path` beneath `base`, making missing directories; a link that leads out is refused.

    What is made has the base's mode, as the kubelet has it: a volume for everyone has sub paths for everyone.
    """
    with contextlib.suppress(FileNotFoundError):
        return files.open_beneath(base, path)
    made = ""
    for part in (part for part in path.split("/") if part not in ("", ".")):
        parent = files.open_beneath(base, made or ".", os.O_PATH | os.O_DIRECTORY)
        try:
            _make_like(base, parent, part)
        finally:
            os.close(parent)
        made = f"{made}/{part}" if made else part
    return files.open_beneath(base, path)


def _make_like(base: int, parent: int, name: str) -> None:
    """Make the directory `parent`/`name` with the mode of `base`, beyond the umask; nothing when something is there.

    Whoever shares the volume may put a link to the host's files in its place at any moment: it is not followed.
    """
    try:
        os.mkdir(name, 0o755, dir_fd=parent)
    except FileExistsError:
        return
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    made = os.open(name, flags, dir_fd=parent)
    try:
        os.fchmod(made, stat.S_IMODE(os.fstat(base).st_mode))
    finally:
        os.close(made)


def _mount_overlay(operation: MountOverlay, _: Trees) -> None:
    """Mount the layers. "volatile" spares the sync of a writable layer that never outlives its container."""
    flags = 0 if operation.devices else MS_NODEV
    layers = operation.layers
    base = os.path.commonpath([os.path.dirname(layer) for layer in layers]) if layers else "/"
    writable = f"upperdir={_escape(operation.upper)},workdir={_escape(operation.work)},volatile"
    options = f"lowerdir={_lower(layers, '')},{writable}"
    if len(os.fsencode(options)) > _OPTIONS_LIMIT:
        # Many layers: name them from their common directory, in which a mount resolves relative paths.
        options = f"lowerdir={_lower(layers, base + '/')},{writable}"
        os.chdir(base)
    if len(os.fsencode(options)) > _OPTIONS_LIMIT:
        raise OSError(errno.E2BIG, f"{len(layers)} layers are more than one mount can name", base)
    mount("overlay", operation.target, "overlay", flags, options)


def _lower(layers: tuple[str, ...], prefix: str) -> str:
    return ":".join(_escape(layer.removeprefix(prefix)).replace(":", "\\:") for layer in layers)


def _escape(path: str) -> str:
    return path.replace("\\", "\\\\").replace(",", "\\,")


def _refuse_link(root: str, path: str) -> None:
    """Refuse an image whose /proc, /sys or /dev is a link: what is mounted there must be there (CVE-2019-19921)."""
    if path not in _ORDINARY:
        return
    opened = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        mode = os.stat(path[1:], dir_fd=opened, follow_symlinks=False).st_mode
    except FileNotFoundError:
        return
    finally:
        os.close(opened)
    if not stat.S_ISDIR(mode):
        raise OSError(errno.ENOTDIR, "the image has no ordinary directory here", path)


def _mount_filesystem(operation: MountFilesystem, child: Trees) -> None:
    _refuse_link(operation.root, operation.target)
    flags, data = 0, []
    for option in operation.options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        else:
            data.append(option)
    with _target(operation.root, operation.target, directory=True) as target:
        mount(
            operation.source or operation.type,
            f"/proc/self/fd/{target}",
            operation.type,
            flags,
            ",".join(data),
        )
    if operation.type == "proc":
        with _target(operation.root, operation.target, directory=True) as mounted:
            child.proc_device = os.fstat(mounted).st_dev


class _target:  # noqa: N801  (a context manager that reads as a function)
    """Open (and make where missing) a mount target inside a root; close it afterwards."""

    def __init__(self, root: str, path: str, *, directory: bool) -> None:
        self._root, self._path, self._directory = root, path, directory

    def __enter__(self) -> int:
        root = os.open(self._root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self._descriptor = files.make_in_root(root, self._path, directory=self._directory)
        finally:
            os.close(root)
        return self._descriptor

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)


def _bind_mount(operation: BindMount, child: Trees) -> None:
    if operation.tree:
        tree = child.trees.pop(operation.tree)
        _refuse_link(operation.root, operation.target)
        if operation.tree == "proc":
            child.proc_device = os.fstat(tree).st_dev
    else:
        tree = _open_source(operation.source, operation.subpath, operation.recursive)
    attributes = MOUNT_ATTR_RDONLY if operation.read_only else 0
    for option in operation.options:
        attributes |= _ATTRIBUTES.get(option, 0)
    try:
        propagation = _PROPAGATIONS[operation.propagation]
        mount_setattr(tree, attributes=attributes, propagation=propagation, recursive=True)
        directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        with _target(operation.root, operation.target, directory=directory) as target:
            inside_proc = os.fstat(target).st_dev == child.proc_device
            if inside_proc:  # what /proc says must be true (CVE-2019-16884)
                raise OSError(errno.EPERM, "nothing may be mounted inside /proc", operation.target)
            move_mount(tree, target, operation.target)
    finally:
        os.close(tree)


def _make_devices(operation: MakeDevices, _: Trees) -> None:
    dev = files.make_in_root(
        root := os.open(operation.root, os.O_PATH | os.O_CLOEXEC), "/dev", directory=True
    )
    os.close(root)
    try:
        for name, target in _LINKS:
            os.symlink(target, name, dir_fd=dev)
        for name, major, minor in _DEVICES:
            _make_node(dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
        if operation.all:
            _copy_devices("/dev", dev)
        else:
            _keep_only_these_devices(dev)
    finally:
        os.close(dev)


def _make_node(directory: int, name: str, mode: int, device: int) -> None:
    os.mknod(name, mode, device, dir_fd=directory)
    os.chmod(f"/proc/self/fd/{directory}/{name}", stat.S_IMODE(mode))  # the umask took bits


def _keep_only_these_devices(dev: int) -> None:
    """Make each node a mount of its own where devices work, then forbid devices on the rest of /dev.

    CAP_MKNOD is in every container's default set: without this, or a device cgroup, root in a container could make
    and open the host's disk.
    """
    for name, _, _ in _DEVICES:
        node = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dev)
        tree = open_tree("", directory=node)
        move_mount(tree, node, f"/dev/{name}")
        os.close(tree)
        os.close(node)
    mount_setattr(dev, attributes=MOUNT_ATTR_NODEV)


def _copy_devices(source: str, target: int) -> None:
    """Make the host's device nodes in the open directory `target` (a privileged container's /dev)."""
    skipped = {"pts", "shm", "mqueue", "console", "fd", "ptmx", "core"}
    for entry in os.scandir(source):
        if entry.name in skipped:
            continue
        found = entry.stat(follow_symlinks=False)
        if stat.S_ISCHR(found.st_mode) or stat.S_ISBLK(found.st_mode):
            with contextlib.suppress(FileExistsError):
                _make_node(target, entry.name, found.st_mode, found.st_rdev)
        elif stat.S_ISDIR(found.st_mode):
            with contextlib.suppress(FileExistsError):
                os.mkdir(entry.name, 0o755, dir_fd=target)
            below = os.open(entry.name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=target)
            _copy_devices(entry.path, below)
            os.close(below)


def _pivot_root(operation: PivotRoot, _: Trees) -> None:
    """Exchange the namespace's root. It is gone to first, for a minipod in a chroot is not at it.

    pivot_root(2) exchanges the caller's root; what lies above a chroot would stay, and setns(2) lead there.
    """
    new_root = os.open(operation.new_root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    setns(own, CLONE_NEWNS)
    os.close(own)
    os.fchdir(new_root)
    os.close(new_root)
    pivot_root(".", ".")  # the old root now lies over the new one (pivot_root(2), NOTES)
    umount2(".", MNT_DETACH)
    os.chdir("/")


def _mount_cgroups(operation: MountCgroups, child: Trees) -> None:
    """Mount what the host has: v2 alone at the target itself, otherwise each hierarchy below a tmpfs."""
    layout = cgroup.this_host()
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    read_only = MS_RDONLY if operation.read_only else 0
    with _target("/", operation.target, directory=True) as opened:
        if os.fstat(opened).st_dev == child.proc_device:  # a volume at /sys may hold links
            raise OSError(errno.EPERM, "nothing may be mounted inside /proc", operation.target)
        os.fchdir(opened)  # in a PID namespace of others this process has no /proc/self
        if layout.unified and not layout.v1:
            mount("cgroup", ".", "cgroup2", flags | read_only)
            return
        mount("tmpfs", ".", "tmpfs", flags, "mode=755,size=64k")
    for hierarchy, controllers in _by_hierarchy(layout).items():
        directory = f"{operation.target}/{os.path.basename(hierarchy)}"
        os.mkdir(directory, 0o755)
        kind = "cgroup2" if hierarchy == layout.unified else "cgroup"
        mount("cgroup", directory, kind, flags | read_only, ",".join(controllers))
    if operation.read_only:
        mount_setattr(-100, operation.target, attributes=MOUNT_ATTR_RDONLY)


def _by_hierarchy(layout: cgroup.CgroupLayout) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {layout.unified: []} if layout.unified else {}
    for controller, point in layout.v1:
        found.setdefault(point, []).append(controller)
    return found


def _mask_paths(operation: MaskPaths, _: Trees) -> None:
    null = 0
    for path in operation.paths:
        try:
            target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except (FileNotFoundError, NotADirectoryError):
            continue
        if stat.S_ISDIR(os.fstat(target).st_mode):
            os.fchdir(target)
            mount("tmpfs", ".", "tmpfs", MS_RDONLY, "size=0k,nr_inodes=2")
        else:
            null = null or files.open_null()
            tree = open_tree("", directory=null)
            move_mount(tree, target, path)
            os.close(tree)
        os.close(target)
    if null:
        os.close(null)


def _make_read_only(operation: MakeReadOnly, _: Trees) -> None:
    for path in operation.paths:
        try:
            tree = open_tree(path, recursive=True)
        except (FileNotFoundError, NotADirectoryError):
            continue
        mount_setattr(tree, attributes=MOUNT_ATTR_RDONLY, recursive=True)
        target = os.open(path, os.O_PATH | os.O_CLOEXEC)
        move_mount(tree, target, path)
        os.close(target)
        os.close(tree)


def _remount_read_only(operation: RemountReadOnly, _: Trees) -> None:
    mount_setattr(-100, operation.path, attributes=MOUNT_ATTR_RDONLY)


MOUNT_ACTIONS: dict[type, Callable[[Any, Any], None]] = {
    SetPropagation: _set_propagation,
    OpenMountTree: _open_mount_tree,
    MountOverlay: _mount_overlay,
    MountFilesystem: _mount_filesystem,
    BindMount: _bind_mount,
    MakeDevices: _make_devices,
    PivotRoot: _pivot_root,
    MountCgroups: _mount_cgroups,
    MaskPaths: _mask_paths,
    MakeReadOnly: _make_read_only,
    RemountReadOnly: _remount_read_only,
}
