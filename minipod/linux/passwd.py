"""Users and groups, looked up in a container's own /etc/passwd and /etc/group (passwd(5), group(5)).

The files belong to the image: they are opened inside its root, bounded in size, and lines without sense are skipped.
"""

import os
from dataclasses import dataclass

from minipod.linux.files import open_in_root

_LARGEST = 10 * 1024 * 1024  # bytes; a file beyond it is refused, as other runtimes do


@dataclass(frozen=True)
class Identity:
    """Whom a process runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def read_in_root(root: int, path: str) -> str:
    """Return a small text file inside the directory `root`; "" when it is missing. OSError EFBIG when too large."""
    try:
        descriptor = open_in_root(root, path, os.O_RDONLY | os.O_NONBLOCK)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    with os.fdopen(descriptor, "rb") as opened:
        content = opened.read(_LARGEST + 1)
    if len(content) > _LARGEST:
        raise OSError(27, "file too large", path)
    return content.decode(errors="surrogateescape")


def resolve(user: str, passwd: str, group: str, *, merge_groups: bool = True) -> Identity:
    """Resolve an image's USER ("", "name", "uid", "user:group") from the texts of both files.

    A number without an entry stands for itself, with group 0; a group after ":" replaces the user's groups.
    ValueError names a user or group that is not there.
    """
    wanted, colon, wanted_group = user.partition(":")
    entry = _find_user(wanted or "0", passwd)
    if entry is None and not (wanted or "0").isdigit():
        raise ValueError(f'unable to find user "{wanted}": no matching entries in passwd file')
    name, uid, gid, home = entry or ("", int(wanted or 0), 0, "/")
    groups: tuple[int, ...] = ()
    if colon and wanted_group:
        gid = _find_group(wanted_group, group)
    elif merge_groups and name:
        groups = tuple(
            number for number, members in _groups(group) if name in members and number != gid
        )
    return Identity(uid, gid, groups, home or "/")


def groups_of_uid(uid: int, passwd: str, group: str) -> tuple[int, ...]:
    """Return the supplementary groups that the image's files give to a numeric user; none without an entry."""
    entry = _find_user(str(uid), passwd)
    if entry is None:
        return ()
    return tuple(number for number, members in _groups(group) if entry[0] in members)


def _find_user(wanted: str, passwd: str) -> tuple[str, int, int, str] | None:
    by_number: tuple[str, int, int, str] | None = None
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 6 or not (fields[2].isdigit() and fields[3].isdigit()):
            continue
        found = fields[0], int(fields[2]), int(fields[3]), fields[5]
        if fields[0] == wanted:
            return found
        if fields[2] == wanted and by_number is None:
            by_number = found
    return by_number


def _find_group(wanted: str, group: str) -> int:
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 3 and fields[0] == wanted and fields[2].isdigit():
            return int(fields[2])
    if wanted.isdigit():
        return int(wanted)
    raise ValueError(f'unable to find group "{wanted}": no matching entries in group file')


def _groups(group: str) -> list[tuple[int, list[str]]]:
    found = []
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) >= 4 and fields[2].isdigit():
            found.append((int(fields[2]), fields[3].split(",")))
    return found
