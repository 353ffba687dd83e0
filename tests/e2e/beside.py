"""Cases of one test beside each other: a case is mostly a daemon's start, which keeps one processor busy of several."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

AT_ONCE = 2


def in_pairs(*cases: str) -> list[Any]:
    """Return the cases as parameters of a test that runs AT_ONCE of them; each is named in the test's id."""
    groups = [cases[first : first + AT_ONCE] for first in range(0, len(cases), AT_ONCE)]
    return [pytest.param(group, id="+".join(group)) for group in groups]


def side_by_side(run: Callable[[str], None], cases: Sequence[str]) -> None:
    """Run all cases at once, wait for all of them, and fail with every failure by its case's name."""
    with ThreadPoolExecutor(len(cases)) as pool:
        running = {case: pool.submit(run, case) for case in cases}
    failures = []
    for case, done in running.items():
        if failed := done.exception():
            failed.add_note(f"in {case}")
            failures.append(failed)
    if failures:
        raise BaseExceptionGroup("of cases side by side", failures)
