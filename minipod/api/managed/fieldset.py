"""Sets of field paths, in the very form of FieldsV1 (meta.k8s.io/v1), so that nothing is ever converted.

A set is a dictionary of path elements (`f:NAME`, `k:{"name":"a"}`, `v:"x"`, `i:0`) to what lies below each. An empty
dictionary below an element says that the element is a member; a member with members below it has a "." among them.
Sets share their parts and are never changed in place.
"""

import json
from collections.abc import Iterator
from typing import Any

Fields = dict[str, Any]

SELF = "."
_MEMBER: Fields = {}


def is_member(node: Fields) -> bool:
    """Whether the element that a node stands for is in the set itself."""
    return not node or SELF in node


def node_of(member: bool, below: Fields) -> Fields | None:
    """Return the node of an element with what is below it; None for neither."""
    if not member:
        return below or None
    return {SELF: _MEMBER, **below} if below else _MEMBER


def union(one: Fields, other: Fields) -> Fields:
    """Return what is in either set."""
    if not one or not other:
        return one or other
    merged = dict(one)
    for key, theirs in other.items():
        if key == SELF:
            continue
        mine = one.get(key)
        merged[key] = theirs if mine is None else _union_node(mine, theirs)
    return merged


def _union_node(mine: Fields, theirs: Fields) -> Fields:
    if mine == theirs:
        return mine
    member = is_member(mine) or is_member(theirs)
    found = node_of(member, union(_below(mine), _below(theirs)))
    return _MEMBER if found is None else found


def difference(one: Fields, other: Fields) -> Fields:
    """Return what is in the first set alone."""
    if not one or not other:
        return one
    kept: Fields = {}
    for key, mine in one.items():
        if key == SELF:
            continue
        theirs = other.get(key)
        if theirs is None:
            kept[key] = mine
        elif mine is not theirs and mine != theirs:
            member = is_member(mine) and not is_member(theirs)
            node = node_of(member, difference(_below(mine), _below(theirs)))
            if node is not None:
                kept[key] = node
    return kept


def intersection(one: Fields, other: Fields) -> Fields:
    """Return what is in both sets."""
    kept: Fields = {}
    for key, mine in one.items():
        theirs = other.get(key) if key != SELF else None
        if theirs is None:
            continue
        member = is_member(mine) and is_member(theirs)
        node = node_of(member, intersection(_below(mine), _below(theirs)))
        if node is not None:
            kept[key] = node
    return kept


def without_all(fields: Fields, excluded: Fields) -> Fields:
    """Return a set without the excluded members and everything below them (upstream's RecursiveDifference)."""
    kept: Fields = {}
    for key, node in fields.items():
        gone = excluded.get(key)
        if gone is None:
            kept[key] = node
        elif not is_member(gone):
            below = without_all(_below(node), gone)
            left = node_of(is_member(node), below)
            if left is not None:
                kept[key] = left
    return kept


def paths(fields: Fields, above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """Yield every member as its path elements."""
    for key, node in fields.items():
        if key == SELF:
            continue
        here = (*above, key)
        if is_member(node):
            yield here
        yield from paths(_below(node), here)


def path_text(path: tuple[str, ...]) -> str:
    """Return a path as messages have it: `.spec.containers[name="a"].image`."""
    return "".join(map(_element_text, path))


def _element_text(element: str) -> str:
    kind, _, text = element.partition(":")
    if kind == "f":
        return f".{text}"
    if kind == "k":
        keys = json.loads(text)
        return "[" + ",".join(f"{name}={_value(keys[name])}" for name in sorted(keys)) + "]"
    return f"[={text}]" if kind == "v" else f"[{text}]"


def _value(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def _below(node: Fields) -> Fields:
    """Return a node without its own mark."""
    if SELF not in node:
        return node
    return {key: each for key, each in node.items() if key != SELF}


def is_well_formed(fields: Any) -> bool:
    """Whether plain data that a client sent is a set of fields."""
    if not isinstance(fields, dict):
        return False
    return all(
        (key == SELF or _is_element(key)) and is_well_formed(below) for key, below in fields.items()
    )


def _is_element(key: str) -> bool:
    kind, colon, text = key.partition(":")
    if not colon or kind == "f":
        return kind == "f"
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return False
    if kind == "k":
        return isinstance(value, dict)
    return kind == "v" or (kind == "i" and isinstance(value, int))
