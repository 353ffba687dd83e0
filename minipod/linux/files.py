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


def open_beneath(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open `path` beneath `root`; a link or ".." that leads out of it is refused (EXDEV).

    Where openat2 is missing the path is walked component by component and any symbolic link is refused (ELOOP).
    """
    try:
        return openat2(root, path or ".", flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS)
    except OSError as failure:
        if failure.errno != errno.ENOSYS:
            raise
        return _walk(root, path, flags)


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
