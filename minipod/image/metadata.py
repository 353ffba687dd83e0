"""Owner, mode, times and extended attributes of files in a layer: applied in the one order that keeps them."""

import os
import shutil
import stat
from dataclasses import dataclass, field

from .lower import Found


@dataclass(frozen=True)
class Metadata:
    """What a file is, besides its content."""

    mode: int  # permission bits, with setuid, setgid and sticky
    uid: int
    gid: int
    mtime_ns: int  # since the epoch
    xattrs: dict[str, bytes] = field(default_factory=dict)


def set_metadata(directory: int, name: str | None, metadata: Metadata) -> None:
    """Apply `metadata` to `name` in `directory` (a symbolic link itself, never its target), or to `directory` itself.

    The owner comes first: changing it takes away setuid bits and file capabilities (chown(2), capabilities(7)).
    """
    path = f"/proc/self/fd/{directory}" + (f"/{name}" if name else "")
    follow = name is None  # only through /proc's own link
    is_link = name is not None and stat.S_ISLNK(os.lstat(path).st_mode)
    os.chown(path, metadata.uid, metadata.gid, follow_symlinks=follow)
    if not is_link:
        os.chmod(path, metadata.mode)
    for key, value in metadata.xattrs.items():
        os.setxattr(path, key, value, follow_symlinks=follow)
    times = (metadata.mtime_ns, metadata.mtime_ns)
    os.utime(path, ns=times, follow_symlinks=follow)


def read_metadata(found: Found) -> Metadata:
    """Return the metadata of a file in a lower layer, without overlayfs's own attributes."""
    status = found.status
    xattrs = {
        key: os.getxattr(found.path, key, follow_symlinks=False)
        for key in os.listxattr(found.path, follow_symlinks=False)
        if not key.startswith("trusted.")
    }
    return Metadata(
        stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid, status.st_mtime_ns, xattrs
    )


def copy_up(found: Found, directory: int, name: str) -> None:
    """Copy a lower layer's file or link to `name` in `directory`, as overlayfs does before it is changed."""
    if found.is_link:
        os.symlink(os.readlink(found.path), name, dir_fd=directory)
    elif stat.S_ISREG(found.status.st_mode):
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with (
            open(found.path, "rb") as source,
            open(os.open(name, flags, 0o600, dir_fd=directory), "wb") as target,
        ):
            shutil.copyfileobj(source, target)
    else:
        os.mkfifo(name, 0o600, dir_fd=directory)
    set_metadata(directory, name, read_metadata(found))
