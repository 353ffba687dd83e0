"""Upstream's object structure: what fields an object may have, and of which types.

Each definition is compiled, when first needed, into two functions: a fast one that only says whether an object is in
order, and a slow one that runs when it is not and says what is wrong, by path.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from minipod.api import scalars
from minipod.api.definitions import definitions, referenced
from minipod.api.kind import Kind

Object = dict[str, Any]
Check = Callable[[Any], bool]


@dataclass
class Findings:
    """What is wrong with an object. `errors` cannot be decoded; `unknown` are paths of fields that do not exist."""

    errors: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    hints: dict[str, str] = field(default_factory=dict)  # path of an unknown field: the likely name


def validate_structure(kind: Kind, obj: Any) -> tuple[list[str], list[str]]:
    """Return (errors, paths of unknown fields) of an object. It is not changed."""
    findings = examine(kind, obj)
    return findings.errors, findings.unknown


def examine(kind: Kind, obj: Any) -> Findings:
    """Return what is wrong with an object's structure, with hints for misspelt fields."""
    return examine_as(kind.schema_name, obj, kind.kind)


def examine_as(definition: str, obj: Any, root: str) -> Findings:
    """Return what is wrong with a value of any definition (a DeleteOptions, a Binding). `root` names it."""
    findings = Findings()
    if not definition:
        if not isinstance(obj, dict):
            findings.errors.append(scalars.mismatch(obj, root, "", root))
        return findings
    if not _compiled(definition)(obj):
        _Walk(findings, root).value(f"#{definition}", obj, "")
    return findings


def normalize(definition: str, obj: Any) -> Any:
    """Return the object as upstream's decoder would keep it; unchanged parts are shared with the argument.

    Fields that are null or unknown are gone, quantities written as numbers are text. The object's structure must
    have been found in order before.
    """
    return obj if not definition or _compiled(definition)(obj) else _kept(f"#{definition}", obj)


# The fast way: closures over dictionaries of closures.


@cache
def _compiled(definition: str) -> Check:
    found = definitions()[definition]
    if "scalar" in found:
        return _check_of(found["scalar"])
    get = {name: _lazy(each) for name, each in found["properties"].items()}.get

    def check(value: Any) -> bool:
        if value.__class__ is not dict:
            return False
        for key, item in value.items():
            rule = get(key)
            if rule is None or not rule(item):
                return False
        return True

    return check


def _lazy(kind_of: Any) -> Check:
    """Return a check of a type; references are compiled when a value first needs them: some are recursive."""
    name = referenced(kind_of) if isinstance(kind_of, str) else ""
    if not name:
        return _check_of(kind_of)
    compiled: list[Check] = []

    def check(value: Any) -> bool:
        if not compiled:
            compiled.append(_compiled(name))
        return compiled[0](value)

    return check


def _check_of(kind_of: Any) -> Check:
    if isinstance(kind_of, str):
        return _lazy(kind_of) if kind_of.startswith("#") else scalars.CHECKS[kind_of]
    if "list" in kind_of:
        return _check_list(_lazy(kind_of["list"]))
    if "map" in kind_of:
        return _check_map(_lazy(kind_of["map"]))
    return _lazy(kind_of["of"])


def _check_list(element: Check) -> Check:
    def check(value: Any) -> bool:
        return value.__class__ is list and all(map(element, value))

    return check


def _check_map(element: Check) -> Check:
    def check(value: Any) -> bool:
        return value.__class__ is dict and all(map(element, value.values()))

    return check


# The slow way: the same structure again, with paths.


class _Walk:
    """Goes through one object that the fast check refused, and writes down why."""

    def __init__(self, findings: Findings, root: str) -> None:
        self._findings = findings
        self._root = root

    def value(self, kind_of: Any, value: Any, path: str) -> None:
        if value is None:
            return
        if isinstance(kind_of, dict):
            self._collection(kind_of, value, path)
        elif kind_of.startswith("#"):
            self._struct(kind_of[1:], value, path)
        else:
            problem = scalars.problem(kind_of, value)
            if problem:
                self._findings.errors.append(scalars.at(problem, value, self._root, path))

    def _collection(self, kind_of: Object, value: Any, path: str) -> None:
        if "list" in kind_of:
            if not isinstance(value, list):
                self._mismatch(value, path, scalars.go_type(kind_of))
                return
            for index, item in enumerate(value):
                self.value(kind_of["list"], item, f"{path}[{index}]")
        elif "map" in kind_of:
            if not isinstance(value, dict):
                self._mismatch(value, path, scalars.go_type(kind_of))
                return
            for key, item in value.items():
                self.value(kind_of["map"], item, f"{path}.{key}")
        else:
            self.value(kind_of["of"], value, path)

    def _struct(self, definition: str, value: Any, path: str) -> None:
        if _compiled(definition)(value):
            return
        found = definitions()[definition]
        if "scalar" in found:
            self.value(found["scalar"], value, path)
            return
        if not isinstance(value, dict):
            self._mismatch(value, path, scalars.go_type(f"#{definition}"))
            return
        properties = found["properties"]
        for key, item in value.items():
            below = f"{path}.{key}" if path else key
            if key in properties:
                self.value(properties[key], item, below)
            else:
                self._unknown(below, key, properties)

    def _unknown(self, path: str, key: str, properties: Mapping[str, Any]) -> None:
        self._findings.unknown.append(path)
        from difflib import get_close_matches

        likely = get_close_matches(key, properties, n=1, cutoff=0.75)
        if likely:
            self._findings.hints[path] = likely[0]

    def _mismatch(self, value: Any, path: str, wanted: str) -> None:
        self._findings.errors.append(scalars.mismatch(value, self._root, path, wanted))


def _kept(kind_of: Any, value: Any) -> Any:
    """Return a value without nulls and unknown fields, with quantities as text."""
    if isinstance(kind_of, dict):
        if "list" in kind_of:
            return [_kept_element(kind_of["list"], each) for each in value]
        if "map" in kind_of:
            return {key: _kept_element(kind_of["map"], each) for key, each in value.items()}
        return _kept(kind_of["of"], value)
    if not kind_of.startswith("#"):
        return scalars.normalized(kind_of, value)
    if _compiled(kind_of[1:])(value):
        return value
    found = definitions()[kind_of[1:]]
    if "scalar" in found:
        return _kept(found["scalar"], value)
    properties = found["properties"]
    return {
        key: _kept(properties[key], item)
        for key, item in value.items()
        if item is not None and key in properties
    }


def _kept_element(kind_of: Any, value: Any) -> Any:
    """Return an element of a list or map; null is the element's zero value, as in Go."""
    return scalars.zero(kind_of) if value is None else _kept(kind_of, value)
