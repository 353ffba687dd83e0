"""Strategic merge patch: a merge patch that knows the schema.

Lists with a merge key are merged element by element. Directives inside the patch: `$patch: delete|replace|merge`,
`$deleteFromPrimitiveList/FIELD`, `$setElementOrder/FIELD`, `$retainKeys`. Semantics of apimachinery's strategicpatch.
"""

from typing import Any

from minipod.api.definitions import field_type, referenced
from minipod.api.patch.errors import PatchError
from minipod.api.patch.lists import identity, in_order, index_of

Object = dict[str, Any]

DIRECTIVE = "$patch"
RETAIN_KEYS = "$retainKeys"
DELETE_FROM = "$deleteFromPrimitiveList/"
SET_ORDER = "$setElementOrder/"


def apply_strategic(definition: str, original: Object, patch: Any) -> Object:
    """Return the original, an object of `definition`, with the patch applied. Raises PatchError."""
    if not isinstance(patch, dict):
        raise PatchError("the patch must be an object")
    return _merge_object(definition, original, patch)


def list_rules(definition: str, name: str) -> tuple[bool, str]:
    """Return whether a field is a list that is merged, and the merge key of its elements ("" for scalars)."""
    kind_of = field_type(definition, name) if definition else None
    if not isinstance(kind_of, dict) or "list" not in kind_of:
        return False, ""
    return "merge" in strategies(kind_of), kind_of.get("merge", "")


def strategies(kind_of: Any) -> list[str]:
    """Return the patch strategies of a field's type."""
    return str(kind_of.get("strategy", "")).split(",") if isinstance(kind_of, dict) else []


def child_definition(definition: str, name: str) -> str:
    """Return the definition of a field, or of the elements of a list or map; "" for scalars and free forms."""
    return referenced(field_type(definition, name)) if definition else ""


def _merge_object(definition: str, original: Object, patch: Object) -> Object:
    directive = patch.get(DIRECTIVE)
    if directive == "delete":
        return {}
    if directive == "replace":
        return _plain_object({name: each for name, each in patch.items() if name != DIRECTIVE})
    if directive not in (None, "merge"):
        raise PatchError(f"unknown patch type: {directive} found in map")
    merged = _retained(original, patch)
    directed = False
    for name, value in patch.items():
        if name[:1] == "$" and (
            name in (DIRECTIVE, RETAIN_KEYS) or name.startswith((DELETE_FROM, SET_ORDER))
        ):
            directed = True
        else:
            _merge_field(definition, merged, name, value)
    if directed:
        _delete_from_lists(merged, patch)
        _set_orders(definition, merged, original, patch)
    return merged


def _retained(original: Object, patch: Object) -> Object:
    """Return the original without what `$retainKeys` does not name."""
    retain = patch.get(RETAIN_KEYS)
    if retain is None:
        return dict(original)
    if not isinstance(retain, list):
        raise PatchError("expect patch to be a list of keys in $retainKeys")
    if any(name not in retain for name in patch if not name.startswith("$")):
        raise PatchError("all keys in patch must be in the $retainKeys list")
    return {name: each for name, each in original.items() if name in retain}


def _merge_field(definition: str, merged: Object, name: str, value: Any) -> None:
    before = merged.get(name)
    if value is None:
        merged.pop(name, None)
    elif isinstance(value, dict):
        if "replace" in strategies(field_type(definition, name) if definition else None):
            merged[name] = _plain(value)
        else:
            _merge_child(child_definition(definition, name), merged, name, value)
    elif isinstance(value, list):
        merges, merge_key = list_rules(definition, name)
        known = before if isinstance(before, list) else []
        if merges:
            child = child_definition(definition, name)
            merged[name] = _merge_list(child, known, value, merge_key)
        else:
            merged[name] = _plain(value)
    else:
        merged[name] = value


def _merge_child(child: str, merged: Object, name: str, value: Object) -> None:
    before = merged.get(name)
    if value.get(DIRECTIVE) == "delete":
        merged.pop(name, None)
    else:
        merged[name] = _merge_object(child, before if isinstance(before, dict) else {}, value)


