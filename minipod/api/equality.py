"""When two values mean the same (apimachinery's equality.Semantic): nothing is none, a quantity its amount."""

from typing import Any

from minipod.api import quantity

# Maps of quantities, by the name of their field.
_AMOUNTS = frozenset(
    (
        "allocatable",
        "capacity",
        "default",
        "defaultRequest",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "podFixed",
        "requests",
    )
)
# Maps of texts: an empty map says nothing (an empty object of another kind does), an empty text under a key does.
_MAPS = frozenset(
    (
        "annotations",
        "attributes",
        "data",
        "labels",
        "matchLabels",
        "nodeSelector",
        "options",
        "parameters",
        "volumeAttributes",
    )
)
# Texts that say something when they are empty, such as no class at all.
_POINTERS = frozenset(("storageClassName",))


def equal(one: Any, other: Any, name: str = "") -> bool:
    """Whether two values of the field of that name mean the same."""
    return bool(one == other or meaning(one, name) == meaning(other, name))


def meaning(value: Any, name: str = "") -> Any:
    """Return a value without what means nothing, so that what is equal in meaning compares equal."""
    if isinstance(value, list):
        return [meaning(each) for each in value] or None
    if not isinstance(value, dict):
        return None if value == "" and name not in _POINTERS else value
    if name in _AMOUNTS and all(_is_quantity(each) for each in value.values()):
        return {key: quantity.parse(each) for key, each in value.items()} or None
    if name in _MAPS:
        return value or None
    if name == "selector" and all(isinstance(each, str) for each in value.values()):
        return value
    kept = {key: meaning(each, key) for key, each in value.items()}
    return {key: each for key, each in kept.items() if each is not None}


def differences(new: Any, old: Any, path: str) -> list[str]:
    """Return the paths at which two values differ in meaning, the deepest that say it."""
    return unequal(meaning(new), meaning(old), path)


def unequal(new: Any, old: Any, path: str) -> list[str]:
    """Return the same for two values that are brought to one form already."""
    if isinstance(new, dict) and isinstance(old, dict):
        return [
            found
            for name in dict.fromkeys((*old, *new))
            for found in unequal(new.get(name), old.get(name), f"{path}.{name}")
        ]
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        pairs = enumerate(zip(new, old, strict=True))
        return [
            found for at, (one, other) in pairs for found in unequal(one, other, f"{path}[{at}]")
        ]
    return [] if new == old else [path]


def _is_quantity(value: Any) -> bool:
    return isinstance(value, str | int | float) and quantity.is_quantity(value)
