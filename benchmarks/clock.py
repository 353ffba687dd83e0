"""Timing: repeated measurements, medians, and a table of ratios."""

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field

QUIET_SECONDS = (
    0.3  # what the kernel needs to end a network namespace that nobody has any more, and some more
)


@dataclass
class Row:
    """One figure of minipod's beside its peer's. Smaller is better; `target` is the ratio to reach."""

    name: str
    unit: str
    minipod: list[float]
    peer: list[float] = field(default_factory=list)
    peer_name: str = ""
    target: float | None = None  # of the ratio minipod/peer, or of the figure itself without a peer

    def cells(self) -> list[str]:
        """Return the row as text: medians, spread, ratio, target."""
        mine = statistics.median(self.minipod)
        cells = [
            self.name,
            f"{mine:.1f} {self.unit}",
            f"{min(self.minipod):.1f}-{max(self.minipod):.1f}",
        ]
        if not self.peer:
            return [*cells, "", "", "", f"{self.target:g} {self.unit}" if self.target else ""]
        theirs = statistics.median(self.peer)
        ratio = mine / theirs if theirs else float("inf")
        goal = f"{self.target:.2f}" if self.target else ""
        return [*cells, self.peer_name, f"{theirs:.1f} {self.unit}", f"{ratio:.2f}", goal]


HEADINGS = ["what", "minipod", "range", "peer", "peer's", "ratio", "target"]


def table(rows: list[Row]) -> str:
    """Lay the rows out as a Markdown table."""
    cells = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(HEADINGS))]
    lines = [
        "| " + " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) + " |"
        for line in cells
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    return "\n".join(lines)


def repeat(count: int, run: Callable[[int], float], label: str) -> list[float]:
    """Call `run` `count` times after one unmeasured call; `run` returns milliseconds."""
    run(-1)
    figures = []
    for number in range(count):
        figures.append(run(number))
        print(f"\r{label}: {number + 1}/{count}", end="", file=sys.stderr, flush=True)
    print(f"\r{label}: median {statistics.median(figures):.1f} ms", file=sys.stderr)
    return figures


def beside(
    count: int,
    ours: Callable[[int], float],
    theirs: Callable[[int], float] | None,
    label: str,
    every: int = 3,
) -> tuple[list[float], list[float]]:
    """Call `ours` `count` times, and `theirs` between every so many of them: both see the same weather.

    Each begins on a quiet machine: the kernel goes on taking down the namespaces of the one before for a while, under
    locks that the next would wait for.
    """

    def rested(run: Callable[[int], float], number: int) -> float:
        time.sleep(QUIET_SECONDS)
        return run(number)

    ours(-1)
    if theirs:
        theirs(-1)
    mine: list[float] = []
    peers: list[float] = []
    for number in range(count):
        mine.append(rested(ours, number))
        if theirs and number % every == 0:
            peers.append(rested(theirs, number))
        print(f"\r{label}: {number + 1}/{count}", end="", file=sys.stderr, flush=True)
    print(f"\r{label}: median {statistics.median(mine):.1f} ms", file=sys.stderr)
    return mine, peers


def now_ms() -> float:
    """Return a monotonic time in milliseconds."""
    return time.monotonic_ns() / 1e6
