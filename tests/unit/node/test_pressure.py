"""When a node is short of something, and what it says."""

from pathlib import Path

import pytest

from minipod.node.pressure import (
    DEFAULT_THRESHOLDS,
    Level,
    Threshold,
    compute_pressed,
    measure,
    parse_thresholds,
)
from minipod.paths import layout

GIB = 1 << 30


def test_thresholds_are_written_as_the_kubelet_takes_them() -> None:
    assert parse_thresholds("memory.available<100Mi,nodefs.available<10%") == (
        Threshold("memory.available", 100 << 20),
        Threshold("nodefs.available", part=0.1),
    )
    assert parse_thresholds("memory.available<0%,nodefs.available<100%") == ()
    assert len(parse_thresholds(DEFAULT_THRESHOLDS)) == 5


@pytest.mark.parametrize("text", ["memory.available", "memory.free<1", "nodefs.available<x%", "a<"])
def test_a_threshold_that_makes_no_sense_is_refused_by_name(text: str) -> None:
    with pytest.raises(ValueError, match=f'--eviction-hard "{text}"'):
        parse_thresholds(text)


@pytest.mark.parametrize(
    ("levels", "pressed"),
    [
        ({}, set()),
        ({"memory.available": Level(100 << 20, GIB)}, set()),
        ({"memory.available": Level((100 << 20) - 1, GIB)}, {"MemoryPressure"}),
        ({"nodefs.available": Level(5, 100), "imagefs.available": Level(5, 100)}, set()),
        ({"nodefs.available": Level(4, 100)}, {"DiskPressure"}),
        ({"imagefs.available": Level(4, 100)}, {"DiskPressure"}),
        ({"nodefs.inodesFree": Level(4, 100)}, {"DiskPressure"}),
        ({"pid.available": Level(0, 100)}, set()),
    ],
)
def test_what_is_below_a_default_threshold_is_pressure(
    levels: dict[str, Level], pressed: set[str]
) -> None:
    assert compute_pressed(parse_thresholds(DEFAULT_THRESHOLDS), levels) == pressed


def test_processes_count_when_that_is_asked_for() -> None:
    asked = parse_thresholds("pid.available<10%")
    assert compute_pressed(asked, {"pid.available": Level(9, 100)}) == {"PIDPressure"}


def test_this_host_says_how_much_is_left(tmp_path: Path) -> None:
    levels = measure(layout(tmp_path / "not there yet"))
    assert {"memory.available", "nodefs.available", "imagefs.available"} <= {*levels}
    assert all(0 <= each.available <= each.capacity for each in levels.values())
