import asyncio
from pathlib import Path

import pytest

from minipod.api.errors import StatusError
from minipod.node.log_requests import find_attempt, parse_options
from minipod.node.logs import Follower, LogOptions, log_files, read_log
from tests.unit.node.pods import make_pod


def line(second: int, text: str, *, stream: str = "stdout", tag: str = "F") -> str:
    return f"2026-01-01T00:00:{second:02d}.000000000Z {stream} {tag} {text}\n"


def write(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(lines))


def read(path: Path, **options: object) -> str:
    async def collect() -> bytes:
        return b"".join([piece async for piece in read_log(path, LogOptions(**options))])

    return asyncio.run(collect()).decode()


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Two rotated files and the live one, a line each but the last two."""
    path = tmp_path / "app" / "0.log"
    write(path.with_name("0.log.20260101-000001.000000"), line(1, "one"))
    write(path.with_name("0.log.20260101-000002.000000"), line(2, "two"))
    write(path, line(3, "three"), line(4, "four"))
    write(path.with_name("1.log"), line(9, "another attempt"))
    return path


def test_rotated_files_come_first(log):
    assert [each.name[-1] for each in log_files(log)] == ["0", "0", "g"]
    assert read(log) == "one\ntwo\nthree\nfour\n"


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (0, ""),
        (1, "four\n"),
        (2, "three\nfour\n"),
        (3, "two\nthree\nfour\n"),
        (9, "one\ntwo\nthree\nfour\n"),
    ],
)
def test_tail_counts_over_rotated_files(log, lines, expected):
    assert read(log, tail=lines) == expected


def test_since_timestamps_and_limit(log):
    assert read(log, since="2026-01-01T00:00:03.000000000Z") == "three\nfour\n"
    assert read(log, tail=1, timestamps=True) == "2026-01-01T00:00:04.000000000Z four\n"
    assert read(log, limit_bytes=5) == "one\nt"


def test_parts_of_a_line_are_joined_and_stamped_once(tmp_path):
    path = tmp_path / "0.log"
    write(path, line(1, "be", tag="P"), line(2, "gin", tag="F"), line(3, "", tag="F"))
    assert read(path) == "begin\n\n"
    assert read(path, timestamps=True).startswith("2026-01-01T00:00:01.000000000Z begin\n")


def test_only_a_newline_ends_a_line(tmp_path):
    path = tmp_path / "0.log"
    path.write_bytes((line(1, "10 %\r20 %\r") + line(2, "from a terminal\r")).encode())
    assert read(path) == "10 %\r20 %\r\nfrom a terminal\r\n"


def test_a_log_that_does_not_exist_is_empty(tmp_path):
    assert read(tmp_path / "none" / "0.log") == ""


def test_following_sees_growth_rotation_and_the_end(tmp_path):
    path = tmp_path / "app" / "0.log"
    write(path, line(1, "one"))
    running, seen = [True], []

    async def scene() -> None:
        wake = asyncio.Event()
        follower = Follower(lambda: not running[0], wake)
        found: asyncio.Queue[bytes] = asyncio.Queue()

        async def follow() -> None:
            async for piece in read_log(path, LogOptions(follow=True), follower):
                found.put_nowait(piece)

        task = asyncio.create_task(follow())
        seen.append(await found.get())
        with path.open("a") as opened:
            opened.write(line(2, "two"))
        seen.append(await found.get())
        with path.open("a") as opened:
            opened.write(line(3, "three"))
        path.rename(path.with_name("0.log.20260101-000003.000000"))
        write(path, line(4, "four"))
        while b"".join(seen).count(b"\n") < 4:
            seen.append(await found.get())
        running[0] = False
        wake.set()
        await asyncio.wait_for(task, 5)

    asyncio.run(scene())
    assert b"".join(seen) == b"one\ntwo\nthree\nfour\n"


# -- which log -------------------------------------------------------------------------------------


def status(state: str, count: int, last: bool = False) -> dict[str, object]:
    found = {
        "name": "app",
        "restartCount": count,
        "state": {state: {"reason": "CrashLoopBackOff"} if state == "waiting" else {}},
        "lastState": {"terminated": {}} if last else {},
    }
    return {"containerStatuses": [found]}


@pytest.mark.parametrize(
    ("state", "count", "last", "previous", "attempt"),
    [
        ("running", 2, True, False, 2),
        ("running", 2, True, True, 1),
        ("terminated", 0, False, False, 0),
        ("waiting", 3, True, False, 3),
        ("waiting", 3, True, True, 3),
    ],
)
def test_the_attempt_whose_log_is_meant(state, count, last, previous, attempt):
    assert find_attempt(make_pod(), status(state, count, last), "app", previous) == attempt


def test_a_container_that_never_ran_has_no_log():
    with pytest.raises(StatusError, match="is waiting to start: CrashLoopBackOff"):
        find_attempt(make_pod(), status("waiting", 0), "app", False)
    with pytest.raises(StatusError, match='previous terminated container "app" in pod "web" not'):
        find_attempt(make_pod(), status("running", 0), "app", True)
    with pytest.raises(StatusError, match="is not available"):
        find_attempt(make_pod(), {}, "app", False)


def test_options_are_read_as_the_wire_has_them():
    options = parse_options({"follow": "true", "tailLines": "3", "sinceSeconds": "10"}, 100.0)
    assert options == LogOptions(follow=True, tail=3, since="1970-01-01T00:01:30.000000000Z")
    with pytest.raises(StatusError):
        parse_options({"tailLines": "x"}, 0.0)
