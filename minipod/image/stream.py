"""A layer's tar stream: decompressed, hashed and bounded while it is read, forward only."""

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO, cast

from .errors import ImageError

CHUNK = 256 * 1024
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz"}


@dataclass(frozen=True)
class Limits:
    """How much of an archive is accepted. The defaults hold any honest image."""

    layer_bytes: int = 16 * 1024**3  # uncompressed, archive and written files alike
    members: int = 1_000_000  # per layer
    levels: int = 256  # of directories within directories; costs grow with its square
    header_bytes: int = 1024**2  # of one member: names, extended attributes
    archive_bytes: int = 64 * 1024**3  # a whole `docker save` or OCI archive, uncompressed
    document_bytes: int = 8 * 1024**2  # an index, a manifest or a configuration


class LayerStream:
    """A readable, forward-seekable stream of `source`'s uncompressed bytes, as tarfile wants it.

    Every byte is hashed. Raises ImageError beyond `limits`, and for damaged or unsupported compression.
    """

    def __init__(self, source: BinaryIO, what: str, limits: Limits | None = None) -> None:
        self.what = what
        self.limits = limits or Limits()
        self.last = b""  # what the latest read() returned: tarfile ends silently on a bad header
        self._hash = hashlib.sha256()
        self._source = decompressed(source, what)
        self._buffer = b""
        self._start = 0  # of the unread part of the buffer
        self._position = 0
        self._header_budget = self.limits.header_bytes

    def begin_member(self) -> None:
        """Allow the next member's headers their share."""
        self._header_budget = self.limits.header_bytes

    def read(self, size: int = -1) -> bytes:
        """Return up to `size` bytes, fewer only at the end."""
        self._header_budget -= size
        if size < 0 or self._header_budget < 0:
            raise ImageError(
                f"{self.what}: a member's headers exceed {self.limits.header_bytes} bytes"
            )
        self.last = b"".join(self._take(size))
        return self.last

    def chunks(self, size: int) -> Iterator[bytes]:
        """Yield exactly `size` bytes of content in pieces; raises ImageError when the stream ends before."""
        remaining = size
        for piece in self._take(size):
            remaining -= len(piece)
            yield piece
        if remaining:
            raise ImageError(f"{self.what}: the archive is truncated")

    def tell(self) -> int:
        """Return the position in the uncompressed stream."""
        return self._position

    def seek(self, position: int) -> int:
        """Skip forward to `position`."""
        if position < self._position:
            raise ImageError(f"{self.what}: the archive wants to be read backwards")
        for _ in self._take(position - self._position):
            pass
        return self._position

    def finish(self) -> str:
        """Read to the end, where only padding may follow, and return the digest of everything (the diff ID)."""
        clean = not self.last.strip(b"\0")
        while piece := self._fill():
            clean = clean and not piece[self._start :].strip(b"\0")
            self._position += len(piece) - self._start
            self._buffer, self._start = b"", 0
        if not clean:
            raise ImageError(f"{self.what}: damaged header, or data after the end of the archive")
        return "sha256:" + self._hash.hexdigest()

    def _take(self, size: int) -> Iterator[bytes]:
        while size > 0 and (buffer := self._fill()):
            piece = buffer[self._start : self._start + size]
            self._start += len(piece)
            self._position += len(piece)
            size -= len(piece)
            yield piece

    def _fill(self) -> bytes:
        """Return the buffer with something unread in it, or nothing at the end."""
        if self._start < len(self._buffer):
            return self._buffer
        with reading(self.what):
            self._buffer = self._source.read(CHUNK)
        self._start = 0
        if self._position + len(self._buffer) > self.limits.layer_bytes:
            raise ImageError(
                f"{self.what}: more than {self.limits.layer_bytes} bytes when uncompressed"
            )
        self._hash.update(self._buffer)
        return self._buffer


class _Rewound:
    """A stream whose first bytes were read to see what it is, and are given out again."""

    def __init__(self, start: bytes, rest: BinaryIO) -> None:
        self._start = start
        self._rest = rest

    def read(self, size: int = -1) -> bytes:
        if not self._start:
            return self._rest.read(size)
        cut = len(self._start) if size < 0 else size
        piece, self._start = self._start[:cut], self._start[cut:]
        return piece


def decompressed(source: BinaryIO, what: str) -> BinaryIO:
    """Return the uncompressed stream of a tar, gzip or zstd file; raises ImageError for any other compression."""
    start = source.read(8)
    rewound = cast(BinaryIO, _Rewound(start, source))
    if start.startswith(_GZIP):
        return cast(BinaryIO, gzip.GzipFile(fileobj=rewound, mode="rb"))
    if start.startswith(_ZSTD):
        return _open_zstd(rewound, what)
    for magic, name in _OTHERS.items():
        if start.startswith(magic):
            raise ImageError(f"{what}: {name} compression is not an image's; use tar, gzip or zstd")
    return rewound


def _open_zstd(source: BinaryIO, what: str) -> BinaryIO:
    try:
        from compression import zstd  # type: ignore[import-not-found,unused-ignore]
    except ImportError:
        raise ImageError(
            f"{what}: zstd compression needs Python 3.14; "
            "save the image with gzip layers (skopeo copy --dest-compress-format gzip)"
        ) from None
    return cast(BinaryIO, zstd.ZstdFile(source, "rb"))


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Translate what decompression says of damaged input."""
    try:
        yield
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ImageError(f"{what}: damaged compressed data: {error}") from error
