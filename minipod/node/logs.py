"""Reading container logs: CRI files and what rotation left of them, since a time, the last lines, and as they grow.

Nothing polls: the kernel tells (inotify) when a file grows or is replaced, the node tells when the container has ended.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path

from minipod.linux import inotify

_BLOCK = 256 * 1024


@dataclass(frozen=True)
class LogOptions:
    """What of a log is wanted. `since` is an RFC 3339 instant with nanoseconds in UTC, as in the files."""

    follow: bool = False
    tail: int | None = None
    since: str = ""
    timestamps: bool = False
    limit_bytes: int | None = None


@dataclass
class Follower:
    """How long a log is followed: until `ended` is set, which is looked at after each reading."""

    ended: Callable[[], bool]
    wake: asyncio.Event


class LineFormat:
    """Turns CRI lines into what a client sees. Parts of one line are joined, and stamped once."""

    def __init__(self, options: LogOptions) -> None:
        self._options = options
        self._continued: dict[bytes, bool] = {}
        self._since = options.since.encode()

    def convert(self, data: bytes) -> bytes:
        """Return the text of whole CRI lines; damaged ones are left out."""
        out = bytearray()
        for line in data.split(b"\n"):  # and nothing else: programs write carriage returns
            fields = line.split(b" ", 3)
            if len(fields) < 3:
                continue
            stamp, stream, tag = fields[:3]
            text = fields[3] if len(fields) > 3 else b""
            if self._since and stamp < self._since:
                continue
            if self._options.timestamps and not self._continued.get(stream):
                out += stamp + b" "
            whole = not tag.startswith(b"P")
            self._continued[stream] = not whole
            out += text + (b"\n" if whole else b"")
        return bytes(out)


def log_files(path: Path) -> list[Path]:
    """Return a log's files, oldest first: what was rotated away, then the live one."""
    try:
        names = os.listdir(path.parent)
    except FileNotFoundError:
        return []
    rotated = sorted(name for name in names if name.startswith(f"{path.name}."))
    return [path.parent / name for name in (*rotated, *([path.name] if path.name in names else ()))]


async def read_log(
    path: Path, options: LogOptions, follower: Follower | None = None
) -> AsyncIterator[bytes]:
    """Yield the log's text. With `follow` and a follower, goes on until the container has ended."""
    left = options.limit_bytes
    async for piece in _read_all(path, options, follower):
        if left is not None:
            piece = piece[:left]
            left -= len(piece)
        if piece:
            yield piece
        if left == 0:
            return


async def _read_all(
    path: Path, options: LogOptions, follower: Follower | None
) -> AsyncIterator[bytes]:
    form = LineFormat(options)
    watch = _Watch(path.parent, follower) if options.follow and follower else None
    reader = _FileChain(path, options.tail)
    try:
        while True:
            ended = follower is None or follower.ended()
            while data := reader.read():
                yield form.convert(data)
                await asyncio.sleep(0)  # a large log must not keep the node from its other work
            if watch is None or ended:
                return
            await watch.wait()
    finally:
        reader.close()
        if watch:
            watch.close()


class _FileChain:
    """Reads whole lines from a log's files in order, going over to the next when the live one was rotated away.

    Files are followed by their inode: their names change under us.
    """

    def __init__(self, path: Path, tail: int | None) -> None:
        self._path = path
        files = log_files(path)
        first, self._offset = _find_tail(files, tail) if tail is not None else (0, 0)
        self._queue = [_inode(each) for each in files[first:]]
        self._inode = 0  # of the file being read, or read last
        self._rest = b""
        self._file = -1

    def read(self) -> bytes:
        """Return the next whole lines, b"" when there are no more for now."""
        while True:
            if self._file < 0 and not self._open_next():
                return b""
            data = os.pread(self._file, _BLOCK, self._offset)
            if data:
                self._offset += len(data)
                whole, newline, self._rest = (self._rest + data).rpartition(b"\n")
                if newline:
                    return whole + newline
            elif not self._find_newer():
                return b""
            else:
                self.close()

    def close(self) -> None:
        """Close the file being read."""
        if self._file >= 0:
            os.close(self._file)
            self._file, self._offset, self._rest = -1, 0, b""

    def _open_next(self) -> bool:
        while self._find_newer():
            self._inode = self._queue.pop(0)
            path = next((p for p in log_files(self._path) if _inode(p) == self._inode), None)
            if path is None:
                self._offset = 0  # pruned meanwhile
                continue
            try:
                self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:  # rotated just now: find its new name
                self._queue.insert(0, self._inode)
                continue
            return True
        return False

    def _find_newer(self) -> bool:
        """Queue the files that came after the one read last; whether there are any."""
        if not self._queue:
            inodes = [_inode(each) for each in log_files(self._path)]
            start = inodes.index(self._inode) + 1 if self._inode in inodes else 0
            self._queue = inodes[start:]
        return bool(self._queue)


def _inode(path: Path) -> int:
    try:
        return path.stat().st_ino
    except FileNotFoundError:
        return 0


def _find_tail(files: list[Path], lines: int) -> tuple[int, int]:
    """Return in which file, and where in it, the last `lines` lines begin."""
    if lines <= 0:
        last = len(files) - 1
        return (last, files[last].stat().st_size) if files else (0, 0)
    for index in range(len(files) - 1, -1, -1):
        offset, lines = _seek_back(files[index], lines)
        if lines == 0:
            return index, offset
    return 0, 0


def _seek_back(path: Path, lines: int) -> tuple[int, int]:
    """Return where the last `lines` lines of a file begin, and how many more are wanted from the files before it."""
    with path.open("rb") as opened:
        end = opened.seek(0, os.SEEK_END)
        position = end
        while position > 0:
            start = max(0, position - _BLOCK)
            opened.seek(start)
            block = opened.read(position - start)
            cut = len(block) - 1 if position == end and block.endswith(b"\n") else len(block)
            while (newline := block.rfind(b"\n", 0, cut)) >= 0:
                lines -= 1
                if lines == 0:
                    return start + newline + 1, 0
                cut = newline
            position = start
    return 0, lines - 1 if end else lines


class _Watch:
    """Waits for a change in a directory of logs, or for the follower to be woken."""

    _MASK = inotify.IN_MODIFY | inotify.IN_CREATE | inotify.IN_MOVED_TO | inotify.IN_DELETE_SELF

    def __init__(self, directory: Path, follower: Follower) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self._inotify = inotify.Inotify()
        self._inotify.add(directory, self._MASK)
        self._event = follower.wake
        asyncio.get_running_loop().add_reader(self._inotify.fileno(), self._changed)

    def _changed(self) -> None:
        self._inotify.read()
        self._event.set()

    async def wait(self) -> None:
        """Return after the next change."""
        await self._event.wait()
        self._event.clear()

    def close(self) -> None:
        """Stop watching."""
        asyncio.get_running_loop().remove_reader(self._inotify.fileno())
        self._inotify.close()
