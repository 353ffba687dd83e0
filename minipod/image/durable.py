"""Files that are there whole or not at all, whatever kills the process or cuts the power."""

import fcntl
import os
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write_file(path: Path, data: bytes, scratch: Path, sync: bool = True) -> None:
    """Replace `path` by `data`: written and synced in `scratch` (same file system), then renamed.

    Without `sync` it survives the death of any process, but may be lost or empty after a power cut.
    """
    temporary = scratch / f"file-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            if sync:
                os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if sync:
        sync_directory(path.parent)


def sync_file(path: Path) -> None:
    """Make a file's content survive a power cut (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_directory(path: Path) -> None:
    """Make the directory's entries survive a power cut (fsync(2), "NOTES")."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file_system(path: Path) -> None:
    """Make everything written to the file system of `path` survive a power cut (syncfs(2), through sync(1))."""
    subprocess.run(["sync", "-f", path], check=True)


@contextmanager
def locked(path: Path, operation: int = fcntl.LOCK_EX) -> Iterator[int]:
    """Hold flock(2) on `path` (made when missing); yields the descriptor.

    Raises BlockingIOError when `operation` has LOCK_NB and another process holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, operation)
        yield descriptor
    finally:
        os.close(descriptor)
