"""What the schema says about merging a value: whole, field by field, or element by element.

Upstream's defaults where the schema says nothing: lists are atomic, maps and objects are not. Free-form objects are
taken apart as they come (objects field by field, lists whole).
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from minipod.api.definitions import definitions

# The Go type of these fields is a struct and not a pointer: an object without them has them all the same, empty.
_ALWAYS_THERE = frozenset(
    (
        "metadata",
        "spec",
        "status",
        "strategy",
        "updateStrategy",
        "template",
        "jobTemplate",
        "involvedObject",
        "regarding",
        "source",
        "scaleTargetRef",
        "roleRef",
    )
)
_KEY_DEFAULTS = {"protocol": "TCP"}  # what a list's element without this key is known by


class Shape:
    """How values of one type merge. `form` is "leaf", "object", "map", "set", "keyed" or "free".

    `fields` are an object's types by name, `element` a list's or map's type, `keys` what a list's
    elements are known by.
    Types are looked into when first needed (some contain themselves) and then remembered.
    """

    __slots__ = ("_element", "_fields", "_items", "_known", "form", "keys")

    def __init__(
        self,
        form: str,
        fields: Mapping[str, Any] | None = None,
        element: Any = None,
        keys: tuple[str, ...] = (),
    ) -> None:
        self.form = form
        self.keys = keys
        self._fields = fields or {}
        self._element = element
        self._known: dict[str, Shape] = {}
        self._items: Shape | None = None

    def field(self, name: str) -> "Shape | None":
        """Return the shape of a field; None for a field that the schema does not have."""
        if self.form != "object":
            return self.items
        known = self._known.get(name)
        if known is None and name in self._fields:
            known = self._known[name] = _shape_of_type(self._fields[name])
        return known

    @property
    def items(self) -> "Shape":
        """The shape of a map's or list's elements."""
        if self._items is None:
            self._items = FREE if self._element is None else _shape_of_type(self._element)
        return self._items

    def named(self, name: str) -> bool:
        """Whether a field is one of the schema's, rather than a key of a map."""
        return name in self._fields

    def structs(self) -> Iterator[tuple[str, str]]:
        """Yield the fields that are there even when nothing is said of them, with their definitions."""
        for name, kind_of in self._fields.items():
            if name in _ALWAYS_THERE and isinstance(kind_of, str) and kind_of.startswith("#"):
                yield name, kind_of[1:]


LEAF = Shape("leaf")
FREE = Shape("free")
_SCALARS = {"object": FREE, "any": FREE}


@cache
def shape_of(definition: str) -> Shape:
    """Return the shape of a definition's objects; of anything at all when it has no name."""
    if not definition:
        return FREE
    found = definitions()[definition]
    if "scalar" in found:
        return _SCALARS.get(found["scalar"], LEAF)
    return LEAF if found.get("atomic") else Shape("object", found["properties"])


def _shape_of_type(kind_of: Any) -> Shape:
    """Return the shape of a type (in the form that `schema_build` documents)."""
    if isinstance(kind_of, str):
        if kind_of.startswith("#"):
            return shape_of(kind_of[1:])
        return _SCALARS.get(kind_of, LEAF)
    if kind_of.get("atomic") or kind_of.get("type") == "atomic":
        return LEAF
    if "of" in kind_of:
        return _shape_of_type(kind_of["of"])
    if "map" in kind_of:
        return Shape("map", element=kind_of["map"])
    listed = kind_of.get("type")
    if listed == "map":
        return Shape("keyed", element=kind_of["list"], keys=tuple(kind_of["keys"]))
    return Shape("set", element=kind_of["list"]) if listed == "set" else LEAF


@cache
def empty_object(definition: str) -> dict[str, Any]:
    """Return what upstream's decoder makes of an object of which nothing is said: its structs, empty."""
    return {name: empty_object(below) for name, below in shape_of(definition).structs()}


_encode = json.JSONEncoder(separators=(",", ":"), sort_keys=True, ensure_ascii=False).encode


def element_of(shape: Shape, item: Any) -> str:
    """Return the path element of a list's item. Raises KeyError, AttributeError for an item without its keys."""
    if shape.form == "set":
        return "v:" + _encode(item)
    if len(shape.keys) == 1:
        name = shape.keys[0]
        value = item.get(name)
        found = {name: _KEY_DEFAULTS[name] if value is None else value}
    else:
        found = {}
        for name in shape.keys:
            value = item.get(name, _KEY_DEFAULTS.get(name))
            if value is not None:
                found[name] = value
        if not found:
            raise KeyError(shape.keys[0])
    return "k:" + _encode(found)
