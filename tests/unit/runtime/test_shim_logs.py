"""CRI lines, rotation and full disks."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minipod.runtime.shim.logs import LINE_LIMIT, LineStream, LogFile, timestamp

STAMP = b"2026-01-01T00:00:00.000000001Z"


def parse(lines: bytes) -> list[tuple[str, bytes]]:
    """The (tag, text) of every CRI line; fails on any that is none."""
    found = []
    for line in lines.splitlines(keepends=True):
        stamp, stream, tag, text = line.split(b" ", 3)
        assert (stamp, stream) == (STAMP, b"stdout")
        assert text.endswith(b"\n")
        found.append((tag.decode(), text[:-1]))
    return found


def test_the_timestamp_has_nine_digits() -> None:
    assert timestamp(1_767_225_600_000_000_001) == STAMP


def test_lines_wait_for_their_end() -> None:
    stream = LineStream("stdout")
    assert stream.feed(b"one\ntw", STAMP) == STAMP + b" stdout F one\n"
    assert stream.feed(b"o\n\n", STAMP) == STAMP + b" stdout F two\n" + STAMP + b" stdout F \n"
    assert stream.feed(b"last", STAMP) == b""
    assert stream.flush(STAMP) == STAMP + b" stdout P last\n"
    assert stream.flush(STAMP) == b""


@pytest.mark.parametrize(
    ("length", "tags"),
    [
        (LINE_LIMIT, ["F"]),
        (LINE_LIMIT + 1, ["P", "F"]),
        (2 * LINE_LIMIT, ["P", "F"]),
        (3 * LINE_LIMIT + 5, ["P", "P", "P", "F"]),
    ],
)
def test_long_lines_are_cut_at_16_kib(length: int, tags: list[str]) -> None:
    lines = parse(LineStream("stdout").feed(b"x" * length + b"\n", STAMP))
    assert [tag for tag, _ in lines] == tags
    assert b"".join(text for _, text in lines) == b"x" * length


PIECES = st.lists(
    st.one_of(
        st.text("ab\n", max_size=30).map(str.encode),
        st.integers(LINE_LIMIT - 2, LINE_LIMIT + 2).map(lambda size: b"y" * size),
    ),
    max_size=8,
)


@given(PIECES)
def test_however_it_is_cut_the_log_is_the_output(pieces: list[bytes]) -> None:
    stream = LineStream("stdout")
    lines = b"".join(stream.feed(piece, STAMP) for piece in pieces) + stream.flush(STAMP)
    text = b"".join(text + (b"\n" if tag == "F" else b"") for tag, text in parse(lines))
    assert text == b"".join(pieces)
    assert all(len(text) <= LINE_LIMIT for _, text in parse(lines))


class Clock:
    """A clock that advances a microsecond whenever it is read."""

    def __init__(self) -> None:
        self.now = 1_767_225_600_000_000_000

    def __call__(self) -> int:
        self.now += 1000
        return self.now


def line(number: int) -> bytes:
    return STAMP + b" stdout F line %06d\n" % number


def test_rotation_keeps_the_newest_files(tmp_path: Path) -> None:
    path = tmp_path / "pod" / "0.log"
    log = LogFile(str(path), len(line(0)) * 2, 3, clock=Clock())
    for number in range(9):
        log.append(line(number))
    log.close()
    files = sorted(path.parent.iterdir())
    assert [file.read_bytes() for file in files] == [
        line(8),
        line(4) + line(5),
        line(6) + line(7),
    ]
    assert files[0].name == "0.log"
    assert files[1].name.startswith("0.log.20260101-000000.")


def test_no_path_discards(tmp_path: Path) -> None:
    log = LogFile("", 100, 2)
    log.open()
    log.append(line(1))
    log.close()
    assert log.lost == 0


def test_lost_lines_are_counted_and_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(str(tmp_path / "0.log"), 1 << 20, 3)
    log.append(line(0))
    real = os.write

    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.append(line(1) + line(2))
    log.append(line(3))
    assert log.lost == 3
    assert not log.write_note()
    monkeypatch.setattr(os, "write", real)
    log.append(line(4))
    log.close()
    lines = (tmp_path / "0.log").read_bytes().splitlines(keepends=True)
    assert (lines[0], lines[2]) == (line(0), line(4))
    assert lines[1].endswith(
        b" stderr F minipod: 3 lines of this log were lost: no space left on device\n"
    )


def test_a_short_write_leaves_whole_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = LogFile(str(tmp_path / "0.log"), 1 << 20, 3)
    real = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: real(fd, data[: len(line(0)) + 7]))
    log.append(line(0) + line(1) + line(2))
    assert log.lost == 2
    assert (tmp_path / "0.log").read_bytes() == line(0)
    monkeypatch.setattr(os, "write", real)
    assert log.write_note()
    log.close()
    assert (tmp_path / "0.log").read_bytes().startswith(line(0) + b"20")


def test_reopening_follows_an_outside_rotation(tmp_path: Path) -> None:
    path = tmp_path / "0.log"
    log = LogFile(str(path), 1 << 20, 3)
    log.append(line(0))
    path.rename(tmp_path / "moved")
    log.append(line(1))
    log.open()
    log.append(line(2))
    log.close()
    assert (tmp_path / "moved").read_bytes() == line(0) + line(1)
    assert path.read_bytes() == line(2)
