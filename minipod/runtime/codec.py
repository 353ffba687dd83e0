"""Operations, steps and specs as plain values and back, and shortened for a trace.

Every start of a container passes through here, on both sides: how a type is converted is worked out once. A field
that has its default is left out, a tuple stays one (json writes it as an array), bytes stay bytes (JSON has them as
base64, which is taken back).
"""

import base64
import dataclasses
import functools
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

import minipod.runtime.child_operations  # noqa: F401 - a shim must know these, too, by their names
from minipod.runtime.operations import Operation, Step, TracedStep, Where, kinds

Json = dict[str, object]
Convert = Callable[[Any], Any]
T = TypeVar("T")
_WHERE = frozenset(typing.get_args(Where))


def to_json(operation: Operation) -> Json:
    """Return the operation as a JSON object: its name under "operation", and its fields."""
    return {"operation": type(operation).__name__, **to_plain(operation)}


def from_json(value: Mapping[str, Any]) -> Operation:
    """Return the operation that `to_json` wrote. ValueError for an unknown name or a missing or unknown field."""
    kind = _kinds().get(str(value.get("operation")))
    if kind is None:
        raise ValueError(f'unknown operation "{value.get("operation")}"')
    fields = {name: content for name, content in value.items() if name != "operation"}
    if unknown := fields.keys() - _converters(cast(Any, kind)).keys():
        raise ValueError(f'operation "{kind.__name__}" has no field "{min(unknown)}"')
    try:
        return from_plain(kind, fields)
    except (KeyError, TypeError) as failure:
        raise ValueError(f'operation "{kind.__name__}" does not fit: {failure}') from failure


def step_to_json(step: Step) -> Json:
    """Return a step as a JSON object, without its comment: that is for people."""
    return {"operation": to_json(step.operation), "where": step.where}


def step_from_json(value: Mapping[str, Any]) -> Step:
    """Return the step that `step_to_json` wrote. ValueError as `from_json`."""
    where = value.get("where", "daemon")
    if where not in _WHERE:
        raise ValueError(f'unknown place "{where}"')
    return Step(from_json(value["operation"]), where)


def traced_to_json(traced: TracedStep, begin_us: int) -> Json:
    """Return a step that ran as a JSON object, its start counted from `begin_us`."""
    operation = traced.step.operation
    return {
        "where": traced.step.where,
        "operation": brief(operation),
        "summary": operation.summary(),
        "start_us": traced.start_us - begin_us,
        "duration_us": traced.duration_us,
    }


def brief(operation: Operation) -> Json:
    """Return the operation as JSON for a trace: no file contents, filters, or values of the environment."""
    value = to_json(operation)
    for name in ("content", "program"):
        if name in value:
            value[name] = f"({len(getattr(operation, name))})"
    if "env" in value:
        value["env"] = [item.partition("=")[0] for item in cast(list[str], value["env"])]
    return value


@functools.cache
def _kinds() -> dict[str, type[Operation]]:
    return kinds()


# --- to plain values ----------------------------------------------------------------------------------------------


def to_plain(value: object) -> Json:
    """Return a dataclass of JSON-able members as an object."""
    plain = {}
    for name, default, convert in _shape(cast(Any, type(value))):
        content = getattr(value, name)
        if content != default:
            plain[name] = content if convert is None else convert(content)
    return plain


@functools.cache
def _shape(kind: type) -> tuple[tuple[str, object, Convert | None], ...]:
    """Return name, default and conversion (None: as it is) of each field."""
    hints = typing.get_type_hints(kind)
    return tuple(
        (each.name, _default(each), _to_plain(hints[each.name]))
        for each in dataclasses.fields(kind)
    )


def _default(field: "dataclasses.Field[Any]") -> object:
    made = field.default_factory
    return field.default if made is dataclasses.MISSING else made()


def _to_plain(hint: object) -> Convert | None:
    hint = _without_none(hint)
    if typing.get_origin(hint) is tuple:
        inner = _to_plain(typing.get_args(hint)[0])
        return None if inner is None else lambda values: [inner(each) for each in values]
    if dataclasses.is_dataclass(hint):
        return lambda value: None if value is None else to_plain(value)
    return None


def _without_none(hint: object) -> object:
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        return next(each for each in typing.get_args(hint) if each is not type(None))
    return hint


# --- and back -----------------------------------------------------------------------------------------------------


def from_plain(kind: type[T], fields: Mapping[str, Any]) -> T:
    """Return the dataclass `kind` from what `to_plain` made. Unknown members are left out, missing ones default.

    Raises TypeError or ValueError when the value does not fit.
    """
    converters = _converters(cast(Any, kind))
    given = {}
    for name, content in fields.items():
        if name in converters:
            convert = converters[name]
            given[name] = content if convert is None else convert(content)
    return kind(**given)


@functools.cache
def _converters(kind: type) -> dict[str, Convert | None]:
    hints = typing.get_type_hints(kind)
    return {each.name: _from_plain(hints[each.name]) for each in dataclasses.fields(kind)}


def _from_plain(hint: object) -> Convert | None:
    hint = _without_none(hint)
    if typing.get_origin(hint) is tuple:
        inner = _from_plain(typing.get_args(hint)[0])
        return tuple if inner is None else lambda values: tuple(map(inner, values))
    if hint is bytes:
        return lambda value: base64.b64decode(value) if isinstance(value, str) else value
    if dataclasses.is_dataclass(hint):
        kind = cast(type, hint)
        return lambda value: None if value is None else from_plain(kind, value)
    return None
