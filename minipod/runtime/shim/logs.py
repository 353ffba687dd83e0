"""Container logs: CRI lines, rotation by size and count, full disks.

Format (Kubernetes "CRI container logging"): `TIME STREAM TAG TEXT`, TIME as RFC 3339 with nanoseconds in UTC, TAG
`F` for a whole line and `P` for a part of one: 16 KiB of a longer line, or a last line without its newline.
Rotation is the kubelet's: `0.log` becomes `0.log.YYYYMMDD-HHMMSS.MICROSECONDS`, `max_files` counts the live one.
A log never blocks and never raises: lines that cannot be written are counted, and a note tells how many.
"""

import contextlib
import os
import time
from collections.abc import Callable

LINE_LIMIT = 16 * 1024
_FLAGS = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK


class LineStream:
    """Cuts one output stream into CRI lines. `carry` is the line whose end has not been seen."""

    __slots__ = ("carry", "name")

    def __init__(self, name: str, carry: bytes = b"") -> None:
        self.name = name
        self.carry = carry

    def feed(self, chunk: bytes, stamp: bytes) -> bytes:
        """Return the CRI lines that `chunk` completes. Works in blocks: a flood costs few Python steps."""
        data = self.carry + chunk if self.carry else chunk
        full, partial = self._prefix(stamp, b"F"), self._prefix(stamp, b"P")
        out: list[bytes] = []
        position = 0
        while len(data) - position > LINE_LIMIT:
            newline = data.rfind(b"\n", position, position + LINE_LIMIT + 1)
            if newline < 0:
                out.append(partial + data[position : position + LINE_LIMIT] + b"\n")
                position += LINE_LIMIT
            else:
                out.append(_prefixed(full, data[position:newline]))
                position = newline + 1
        newline = data.rfind(b"\n", position)
        if newline >= 0:
            out.append(_prefixed(full, data[position:newline]))
            position = newline + 1
        self.carry = data[position:]
        return b"".join(out)

    def flush(self, stamp: bytes) -> bytes:
        """Return the last, unfinished line at the end of the stream, tagged partial."""
        rest, self.carry = self.carry, b""
        return self._prefix(stamp, b"P") + rest + b"\n" if rest else b""

    def _prefix(self, stamp: bytes, tag: bytes) -> bytes:
        return b"%b %b %b " % (stamp, self.name.encode(), tag)


def _prefixed(prefix: bytes, lines: bytes) -> bytes:
    return prefix + lines.replace(b"\n", b"\n" + prefix) + b"\n"


def timestamp(now_ns: int) -> bytes:
    """Return nanoseconds since the epoch as RFC 3339 in UTC with nine digits of fraction."""
    seconds, nanoseconds = divmod(now_ns, 1_000_000_000)
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{whole}.{nanoseconds:09d}Z".encode()


class LogFile:
    """One container's log. `path` "" discards everything. Lost lines are in `lost` until the note is written."""

    def __init__(
        self,
        path: str,
        max_bytes: int,
        max_files: int,
        *,
        lost: int = 0,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self.path = path
        self.max_bytes = max_bytes
        self.max_files = max_files
        self.lost = lost
        self._why = "it could not be written"
        self._clock = clock
        self._descriptor = -1
        self._size = 0

    def open(self) -> None:
        """Open (or make) the file and its directory. Raises OSError."""
        if not self.path:
            return
        os.makedirs(os.path.dirname(self.path), mode=0o755, exist_ok=True)
        descriptor = os.open(self.path, _FLAGS, 0o640)
        self._size = os.fstat(descriptor).st_size
        self.close()
        self._descriptor = descriptor

    def close(self) -> None:
        """Close the file; the next append opens it again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def stamp(self) -> bytes:
        """Return the present time as CRI lines have it."""
        return timestamp(self._clock())

    def append(self, lines: bytes) -> None:
        """Write whole CRI lines, rotating before the file grows beyond `max_bytes`."""
        if not self.path or not lines:
            return
        if self._size and self._size + len(lines) > self.max_bytes:
            self._rotate()
        if (self.lost and not self.write_note()) or not self._write(lines):
            self._lose(lines)

    def write_note(self) -> bool:
        """Say in the log how many lines were lost, when that is possible by now."""
        if not self.lost:
            return True
        text = f"minipod: {self.lost} lines of this log were lost: {self._why}\n"
        if not self._write(self.stamp() + b" stderr F " + text.encode()):
            return False
        self.lost = 0
        return True

    def _write(self, lines: bytes) -> bool:
        """Write all of `lines`, or as many whole ones as fit, counting the rest. False when none could be."""
        try:
            if self._descriptor < 0:
                self.open()
            written = os.write(self._descriptor, lines)
            if written < len(lines):  # a disk filling up takes a part: keep whole lines only
                kept = lines.rfind(b"\n", 0, written) + 1
                os.ftruncate(self._descriptor, self._size + kept)
                self._size += kept
                self._why = "no space left on device"
                if kept:
                    self._lose(lines[kept:])
                return kept > 0
        except OSError as error:
            self._why = (error.strerror or str(error)).lower()
            return False
        self._size += written
        return True

    def _lose(self, lines: bytes) -> None:
        self.lost += lines.count(b"\n")

    def _rotate(self) -> None:
        seconds, rest = divmod(self._clock(), 1_000_000_000)
        suffix = time.strftime("%Y%m%d-%H%M%S", time.gmtime(seconds)) + f".{rest // 1000:06d}"
        rotated = f"{self.path}.{suffix}"
        try:
            os.rename(self.path, rotated)
        except OSError:
            return  # moved away from outside, or a failing disk: go on in the file we have
        try:
            self.open()
        except OSError:
            os.rename(rotated, self.path)  # no room for a new file: the old one stays the live one
            return
        self._prune()

    def _prune(self) -> None:
        directory, name = os.path.split(self.path)
        with contextlib.suppress(OSError):  # somebody else may be tidying up as well
            rotated = sorted(item for item in os.listdir(directory) if item.startswith(name + "."))
            for item in rotated[: max(0, len(rotated) - max(0, self.max_files - 1))]:
                os.unlink(os.path.join(directory, item))
