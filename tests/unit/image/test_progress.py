"""Progress is one rewritten line on a terminal and plain lines elsewhere."""

import io

import pytest

from minipod.image.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [100.0]
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    return now


def test_a_pipe_gets_plain_lines() -> None:
    out = io.StringIO()
    progress = Progress(out)
    progress.step("one")
    progress.amount("writing", 5, 10)
    progress.step("two")
    assert out.getvalue() == "one\ntwo\n"


def test_a_terminal_gets_one_line_redrawn_ten_times_a_second_at_most(clock: list[float]) -> None:
    out = Terminal()
    progress = Progress(out)
    progress.amount("writing", 1_000_000, 4_000_000)
    progress.amount("writing", 2_000_000, 4_000_000)
    clock[0] += 1
    progress.amount("writing", 4_000_000, 4_000_000)
    progress.step("done")
    assert out.getvalue() == (
        "\r\x1b[K  writing 25% (1 of 4 MB)\r\x1b[K  writing 100% (4 of 4 MB)\r\x1b[Kdone\n"
    )


def test_quiet_is_quiet() -> None:
    out = Terminal()
    progress = Progress(out, quiet=True)
    progress.step("one")
    progress.amount("writing", 0, 0)
    assert out.getvalue() == ""
