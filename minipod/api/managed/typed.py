"""Objects walked by their schema: their fields, what differs between two, one merged into another, some removed.

structured-merge-diff's typed values: `field_set` is ToFieldSet, `compare` Compare, `merge` Merge, `remove` RemoveItems,
`with_named` EnsureNamedFieldsAreMembers.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from minipod.api.managed.fieldset import Fields, is_member, node_of, path_text
from minipod.api.managed.shape import FREE, Shape, element_of

Object = dict[str, Any]


class MergeError(ValueError):
    """A value that cannot be merged: a field that the schema does not have, an element twice."""


@dataclass
class Comparison:
    """What is different in the second of two values, as sets of fields."""

    added: Fields = field(default_factory=dict)
    modified: Fields = field(default_factory=dict)
    removed: Fields = field(default_factory=dict)


# ---- the fields of one value ----


def field_set(shape: Shape, value: Any) -> Fields:
    """Return the fields that an applied configuration speaks of: leaves, map keys and list elements."""
    if shape.form in ("set", "keyed"):
        return _elements_set(shape, value)
    found: Fields = {}
    for name, item in value.items():
        below = shape.field(name) or FREE
        node = _field_node(shape, name, below, item)
        if node is not None:
            found[f"f:{name}"] = node
    return found


def _field_node(shape: Shape, name: str, below: Shape, item: Any) -> Fields | None:
    if is_leaf(below, item):
        return {}
    return node_of(not shape.named(name), field_set(below, item))


def _elements_set(shape: Shape, items: Sequence[Any]) -> Fields:
    found: Fields = {}
    for element, same in by_element(shape, items).items():
        if len(same) > 1 or is_leaf(shape.items, same[0]):
            found[element] = {}
        else:
            found[element] = node_of(True, field_set(shape.items, same[0])) or {}
    return found


def is_leaf(shape: Shape, value: Any) -> bool:
    """Whether a value is owned as a whole: scalars, what is atomic, and what is empty."""
    if not isinstance(value, (dict, list)) or not value or shape.form == "leaf":
        return True
    return isinstance(value, list) and shape.form not in ("set", "keyed")


def by_element(shape: Shape, items: Sequence[Any]) -> dict[str, list[Any]]:
    """Return a list's items by their path elements. Raises MergeError for one without its keys."""
    found: dict[str, list[Any]] = {}
    for index, item in enumerate(items):
        try:
            found.setdefault(element_of(shape, item), []).append(item)
        except (KeyError, AttributeError, TypeError):
            listed = ", ".join(f'"{key}"' for key in shape.keys)
            raise MergeError(
                f"element {index}: associative list with keys has an element that omits key field {listed} "
                "(and doesn't have default value)"
            ) from None
    return found


# ---- two values ----


def compare(shape: Shape, old: Object, new: Object) -> Comparison:
    """Return what differs. What is equal costs next to nothing."""
    found = Comparison()
    _compare_fields(shape, old, new, found)
    return found


def _compare_fields(shape: Shape, old: Object, new: Object, found: Comparison) -> None:
    for name, after in new.items():
        before = old.get(name, _ABSENT)
        if before is _ABSENT:
            found.added[f"f:{name}"] = whole(shape.field(name) or FREE, after)
        elif before is not after and before != after:
            _compare_below(shape.field(name) or FREE, f"f:{name}", before, after, found)
    for name, before in old.items():
        if name not in new:
            found.removed[f"f:{name}"] = whole(shape.field(name) or FREE, before)


_ABSENT: Any = object()


def _compare_below(shape: Shape, key: str, before: Any, after: Any, found: Comparison) -> None:
    """Compare two values that differ and hang what is found below `key`."""
    if _whole_on_both_sides(shape, before, after):
        found.modified[key] = {}
        return
    inner = Comparison()
    if isinstance(after, list) or isinstance(before, list):
        _compare_elements(shape, before or (), after or (), inner)
    else:
        _compare_fields(shape, before or {}, after or {}, inner)
    for mine, theirs in (
        (found.added, inner.added),
        (found.modified, inner.modified),
        (found.removed, inner.removed),
    ):
        if theirs:
            mine[key] = theirs


def _whole_on_both_sides(shape: Shape, before: Any, after: Any) -> bool:
    if is_leaf(shape, before) and is_leaf(shape, after):
        return True
    kinds = {type(value) for value in (before, after) if value is not None}
    return len(kinds) > 1


def _compare_elements(
    shape: Shape, old: Sequence[Any], new: Sequence[Any], found: Comparison
) -> None:
    before, after = by_element(shape, old), by_element(shape, new)
    for element, items in after.items():
        known = before.get(element)
        if known is None or (len(known) > 1) is not (len(items) > 1):
            found.added[element] = _whole_element(shape, items)
            if known is not None:
                found.removed[element] = {}
        elif len(items) > 1:
            if known != items:
                found.modified[element] = {}
        elif known[0] != items[0]:
            _compare_below(shape.items, element, known[0], items[0], found)
    for element, items in before.items():
        if element not in after:
            found.removed[element] = _whole_element(shape, items)


