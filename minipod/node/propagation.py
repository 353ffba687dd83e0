"""Whether the host passes mounts on as `mountPropagation` wants."""

import os
from collections.abc import Iterable, Sequence

from minipod.linux.mounts import MountEntry, mounts
from minipod.node.errors import StepError
from minipod.runtime.spec import Mount


def check_propagation(wanted: Iterable[Mount]) -> None:
    """Raise StepError when a mount that is to be passed on lies where the host passes nothing on."""
    passed_on = [each for each in wanted if each.propagation != "private"]
    if passed_on:
        table = mounts()
        for each in passed_on:
            # a missing sub path is made inside of the volume: it lies where that does
            compare(each, os.path.realpath(os.path.join(each.source, each.source_subpath)), table)


def compare(wanted: Mount, path: str, table: Sequence[MountEntry]) -> None:
    """Raise StepError when the mount that `path` (no links in it) lies on is not shared, or for a slave no slave."""
    found = _mount_of(path, table)
    fits = ("shared:",) if wanted.propagation == "rshared" else ("shared:", "master:")
    if any(each.startswith(fits) for each in found.propagation):
        return
    kind = "shared" if wanted.propagation == "rshared" else "shared or slave"
    raise StepError(
        "CreateContainerError",
        f'path "{path}" is mounted on "{found.point}" but it is not a {kind} mount; '
        f"try: mount --make-rshared {found.point}",
    )


def _mount_of(path: str, table: Sequence[MountEntry]) -> MountEntry:
    """Return the mount that a path lies on: the latest of the longest."""
    above = [each for each in table if (path + "/").startswith(each.point.rstrip("/") + "/")]
    return max(reversed(above), key=lambda each: len(each.point))
