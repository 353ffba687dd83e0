"""Two runs of pytest share the kernel's and the end-to-end tests: most of those wait, and there are two processors.

Each takes one file after another from its own end of the list, until the other has taken the rest. `MINIPOD_TEST_RUN`
says which it is: `DIRECTORY/first` or `DIRECTORY/last`, where DIRECTORY is theirs. Anything else is a run by itself.

A run has network and mount namespaces of its own. Cgroups, processes and the list of all network namespaces are the
host's, so each run notes the names of the instances that it makes, before it makes them: what the other has noted is
not a leak of this one. What nobody has noted is a leak of both.
"""

import os
import signal
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pytest

RUN = "MINIPOD_TEST_RUN"  # in the environment of everything the tests start, with a value for each run
TAKEN, NOTED = "taken", "noted"


def beside() -> Path | None:
    """Return this run's directory when there is another run beside it."""
    own = Path(os.environ.get(RUN, ""))
    return own if own.is_absolute() else None


def note(instance: str) -> str:
    """Note a name that cgroups will have, as this run's; return it."""
    if own := beside():
        (own / NOTED).mkdir(parents=True, exist_ok=True)
        (own / NOTED / instance).touch()
    return instance


def find_others() -> frozenset[str]:
    """Return the names that the other run has noted. Ask after looking at the host: names are noted ahead."""
    own = beside()
    if not own:
        return frozenset()
    others = (each for each in own.parent.glob(f"*/{NOTED}/*") if each.parents[1] != own)
    return frozenset(each.name for each in others)


def run(session: pytest.Session, own: Path) -> None:
    """Run the files that this run is the first to take, as pytest's own loop runs all."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # it takes down what it made
    items = take(session.items, own)
    item = next(items, None)
    while item:
        following = next(items, None)
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        if session.shouldfail:
            raise session.Failed(session.shouldfail)
        if session.shouldstop:
            raise session.Interrupted(session.shouldstop)
        item = following


def take(items: list[pytest.Item], own: Path) -> Iterator[pytest.Item]:
    """Yield the tests of one file after another that the other run has not taken."""
    files = [(path, list(group)) for path, group in groupby(items, lambda item: item.path)]
    taken = own.parent / TAKEN
    taken.mkdir(parents=True, exist_ok=True)
    for path, group in files if own.name == "first" else reversed(files):
        try:
            (taken / str(path).replace("/", "+")).touch(exist_ok=False)
        except FileExistsError:
            continue
        yield from group
