"""The terminal: colour, size, and raw mode that is undone whatever happens."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO


def coloured(text: str, code: str, stream: IO[str]) -> str:
    """Return `text` in an ANSI colour, when `stream` is a terminal and NO_COLOR is not set (no-color.org)."""
    if os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not stream.isatty():
        return text
    return f"\x1b[{code}m{text}\x1b[0m"


def is_terminal(descriptor: int) -> bool:
    """Tell whether a descriptor is a terminal (and open at all)."""
    try:
        return os.isatty(descriptor)
    except OSError:
        return False


def size() -> tuple[int, int] | None:
    """Return (columns, rows) of the terminal on stdout or stdin, or None."""
    for descriptor in (1, 0):
        try:
            found = os.get_terminal_size(descriptor)
        except OSError:
            continue
        return found.columns, found.lines
    return None


@contextmanager
def raw_mode(descriptor: int) -> Iterator[None]:
    """Put a terminal into raw mode for the block; restored on return, exceptions and SIGTERM or SIGHUP."""
    import signal
    import termios
    import tty

    before = termios.tcgetattr(descriptor)

    def restore() -> None:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)

    def leave(number: int, _frame: object) -> None:
        restore()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    handlers = {each: signal.signal(each, leave) for each in (signal.SIGTERM, signal.SIGHUP)}
    tty.setraw(descriptor, termios.TCSANOW)  # what was typed ahead is kept
    try:
        yield
    finally:
        restore()
        for number, handler in handlers.items():
            signal.signal(number, handler)


def progress(text: str) -> None:
    """Print one line of progress on stderr."""
    print(text, file=sys.stderr, flush=True)
