"""What is mounted: /proc/PID/mountinfo parsed (proc_pid_mountinfo(5))."""

import re
from dataclasses import dataclass
from pathlib import Path

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True)
class MountEntry:
    """One line of mountinfo."""

    id: int
    parent: int
    root: str  # the part of the filesystem that is mounted
    point: str
    options: tuple[str, ...]  # per mount: "rw", "nosuid", "relatime", ...
    propagation: tuple[str, ...]  # "shared:12", "master:3"; empty when private
    type: str
    source: str
    super_options: tuple[str, ...]


def parse(text: str) -> list[MountEntry]:
    """Parse the text of a mountinfo file, in mounting order. ValueError for a line that is none."""
    return [_parse_line(line) for line in _lines(text)]


def mounts(pid: int | str = "self") -> list[MountEntry]:
    """Return the mounts that a process sees."""
    return parse(Path(f"/proc/{pid}/mountinfo").read_text(errors="surrogateescape"))


def mounts_below(path: str) -> list[MountEntry]:
    """Return this process's mounts at `path` (absolute, no links) or below it, latest first. Parses no others."""
    text = Path("/proc/self/mountinfo").read_text(errors="surrogateescape")
    near = (line for line in _lines(text) if _unescape(line.split(" ", 5)[4]).startswith(path))
    return at_or_below(path, [_parse_line(line) for line in near])


def at_or_below(path: str, entries: list[MountEntry]) -> list[MountEntry]:
    """Return the mounts at `path` (absolute, no links) or below it, latest first: the order to unmount them in."""
    prefix = path.rstrip("/") + "/"
    found = [entry for entry in entries if entry.point == path or entry.point.startswith(prefix)]
    return found[::-1]


def _lines(text: str) -> list[str]:
    """Return the lines: a newline ends them, and nothing else that a mount point's name may hold."""
    return text.removesuffix("\n").split("\n") if text else []


def _parse_line(line: str) -> MountEntry:
    before, separator, after = line.partition(" - ")
    first, last = before.split(" "), after.split(" ")
    if not separator or len(first) < 6 or len(last) < 3:
        raise ValueError(f'not a line of mountinfo: "{line}"')
    return MountEntry(
        id=int(first[0]),
        parent=int(first[1]),
        root=_unescape(first[3]),
        point=_unescape(first[4]),
        options=tuple(first[5].split(",")),
        propagation=tuple(first[6:]),
        type=last[0],
        source=_unescape(last[1]),
        super_options=tuple(last[2].split(",")),
    )


def _unescape(text: str) -> str:
    return _ESCAPE.sub(lambda found: chr(int(found[1], 8)), text)
