import pytest

from minipod.node.backoff import Backoffs, BackoffSettings, format_duration

KEY = ("u1", "app", "h")


def crash(backoffs: Backoffs, ended: float) -> float:
    """Restart as soon as allowed after an end; return the wait."""
    wait = backoffs.wait(*KEY, ended, ended)
    start = wait.until if wait else ended
    assert backoffs.wait(*KEY, ended, start) is None
    backoffs.restarted(*KEY, ended, start)
    return start - ended


def test_waits_double_up_to_the_limit() -> None:
    backoffs, now, waits = Backoffs(), 0.0, []
    for _ in range(8):
        waits.append(crash(backoffs, now))
        now += waits[-1] + 1
    assert waits == [0, 10, 20, 40, 80, 160, 300, 300]


def test_base_and_limit_can_be_chosen() -> None:
    backoffs, now, waits = Backoffs(BackoffSettings(0.1, 0.3)), 0.0, []
    for _ in range(5):
        waits.append(round(crash(backoffs, now), 3))
        now += waits[-1] + 0.01
    assert waits == [0, 0.1, 0.2, 0.3, 0.3]


@pytest.mark.parametrize(("ran", "expected"), [(599.0, 10.0), (601.0, 0.0)])
def test_ten_minutes_of_running_are_forgiven(ran: float, expected: float) -> None:
    backoffs = Backoffs()
    assert crash(backoffs, 0.0) == 0
    ended = ran
    wait = backoffs.wait(*KEY, ended, ended)
    assert (wait.delay if wait else 0.0) == expected


def test_containers_and_pods_are_held_apart() -> None:
    backoffs = Backoffs()
    crash(backoffs, 0.0)
    for other in (("u2", "app", "h"), ("u1", "other", "h"), ("u1", "app", "new")):
        assert backoffs.wait(*other, 1.0, 1.0) is None
    assert backoffs.wait(*KEY, 1.0, 1.0) is not None
    backoffs.forget("u1")
    assert backoffs.wait(*KEY, 1.0, 1.0) is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (10, "10s"),
        (20, "20s"),
        (80, "1m20s"),
        (300, "5m0s"),
        (0.1, "100ms"),
        (2.5, "2.5s"),
        (3600, "1h0m0s"),
        (0, "0s"),
    ],
)
def test_durations_read_as_gos(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
