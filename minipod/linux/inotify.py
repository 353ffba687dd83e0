"""inotify(7): being told that a file or directory has changed, instead of looking."""

import os
import struct

from minipod.linux.kernel import library_call

IN_MODIFY = 0x2
IN_ATTRIB = 0x4
IN_CLOSE_WRITE = 0x8
IN_MOVED_FROM = 0x40
IN_MOVED_TO = 0x80
IN_CREATE = 0x100
IN_DELETE = 0x200
IN_DELETE_SELF = 0x400
IN_MOVE_SELF = 0x800

_EVENT = struct.Struct("iIII")  # wd, mask, cookie, length of the name
_BUFFER = 65536


class Inotify:
    """One inotify descriptor, not blocking; give `fileno()` to an event loop and `read()` when it is readable."""

    def __init__(self) -> None:
        flags = os.O_NONBLOCK | os.O_CLOEXEC  # IN_NONBLOCK and IN_CLOEXEC have these values
        self._descriptor = library_call("inotify_init1", flags)

    def fileno(self) -> int:
        """Return the descriptor."""
        return self._descriptor

    def add(self, path: str | os.PathLike[str], mask: int) -> int:
        """Watch `path`; return the watch's number. OSError when it does not exist."""
        encoded = os.fsencode(path)
        return library_call("inotify_add_watch", self._descriptor, encoded, mask, path=path)

    def read(self) -> list[tuple[int, int, str]]:
        """Return what has happened as (watch, mask, name in the directory); empty when nothing has."""
        try:
            data = os.read(self._descriptor, _BUFFER)
        except BlockingIOError:
            return []
        found = []
        offset = 0
        while offset < len(data):
            watch, mask, _, length = _EVENT.unpack_from(data, offset)
            offset += _EVENT.size
            name = data[offset : offset + length].rstrip(b"\0")
            offset += length
            found.append((watch, mask, os.fsdecode(name)))
        return found

    def close(self) -> None:
        """Stop watching everything."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
