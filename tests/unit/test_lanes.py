"""Two runs share the files of tests: each is taken once, from both ends."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import lanes


class Item(NamedTuple):
    path: Path
    name: str


ITEMS = [Item(Path("/tests", file), name) for file in "abcd" for name in ("one", "two")]


def files(taken: Iterator[Any], number: int) -> list[str]:
    """Return the files of the next so many tests."""
    return [next(taken).path.name for _ in range(number)]


def test_each_file_is_run_whole_by_the_one_that_took_it_first(tmp_path: Path) -> None:
    first, last = (lanes.take(ITEMS, tmp_path / name) for name in ("first", "last"))  # type: ignore[arg-type]
    assert files(first, 1) == ["a"]
    assert files(last, 3) == ["d", "d", "c"]
    assert files(first, 3) == ["a", "b", "b"]
    assert list(first) == []
    assert files(last, 1) == ["c"]
    assert list(last) == []


def test_only_a_run_that_was_given_a_place_has_another_beside_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for alone in ("", "6f0c", "first"):
        monkeypatch.setenv(lanes.RUN, alone)
        assert lanes.beside() is None
        assert lanes.note("minipod-1") == "minipod-1"
        assert lanes.find_others() == frozenset()
    monkeypatch.setenv(lanes.RUN, str(tmp_path / "first"))
    lanes.note("minipod-1")
    assert lanes.find_others() == frozenset()
    monkeypatch.setenv(lanes.RUN, str(tmp_path / "last"))
    assert lanes.find_others() == {"minipod-1"}
