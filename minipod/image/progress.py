"""Progress of long work: one line that is rewritten on a terminal, plain lines anywhere else."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import BinaryIO, TextIO

_INTERVAL = 0.1  # seconds between two redraws


class Progress:
    """Reports to `stream` (standard error); `quiet` reports nothing."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._terminal = self._stream.isatty()
        self._drawn = 0.0
        self._pending = False

    def step(self, text: str) -> None:
        """Report the beginning of a step."""
        if self._quiet:
            return
        self._erase()
        print(text, file=self._stream, flush=True)

    def amount(self, what: str, done: int, total: int) -> None:
        """Show how far the step is; on a terminal only."""
        now = time.monotonic()
        if self._quiet or not self._terminal or now - self._drawn < _INTERVAL:
            return
        self._drawn, self._pending = now, True
        percent = 100 * done // max(total, 1)
        self._stream.write(
            f"\r\x1b[K  {what} {percent}% ({done / 1e6:.0f} of {total / 1e6:.0f} MB)"
        )
        self._stream.flush()

    def watched(self, what: str, pieces: Iterable[bytes], total: int) -> Iterator[bytes]:
        """Pass `pieces` on, showing how far they are."""
        done = 0
        for piece in pieces:
            done += len(piece)
            self.amount(what, done, total)
            yield piece

    def _erase(self) -> None:
        if self._pending:
            self._stream.write("\r\x1b[K")
            self._pending = False


class Watched:
    """A readable stream that tells how much was read of it."""

    def __init__(self, stream: BinaryIO, tell: Callable[[int], None]) -> None:
        self._stream = stream
        self._tell = tell
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        """Read, and tell."""
        data = self._stream.read(size)
        self._done += len(data)
        self._tell(self._done)
        return data
