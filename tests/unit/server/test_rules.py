"""What the server answers to objects that break Kubernetes' rules, each a line in rules/*.yaml.

A table starts from one good object and says what is answered once a part of it is another (`spec/replicas = -1`) or is
gone (`no spec/replicas`): the causes of a refusal in their order, `accepted`, or warnings. Its operations:

    create    the changed object is new
    update    it replaces the good one
    status    it is a status that replaces the good one's
    keep      it replaces one that has the same fault: rules that came later let that pass
    defaults  what a field is when it is gone
"""

import json
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml

from minipod.api import kinds
from minipod.api.defaults import apply_defaults
from minipod.api.kind import Kind
from minipod.server import keys, wire
from minipod.store import Entry
from tests.unit.server.harness import Answer, Api, Object, serve

# What tables abbreviate: {subdomain} in a message, and a*64 for a letter that many times.
RULES = Path(__file__).with_name("rules")
WORDS = yaml.load((RULES / "words.yml").read_bytes(), yaml.CSafeLoader)
_REPEATED = re.compile(r"([a-z])\*(\d{2,4})(?!\d)")
_DRY = "?dryRun=All"


def _repeated(text: str) -> str:
    return _REPEATED.sub(lambda found: found[1] * int(found[2]), text)


@pytest.mark.parametrize("path", sorted(RULES.glob("*.yaml")), ids=lambda path: path.stem)
def test_what_is_answered(tmp_path: Path, path: Path) -> None:
    async def body(api: Api) -> None:
        for table in yaml.load(_repeated(path.read_text()), yaml.CSafeLoader):
            await _check(api, table)

    serve(tmp_path, body)


def test_no_rule_speaks_against_a_change_of_nothing(tmp_path: Path) -> None:
    """What one says of an object as it is stored is not held against its change (validation.validate_update)."""

    refused: list[str] = []

    async def body(api: Api) -> None:
        for path in sorted(RULES.glob("*.yaml")):
            for table in yaml.load(_repeated(path.read_text()), yaml.CSafeLoader):
                good = table["object"]
                good["metadata"].setdefault("name", "x")
                kind = kinds.by_kind(good["apiVersion"], good["kind"])
                answer = await api("POST", _path(kind) + _DRY, good)
                if answer.status != 201:
                    refused.append(good["kind"])
                    continue
                same, hooks = answer.body, kind.hooks
                assert hooks.validate_update(same, deepcopy(same)) == [], good["kind"]
                assert hooks.validate_status_update(same, deepcopy(same)) == [], good["kind"]

    serve(tmp_path, body)
    assert refused == ["HorizontalPodAutoscaler"]  # the one that is only kept: without a version


async def _check(api: Api, table: Object) -> None:
    good = table["object"]
    good["metadata"].setdefault("name", "x")
    kind = kinds.by_kind(good["apiVersion"], good["kind"])
    assert kind is not None
    for where, value in (table.get("defaults") or {}).items():
        answer = await api("POST", _path(kind) + _DRY, _changed(good, f"no {where}"))
        assert answer.status == 201, answer.body
        assert _at(answer.body, where) == value, where
    for operation in ("create", "update", "status", "keep"):
        expected = {case: _listed(said) for case, said in (table.get(operation) or {}).items()}
        answered = {}
        for case in expected:
            answer = await _answer(api, kind, operation, table, case)
            answered[case] = _said(answer, expected[case])
        assert answered == expected, (good["kind"], operation)
    key = _key(kind, good)
    if there := api.store.get(key):
        await api.store.delete(key, lambda _revision: b"{}", expected=there.revision)


async def _answer(api: Api, kind: Kind, operation: str, table: Object, case: str) -> Answer:
    good = table["object"]
    if operation == "create":
        return await api("POST", _path(kind) + _DRY, _changed(good, case))
    if operation == "status":
        good = {**good, "status": table["of status"]}
    changed = _changed(good, case)
    there = await _put(api, kind, changed if operation == "keep" else good)
    changed["metadata"]["resourceVersion"] = str(there.revision)
    if operation == "keep":
        changed["metadata"]["labels"] = {"more": "x"}
    where = f"{_path(kind)}/{good['metadata']['name']}"
    if operation == "status":
        where += "/status"
    return await api("PUT", where + _DRY, changed)


async def _put(api: Api, kind: Kind, obj: Object) -> Entry:
    """Store an object as it is, whatever is wrong with it."""
    made = deepcopy(obj)
    made["metadata"].update(uid="0b7a", creationTimestamp="2026-01-01T00:00:00Z", generation=1)
    if kind.namespaced:
        made["metadata"]["namespace"] = "default"
    apply_defaults(kind, made)
    stored = kinds.stored_kind(kind)
    if kind.stored_as:
        made = kind.hooks.to_stored(made)
        apply_defaults(stored, made)
    key = _key(kind, made)
    there = api.store.get(key)
    return await api.store.put(
        key,
        lambda revision: wire.with_version(made, revision),
        expected=there.revision if there else 0,
    )


def _key(kind: Kind, obj: Object) -> str:
    return keys.object_key(kind, "default" if kind.namespaced else "", obj["metadata"]["name"])


def _said(answer: Answer, expected: list[str]) -> list[str]:
    """The causes of a refusal, or of the warnings those that are expected."""
    if answer.status in (200, 201):
        warned = [f"Warning: {_text(each)}" for each in answer.warnings]
        return [each for each in warned if each in expected] or ["accepted"]
    assert answer.status == 422, answer.body
    assert answer.body["reason"] == "Invalid"
    causes = answer.body["details"]["causes"]
    said = list(dict.fromkeys(f"{each['field']}: {each['message']}" for each in causes))
    listed = said[0] if len(said) == 1 else f"[{', '.join(said)}]"
    assert answer.body["message"].endswith(f" is invalid: {listed}")
    return said


def _text(header: str) -> str:
    return str(json.loads(header.removeprefix("299 - ")))


def _listed(said: str | list[str]) -> list[str]:
    lines = [said] if isinstance(said, str) else said
    return [re.sub(r"\{(\w+)\}", lambda m: WORDS.get(m[1], m[0]), line) for line in lines]


def _changed(good: Object, case: str) -> Object:
    made = deepcopy(good)
    where, _, value = case.removeprefix("no ").partition(" = ")
    *before, last = _steps(where)
    part: Any = made
    for step in before:
        part = part[step]
    if case.startswith("no "):
        del part[last]
    else:
        part[last] = yaml.load(value, yaml.CSafeLoader)
    return made


def _at(obj: Object, where: str) -> Any:
    found: Any = obj
    for step in _steps(where):
        found = found[step]
    return found


def _steps(where: str) -> list[str | int]:
    parts = [part.replace("~1", "/") for part in where.split("/")]
    return [int(part) if part.isdigit() else part for part in parts]


def _path(kind: Kind) -> str:
    root = f"/apis/{kind.group}" if kind.group else "/api"
    namespace = "namespaces/default/" if kind.namespaced else ""
    return f"{root}/{kind.version}/{namespace}{kind.plural}"
