"""What the end of a log gives as a termination message."""

import pytest

from minipod.node.messages import LOG_LIMIT, LOG_WINDOW, read_log_end

STAMP = b"2026-01-01T00:00:00.000000001Z stdout"


def log(*texts: bytes) -> bytes:
    return b"".join(b"%b F %b\n" % (STAMP, text) for text in texts)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        (b"", b""),
        (log(b"one", b"two"), b"one\ntwo\n"),
        (log(b"bar 10%\rbar 20%"), b"bar 10%\rbar 20%\n"),
        (log(*[b"x"] * 100), b"x\n" * 80),
        (log(*[b"y" * 24] * 100), (b"y" * 24 + b"\n") * 80),
        (log(b"z" * 5000), b"z" * 2047 + b"\n"),
        (STAMP + b" P " + b"z" * 5000 + b"\n", b"z" * 2048),
    ],
)
def test_the_end_of_a_log_is_what_the_kubelet_would_take(written: bytes, expected: bytes) -> None:
    assert read_log_end(written) == expected


def test_the_first_line_of_a_full_window_is_cut_and_tells_nothing() -> None:
    window = log(*[b"a b c d e" * 1000] * 5)[-LOG_WINDOW:]
    assert read_log_end(window) == (b"a b c d e" * 1000)[1 - LOG_LIMIT :] + b"\n"
