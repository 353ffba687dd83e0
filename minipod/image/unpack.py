"""Unpack one image layer into a directory that overlayfs takes as a lower layer.

What the OCI image specification ("Image Layer Filesystem Changeset") says of layers becomes what overlayfs says: a
`.wh.NAME` file is a character device 0/0, an opaque marker is `trusted.overlay.opaque`. A directory that the layer
only mentions in its members' paths takes its metadata from the layers below, a link that they have there is followed
within the image, and a hard link to one of their files copies it up; so the result is what unpacking onto the mounted
layers would give.

The archive is not trusted. Its paths are walked one component at a time from a directory descriptor, links not
followed, so that nothing is ever touched outside the target; whatever has no place in an image is refused by name.
"""

import os
import stat
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import IO, cast

from .errors import ImageError
from .lower import LINK_LIMIT, OPAQUE, Found, LowerLayers, Parts
from .metadata import Metadata, copy_up, read_metadata, set_metadata
from .stream import CHUNK, LayerStream

_WHITEOUT = ".wh."
_OPAQUE_MARKER = ".wh..wh..opq"
_AUFS = ".wh..wh."  # aufs's own files, which mean nothing here
_WALK = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_PARSING_ERRORS = (
    tarfile.TarError, ValueError, OverflowError, EOFError, LookupError, RecursionError,
)  # fmt: skip


def unpack_layer(stream: LayerStream, target: Path, lower: LowerLayers) -> str:
    """Unpack `stream` into the empty directory `target`, above `lower`; return the layer's diff ID.

    Needs root. Raises ImageError naming the member that is refused, OSError when the file system cannot take it.
    `target` is in no defined state then; what was made is not synced to disk.
    """
    with _Unpacker(stream, target, lower) as unpacker:
        for member in _members(stream):
            unpacker.add(member)
        unpacker.finish()
    return stream.finish()


def _members(stream: LayerStream) -> Iterator[tarfile.TarInfo]:
    stream.begin_member()
    with _parsing(stream):
        archive = tarfile.TarFile(fileobj=cast(IO[bytes], stream), mode="r")
    for _ in range(stream.limits.members):
        stream.begin_member()
        with _parsing(stream):
            member = archive.next()
        if member is None:
            return
        archive.members.clear()  # type: ignore[attr-defined]  # all would be kept otherwise
        stream.begin_member()
        yield member
    raise ImageError(f"{stream.what}: more than {stream.limits.members} members")


@contextmanager
def _parsing(stream: LayerStream) -> Iterator[None]:
    try:
        yield
    except _PARSING_ERRORS as error:
        raise ImageError(f"{stream.what}: not a readable tar archive: {error}") from error


