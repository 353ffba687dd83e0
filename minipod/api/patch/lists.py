"""Lists that are merged, not replaced: what their elements are known by, and in which order they end up.

The order rules are those of upstream's strategic merge patch: elements that the patch speaks of stand in the patch's
order, those only the server has keep theirs, and each of the latter stands before the first of the former that it
stood before on the server.
"""

from collections.abc import Sequence
from typing import Any

from minipod.api.patch.errors import PatchError

Object = dict[str, Any]


def identity(element: Any, merge_key: str) -> Any:
    """Return what an element is known by: the value of its merge key, or itself for a scalar. Raises PatchError."""
    if not merge_key:
        return element
    if not isinstance(element, dict):
        raise PatchError(
            f"expected an object with the merge key {merge_key}, got {_in_go(element)}"
        )
    if merge_key not in element:
        raise PatchError(f"map: {_in_go(element)} does not contain declared merge key: {merge_key}")
    return element[merge_key]


def _in_go(value: Any) -> str:
    """Return a value as Go's %v has it, which upstream's sentences are made with."""
    if isinstance(value, dict):
        return f"map[{' '.join(f'{key}:{_in_go(value[key])}' for key in sorted(value))}]"
    if isinstance(value, list):
        return f"[{' '.join(map(_in_go, value))}]"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "<nil>"}[value]
    return str(value)


def index_of(elements: Sequence[Any], wanted: Any, merge_key: str) -> int:
    """Return where the element known by `wanted` is, or -1. An element without its merge key is nobody's."""
    for at, element in enumerate(elements):
        known_by = element
        if merge_key:
            known_by = element.get(merge_key) if isinstance(element, dict) else None
        # true is not 1 here, as in JSON
        if known_by == wanted and isinstance(known_by, bool) is isinstance(wanted, bool):
            return at
    return -1


def in_order(
    merged: list[Any], patch_order: list[Any], server_order: list[Any], merge_key: str
) -> list[Any]:
    """Return the merged elements in the order that they must have."""
    ranked: list[tuple[int, Any]] = []
    server_only: list[tuple[int, Any]] = []
    for element in merged:
        known_by = element.get(merge_key) if merge_key else element
        place = index_of(patch_order, known_by, merge_key)
        if place >= 0:
            ranked.append((place, element))
        else:
            server_only.append((index_of(server_order, known_by, merge_key), element))
    ranked.sort(key=lambda each: each[0])
    server_only.sort(key=lambda each: each[0])
    patched = [
        (index_of(server_order, each.get(merge_key) if merge_key else each, merge_key), each)
        for _, each in ranked
    ]
    return _interleaved(server_only, patched)


def _interleaved(left: list[tuple[int, Any]], right: list[tuple[int, Any]]) -> list[Any]:
    """Insert each of `left` before the first of `right` that it stood before on the server (place >= 0)."""
    result: list[Any] = []
    at = 0
    for place, element in right:
        while at < len(left) and 0 <= left[at][0] < place:
            result.append(left[at][1])
            at += 1
        result.append(element)
    return result + [element for _, element in left[at:]]
