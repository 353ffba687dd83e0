"""Request bodies: bytes from a stranger to plain JSON data, within bounds.

JSON, YAML, and Kubernetes' protobuf. Bounds: BODY_LIMIT bytes, DEPTH_LIMIT levels, and for YAML NODE_LIMIT nodes
after its aliases are expanded (a "billion laughs" document is small only before that). YAML is read as Kubernetes'
own tools read it: no timestamps and no base-60 numbers, both of which YAML 1.1 has and PyYAML implements.
"""

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

from minipod.api import protobuf
from minipod.api.errors import StatusError, bad_request, unsupported_media_type
from minipod.server.malformed import Malformed, explain

BODY_LIMIT = 3 << 20  # bytes, as upstream's MaxRequestBodyBytes
DEPTH_LIMIT = 200
NODE_LIMIT = 100_000
JSON_TYPES = ("application/json", "text/json")
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")
_JSON_WHERE = "couldn't get version/kind; json parse error: "
_YAML_WHERE = "error converting YAML to JSON: yaml: "
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")


@dataclass(frozen=True, slots=True)
class Parsed:
    """A document, and the paths of the fields that its text gave twice (the last one counts)."""

    value: Any
    duplicates: tuple[str, ...] = ()


def decode_body(data: bytes, media_type: str) -> Parsed:
    """Decode one JSON or YAML document. Raises StatusError BadRequest or UnsupportedMediaType."""
    if media_type in YAML_TYPES:
        return _decode_yaml(data)
    if media_type == protobuf.MEDIA_TYPE:
        return _decode_protobuf(data)
    if media_type in ("", "*/*", *JSON_TYPES) or media_type.endswith("+json"):
        return _decode_json(data)
    raise unsupported_media_type((JSON_TYPES[0], YAML_TYPES[0], protobuf.MEDIA_TYPE))


def _decode_protobuf(data: bytes) -> Parsed:
    try:
        value = protobuf.decode(data)
    except (ValueError, OverflowError, RecursionError) as error:
        raise Malformed(_one_line(error), "proto: ") from error
    check_depth(value)
    return Parsed(value)


class _Repeated(dict[str, Any]):
    """A JSON object in which some names stood more than once."""

    names: tuple[str, ...] = ()


def _decode_json(data: bytes) -> Parsed:
    repeated = False

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal repeated
        made = dict(pairs)
        if len(made) == len(pairs):
            return made
        repeated = True
        marked = _Repeated(made)
        marked.names = _repeated_names([name for name, _ in pairs])
        return marked

    try:
        value = json.loads(
            data, object_pairs_hook=unique, parse_constant=_refuse_constant, parse_float=_finite
        )
    except RecursionError as error:
        raise bad_request("the body is nested too deeply") from error
    except ValueError as error:  # JSONDecodeError, UnicodeDecodeError, overlong integers
        raise Malformed(explain(error), _JSON_WHERE) from error
    check_depth(value)
    duplicates = tuple(_repeated_paths(value, "")) if repeated else ()
    if _SURROGATE.search(data):
        value = _without_lone_surrogates(value)
    return Parsed(value, duplicates)


def _without_lone_surrogates(value: Any) -> Any:
    """Return the value with U+FFFD for every half of a surrogate pair, as Go's decoder has it."""
    text = json.dumps(value, ensure_ascii=False)
    whole = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return json.loads(whole)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is too large a number")
    return value


def _refuse_constant(name: str) -> Any:
    if name.startswith("-"):
        raise ValueError(f"invalid character '{name[1]}' in numeric literal")
    raise ValueError(f"invalid character '{name[0]}' looking for beginning of value")


def _repeated_names(names: list[str]) -> tuple[str, ...]:
    return tuple(sorted({name for name in names if names.count(name) > 1}))


def _repeated_paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _repeated_paths(inner, f"{path}[{index}]")
    elif isinstance(value, dict):
        dot = f"{path}." if path else ""
        if isinstance(value, _Repeated):
            yield from (dot + name for name in value.names)
        for name, inner in value.items():
            yield from _repeated_paths(inner, dot + name)


def check_depth(value: Any) -> None:
    """Refuse data nested more than DEPTH_LIMIT deep. Raises StatusError BadRequest."""
    level = [value]
    for _ in range(DEPTH_LIMIT):
        level = [
            inner for outer in level if isinstance(outer, (dict, list)) for inner in _inside(outer)
        ]
        if not level:
            return
    raise bad_request(f"the body is nested more than {DEPTH_LIMIT} levels deep")


def _inside(outer: Any) -> Any:
    return outer.values() if isinstance(outer, dict) else outer


class _Loader(yaml.CSafeLoader):
    """YAML as Go's library reads it for Kubernetes; duplicate keys are remembered."""

    yaml_implicit_resolvers: Any = {}  # noqa: RUF012 - as the base class has it

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.duplicates: list[str] = []

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Build a mapping whose keys are text, as in JSON: 1 and true are different keys then."""
        given = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(given)) != len(given):
            self.duplicates += _repeated_names(given)
        self.flatten_mapping(node)  # `<<`: what it merges in may be given again
        names = [_key(self.construct_object(key, deep=True)) for key, _ in node.value]
        values = [value for _, value in node.value]
        keys = [yaml.ScalarNode("tag:yaml.org,2002:str", name) for name in names]
        node.value = list(zip(keys, values, strict=True))
        return super().construct_mapping(node, deep=deep)


_NUMBER_START = list("-+.0123456789")
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool",
    re.compile(r"^(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"),
    list("yYnNtTfFoO"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0b[01_]+|0[0-7_]*|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^[-+]?(?:[0-9][0-9_]*\.[0-9_]*|\.[0-9_]+|[0-9][0-9_]*(?=[eE]))(?:[eE][-+]?[0-9]+)?$"
    ),
    _NUMBER_START,
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:null", re.compile(r"^(?:~|null|Null|NULL|)$"), ["~", "n", "N", ""]
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"^(?:<<)$"), ["<"])


def _decode_yaml(data: bytes) -> Parsed:
    try:
        _check_expansion(data)
        loader = _Loader(data)
        try:
            value = loader.get_single_data()
        finally:
            loader.dispose()
    except (yaml.YAMLError, ValueError, TypeError, RecursionError, OverflowError) as error:
        raise Malformed(_one_line(error), _YAML_WHERE) from error
    check_depth(value)
    return Parsed(_plain(value), tuple(loader.duplicates))


def _check_expansion(data: bytes) -> None:
    """Count nodes as if every alias were written out, before anything is built. Raises StatusError."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(data, yaml.CSafeLoader):
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_nodes):
                raise bad_request(f'the YAML anchor "{event.anchor}" contains itself')
            total += sizes.get(str(event.anchor), 1)
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > NODE_LIMIT:
            raise bad_request(
                f"the YAML document has more than {NODE_LIMIT} nodes with its aliases expanded"
            )
        if len(open_nodes) > DEPTH_LIMIT:
            raise bad_request(f"the body is nested more than {DEPTH_LIMIT} levels deep")


def _plain(value: Any) -> Any:
    """Return a copy without shared parts; JSON has no bytes, sets or dates."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if value is None or isinstance(value, (str, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    raise Malformed(f"a {type(value).__name__} has no place in JSON", _YAML_WHERE)


def _key(key: Any) -> str:
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, (str, int, float)):
        return str(key)
    raise Malformed(f"{key!r} cannot be a key", _YAML_WHERE)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def reading_error(error: Exception) -> StatusError:
    """Return the answer to a body that did not arrive whole."""
    return bad_request(f"the body did not arrive whole: {_one_line(error)}")
