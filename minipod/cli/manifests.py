"""Manifests: files, directories and stdin to objects; whatever is wrong is named by file, document and line.

YAML is read into JSON's values only (a timestamp or a tag stays text), with bounds on depth and on what aliases
may expand to, so that no document can take the machine's memory ("billion laughs").
"""

import json
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import click

from minipod.cli.errors import CliError, raise_all

Object = dict[str, Any]
SUFFIXES = (".json", ".yaml", ".yml")
PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")
MAX_BYTES = 16 << 20
MAX_DEPTH = 100
MAX_VALUES = 200_000  # of one document, aliases expanded


@dataclass(frozen=True)
class Manifest:
    """One object and where it was read from."""

    object: Object
    source: str  # the file's name, or "STDIN"


def read_all(filenames: tuple[str, ...], recursive: bool = False) -> list[Manifest]:
    """Return every object of the files, directories, and `-`, in order. Raises CliError, or all that failed."""
    found: list[Manifest] = []
    failures: list[CliError] = []
    for name in filenames:
        for path in _files(name, recursive):
            try:
                found += read_text(_read(path), "STDIN" if path == "-" else path)
            except CliError as failed:
                failures.append(failed)
    raise_all(failures)
    if not found:
        raise CliError(f"no objects passed to {click.get_current_context().info_name}")
    return found


def _files(name: str, recursive: bool) -> list[str]:
    if name.startswith(("http://", "https://")):
        raise CliError(f'"{name}" is a URL: fetch it first (curl -L {name} | minipod ... -f -)')
    if name == "-" or not os.path.isdir(name):
        return [name]
    if not recursive:
        entries = sorted(os.listdir(name))
        return [os.path.join(name, each) for each in entries if each.endswith(SUFFIXES)]
    found = []
    for directory, below, entries in os.walk(name):
        below.sort()
        found += [
            os.path.join(directory, each) for each in sorted(entries) if each.endswith(SUFFIXES)
        ]
    return found


def _read(path: str) -> str:
    try:
        if path == "-":
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with open(path, "rb") as file:
                data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as absent:
        raise CliError(f'the path "{path}" does not exist') from absent
    except OSError as failed:
        raise CliError(f'cannot read "{path}": {failed.strerror}') from failed
    if len(data) > MAX_BYTES:
        raise CliError(f'"{path}" has more than {MAX_BYTES >> 20} MiB: that is no manifest')
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as bad:
        line = data[: bad.start].count(b"\n") + 1
        raise CliError(
            f'"{path}", line {line}: not UTF-8 text (byte 0x{data[bad.start]:02x})'
        ) from bad


def read_text(text: str, source: str) -> list[Manifest]:
    """Return the objects of one file's text; Lists are opened. Raises CliError."""
    objects: list[Manifest] = []
    for number, line, document in _documents(text, source):
        if document is None:
            continue
        where = f'"{source}", document {number}, line {line}'
        objects += [Manifest(each, source) for each in _opened(document, where)]
    return objects


def _opened(document: Any, where: str) -> Iterator[Object]:
    if not isinstance(document, dict):
        raise CliError(f"{where}: not an object but {_json_type(document)}")
    missing = [each for each in ("apiVersion", "kind") if not document.get(each)]
    if missing:
        raise CliError(f"{where}: {' and '.join(missing)} not set")
    for name in ("apiVersion", "kind"):
        if not isinstance(document[name], str):
            raise CliError(f"{where}: {name} is not a string but {_json_type(document[name])}")
    if document["kind"].endswith("List") and isinstance(document.get("items"), list):
        for position, item in enumerate(document["items"]):
            yield from _opened(item, f"{where}, items[{position}]")
        return
    metadata = document.get("metadata", {})
    if not isinstance(metadata, dict):
        raise CliError(f"{where}: metadata is not an object but {_json_type(metadata)}")
    yield document


def _json_type(value: Any) -> str:
    names = {
        str: "a string",
        list: "a list",
        bool: "a boolean",
        int: "a number",
        float: "a number",
        dict: "an object",
    }
    return names.get(type(value), "null")


def _documents(text: str, source: str) -> Iterator[tuple[int, int, Any]]:
    """Yield (document number, line, value). JSON is tried first when it looks like JSON: it loads faster."""
    if text.lstrip()[:1] == "{":
        try:
            found = json.loads(text, object_pairs_hook=lambda pairs: _no_duplicates(pairs, source))
        except (ValueError, RecursionError):
            found = None  # said better by the reader of YAML, which takes JSON too
        if found is not None:
            yield 1, 1, found
            return
    yield from _yaml_documents(text, source)


def _no_duplicates(pairs: list[tuple[str, Any]], source: str) -> Object:
    made = dict(pairs)
    if len(made) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise CliError(f'"{source}": the key "{twice}" is given twice')
    return made