def _merge_list(
    definition: str, original: list[Any], patch: list[Any], merge_key: str
) -> list[Any]:
    if not merge_key:
        return _merge_scalars(original, patch)
    kept, wanted, replaced = _directed(original, patch, merge_key)
    if replaced:
        return [_plain(each) for each in wanted]
    merged = list(kept)
    for element in wanted:
        known_by = identity(element, merge_key)
        at = index_of(merged, known_by, merge_key)
        if at < 0:
            merged.append(_merge_object(definition, {}, element))
        else:
            merged[at] = _merge_object(definition, merged[at], element)
    return in_order(merged, wanted, original, merge_key)


def _merge_scalars(original: list[Any], patch: list[Any]) -> list[Any]:
    merged: list[Any] = []
    for element in (*original, *patch):
        if index_of(merged, element, "") < 0:
            merged.append(element)
    return in_order(merged, patch, original, "")


def _directed(
    original: list[Any], patch: list[Any], merge_key: str
) -> tuple[list[Any], list[Any], bool]:
    """Return the original without deleted elements, the patch without directives, and whether it replaces all."""
    kept, wanted, replaced = original, [], False
    for element in patch:
        directive = element.get(DIRECTIVE) if isinstance(element, dict) else None
        if directive is None:
            wanted.append(element)
        elif directive == "replace":
            replaced = True
        elif directive == "delete":
            gone = identity(element, merge_key)
            kept = [each for each in kept if index_of([each], gone, merge_key) < 0]
        elif directive == "merge":
            wanted.append({name: each for name, each in element.items() if name != DIRECTIVE})
        else:
            raise PatchError(f"unknown patch type: {directive} found in list")
    return kept, wanted, replaced


def _delete_from_lists(merged: Object, patch: Object) -> None:
    for key, gone in patch.items():
        if not key.startswith(DELETE_FROM):
            continue
        name = key.removeprefix(DELETE_FROM)
        if not isinstance(gone, list):
            raise PatchError(f"expected a list under {key}")
        if isinstance(merged.get(name), list):
            merged[name] = [each for each in merged[name] if index_of(gone, each, "") < 0]


def _set_orders(definition: str, merged: Object, original: Object, patch: Object) -> None:
    for key, order in patch.items():
        if not key.startswith(SET_ORDER):
            continue
        name = key.removeprefix(SET_ORDER)
        if not isinstance(order, list):
            raise PatchError(f"expected a list under {key}")
        _, merge_key = list_rules(definition, name)
        _check_order(patch.get(name), order, merge_key, name)
        if isinstance(merged.get(name), list):
            before = original.get(name)
            known = before if isinstance(before, list) else []
            merged[name] = in_order(merged[name], order, known, merge_key)


def _check_order(patch: Any, order: list[Any], merge_key: str, name: str) -> None:
    """What a patch sets must stand in the order that it gives."""
    for element in patch if isinstance(patch, list) else ():
        if isinstance(element, dict) and element.get(DIRECTIVE) is not None:
            continue
        if index_of(order, identity(element, merge_key), merge_key) < 0:
            raise PatchError(
                f"The order in patch list:\n{patch}\n doesn't match $setElementOrder list of {name}:\n{order}\n"
            )


def _plain(value: Any) -> Any:
    """Return what a patch sets outright, without directives and nulls."""
    if isinstance(value, list):
        kept = (each for each in value if not (isinstance(each, dict) and DIRECTIVE in each))
        return [_plain(each) for each in kept]
    return _plain_object(value) if isinstance(value, dict) else value


def _plain_object(value: Object) -> Object:
    return {
        name: _plain(each)
        for name, each in value.items()
        if each is not None
        and not (
            name[:1] == "$" and name.startswith((DIRECTIVE, RETAIN_KEYS, DELETE_FROM, SET_ORDER))
        )
    }
