"""What a container sees, compiled: each target is found inside the new root by the kernel's own rules.

An image or a volume may hold symbolic links that lead anywhere; targets are opened with RESOLVE_IN_ROOT and mounts are
attached to the descriptor, so nothing can be exchanged between the look and the mount.
"""

import errno
import os
import stat
from collections.abc import Callable
from typing import Any

from minipod.linux import cgroup
from minipod.linux.kernel import AT_FDCWD
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
)
from minipod.linux.process import CLONE_NEWNS
from minipod.runtime.assembly import Cell, Label
from minipod.runtime.child_operations import (
    BindMount,
    MakeDevices,
    MakeMountPoints,
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
from minipod.runtime.compiling import ANY_ERROR, BENEATH, FORMAT, PATH, Compiling, target_input
from minipod.runtime.overlay import OPTIONS_LIMIT, escape, lower_directories

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
_ABSENT = (errno.ENOENT, errno.ENOTDIR)
_UMASK = 0o022  # of the shim


def _mount(
    state: Compiling, source: str, target: str, kind: str, flags: int = 0, options: str = ""
) -> None:
    pointers = [each if each else 0 for each in (source, target, kind)]
    note = state.note("mount", target)
    state.code.call("mount", *pointers, flags, options or 0, note=note)


def _set_propagation(operation: SetPropagation, state: Compiling) -> None:
    flag = {"rprivate": MS_PRIVATE, "rslave": MS_SLAVE, "rshared": MS_SHARED}
    _mount(state, "", operation.path, "", MS_REC | flag[operation.propagation])


def _open_mount_tree(operation: OpenMountTree, state: Compiling) -> None:
    tree = state.trees[operation.name] = state.scratch()
    if not operation.target:
        _open_source(state, operation.source, operation.subpath, operation.recursive, tree)
        return
    code, own = state.code, state.scratch()
    code.call("openat", AT_FDCWD, "/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, store=own)
    root = state.open_root()
    code.call("setns", code.inputs[target_input(operation.target)], CLONE_NEWNS)
    if operation.covered:
        code.call("unshare", CLONE_NEWNS)  # a copy: the cover stays on what others see
        note = state.note("umount2", operation.source)
        code.call("umount2", operation.source, MNT_DETACH, note=note)
    state.open_tree(tree, operation.source, recursive=operation.recursive)
    code.call("setns", own, CLONE_NEWNS)
    # setns(2) has left us at the namespace's root, which a minipod run in a chroot is not at.
    code.call("fchdir", root)
    code.call("chroot", ".")
    code.call("close", root)
    code.call("close", own)


def _open_source(state: Compiling, source: str, subpath: str, recursive: bool, tree: Cell) -> None:
    """Take a detached copy of the mount at `subpath` beneath `source`; the subpath is made when missing."""
    if not subpath:
        state.open_tree(tree, source, recursive=recursive, varies=True)
        return
    code, base, entry = state.code, state.scratch(), state.scratch()
    arguments, note = (AT_FDCWD, state.source(source), PATH), state.note("openat", source)
    code.call("openat", *arguments, store=base, note=note)
    _ensure_beneath(state, base, subpath, entry)
    state.open_tree(tree, directory=entry, recursive=recursive)
    code.call("close", entry)
    code.call("close", base)


def _ensure_beneath(state: Compiling, base: Cell, path: str, entry: Cell) -> None:
    """Open `path` beneath `base`, making missing directories; a link that leads out is refused.

    What is made has the base's mode, as the kubelet has it: a volume for everyone has sub paths for everyone.
    """
    code, missing, found, parent = state.code, Label(), Label(), state.scratch()
    state.openat2(base, path, os.O_PATH, BENEATH, entry, missing)
    code.jump(found)
    code.place(missing)
    made = ""
    for part in (part for part in path.split("/") if part not in ("", ".")):
        state.openat2(base, made or ".", os.O_PATH | os.O_DIRECTORY, BENEATH, parent)
        _make_like(state, base, parent, part)
        code.call("close", parent)
        made = f"{made}/{part}" if made else part
    state.openat2(base, path, os.O_PATH, BENEATH, entry)
    code.place(found)


def _make_like(state: Compiling, base: Cell, parent: Cell, name: str) -> None:
    """Make the directory `parent`/`name` with the mode of `base`, beyond the umask; nothing when something is there.

    Whoever shares the volume may put a link to the host's files in its place at any moment: it is not followed.
    """
    code, done, made, mode = state.code, Label(), state.scratch(), state.scratch()
    note, there = state.note("mkdirat", name), (errno.EEXIST,)
    code.call("mkdirat", parent, name, 0o755, errors=there, goto=done, note=note)
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    code.call("openat", parent, name, flags, store=made, note=state.note("openat", name))
    state.statx(base)
    code.copy(state.mode, mode, mask=0o7777)
    code.call("fchmod", made, mode)
    code.call("close", made)
    code.place(done)


def _mount_overlay(operation: MountOverlay, state: Compiling) -> None:
    """Mount the layers. "volatile" spares the sync of a writable layer that never outlives its container."""
    flags = 0 if operation.devices else MS_NODEV
    layers = operation.layers
    base = os.path.commonpath([os.path.dirname(layer) for layer in layers]) if layers else "/"
    writable = f"upperdir={escape(operation.upper)},workdir={escape(operation.work)},volatile"
    options = f"lowerdir={lower_directories(layers)},{writable}"
    if len(os.fsencode(options)) > OPTIONS_LIMIT:
        # Many layers: name them from their common directory, in which a mount resolves relative paths.
        options = f"lowerdir={lower_directories(layers, base + '/')},{writable}"
        state.code.call("chdir", base, note=state.note("chdir", base))
    if len(os.fsencode(options)) > OPTIONS_LIMIT:
        problem = f"{len(layers)} layers are more than one mount can name"
        state.fail(errno.E2BIG, problem, base)
    else:
        _mount(state, "overlay", operation.target, "overlay", flags, options)


def _refuse_link(state: Compiling, root: Cell, path: str) -> None:
    """Refuse an image whose /proc, /sys or /dev is a link: what is mounted there must be there (CVE-2019-19921)."""
    if path not in _ORDINARY:
        return
    ordinary = Label()
    state.statx(root, path[1:], errors=(errno.ENOENT,), goto=ordinary)
    state.code.jump_if(state.mode, FORMAT, stat.S_IFDIR, ordinary)
    state.fail(errno.ENOTDIR, "the image has no ordinary directory here", path)
    state.code.place(ordinary)


def _mount_filesystem(operation: MountFilesystem, state: Compiling) -> None:
    code, target = state.code, state.scratch()
    root = state.open_root(operation.root)
    _refuse_link(state, root, operation.target)
    flags, data = 0, []
    for option in operation.options:
        if option in _FLAGS:
            flags |= _FLAGS[option]
        else:
            data.append(option)
    state.make_in_root(root, operation.target, target)
    code.call("fchdir", target, note=state.note("fchdir", operation.target))
    note = state.note("mount", operation.target)
    source, options = operation.source or operation.type, ",".join(data)
    code.call("mount", source, ".", operation.type, flags, options or 0, note=note)
    code.call("close", target)
    if operation.type == "proc":
        state.make_in_root(root, operation.target, target)
        state.statx(target)
        code.copy(state.device, state.proc_device)
        code.call("close", target)
    code.call("chdir", "/")
    code.call("close", root)


def _bind_mount(operation: BindMount, state: Compiling) -> None:
    code, target, kind = state.code, state.scratch(), state.scratch()
    root = state.open_root(operation.root)
    if operation.tree:
        tree = state.trees.pop(operation.tree)
        _refuse_link(state, root, operation.target)
        if operation.tree == "proc":
            state.statx(tree)
            code.copy(state.device, state.proc_device)
    else:
        tree = state.scratch()
        _open_source(state, operation.source, operation.subpath, operation.recursive, tree)
    attributes = MOUNT_ATTR_RDONLY if operation.recursive_read_only else 0
    for option in operation.options:
        attributes |= _ATTRIBUTES.get(option, 0)
    propagation = _PROPAGATIONS[operation.propagation]
    state.set_attributes(tree, attributes=attributes, propagation=propagation, recursive=True)
    if operation.read_only and not operation.recursive_read_only:
        state.set_attributes(tree, attributes=MOUNT_ATTR_RDONLY)
    state.statx(tree)
    code.copy(state.mode, kind, mask=FORMAT)
    state.make_in_root(root, operation.target, target, directory=kind)
    state.refuse_inside_proc(target, operation.target)
    state.move_mount(tree, target, operation.target)
    for each in (target, tree, root):
        code.call("close", each)


def _make_mount_points(operation: MakeMountPoints, state: Compiling) -> None:
    root = state.open_root(operation.root)
    for path in operation.directories:
        _try_to_make(state, root, path, file=False)
    for path in operation.files:
        _try_to_make(state, root, path, file=True)
    state.code.call("close", root)


def _try_to_make(state: Compiling, root: Cell, path: str, *, file: bool) -> None:
    """Make a directory or an empty file with its parents. Whatever is in the way is told of by who mounts there."""
    code, holder, end = state.code, state.scratch(), Label()
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for count, part in enumerate(parts):
        state.try_to_open(root, "/".join(parts[:count]) or ".", holder, end)
        if file and count == len(parts) - 1:
            made, flags = state.scratch(), os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            there = Label()
            code.call(
                "openat", holder, part, flags, 0o644, store=made, errors=ANY_ERROR, goto=there
            )
            code.call("close", made)
            code.place(there)
        else:
            code.call("mkdirat", holder, part, 0o755, errors=ANY_ERROR)
        code.call("close", holder)
    code.place(end)


def _make_devices(operation: MakeDevices, state: Compiling) -> None:
    code, dev = state.code, state.scratch()
    root = state.open_root(operation.root)
    state.make_in_root(root, "/dev", dev)
    code.call("close", root)
    code.call("umask", 0)
    for name, target in _LINKS:
        code.call("symlinkat", target, dev, name, note=state.note("symlinkat", f"/dev/{name}"))
    for name, major, minor in _DEVICES:
        _make_node(state, dev, name, stat.S_IFCHR | 0o666, os.makedev(major, minor))
    if operation.all:
        _copy_devices(state, dev)
    else:
        _keep_only_these_devices(state, dev)
    code.call("umask", _UMASK)
    code.call("close", dev)


def _make_node(state: Compiling, dev: Cell, name: str, mode: int, number: int) -> None:
    note = state.note("mknodat", f"/dev/{name}")
    state.code.call("mknodat", dev, name, mode, number, errors=(errno.EEXIST,), note=note)


def _keep_only_these_devices(state: Compiling, dev: Cell) -> None:
    """Make each node a mount of its own where devices work, then forbid devices on the rest of /dev.

    CAP_MKNOD is in every container's default set: without this, or a device cgroup, root in a container could make
    and open the host's disk.
    """
    code, node, tree = state.code, state.scratch(), state.scratch()
    for name, _, _ in _DEVICES:
        path = f"/dev/{name}"
        code.call(
            "openat", dev, name, PATH | os.O_NOFOLLOW, store=node, note=state.note("openat", path)
        )
        state.open_tree(tree, directory=node)
        state.move_mount(tree, node, path)
        code.call("close", tree)
        code.call("close", node)
    state.set_attributes(dev, attributes=MOUNT_ATTR_NODEV)


def _copy_devices(state: Compiling, dev: Cell) -> None:
    """Make the host's device nodes in the open directory `dev` (a privileged container's /dev)."""
    code = state.code
    for path, mode, number in state.facts.devices:
        if stat.S_ISDIR(mode):
            note = state.note("mkdirat", f"/dev/{path}")
            code.call("mkdirat", dev, path, 0o755, errors=(errno.EEXIST,), note=note)
        else:
            _make_node(state, dev, path, mode, number)


def _pivot_root(operation: PivotRoot, state: Compiling) -> None:
    """Exchange the namespace's root. It is gone to first, for a minipod in a chroot is not at it.

    pivot_root(2) exchanges the caller's root; what lies above a chroot would stay, and setns(2) lead there.
    """
    code, own = state.code, state.scratch()
    new_root = state.open_root(operation.new_root)
    code.call("openat", AT_FDCWD, "/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC, store=own)
    code.call("setns", own, CLONE_NEWNS)
    code.call("close", own)
    code.call("fchdir", new_root)
    code.call("close", new_root)
    note = state.note("pivot_root", operation.new_root)
    code.call(
        "pivot_root", ".", ".", note=note
    )  # the old root now lies over the new one (pivot_root(2), NOTES)
    code.call("umount2", ".", MNT_DETACH)
    code.call("chdir", "/")


def _mount_cgroups(operation: MountCgroups, state: Compiling) -> None:
    """Mount what the host has: v2 alone at the target itself, otherwise each hierarchy below a tmpfs."""
    code, layout, target = state.code, state.facts.cgroups, state.scratch()
    flags = MS_NOSUID | MS_NODEV | MS_NOEXEC
    read_only = MS_RDONLY if operation.read_only else 0
    root = state.open_root()
    state.make_in_root(root, operation.target, target)
    state.refuse_inside_proc(target, operation.target)  # a volume at /sys may hold links
    code.call("fchdir", target)  # in a PID namespace of others this process has no /proc/self
    code.call("close", target)
    code.call("close", root)
    note = state.note("mount", operation.target)
    if layout.unified and not layout.v1:
        code.call("mount", "cgroup", ".", "cgroup2", flags | read_only, 0, note=note)
        return
    code.call("mount", "tmpfs", ".", "tmpfs", flags, "mode=755,size=64k", note=note)
    for hierarchy, controllers in _by_hierarchy(layout).items():
        directory = f"{operation.target}/{os.path.basename(hierarchy)}"
        code.call("mkdirat", AT_FDCWD, directory, 0o755, note=state.note("mkdirat", directory))
        kind = "cgroup2" if hierarchy == layout.unified else "cgroup"
        _mount(state, "cgroup", directory, kind, flags | read_only, ",".join(controllers))
    if operation.read_only:
        state.set_attributes(AT_FDCWD, operation.target, attributes=MOUNT_ATTR_RDONLY)


def _by_hierarchy(layout: cgroup.CgroupLayout) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {layout.unified: []} if layout.unified else {}
    for controller, point in layout.v1:
        found.setdefault(point, []).append(controller)
    return found


def _mask_paths(operation: MaskPaths, state: Compiling) -> None:
    code, null, target = state.code, state.scratch(), state.scratch()
    _open_null(state, null)
    for path in operation.paths:
        directory, masked, absent = Label(), Label(), Label()
        arguments, note = (AT_FDCWD, path, PATH), state.note("openat", path)
        code.call("openat", *arguments, store=target, errors=_ABSENT, goto=absent, note=note)
        state.statx(target)
        code.jump_if(state.mode, FORMAT, stat.S_IFDIR, directory)
        _cover(state, null, target, path)
        code.jump(masked)
        code.place(directory)
        code.call("fchdir", target)
        options = "size=0k,nr_inodes=2"
        note = state.note("mount", path)
        code.call("mount", "tmpfs", ".", "tmpfs", MS_RDONLY, options, note=note)
        code.place(masked)
        code.call("close", target)
        code.place(absent)
    code.call("chdir", "/")
    code.call("close", null)


def _open_null(state: Compiling, null: Cell) -> None:
    """Open /dev/null, and nothing else that a volume at /dev may have there: a link to what a mask shall hide, say."""
    path, device, no_device = "/dev/null", Label(), Label()
    flags, note = PATH | os.O_NOFOLLOW, state.note("openat", path)
    state.code.call("openat", AT_FDCWD, path, flags, store=null, note=note)
    state.statx(null)
    major, minor = 1, 3
    node = Label()
    state.code.jump_if(state.mode, FORMAT, stat.S_IFCHR, node)
    state.code.place(no_device)
    state.fail(errno.ENODEV, "this is not the null device", path)
    state.code.place(node)
    state.code.jump_if(state.node, -1, minor << 32 | major, device)
    state.code.jump(no_device)
    state.code.place(device)


def _cover(state: Compiling, source: Cell, target: Cell, path: str) -> None:
    """Mount a copy of an open file over another."""
    tree = state.scratch()
    state.open_tree(tree, directory=source)
    state.move_mount(tree, target, path)
    state.code.call("close", tree)


def _make_read_only(operation: MakeReadOnly, state: Compiling) -> None:
    code, tree, target = state.code, state.scratch(), state.scratch()
    for path in operation.paths:
        absent = Label()
        arguments, note = (AT_FDCWD, path, PATH), state.note("openat", path)
        code.call("openat", *arguments, store=target, errors=_ABSENT, goto=absent, note=note)
        state.open_tree(tree, directory=target, recursive=True)
        state.set_attributes(tree, attributes=MOUNT_ATTR_RDONLY, recursive=True)
        state.move_mount(tree, target, path)
        code.call("close", target)
        code.call("close", tree)
        code.place(absent)


def _remount_read_only(operation: RemountReadOnly, state: Compiling) -> None:
    state.set_attributes(AT_FDCWD, operation.path, attributes=MOUNT_ATTR_RDONLY)


MOUNTS: dict[type, Callable[[Any, Compiling], None]] = {
    SetPropagation: _set_propagation,
    OpenMountTree: _open_mount_tree,
    MountOverlay: _mount_overlay,
    MountFilesystem: _mount_filesystem,
    BindMount: _bind_mount,
    MakeMountPoints: _make_mount_points,
    MakeDevices: _make_devices,
    PivotRoot: _pivot_root,
    MountCgroups: _mount_cgroups,
    MaskPaths: _mask_paths,
    MakeReadOnly: _make_read_only,
    RemountReadOnly: _remount_read_only,
}
