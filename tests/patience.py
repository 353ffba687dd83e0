"""How long a test waits at most for what ordinarily comes at once: an end for what hangs, no measure of speed.

A machine whose processor is emulated starts a process a hundred times as slowly as another, so what is bearable is
measured: by what starting a program takes here.
"""

import functools
import subprocess
import time

START_SECONDS = 0.005  # of a program, on a machine at work
PROGRAMS, MOST = 3, 20.0


def patience(seconds: float) -> float:
    """Return how long to wait here for what must come within `seconds` on an ordinary machine."""
    return seconds * _slowness()


@functools.cache
def _slowness() -> float:
    began = time.perf_counter()
    for _ in range(PROGRAMS):
        subprocess.run(["true"], check=True)
    return min(MOST, max(1.0, (time.perf_counter() - began) / PROGRAMS / START_SECONDS))