def _whole_element(shape: Shape, items: list[Any]) -> Fields:
    return {} if len(items) > 1 else whole(shape.items, items[0])


def whole(shape: Shape, value: Any) -> Fields:
    """Return the node of a value that is new or gone altogether: it and everything below it."""
    if is_leaf(shape, value):
        return {}
    node: Fields = {".": {}}
    if isinstance(value, list):
        for element, items in by_element(shape, value).items():
            node[element] = _whole_element(shape, items)
    else:
        for name, item in value.items():
            node[f"f:{name}"] = whole(shape.field(name) or FREE, item)
    return node


# ---- one value merged into another ----


def merge(shape: Shape, live: Any, config: Any, path: str = "") -> Any:
    """Return the live value with the applied one merged in. Raises MergeError."""
    if config is None or is_leaf(shape, config):
        keeps = shape.form != "leaf" and config in ({}, []) and _same_type(live, config)
        return live if keeps else config
    if isinstance(config, list):
        return _merge_lists(shape, live if isinstance(live, list) else [], config, path)
    merged = dict(live) if isinstance(live, dict) else {}
    for name, item in config.items():
        below = shape.field(name)
        if below is None:
            raise MergeError(f"{path}.{name}: field not declared in schema")
        merged[name] = merge(below, merged.get(name), item, f"{path}.{name}")
    return merged


def _same_type(live: Any, config: Any) -> bool:
    return bool(live) and type(live) is type(config)


def _merge_lists(shape: Shape, live: list[Any], config: list[Any], path: str) -> list[Any]:
    """Merge element by element; the configuration's order rules, what only the live list has keeps its place."""
    known, wanted = by_element(shape, live), by_element(shape, config)
    for element, items in wanted.items():
        if len(items) > 1:
            raise MergeError(f"{path}: duplicate entries for key {_element_name(element)}")
    merged = []
    for element in _merged_order(list(known), list(wanted)):
        if element not in wanted:
            merged += known[element]
            continue
        there = known.get(element, [None])
        before = there[0] if len(there) == 1 else None
        where = f"{path}{_element_name(element)}"
        merged.append(merge(shape.items, before, wanted[element][0], where))
    return merged


def _element_name(element: str) -> str:
    return path_text((element,))


def _merged_order(live: list[str], config: list[str]) -> Iterator[str]:
    """Yield the elements of both: shared ones in the configuration's order, others where their list has them."""
    shared, told = [each for each in config if each in live], set(config)
    left, right = 0, 0
    done: set[str] = set()
    while left < len(live) or right < len(config):
        if left < len(live) and right < len(config):
            here = live[left]
            if here == config[right]:
                done.add(here)
                yield here
                left, right, shared = left + 1, right + 1, shared[1:]
                continue
            if here in told and shared and shared[0] != here:
                left += 1  # it comes where the configuration has it
                continue
        if left < len(live) and live[left] not in told:
            yield live[left]
            left += 1
            continue
        if left < len(live) and live[left] in done:
            left += 1
        if right < len(config):
            done.add(config[right])
            shared = shared[1:] if shared[:1] == [config[right]] else shared
            yield config[right]
            right += 1


# ---- some of a value removed ----


def remove(shape: Shape, value: Any, gone: Fields, *, hollow: bool = False) -> Any:
    """Return the value without the fields in the set; None when nothing of it is left.

    With `hollow` a field that was emptied is still there, as null: it was not itself removed.
    """
    if is_leaf(shape, value):
        return value
    if isinstance(value, list):
        items = [
            _removed(shape.items, item, gone.get(element_of(shape, item)), hollow) for item in value
        ]
        return [item for item in items if item is not _ABSENT] or None
    kept = {}
    for name, item in value.items():
        left = _removed(shape.field(name) or FREE, item, gone.get(f"f:{name}"), hollow)
        if left is not _ABSENT and (left is not None or item is None or hollow):
            kept[name] = left
    return kept or None


def _removed(shape: Shape, item: Any, node: Fields | None, hollow: bool) -> Any:
    if node is None:
        return item
    return _ABSENT if is_member(node) else remove(shape, item, node, hollow=hollow)


def with_named(shape: Shape, fields: Fields) -> Fields:
    """Return the set with every field of the schema that has members below it a member too."""
    found: Fields = {}
    for key, node in fields.items():
        if key == ".":
            continue
        is_field = key.startswith("f:")
        below = (shape.field(key[2:]) or FREE) if is_field else shape.items
        inner = with_named(below, node)
        member = is_member(node) or (is_field and shape.named(key[2:]))
        found[key] = node_of(member, inner) or {}
    return found