class _Unpacker:
    """The state of one unpacking: the target, the directories made so far, what is hidden below."""

    def __init__(self, stream: LayerStream, target: Path, lower: LowerLayers) -> None:
        self._stream = stream
        self._lower = lower
        self._root = os.open(target, _WALK)
        self._directories: dict[Parts, Metadata] = {}  # made here; times are set at the end
        self._hidden: set[Parts] = set()  # opaque directories and whiteouts of this layer
        self._whiteouts: set[Parts] = set()
        self._member = ""
        self._written = 0
        self._cached: tuple[Parts, int] = ((), os.dup(self._root))

    def __enter__(self) -> "_Unpacker":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._cached[1])
        os.close(self._root)

    def add(self, member: tarfile.TarInfo) -> None:
        """Unpack one member."""
        self._member = member.name
        try:
            self._add(member)
        except FileExistsError:
            raise self._refused("it is in the archive twice") from None
        except (ValueError, OverflowError) as error:  # a number out of range
            raise self._refused(str(error)) from None
        except OSError as error:
            name = _short(member.name)
            raise ImageError(f'{self._stream.what}: member "{name}": {error.strerror}') from error

    def finish(self) -> None:
        """Set the directories' metadata, children first: adding to a directory changes its times."""
        for parts in sorted(self._directories, key=len, reverse=True):
            with self._opened(parts) as directory:
                set_metadata(directory, None, self._directories[parts])

    def _add(self, member: tarfile.TarInfo) -> None:
        parts = self._parts(member.name)
        if not parts:
            if not member.isdir():
                raise self._refused("the root is not a directory")
            self._directories[()] = self._metadata(member)
            return
        parents, name = self._located(parts[:-1]), parts[-1]
        if name.startswith(_WHITEOUT):
            self._hide(parents, name)
            return
        parent = self._ensure_directory(parents)
        parts = (*parents, name)
        if parts in self._whiteouts:
            self._lift_whiteout(parts, parent)
        if member.isdir():
            self._make_directory(parts, parent, self._metadata(member))
        else:
            self._make_other(member, parent, name)

    def _make_other(self, member: tarfile.TarInfo, parent: int, name: str) -> None:
        metadata = self._metadata(member)
        if member.isreg() or member.issparse():
            self._write_file(member, parent, name, metadata)
        elif member.issym():
            os.symlink(os.fsencode(member.linkname), os.fsencode(name), dir_fd=parent)
            set_metadata(parent, name, metadata)
        elif member.islnk():
            self._link(member.linkname, parent, name)
        elif member.isfifo():
            os.mkfifo(name, 0o600, dir_fd=parent)
            set_metadata(parent, name, metadata)
        elif member.ischr() or member.isblk():
            raise self._refused("device nodes have no place in an image")
        else:
            raise self._refused(f"members of type {member.type!r} are unknown")

    def _write_file(
        self, member: tarfile.TarInfo, parent: int, name: str, metadata: Metadata
    ) -> None:
        self._written += member.size
        if member.size < 0 or self._written > self._stream.limits.layer_bytes:
            raise self._refused(f"the layer exceeds {self._stream.limits.layer_bytes} bytes")
        if member.issparse():
            raise self._refused("sparse files have no place in a layer")
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(name, flags, 0o600, dir_fd=parent)
        try:
            self._stream.seek(member.offset_data)
            for piece in self._stream.chunks(member.size):
                _write_all(descriptor, piece)
            set_metadata(descriptor, None, metadata)
        finally:
            os.close(descriptor)

    def _link(self, linkname: str, parent: int, name: str) -> None:
        target = self._parts(linkname)
        if not target:
            raise self._refused("it is a hard link to the root")
        parents = self._located(target[:-1])
        if not parents or parents in self._directories:
            with self._opened(parents) as directory:
                if _is_linkable(directory, target[-1]):
                    _link(directory, target[-1], parent, name)
                    return
        found = self._find_below((*parents, target[-1]))
        if found is None or found.is_directory:
            raise self._refused(f'it is a hard link to "{linkname}", which the image does not have')
        copy_up(found, parent, name)

    # -- directories -----------------------------------------------------------------------------

    def _located(self, parts: Parts) -> Parts:
        """Return where `parts` leads when the links that lower layers have on the way are followed within the image."""
        done: list[str] = []
        todo = list(reversed(parts))
        hops = 0
        while todo:
            part = todo.pop()
            if part == "..":  # of a link's target only
                done = done[:-1]
                continue
            here = (*done, part)
            found = None if here in self._directories else self._find_below(here)
            if found is None or not found.is_link:
                done.append(part)
                self._check_depth(done)
                continue
            hops += 1
            if hops > LINK_LIMIT:
                raise self._refused("its directory leads through too many links")
            link = os.readlink(found.path)
            done = [] if link.startswith("/") else done
            todo.extend(p for p in reversed(link.split("/")) if p not in ("", "."))
        return tuple(done)

    def _ensure_directory(self, parts: Parts) -> int:
        """Return a descriptor of the directory (the unpacker's; not to be closed), made with its parents if missing."""
        if self._cached[0] == parts:
            return self._cached[1]
        descriptor = os.dup(self._root)
        try:
            for depth in range(1, len(parts) + 1):
                here = parts[:depth]
                if here not in self._directories:
                    if here in self._whiteouts:
                        self._lift_whiteout(here, descriptor)
                    self._make_directory(here, descriptor, self._metadata_below(here))
                descriptor = self._stepped(descriptor, parts[depth - 1])
        except BaseException:
            os.close(descriptor)
            raise
        os.close(self._cached[1])
        self._cached = (parts, descriptor)
        return descriptor

    def _stepped(self, directory: int, name: str) -> int:
        """Trade a directory's descriptor for that of its sub-directory."""
        child = self._open_child(directory, name)
        os.close(directory)
        return child

    def _open_child(self, directory: int, name: str) -> int:
        try:
            return os.open(name, _WALK, dir_fd=directory)
        except OSError:
            status = os.stat(name, dir_fd=directory, follow_symlinks=False)
            kind = "a link" if stat.S_ISLNK(status.st_mode) else "no directory"
            raise self._refused(f'it leads through "{name}", which is {kind}') from None

    @contextmanager
    def _opened(self, parts: Parts) -> Iterator[int]:
        """Open a directory of this layer."""
        descriptor = os.dup(self._root)
        try:
            for name in parts:
                descriptor = self._stepped(descriptor, name)
            yield descriptor
        finally:
            os.close(descriptor)

    def _make_directory(self, parts: Parts, parent: int, metadata: Metadata) -> None:
        """Make a directory, or give one that a member's path already needed its own metadata."""
        if parts not in self._directories:
            try:
                os.mkdir(parts[-1], 0o700, dir_fd=parent)
            except FileExistsError:
                os.close(self._open_child(parent, parts[-1]))  # says what is in the way
                raise
            if parts in self._hidden:
                self._set_opaque(parts)
        self._directories[parts] = metadata

    def _metadata_below(self, parts: Parts) -> Metadata:
        found = self._find_below(parts)
        if found is not None and found.is_directory:
            return read_metadata(found)
        return Metadata(0o755, 0, 0, 0)

    # -- what is hidden below --------------------------------------------------------------------

    def _find_below(self, parts: Parts) -> Found | None:
        if any(parts[:depth] in self._hidden for depth in range(1, len(parts) + 1)):
            return None
        return self._lower.find(parts)

    def _hide(self, parents: Parts, name: str) -> None:
        """Act on a whiteout or an opaque marker. Nothing below, nothing to hide."""
        if name == _OPAQUE_MARKER:
            self._hide_contents(parents)
            return
        if name.startswith(_AUFS):
            return
        hidden = name.removeprefix(_WHITEOUT)
        if hidden in ("", ".", ".."):
            raise self._refused("it is a whiteout of nothing")
        parts = (*parents, hidden)
        if parts in self._directories:
            self._hide_contents(parts)
            return
        if self._find_below(parts) is None:
            return
        parent = self._ensure_directory(parents)
        if not _exists(parent, hidden):  # a new file of this layer hides as well
            os.mknod(hidden, stat.S_IFCHR, os.makedev(0, 0), dir_fd=parent)
            self._whiteouts.add(parts)
        self._hidden.add(parts)

    def _hide_contents(self, parts: Parts) -> None:
        """Hide what the layers below have in a directory. The root cannot be opaque: its entries are hidden singly."""
        if not parts:
            for name in self._lower.names():
                self._hide((), _WHITEOUT + name)
        elif self._find_below(parts) is not None:
            self._ensure_directory(parts)
            self._hidden.add(parts)
            self._set_opaque(parts)

    def _set_opaque(self, parts: Parts) -> None:
        with self._opened(parts) as directory:
            os.setxattr(f"/proc/self/fd/{directory}", OPAQUE, b"y")

    def _lift_whiteout(self, parts: Parts, parent: int) -> None:
        """Something new of this layer takes a whiteout's place; a directory there will be opaque."""
        os.unlink(parts[-1], dir_fd=parent)
        self._whiteouts.discard(parts)

    # -- reading members -------------------------------------------------------------------------

    def _parts(self, path: str) -> Parts:
        if path.startswith("/"):
            raise self._refused(f'"{path}" is an absolute path')
        parts = tuple(part for part in path.split("/") if part not in ("", "."))
        if ".." in parts:
            raise self._refused(f'"{path}" leads out of the image')
        if "\0" in path:
            raise self._refused("its name has a NUL character")
        self._check_depth(parts)
        return parts

    def _check_depth(self, parts: Sequence[str]) -> None:
        if len(parts) > self._stream.limits.levels:
            raise self._refused(f"it lies deeper than {self._stream.limits.levels} directories")

    def _metadata(self, member: tarfile.TarInfo) -> Metadata:
        xattrs: dict[str, bytes] = {}
        for key, value in member.pax_headers.items():
            name = key.removeprefix("SCHILY.xattr.")
            if name != key and self._is_wanted(name):
                xattrs[name] = value.encode("utf-8", "surrogateescape")
        for owner in (member.uid, member.gid):
            if not 0 <= owner < 2**32 - 1:
                raise self._refused(f"its owner {owner} is no user or group ID")
        return Metadata(
            member.mode & 0o7777, member.uid, member.gid, self._mtime_ns(member), xattrs
        )

    def _is_wanted(self, name: str) -> bool:
        if name.startswith(("user.", "system.posix_acl_")) or name == "security.capability":
            return True
        if name.startswith("security."):  # labels and signatures of the host that made the image
            return False
        raise self._refused(f'extended attribute "{name}" has no place in an image')

    def _mtime_ns(self, member: tarfile.TarInfo) -> int:
        try:
            nanoseconds = int(
                Decimal(member.pax_headers.get("mtime", str(int(member.mtime)))) * 10**9
            )
        except (InvalidOperation, ValueError, OverflowError):
            raise self._refused("its modification time is no number") from None
        if not -(2**63) <= nanoseconds < 2**63:
            raise self._refused("its modification time is out of range")
        return nanoseconds

    def _refused(self, why: str) -> ImageError:
        return ImageError(f'{self._stream.what}: member "{_short(self._member)}" is refused: {why}')


def _link(source_directory: int, source: str, directory: int, name: str) -> None:
    """Make a hard link; one to a symbolic link is to the link itself."""
    directories = {"src_dir_fd": source_directory, "dst_dir_fd": directory}
    os.link(source, name, **directories, follow_symlinks=False)


def _is_linkable(directory: int, name: str) -> bool:
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return not stat.S_ISDIR(status.st_mode) and not stat.S_ISCHR(status.st_mode)


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _write_all(descriptor: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:CHUNK]) :]


def _short(name: str) -> str:
    return name if len(name) <= 200 else name[:200] + "..."
