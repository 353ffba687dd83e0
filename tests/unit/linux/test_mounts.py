import pytest

from minipod.linux.mounts import MountEntry, at_or_below, parse

LINE = (
    r"36 35 98:0 /mnt1 /mnt\0402 rw,noatime master:1 shared:2 - ext3 /dev/root rw,errors=continue"
)


def test_parses_a_line() -> None:
    assert parse(LINE) == [
        MountEntry(
            *(36, 35, "/mnt1", "/mnt 2", ("rw", "noatime"), ("master:1", "shared:2")),
            *("ext3", "/dev/root", ("rw", "errors=continue")),
        )
    ]


def test_only_a_newline_ends_a_line() -> None:
    (entry,) = parse("1 2 0:3 / /a\x0cb\x85c rw - tmpfs none rw\n")
    assert entry.point == "/a\x0cb\x85c"


def test_refuses_what_is_no_mountinfo() -> None:
    with pytest.raises(ValueError, match='"nonsense"'):
        parse("nonsense")


def test_finds_mounts_below_latest_first() -> None:
    points = ("/a", "/a/b", "/ab", "/a/b/c", "/a")
    entries = parse("".join(f"1 1 0:1 / {point} rw - tmpfs x rw\n" for point in points))

    assert [entry.point for entry in at_or_below("/a", entries)] == ["/a", "/a/b/c", "/a/b", "/a"]
