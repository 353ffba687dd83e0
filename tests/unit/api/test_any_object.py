"""Whatever the schema allows gets an answer: stored or refused with causes, never an exception."""

import random
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime
from typing import Any

import pytest

from minipod.api import kinds, patch, schema, validation, warnings
from minipod.api.columns import table
from minipod.api.defaults import apply_defaults
from minipod.api.definitions import definitions
from minipod.api.selectors import field_values

NOW = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = (
    "",
    "a",
    "b.c",
    "A b",
    "/x/../y",
    "Always",
    "Never",
    "None",
    "In",
    "Exists",
    "Localhost",
    "NoExecute",
)
SCALARS = {
    "string": WORDS,
    "boolean": (True, False),
    "int32": (0, 1, -1, 80, 2**31 - 1),
    "int64": (0, 1, -5, 2**40),
    "number": (0, 1.5),
    "object": ({},),
    "any": ({}, [], 1),
    "quantity": ("0", "100m", "1Gi", "-1", 2, "1e3"),
    "intorstring": (0, 80, "http", ""),
    "time": ("2026-01-01T00:00:00Z",),
    "byte": ("", "aGk="),
}


class Maker:
    """Makes random values of the schema's types; the deeper, the fewer fields."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def value(self, kind_of: Any, depth: int) -> Any:
        if self._random.random() < 0.03:
            return None
        if isinstance(kind_of, dict):
            return self._collection(kind_of, depth)
        if not kind_of.startswith("#"):
            return self._random.choice(SCALARS[kind_of])
        return self.struct(kind_of[1:], depth)

    def struct(self, definition: str, depth: int) -> Any:
        found = definitions()[definition]
        if "scalar" in found:
            return self.value(found["scalar"], depth)
        share = (0.9, 0.5, 0.4, 0.4)[depth] if depth < 4 else 0.25 if depth < 9 else 0.0
        return {
            name: self.value(each, depth + 1)
            for name, each in found["properties"].items()
            if name not in ("apiVersion", "kind") and self._random.random() < share
        }

    def _collection(self, kind_of: Any, depth: int) -> Any:
        count = self._random.randrange(3)
        if "list" in kind_of:
            return [self.value(kind_of["list"], depth + 1) for _ in range(count)]
        if "map" in kind_of:
            words = self._random.sample(("cpu", "memory", "a.b/c", "hugepages-2Mi", "x y"), count)
            return {word: self.value(kind_of["map"], depth + 1) for word in words}
        return self.value(kind_of["of"], depth)


def decoded(kind, seed):
    made = Maker(seed).struct(kind.schema_name, 0)
    made["metadata"] = {
        **(made.get("metadata") or {}),
        "name": "x",
        "namespace": "default",
        "uid": "0",
    }
    assert schema.validate_structure(kind, made) == ([], [])
    return schema.normalize(kind.schema_name, made)


@pytest.mark.parametrize("kind", kinds.all_kinds(), ids=lambda kind: kind.plural)
def test_objects_go_all_the_way(kind):
    for seed in range(150 if kind.kind == "Pod" else 30):
        new = decoded(kind, seed)
        apply_defaults(kind, new)
        kind.hooks.prepare_create(new)
        once = deepcopy(new)
        apply_defaults(kind, new)
        assert new == once
        validation.validate_create(kind, new)
        warnings.unsupported(kind, new)
        table(kind, [new], True, NOW)
        field_values(kind, new)
        assert new == once, "only defaulting changes an object"


@pytest.mark.parametrize("kind", kinds.all_kinds(), ids=lambda kind: kind.plural)
def test_updates_and_patches_go_all_the_way(kind):
    for seed in range(40 if kind.kind == "Pod" else 10):
        old, new = decoded(kind, seed), decoded(kind, seed + 1000)
        for obj in (old, new):
            apply_defaults(kind, obj)
            kind.hooks.prepare_create(obj)
        kind.hooks.prepare_update(new, old)
        validation.validate_update(kind, new, old)
        kind.hooks.prepare_status_update(new, old)
        validation.validate_status_update(kind, new, old)
        with suppress(patch.PatchError):  # random elements may lack the key that they are merged by
            change = patch.three_way(kind.api_version, kind.kind, None, new, old)
            patch.apply_strategic(kind.schema_name, old, change)
