"""Users and groups, looked up in a container's own /etc/passwd and /etc/group (passwd(5), group(5)).

The files belong to the image: they are bounded in size, and lines without sense are skipped.
"""

from dataclasses import dataclass

LARGEST_ID = 2**31 - 1  # as in Kubernetes' API and other runtimes
LARGEST_FILE = (
    1024 * 1024
)  # bytes; the shim reads it between two turns, so a file beyond it is refused


@dataclass(frozen=True)
class Identity:
    """Whom a process runs as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def resolve(user: str, passwd: str, group: str, *, merge_groups: bool = True) -> Identity:
    """Resolve an image's USER ("", "name", "uid", "user:group") from the texts of both files.

    A number without an entry stands for itself, with group 0; a group after ":" replaces the user's groups.
    A number never means a name: else an image's user called "1000" could make root of runAsUser 1000.
    ValueError names a user or group that is not there, or a number that is none of a user's.
    """
    wanted, colon, wanted_group = user.partition(":")
    wanted = wanted or "0"
    number = parse_id(wanted)
    entry = _find_user(wanted, number, passwd)
    if entry is None and number is None:
        raise ValueError(f'unable to find user "{wanted}": no matching entries in passwd file')
    name, uid, gid, home = entry or ("", number or 0, 0, "/")
    groups: tuple[int, ...] = ()
    if colon and wanted_group:
        gid = _find_group(wanted_group, group)
    elif merge_groups and name:
        groups = tuple(
            number for number, members in _groups(group) if name in members and number != gid
        )
    return Identity(uid, gid, groups, home or "/")


def parse_id(text: str) -> int | None:
    """Return the user or group ID that a text of digits is, None for a name. ValueError when it is out of range.

    The kernel takes 4294967295 (-1) for "leave it as it is": whoever asked for that user would stay root.
    """
    if not (text.isascii() and text.isdigit()):
        return None
    if len(text) > 20 or int(text) > LARGEST_ID:
        raise ValueError(f'"{text[:40]}" is no user or group ID: the largest is {LARGEST_ID}')
    return int(text)


def _parse_field(text: str) -> int | None:
    """Return a file's ID; None for what is none."""
    try:
        return parse_id(text)
    except ValueError:
        return None


def _find_user(wanted: str, number: int | None, passwd: str) -> tuple[str, int, int, str] | None:
    """Return the first entry with that number, or with that name where no number is asked for."""
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) < 6:
            continue
        uid, gid = _parse_field(fields[2]), _parse_field(fields[3])
        if uid is None or gid is None:
            continue
        if uid == number if number is not None else fields[0] == wanted:
            return fields[0], uid, gid, fields[5]
    return None


def _find_group(wanted: str, group: str) -> int:
    number = parse_id(wanted)
    if number is not None:
        return number
    for line in group.splitlines():
        fields = line.split(":")
        gid = _parse_field(fields[2]) if len(fields) >= 3 else None
        if fields[0] == wanted and gid is not None:
            return gid
    raise ValueError(f'unable to find group "{wanted}": no matching entries in group file')


def _groups(group: str) -> list[tuple[int, list[str]]]:
    found = []
    for line in group.splitlines():
        fields = line.split(":")
        gid = _parse_field(fields[2]) if len(fields) >= 4 else None
        if gid is not None:
            found.append((gid, fields[3].split(",")))
    return found
