"""The patch of client-side apply: from what was applied before, what is applied now, and what is there.

Changes and additions come from comparing `modified` with `current`; deletions are what `original` had and `modified`
has no more. What only others set stays. The result is a strategic merge patch; where the kind is not known, a JSON
merge patch that replaces lists, which reads the same.
"""

from copy import deepcopy
from typing import Any

from minipod.api.definitions import definition_names, field_type
from minipod.api.patch.lists import index_of
from minipod.api.patch.strategic import (
    DELETE_FROM,
    DIRECTIVE,
    RETAIN_KEYS,
    SET_ORDER,
    child_definition,
    list_rules,
    strategies,
)

Object = dict[str, Any]


def three_way(
    api_version: str, kind: str, original: Object | None, modified: Object, current: Object
) -> Object:
    """Return the patch to send; empty when `current` needs no change."""
    group, _, version = api_version.rpartition("/")
    definition = definition_names().get((group, version, kind), "")
    return _diff_object(definition, original or {}, modified, current)


def _diff_object(definition: str, original: Object, modified: Object, current: Object) -> Object:
    patch: Object = {}
    for name, wanted in modified.items():
        before = original.get(name)
        if wanted is None:
            if current.get(name) is not None:
                patch[name] = None
        elif name not in current:
            patch[name] = deepcopy(wanted)
        else:
            _diff_field(definition, patch, name, before, wanted, current[name])
    for name in original:
        if name not in modified and name in current:
            patch[name] = None
    return patch


def _diff_field(
    definition: str, patch: Object, name: str, before: Any, wanted: Any, present: Any
) -> None:
    kind_of = field_type(definition, name) if definition else None
    if isinstance(wanted, dict) and isinstance(present, dict):
        known = before if isinstance(before, dict) else {}
        if isinstance(kind_of, dict) and kind_of.get("map") == "quantity":
            wanted = _as_written(wanted, present)
        if "replace" in strategies(kind_of):
            below = deepcopy(wanted) if wanted != present else {}
        else:
            below = _diff_object(child_definition(definition, name), known, wanted, present)
            _retain(kind_of, below, known, wanted)
        if below:
            patch[name] = below
    elif isinstance(wanted, list) and isinstance(present, list):
        known_list = before if isinstance(before, list) else []
        _diff_list(definition, patch, name, known_list, wanted, present)
    elif not _same(kind_of, wanted, present):
        patch[name] = deepcopy(wanted)


def _diff_list(
    definition: str,
    patch: Object,
    name: str,
    before: list[Any],
    wanted: list[Any],
    present: list[Any],
) -> None:
    merges, merge_key = list_rules(definition, name)
    if not merges or not _well_keyed((*before, *wanted, *present), merge_key):
        if wanted != present:
            patch[name] = deepcopy(wanted)
    elif merge_key and (_repeats(wanted, merge_key) or _repeats(present, merge_key)):
        _diff_repeated(child_definition(definition, name), patch, name, wanted, present)
    elif merge_key:
        _diff_keyed(definition, patch, name, merge_key, before, wanted, present)
    else:
        _diff_scalars(patch, name, before, wanted, present)


def _diff_keyed(
    definition: str,
    patch: Object,
    name: str,
    merge_key: str,
    before: list[Any],
    wanted: list[Any],
    present: list[Any],
) -> None:
    child, kind_of = child_definition(definition, name), field_type(definition, name)
    changes: list[Any] = []
    for element in wanted:
        key = element[merge_key]
        there, earlier = _find(present, key, merge_key), _find(before, key, merge_key)
        if there is None:
            changes.append(deepcopy(element))
            continue
        change = _diff_object(child, earlier or {}, element, there)
        _retain(kind_of, change, earlier or {}, element)
        if change:
            changes.append({**change, merge_key: key})
    for element in before:
        key = element[merge_key]
        if _find(wanted, key, merge_key) is None and _find(present, key, merge_key) is not None:
            changes.append({DIRECTIVE: "delete", merge_key: key})
    order = [each[merge_key] for each in wanted]
    if changes:
        patch[name] = changes
    if changes or order != [each[merge_key] for each in present if each[merge_key] in order]:
        patch[f"{SET_ORDER}{name}"] = [{merge_key: key} for key in order]


def _diff_repeated(
    child: str, patch: Object, name: str, wanted: list[Any], present: list[Any]
) -> None:
    """Elements that share a key (port 53 over TCP and UDP) cannot be told apart by it: all are replaced, or none."""
    same = len(wanted) == len(present) and not any(
        _diff_object(child, {}, one, other) for one, other in zip(wanted, present, strict=True)
    )
    if not same:
        patch[name] = [*deepcopy(wanted), {DIRECTIVE: "replace"}]


def _diff_scalars(
    patch: Object, name: str, before: list[Any], wanted: list[Any], present: list[Any]
) -> None:
    added = [each for each in wanted if index_of(present, each, "") < 0]
    gone = [
        each
        for each in before
        if index_of(wanted, each, "") < 0 and index_of(present, each, "") >= 0
    ]
    if added:
        patch[name] = added
    if gone:
        patch[f"{DELETE_FROM}{name}"] = gone
    if added or gone or wanted != [each for each in present if index_of(wanted, each, "") >= 0]:
        patch[f"{SET_ORDER}{name}"] = list(wanted)


def _retain(kind_of: Any, change: Object, before: Object, wanted: Object) -> None:
    """Name the fields to keep, where a union changes its member: `emptyDir` becoming `hostPath`."""
    if change and "retainKeys" in strategies(kind_of):
        gone = [name for name, each in change.items() if each is None]
        for name in gone:
            del change[name]
        if gone or any(name not in before for name in wanted):
            change[RETAIN_KEYS] = sorted(wanted)


def _find(elements: list[Any], key: Any, merge_key: str) -> Object | None:
    at = index_of(elements, key, merge_key)
    return elements[at] if at >= 0 else None


def _repeats(elements: list[Any], merge_key: str) -> bool:
    return any(
        index_of(elements[:at], each[merge_key], merge_key) >= 0 for at, each in enumerate(elements)
    )


def _well_keyed(elements: tuple[Any, ...], merge_key: str) -> bool:
    if not merge_key:
        return not any(isinstance(each, (dict, list)) for each in elements)
    return all(isinstance(each, dict) and merge_key in each for each in elements)


def _as_written(wanted: Object, present: Object) -> Object:
    """Return amounts as the server writes them where they are the same: `cpu: 1` is `cpu: "1"`."""
    return {
        name: present[name] if name in present and str(present[name]) == str(each) else each
        for name, each in wanted.items()
    }


def _same(kind_of: Any, one: Any, other: Any) -> bool:
    """Whether two scalars say the same; a quantity may be written as a number."""
    if kind_of == "quantity":
        return str(one) == str(other)
    return bool(one == other) and isinstance(one, bool) is isinstance(other, bool)
