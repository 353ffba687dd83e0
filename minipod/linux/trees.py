"""Directory trees that others made, and made as deep as they liked."""

import errno
import os
import secrets


def remove_tree(path: str | os.PathLike[str]) -> None:
    """Remove a file or a directory tree, links not followed; nothing there is fine.

    Raises OSError, EBUSY where a filesystem is mounted in the tree.
    """
    parent, name = os.path.split(os.fspath(path).rstrip("/"))
    try:
        holder = os.open(parent or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        if _is_directory_left(holder, name):
            _remove_directory(holder, name, os.fspath(path))
    finally:
        os.close(holder)


def _is_directory_left(holder: int, name: str) -> bool:
    """Remove a file or a link; True when `name` is a directory, which stays."""
    try:
        os.unlink(name, dir_fd=holder)
    except FileNotFoundError:
        return False
    except IsADirectoryError:
        return True
    return False


def _remove_directory(holder: int, name: str, path: str) -> None:
    """Empty a directory level by level and remove it.

    A container may have nested its directories deeper than any recursion goes, so each is moved up to the top first.
    """
    top = _open_directory(holder, name, os.fstat(holder).st_dev, path)
    try:
        device = os.fstat(top).st_dev
        while entries := os.listdir(top):
            for entry in entries:
                if _is_directory_left(top, entry):
                    _lift_subdirectories(top, entry, device, f"{path}/{entry}")
                    os.rmdir(entry, dir_fd=top)
    finally:
        os.close(top)
    os.rmdir(name, dir_fd=holder)


def _lift_subdirectories(top: int, name: str, device: int, path: str) -> None:
    """Remove the files of `top`/`name` and move its directories into `top`."""
    directory = _open_directory(top, name, device, path)
    try:
        for entry in os.listdir(directory):
            if _is_directory_left(directory, entry):
                lifted = f".removing-{secrets.token_hex(8)}"
                os.rename(entry, lifted, src_dir_fd=directory, dst_dir_fd=top)
    finally:
        os.close(directory)


def _open_directory(holder: int, name: str, device: int, path: str) -> int:
    """Open a directory, but not through a link and not on another filesystem (EBUSY)."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    directory = os.open(name, flags, dir_fd=holder)
    if os.fstat(directory).st_dev != device:
        os.close(directory)
        raise OSError(errno.EBUSY, "a filesystem is mounted here, not removing", path)
    return directory
