"""A layer in the making: paths and what is there, held in memory, with contents in files elsewhere.

Nothing is unpacked on the host to build an image; so no owner, device or setuid bit is needed there, and the order
and the dates of the layer are this module's alone.
"""

import fnmatch
import posixpath
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO, Literal

from .errors import ImageError

Kind = Literal["file", "directory", "symlink"]

# Debian's merged /usr (https://wiki.debian.org/UsrMerge): packages may still ship files under the old names.
MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")


@dataclass(frozen=True, eq=False)
class Content:
    """A file's bytes, either here or in a part of another file. Two entries with one Content are hard links."""

    size: int
    data: bytes = b""
    path: Path | None = None
    offset: int = 0

    def pieces(self, chunk: int = 1 << 20) -> Iterator[bytes]:
        """Yield the content piece by piece."""
        if self.path is None:
            yield self.data
            return
        with open(self.path, "rb") as stream:
            stream.seek(self.offset)
            remaining = self.size
            while remaining > 0:
                piece = stream.read(min(chunk, remaining))
                if not piece:
                    raise ImageError(f'"{self.path}" was cut short while it was read')
                remaining -= len(piece)
                yield piece

    def read(self) -> bytes:
        """Return the whole content."""
        return b"".join(self.pieces())


@dataclass(frozen=True)
class Entry:
    """What is at one path."""

    kind: Kind
    mode: int = 0o755
    uid: int = 0
    gid: int = 0
    mtime: int = 0  # seconds since the epoch
    target: str = ""  # of a symbolic link
    content: Content | None = None


class Tree:
    """Paths (absolute, with merged /usr) and their entries. Parents are made as needed."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}

    def __contains__(self, path: str) -> bool:
        return canonical(path) in self.entries

    def add(self, path: str, entry: Entry) -> None:
        """Put `entry` at `path`; a later one replaces an earlier one, as a later package's file does."""
        path = canonical(path)
        if path == "/":
            return
        self._ensure_parents(path)
        self.entries[path] = entry

    def add_file(
        self, path: str, data: bytes, mode: int = 0o644, uid: int = 0, gid: int = 0
    ) -> None:
        """Put a file at `path`."""
        self.add(path, Entry("file", mode, uid, gid, content=Content(len(data), data)))

    def add_symlink(self, path: str, target: str) -> None:
        """Put a symbolic link at `path`."""
        self.add(path, Entry("symlink", 0o777, target=target))

    def add_root_link(self, name: str, target: str) -> None:
        """Put a symbolic link of the merged /usr at the root."""
        self.entries[f"/{name}"] = Entry("symlink", 0o777, target=target)

    def append(self, path: str, data: bytes) -> None:
        """Append to a file of the tree; raises ImageError when there is none."""
        content = self.read(path) + data
        entry = self.entries[canonical(path)]
        self.add(path, replace(entry, content=Content(len(content), content)))

    def ensure_directory(self, path: str, mode: int = 0o755, uid: int = 0, gid: int = 0) -> None:
        """Put a directory at `path`, or give the one there this mode and owner."""
        self.add(path, Entry("directory", mode, uid, gid))

    def read(self, path: str) -> bytes:
        """Return a file's content, links within the tree followed; raises ImageError when there is none."""
        here = canonical(path)
        for _ in range(40):
            entry = self.entries.get(here)
            if entry is None or entry.kind == "directory":
                break
            if entry.content is not None:
                return entry.content.read()
            here = canonical(posixpath.join(posixpath.dirname(here), entry.target))
        raise ImageError(f'the image has no file "{path}"')

    def add_tar(self, stream: BinaryIO, spool: Path, what: str) -> None:
        """Add everything in a package's tar archive; `stream` is read from the uncompressed file `spool`."""
        contents: dict[str, Content] = {}
        with tarfile.open(fileobj=stream, mode="r:") as archive:
            for member in archive:
                self._add_member(member, spool, contents, what)

    def remove(self, removed: tuple[str, ...], kept: tuple[str, ...]) -> None:
        """Remove what matches a pattern of `removed`, unless it, or something below it, matches one of `kept`."""
        doomed = {p for p in self.entries if _matches(p, removed) and not _matches(p, kept)}
        for path in set(self.entries) - doomed:
            while (path := posixpath.dirname(path)) != "/":
                doomed.discard(path)
        for path in doomed:
            del self.entries[path]

    def _ensure_parents(self, path: str) -> None:
        parent = posixpath.dirname(path)
        while parent != "/":
            found = self.entries.setdefault(parent, Entry("directory"))
            if found.kind != "directory":
                raise ImageError(f'"{path}" cannot be in the image: "{parent}" is no directory')
            parent = posixpath.dirname(parent)

    def _add_member(
        self, member: tarfile.TarInfo, spool: Path, contents: dict[str, Content], what: str
    ) -> None:
        path = canonical("/" + member.name)
        common = Entry("directory", member.mode & 0o7777, member.uid, member.gid, int(member.mtime))
        if member.isdir():
            self._add_directory(path, common)
        elif member.issym():
            self._add_link(path, replace(common, kind="symlink", target=member.linkname))
        elif member.islnk():
            content = contents[canonical("/" + member.linkname)]
            self.add(path, replace(common, kind="file", content=content))
        elif member.isreg():
            content = Content(member.size, path=spool, offset=member.offset_data)
            contents[path] = content
            self.add(path, replace(common, kind="file", content=content))
        else:
            raise ImageError(f'{what}: "{member.name}" is neither file, directory nor link')

    def _add_directory(self, path: str, entry: Entry) -> None:
        found = self.entries.get(path)
        if found is None or found.kind == "directory":
            self.add(path, entry)

    def _add_link(self, path: str, entry: Entry) -> None:
        """Add a link of a package, but for the merged /usr's own, which are the builder's."""
        if posixpath.normpath(entry.target).strip("/") != path.strip("/"):
            self.add(path, entry)


def canonical(path: str) -> str:
    """Return the path as it is in a merged /usr: "/bin/sh" is "/usr/bin/sh"."""
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if ".." in parts:
        path = posixpath.normpath(path)
        parts = [part for part in path.split("/") if part]
    if parts and parts[0] in MERGED:
        parts.insert(0, "usr")
    return "/" + "/".join(parts)


def _matches(path: str, patterns: tuple[str, ...]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def tar_entries(tree: Tree, epoch: int) -> Iterator[tuple[tarfile.TarInfo, Content | None]]:
    """Yield the tree's members in the one order and form that a layer has: sorted, dates at most `epoch`."""
    seen: dict[int, str] = {}
    for path in sorted(tree.entries, key=lambda p: p.split("/")):
        entry = tree.entries[path]
        member = tarfile.TarInfo(path.lstrip("/"))
        member.mode, member.uid, member.gid = entry.mode, entry.uid, entry.gid
        member.mtime = min(entry.mtime or epoch, epoch)
        content = entry.content
        if entry.kind == "directory":
            member.type = tarfile.DIRTYPE
        elif entry.kind == "symlink":
            member.type, member.linkname = tarfile.SYMTYPE, entry.target
        elif content is not None and id(content) in seen:
            member.type, member.linkname, content = tarfile.LNKTYPE, seen[id(content)], None
        elif content is not None:
            member.size = content.size
            seen[id(content)] = member.name
        yield member, content
