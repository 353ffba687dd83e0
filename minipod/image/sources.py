"""Where an image is loaded from: an archive or a folder, as files by name. Nothing of it is unpacked by name."""

import os
import posixpath
import secrets
import stat
import tarfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, cast

from .errors import ImageError
from .stream import CHUNK, Limits, decompressed, reading

_MEMBERS = 100_000  # of an archive of layers: an image has a few hundred


class Source(Protocol):
    """Files by name."""

    what: str  # for messages

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""

    def open(self, name: str) -> BinaryIO:
        """Open a file; raises ImageError when there is none."""

    def size(self, name: str) -> int:
        """Return a file's length; raises ImageError when there is none."""


class FolderSource:
    """An OCI layout on disk. Links are not followed, so that a folder of strangers shows nothing but itself."""

    def __init__(self, folder: Path) -> None:
        self.what = f'"{folder}"'
        self._folder = folder

    def has(self, name: str) -> bool:
        """Tell whether there is such a regular file."""
        path = self._folder
        for part in name.split("/"):
            path = path / part
            if part in ("", ".", "..") or path.is_symlink():
                return False
        return path.is_file()

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        if not self.has(name):
            raise ImageError(f'{self.what}: "{name}" is missing')
        descriptor = os.open(self._folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        return os.fdopen(descriptor, "rb")

    def size(self, name: str) -> int:
        """Return a file's length."""
        with self.open(name) as stream:
            return os.fstat(stream.fileno()).st_size


class ArchiveSource:
    """A tar archive on disk, uncompressed: read at random."""

    def __init__(self, path: Path, what: str) -> None:
        self.what = what
        self._path = path
        self._members: dict[str, tarfile.TarInfo] = {}
        self._stream = open(path, "rb")  # noqa: SIM115 - closed by close()
        try:
            self._read_members()
        except BaseException:
            self._stream.close()
            raise

    def close(self) -> None:
        """Give the file back."""
        self._stream.close()

    def has(self, name: str) -> bool:
        """Tell whether there is such a file."""
        return self._find(name) is not None

    def open(self, name: str) -> BinaryIO:
        """Open a file."""
        member = self._require(name)
        extracted = self._archive.extractfile(member)
        if extracted is None or member.issparse():
            raise ImageError(f'{self.what}: "{name}" is not a plain file')
        return cast(BinaryIO, extracted)

    def size(self, name: str) -> int:
        """Return a file's length."""
        return self._require(name).size

    def _require(self, name: str) -> tarfile.TarInfo:
        member = self._find(name)
        if member is None:
            raise ImageError(f'{self.what}: "{name}" is missing')
        return member

    def _find(self, name: str) -> tarfile.TarInfo | None:
        """Find a file, through the one link that old docker versions put in place of a repeated layer."""
        member = self._members.get(posixpath.normpath(name))
        if member is not None and member.issym():
            target = posixpath.join(posixpath.dirname(name), member.linkname)
            member = self._members.get(posixpath.normpath(target))
        return member if member is not None and member.isreg() else None

    def _read_members(self) -> None:
        try:
            self._archive = tarfile.TarFile(fileobj=self._stream, mode="r")
            for member in self._archive:
                self._add(member)
        except (tarfile.TarError, ValueError, OverflowError, EOFError, RecursionError) as error:
            raise ImageError(f"{self.what}: not a readable tar archive: {error}") from None

    def _add(self, member: tarfile.TarInfo) -> None:
        name = posixpath.normpath(member.name)
        if name.startswith("/") or name.split("/")[0] == "..":
            raise ImageError(f'{self.what}: member "{member.name}" leads out of the archive')
        if name in self._members and not member.isdir():
            raise ImageError(f'{self.what}: member "{member.name}" is in the archive twice')
        if len(self._members) >= _MEMBERS:
            raise ImageError(f"{self.what}: more than {_MEMBERS} members")
        self._members[name] = member


@contextmanager
def opened_source(path: Path, scratch: Path, limits: Limits) -> Iterator[Source]:
    """Open what the user named: a folder, an archive, or "-" for standard input.

    What is compressed or a pipe is first written, within `limits`, to a file in `scratch`.
    """
    if path.is_dir():
        yield FolderSource(path)
        return
    what = "standard input" if str(path) == "-" else f'"{path}"'
    with (
        _plain_file(path, scratch, what, limits) as plain,
        closing(ArchiveSource(plain, what)) as source,
    ):
        yield source


@contextmanager
def _plain_file(path: Path, scratch: Path, what: str, limits: Limits) -> Iterator[Path]:
    piped = str(path) == "-"
    with open(0 if piped else path, "rb", closefd=not piped) as stream:
        if _is_plain_tar(stream):
            yield path
            return
        spool = scratch / f"archive-{secrets.token_hex(8)}"
        try:
            _spool(stream, spool, what, limits)
            yield spool
        finally:
            spool.unlink(missing_ok=True)


def _is_plain_tar(stream: BinaryIO) -> bool:
    """Tell whether it can be read where it is. Standard input never is: its name is not known."""
    if stream.fileno() == 0 or not stat.S_ISREG(os.fstat(stream.fileno()).st_mode):
        return False
    start = os.pread(stream.fileno(), 512, 0)
    return start[257:262] == b"ustar"


def _spool(stream: BinaryIO, path: Path, what: str, limits: Limits) -> None:
    plain = decompressed(stream, what)
    written = 0
    with open(path, "xb") as target, reading(what):
        while piece := plain.read(CHUNK):
            written += len(piece)
            if written > limits.archive_bytes:
                raise ImageError(f"{what}: more than {limits.archive_bytes} bytes uncompressed")
            target.write(piece)