def _yaml_documents(text: str, source: str) -> Iterator[tuple[int, int, Any]]:
    import yaml

    loader_class: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    _check_depth(text, source, loader_class)
    loader = loader_class(text)
    number = 0
    try:
        while loader.check_node():
            number += 1
            node = loader.get_node()
            where = f'"{source}", document {number}'
            yield number, node.start_mark.line + 1, _Builder(loader, where).build(node)
    except yaml.YAMLError as bad:
        raise CliError(_explained(bad, source, max(number, 1), text)) from bad
    finally:
        loader.dispose()


def _check_depth(text: str, source: str, loader_class: Any) -> None:
    """Refuse what is nested so deeply that building it would exhaust the stack (events need none)."""
    import yaml

    loader, depth, number = loader_class(text), 0, 0
    try:
        while loader.check_event():
            event = loader.get_event()
            if isinstance(event, yaml.DocumentStartEvent):
                number += 1
            elif isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH:
                line = event.start_mark.line + 1
                raise CliError(
                    f'"{source}", document {number}, line {line}: nested deeper than {MAX_DEPTH} levels'
                )
    except yaml.YAMLError as bad:
        raise CliError(_explained(bad, source, max(number, 1), text)) from bad
    finally:
        loader.dispose()


def _explained(bad: Any, source: str, number: int, text: str) -> str:
    mark = getattr(bad, "problem_mark", None) or getattr(bad, "context_mark", None)
    problem = getattr(bad, "problem", None) or getattr(bad, "reason", None) or str(bad)
    if mark is None:
        return f'error parsing "{source}", document {number}: {problem}'
    lines = text.splitlines()
    line = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in line[: mark.column + 1] and not line[: mark.column].strip():
        problem = "indented with a tab; YAML takes spaces only"
    place = f"document {number}, line {mark.line + 1}, column {mark.column + 1}"
    return f'error parsing "{source}", {place}: {problem}'


class _Builder:
    """Turns YAML nodes into JSON values: keys are strings, duplicates are refused, aliases are counted."""

    def __init__(self, loader: Any, where: str) -> None:
        self._loader = loader
        self._where = where
        self._values = 0
        self._open: set[int] = set()

    def build(self, node: Any) -> Any:
        self._values += 1
        if self._values > MAX_VALUES:
            raise self._wrong(node, f"more than {MAX_VALUES} values once its aliases are expanded")
        if node.id == "scalar":
            return self._scalar(node)
        if id(node) in self._open:
            raise self._wrong(node, "an alias contains itself")
        if node.tag not in PLAIN_TAGS:
            raise self._wrong(node, f'the tag "{node.tag}" has no meaning in a manifest')
        self._open.add(id(node))
        built = (
            self._mapping(node)
            if node.id == "mapping"
            else [self.build(each) for each in node.value]
        )
        self._open.discard(id(node))
        return built

    def _mapping(self, node: Any) -> Object:
        made: Object = {}
        merged: Object = {}
        for key_node, value_node in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                self._merge(merged, value_node)
                continue
            key = self._key(key_node)
            if key in made:
                raise self._wrong(key_node, f'the key "{key}" is given twice')
            made[key] = self.build(value_node)
        return {**merged, **made} if merged else made

    def _merge(self, merged: Object, node: Any) -> None:
        sources = node.value if node.id == "sequence" else [node]
        for each in sources:
            built = self.build(each)
            if not isinstance(built, dict):
                raise self._wrong(each, "<< merges mappings only")
            for key, value in built.items():
                merged.setdefault(key, value)

    def _key(self, node: Any) -> str:
        if node.id != "scalar":
            raise self._wrong(node, "a key must be a plain value")
        key = self._scalar(node)
        if isinstance(key, str):
            return key
        return (
            str(node.value)
            if isinstance(key, int | float) and not isinstance(key, bool)
            else json.dumps(key)
        )

    def _scalar(self, node: Any) -> Any:
        kind = node.tag.rpartition(":")[2]
        if kind in ("null", "bool", "int", "float"):
            try:
                value = self._loader.construct_object(node)
            except ValueError as bad:
                raise self._wrong(node, f'cannot read "{node.value}" as {kind}') from bad
            if isinstance(value, float) and value - value != 0:  # infinite, or not a number
                raise self._wrong(node, f'"{node.value}" is not a number of JSON')
            return value
        if kind == "binary" or not node.tag.startswith("tag:yaml.org,2002:") or "/" in kind:
            raise self._wrong(node, f'the tag "{node.tag}" has no meaning in a manifest')
        return node.value

    def _wrong(self, node: Any, why: str) -> CliError:
        return CliError(f"{self._where}, line {node.start_mark.line + 1}: {why}")
