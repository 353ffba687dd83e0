"""Mounting: mount, umount2, pivot_root and the descriptor-based calls open_tree, move_mount, mount_setattr."""

import os
import struct

from minipod.linux.kernel import AT_EMPTY_PATH, AT_FDCWD, library_call, system_call

# mount(2)
MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MS_RELATIME = 1 << 21
MS_STRICTATIME = 1 << 24
MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8

OPEN_TREE_CLONE = 1
AT_RECURSIVE = 0x8000
MOVE_MOUNT_F_EMPTY_PATH = 4
MOVE_MOUNT_T_EMPTY_PATH = 0x40

# mount_setattr(2)
MOUNT_ATTR_RDONLY = 1
MOUNT_ATTR_NOSUID = 2
MOUNT_ATTR_NODEV = 4
MOUNT_ATTR_NOEXEC = 8

Path = str | bytes | os.PathLike[str]


def mount(source: str, target: Path, filesystem: str, flags: int = 0, data: str = "") -> None:
    """Mount a filesystem, bind, move, remount or change propagation (mount(2))."""
    library_call(
        "mount",
        os.fsencode(source) or None,
        os.fsencode(target),
        os.fsencode(filesystem) or None,
        flags,
        os.fsencode(data) or None,
        path=target,
    )


def umount2(target: Path, flags: int = 0) -> None:
    """Unmount the topmost mount at `target` (umount2(2))."""
    library_call("umount2", os.fsencode(target), flags, path=target)


def open_tree(path: Path, *, recursive: bool = False, directory: int = AT_FDCWD) -> int:
    """Return a descriptor of a detached copy of the mount at `path` ("": of `directory` itself) (open_tree(2))."""
    flags = OPEN_TREE_CLONE | os.O_CLOEXEC | AT_EMPTY_PATH
    if recursive:
        flags |= AT_RECURSIVE
    return system_call("open_tree", directory, os.fsencode(path), flags, path=path)


def mount_setattr(
    directory: int,
    path: Path = "",
    *,
    attributes: int = 0,
    clear: int = 0,
    propagation: int = 0,
    recursive: bool = False,
) -> None:
    """Set MOUNT_ATTR_* and one MS_* propagation on the mount at `path` below `directory` (mount_setattr(2))."""
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    argument = struct.pack("4Q", attributes, clear, propagation, 0)
    system_call(
        "mount_setattr", directory, os.fsencode(path), flags, argument, len(argument), path=path
    )
