"""Laws of JSONPath: what is put at a path is found there."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from minipod.cli.jsonpath import Template, parse_path

_NAMES = st.text("abcxyz", min_size=1, max_size=4)
_LEAVES = st.one_of(st.integers(), st.text("abc ", max_size=4), st.booleans())


def nested(names: list[str], leaf: Any) -> Any:
    """Return `leaf` below the names."""
    for name in reversed(names):
        leaf = {name: leaf}
    return leaf


@given(st.lists(_NAMES, min_size=1, max_size=5), _LEAVES)
def test_what_is_at_a_path_is_found_in_each_of_its_notations(names: list[str], leaf: Any) -> None:
    root = nested(names, leaf)
    dotted, bracketed = ".".join(names), "".join(f"['{name}']" for name in names)
    for text in (f".{dotted}", dotted, f"{{.{dotted}}}", f"$.{dotted}", f"{{{bracketed}}}"):
        assert parse_path(text).values(root) == [leaf]
    assert parse_path(f".{dotted}.missing").values(root) == []
    assert leaf in parse_path(f"..{names[-1]}").values(root)


@given(st.lists(st.integers(0, 9), max_size=6), st.integers(-7, 7), st.integers(-7, 7))
def test_indices_and_slices_are_those_of_lists(items: list[int], start: int, end: int) -> None:
    root = {"items": items}
    assert parse_path(".items[*]").values(root) == items
    if -len(items) <= start < len(items):
        assert parse_path(f".items[{start}]").values(root) == [items[start]]
    if 0 <= start <= end <= len(items):
        assert parse_path(f".items[{start}:{end}]").values(root) == items[start:end]


@given(st.lists(st.fixed_dictionaries({"name": _NAMES, "size": st.integers(0, 9)}), max_size=5))
def test_a_filter_keeps_what_a_loop_would_and_a_range_prints_it(items: list[Any]) -> None:
    root = {"items": items}
    found = parse_path(".items[?(@.size>4)].name").values(root)
    assert found == [each["name"] for each in items if each["size"] > 4]
    printed = Template("{range .items[*]}{.name},{end}").render(root)
    assert printed == "".join(f"{each['name']}," for each in items)
