"""Paths that others may have tampered with: resolved by the kernel inside a directory, never outside (openat2(2))."""

import errno
import os
import stat
import struct

from minipod.linux.kernel import system_call

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


def openat2(directory: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Open `path` relative to `directory` under resolution rules (openat2(2)); always close-on-exec.

    Raises OSError: ENOSYS before Linux 5.6, EXDEV when RESOLVE_BENEATH would be left.
    """
    how = struct.pack("3Q", flags | os.O_CLOEXEC, mode, resolve)
    while True:
        try:
            return system_call(
                "openat2", directory, os.fsencode(path) + b"\0", how, len(how), path=path
            )
        except OSError as failure:
            if failure.errno != errno.EAGAIN:  # a rename raced with "..": the kernel asks to retry
                raise


def open_in_root(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` as a process chrooted to `root` would see it: links and ".." cannot leave it.

    Where openat2 is missing the path is walked component by component and any symbolic link is refused (ELOOP).
    """
    try:
        return openat2(root, path, flags, resolve=RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
    except OSError as failure:
        if failure.errno != errno.ENOSYS:
            raise
        return _walk(root, path, flags)


def open_beneath(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` beneath `root`; a link or ".." that leads out of it is refused (EXDEV; ELOOP without openat2)."""
    try:
        return openat2(root, path or ".", flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as failure:
        if failure.errno != errno.ENOSYS:
            raise
        return _walk(root, path, flags)


def open_null() -> int:
    """Return an O_PATH descriptor of /dev/null. OSError for anything else that lies there.

    A volume mounted at /dev brings whatever another container put into it: a link to what a mask shall hide, say.
    """
    descriptor = os.open("/dev/null", os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    found = os.fstat(descriptor)
    if stat.S_ISCHR(found.st_mode) and found.st_rdev == os.makedev(1, 3):
        return descriptor
    os.close(descriptor)
    raise OSError(errno.ENODEV, "this is not the null device", "/dev/null")


def make_in_root(root: int, path: str, *, directory: bool, mode: int = 0o755) -> int:
    """Return an O_PATH descriptor of `path` inside `root`, making it and its parents where missing.

    `directory` says what to make at the end: a directory with `mode`, or an empty file.
    """
    try:
        return open_in_root(root, path)
    except FileNotFoundError:
        pass
    parts = [part for part in path.split("/") if part not in ("", ".")]
    for end in range(1, len(parts) + 1):
        last = end == len(parts)
        parent = "/".join(parts[: end - 1]) or "."
        _ensure_entry(root, parent, parts[end - 1], directory or not last, mode if last else 0o755)
    return open_in_root(root, path)


def _ensure_entry(root: int, parent: str, name: str, directory: bool, mode: int) -> None:
    """Make `name` inside `parent` when nothing is there. A dangling link stays, and fails at the next open."""
    holder = open_in_root(root, parent, os.O_PATH | os.O_DIRECTORY)
    try:
        if directory:
            os.mkdir(name, mode, dir_fd=holder)
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
            os.close(os.open(name, flags, 0o644, dir_fd=holder))
    except FileExistsError:
        pass
    finally:
        os.close(holder)


def _walk(root: int, path: str, flags: int) -> int:
    """Open `path` without openat2: one component at a time, refusing links and "..", so nothing can lead out."""
    current = os.open(".", os.O_PATH | os.O_CLOEXEC, dir_fd=root)
    parts = [part for part in path.split("/") if part not in ("", ".")]
    try:
        for index, part in enumerate(parts):
            if part == "..":
                raise OSError(errno.EXDEV, 'openat2 is missing, refusing ".."', path)
            last = index == len(parts) - 1
            wanted = (flags if last else os.O_PATH) | os.O_NOFOLLOW | os.O_CLOEXEC
            entered = os.open(part, wanted, dir_fd=current)
            os.close(current)
            current = entered
            if stat.S_ISLNK(os.fstat(current).st_mode):
                raise OSError(errno.ELOOP, "openat2 is missing, refusing a symbolic link", path)
        if not parts and flags != os.O_PATH:
            return os.open(".", flags | os.O_CLOEXEC, dir_fd=current)
        return os.dup(current)
    finally:
        os.close(current)
