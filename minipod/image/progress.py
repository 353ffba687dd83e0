"""Progress of long work: one line that is rewritten on a terminal, plain lines anywhere else."""

import sys
import time
from typing import TextIO

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

    def _erase(self) -> None:
        if self._pending:
            self._stream.write("\r\x1b[K")
            self._pending = False
