"""Named fault points: places where a test kills this process to prove that nothing is lost or leaked.

`MINIPOD_FAULT=name` (or `name@N`, the N-th time it is reached) makes `point(name)` send SIGKILL to the process
itself: no handler, no finally block and no buffer flush runs, as in a power cut. Without the variable a point
costs one comparison.
"""

import os
import signal

_armed, _, _count = os.environ.get("MINIPOD_FAULT", "").partition("@")
_remaining = int(_count) if _count.isdigit() else 1


def point(name: str) -> None:
    """Kill this process here when the fault point `name` is armed."""
    global _remaining
    if name != _armed:
        return
    _remaining -= 1
    if _remaining <= 0:
        os.kill(os.getpid(), signal.SIGKILL)
