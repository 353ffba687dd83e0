"""SPDY's name/value blocks: compressed with one zlib stream for each direction, from a dictionary of common words."""

import struct
import zlib
from collections.abc import Mapping

from minipod.spdy.frames import ProtocolError

BLOCK_LIMIT = 64 << 10  # bytes of a block once it is decompressed
_WORDS = (
    "options head post put delete trace accept accept-charset accept-encoding accept-language accept-ranges age allow "
    "authorization cache-control connection content-base content-encoding content-language content-length "
    "content-location content-md5 content-range content-type date etag expect expires from host if-match "
    "if-modified-since if-none-match if-range if-unmodified-since last-modified location max-forwards pragma "
    "proxy-authenticate proxy-authorization range referer retry-after server te trailer transfer-encoding upgrade "
    "user-agent vary via warning www-authenticate method get status"
)
_MORE = ["200 OK", "version", "HTTP/1.1", "url", "public", "set-cookie", "keep-alive", "origin"]
_REST = (
    "100101201202205206300302303304305306307402405406407408409410411412413414415416417502504505"
    "203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 Unauthorized"
    "403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service Unavailable"
    "Jan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, Sun, GMT"
    "chunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,text/plain,"
    "text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,utf-,*,enq=0."
)
# The draft's, section 2.6.10.1: its Adler-32 is 0xe3c6a7c2, which every compressed stream begins with.
DICTIONARY = (
    b"".join(struct.pack("!I", len(word)) + word.encode() for word in (*_WORDS.split(), *_MORE))
    + _REST.encode()
)


class Compressor:
    """Makes the blocks of one direction."""

    def __init__(self) -> None:
        self._zlib = zlib.compressobj(level=6, zdict=DICTIONARY)

    def compress(self, headers: Mapping[str, str]) -> bytes:
        """Return the block that holds `headers`; names in lower case."""
        parts = [struct.pack("!I", len(headers))]
        for name, value in headers.items():
            for text in (name.lower(), value):
                encoded = text.encode()
                parts += (struct.pack("!I", len(encoded)), encoded)
        return self._zlib.compress(b"".join(parts)) + self._zlib.flush(zlib.Z_SYNC_FLUSH)


class Decompressor:
    """Reads the blocks of one direction, each within bounds."""

    def __init__(self) -> None:
        self._zlib = zlib.decompressobj(zdict=DICTIONARY)

    def decompress(self, block: bytes) -> dict[str, str]:
        """Return a block's headers; several values of one name are separated by NUL. Raises ProtocolError."""
        try:
            plain = self._zlib.decompress(block, BLOCK_LIMIT)
        except zlib.error as error:
            raise ProtocolError(f"headers that cannot be decompressed: {error}") from None
        if self._zlib.unconsumed_tail or self._zlib.eof:
            raise ProtocolError(f"headers of more than {BLOCK_LIMIT} bytes, or behind their end")
        return _parse(plain)


def _parse(plain: bytes) -> dict[str, str]:
    found: dict[str, str] = {}
    try:
        (count,), at = struct.unpack_from("!I", plain), 4
        for _ in range(count):
            name, at = _text(plain, at)
            value, at = _text(plain, at)
            if not name or name != name.lower() or name in found:
                raise ProtocolError(
                    f"a header named {name[:40]!r}: empty, given twice or not lower case"
                )
            found[name] = value
    except (struct.error, UnicodeDecodeError):
        raise ProtocolError("headers that are cut short or no text") from None
    if at != len(plain):
        raise ProtocolError("bytes behind the last header")
    return found


def _text(plain: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from("!I", plain, at)
    end = at + 4 + length
    if end > len(plain):
        raise ProtocolError("a header that ends behind its frame")
    return plain[at + 4 : end].decode(), end
