"""The view that an overlay of unpacked layers gives, read without mounting it."""

import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

OPAQUE = (
    "trusted.overlay.opaque"  # of a directory: "y" hides the same directory of the layers below
)
LINK_LIMIT = 40  # as the kernel's (path_resolution(7))

Parts = tuple[str, ...]


@dataclass(frozen=True)
class Found:
    """What the layers have at a path."""

    path: Path
    status: os.stat_result

    @property
    def is_link(self) -> bool:
        """Whether it is a symbolic link."""
        return stat.S_ISLNK(self.status.st_mode)

    @property
    def is_directory(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.status.st_mode)


class LowerLayers:
    """The merged view of layers, topmost first. Symbolic links are found, never followed."""

    def __init__(self, directories: Sequence[Path] = ()) -> None:
        self._directories = directories

    def find(self, parts: Parts) -> Found | None:
        """Return what is at `parts` below the root, or None."""
        for directory in self._directories:
            found, decided = _look(directory, parts)
            if found or decided:
                return found
        return None

    def names(self) -> list[str]:
        """Return what the root directory holds."""
        candidates = {name for directory in self._directories for name in os.listdir(directory)}
        return sorted(name for name in candidates if self.find((name,)))


def _look(directory: Path, parts: Parts) -> tuple[Found | None, bool]:
    """Look in one layer. The second value: this layer hides whatever the ones below have there."""
    path = directory
    status = os.lstat(path)
    hides = False
    for part in parts:
        if not stat.S_ISDIR(status.st_mode):
            return None, True  # a file, a link or a whiteout stands where a directory would be
        hides = hides or is_opaque(path)
        path = path / part
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return None, hides
    if is_whiteout(status):
        return None, True
    return Found(path, status), True


def is_whiteout(status: os.stat_result) -> bool:
    """Tell whether this is overlayfs's mark for "removed": a character device 0/0."""
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def is_opaque(path: Path) -> bool:
    """Tell whether a layer's directory hides those below it."""
    try:
        return os.getxattr(path, OPAQUE, follow_symlinks=False) == b"y"
    except OSError:
        return False
