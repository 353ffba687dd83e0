"""Upstream's definitions and a few of our own, loaded on first use from the files that `schema_build` generates.

The structure takes 2 ms; the descriptions, for `explain`, are a file apart. Imports next to nothing, so that the
command line can compute patches without waiting.
"""

import json
import os.path
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from minipod.api import own_definitions

Object = dict[str, Any]

DIRECTORY = os.path.join(os.path.dirname(__file__), "schema")


class SchemaMissing(RuntimeError):
    """The generated files are not there: this is a source tree that was never built."""


def _load(name: str) -> Any:
    path = os.path.join(DIRECTORY, name)
    try:
        with open(path, "rb") as file:
            return json.load(file)
    except FileNotFoundError:
        raise SchemaMissing(
            f"{path} does not exist; "
            "try: pip install kubernetes-validate==1.37.0 && python -m minipod.api.schema_build"
        ) from None


@lru_cache(maxsize=1)
def definitions() -> Mapping[str, Object]:
    """Return every definition's structure by name, in the form that `schema_build` documents."""
    found: dict[str, Object] = _load("structure.json")["definitions"]
    return found | own_definitions.STRUCTURE


@lru_cache(maxsize=1)
def descriptions() -> Mapping[str, Mapping[str, str]]:
    """Return every definition's prose: its own under "", its fields' under their names."""
    found: dict[str, Mapping[str, str]] = _load("descriptions.json")
    return found | own_definitions.PROSE


@lru_cache(maxsize=1)
def definition_names() -> Mapping[tuple[str, str, str], str]:
    """Return the definition's name of each (group, version, kind)."""
    return {
        (group, version, kind): name
        for name, each in definitions().items()
        for group, version, kind in each.get("gvk", ())
    }


def field_type(definition: str, name: str) -> Any:
    """Return the type of a definition's field, or None: no such field, or an object of any form."""
    properties = definitions().get(definition, {}).get("properties")
    return properties.get(name) if properties else None


def referenced(kind_of: Any) -> str:
    """Return the definition that a type, or a list's or map's element type, refers to; "" for none."""
    if isinstance(kind_of, dict):
        return referenced(kind_of.get("list") or kind_of.get("map") or kind_of.get("of"))
    return kind_of[1:] if isinstance(kind_of, str) and kind_of.startswith("#") else ""
