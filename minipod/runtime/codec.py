"""Operations and steps as JSON and back, and shortened for a trace."""

import base64
import dataclasses
import functools
import typing
from collections.abc import Callable, Mapping
from typing import Any, cast

from minipod.runtime.operations import Operation, Step, Where, kinds

Json = dict[str, object]


def to_json(operation: Operation) -> Json:
    """Return the operation as a JSON object: its name under "operation", and its fields."""
    return {"operation": type(operation).__name__, **_plain(operation)}


def from_json(value: Mapping[str, Any]) -> Operation:
    """Return the operation that `to_json` wrote. ValueError for an unknown name or a missing or unknown field."""
    kind = kinds().get(str(value.get("operation")))
    if kind is None:
        raise ValueError(f'unknown operation "{value.get("operation")}"')
    fields = {name: content for name, content in value.items() if name != "operation"}
    try:
        return cast(Operation, _build(kind, fields))
    except (KeyError, TypeError) as failure:
        raise ValueError(f'operation "{kind.__name__}" does not fit: {failure}') from failure


def step_to_json(step: Step) -> Json:
    """Return a step as a JSON object."""
    return {
        "operation": to_json(step.operation),
        "where": step.where,
        "comment": step.comment,
    }


def step_from_json(value: Mapping[str, Any]) -> Step:
    """Return the step that `step_to_json` wrote. ValueError as `from_json`."""
    where = value.get("where", "daemon")
    if where not in typing.get_args(Where):
        raise ValueError(f'unknown place "{where}"')
    return Step(from_json(value["operation"]), where, value.get("comment", ""))


def brief(operation: Operation) -> Json:
    """Return the operation as JSON for a trace: no file contents, filters, or values of the environment."""
    value = to_json(operation)
    for name in ("content", "program"):
        if name in value:
            value[name] = f"({len(getattr(operation, name))})"
    if "env" in value:
        value["env"] = [item.partition("=")[0] for item in cast(list[str], value["env"])]
    return value


def _plain(value: object) -> Json:
    fields = dataclasses.fields(cast(Any, value))
    return {each.name: _plain_value(getattr(value, each.name)) for each in fields}


def _plain_value(value: object) -> object:
    if isinstance(value, tuple):
        return [_plain_value(each) for each in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    return _plain(value) if dataclasses.is_dataclass(value) else value


def _build(kind: type, fields: Mapping[str, Any]) -> object:
    converters = _converters(kind)
    return kind(**{name: converters[name](content) for name, content in fields.items()})


@functools.cache
def _converters(kind: type) -> dict[str, Callable[[Any], Any]]:
    hints = typing.get_type_hints(kind)
    return {each.name: _converter(hints[each.name]) for each in dataclasses.fields(kind)}


def _converter(hint: object) -> Callable[[Any], Any]:
    if typing.get_origin(hint) is tuple:
        convert = _converter(typing.get_args(hint)[0])
        return lambda values: tuple(map(convert, values))
    if hint is bytes:
        return base64.b64decode
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return functools.partial(_build, hint)
    return lambda value: value
