"""The leaves of an object: how each scalar type is checked, normalized, and named in Go's words when it is wrong."""

import binascii
import json
import re
from collections.abc import Callable
from typing import Any

from minipod.api import quantity

_RFC3339 = re.compile(
    r"\d{4}-(0[1-9]|1[0-2])-(0[1-9]|[12]\d|3[01])[Tt]([01]\d|2[0-3]):[0-5]\d:[0-5]\d([.,]\d+)?"
    r"([Zz]|[+-]([01]\d|2[0-3]):[0-5]\d)"
)
_INT32 = range(-(2**31), 2**31)
_INT64 = range(-(2**63), 2**63)


def _is_string(value: Any) -> bool:
    return value.__class__ is str


def _is_boolean(value: Any) -> bool:
    return value.__class__ is bool


def _is_int32(value: Any) -> bool:
    return value.__class__ is int and value in _INT32


def _is_int64(value: Any) -> bool:
    return value.__class__ is int and value in _INT64


def _is_number(value: Any) -> bool:
    return value.__class__ is int or value.__class__ is float


def _is_object(value: Any) -> bool:
    return value.__class__ is dict


def _is_any(_value: Any) -> bool:
    return True


def _is_quantity(value: Any) -> bool:
    # A number is a quantity too, but `normalize` must make it text: not in order yet.
    return value.__class__ is str and quantity.is_quantity(value)


def _is_int_or_string(value: Any) -> bool:
    return value.__class__ is str or _is_int32(value)


def _is_time(value: Any) -> bool:
    return value.__class__ is str and bool(_RFC3339.fullmatch(value))


def _is_base64(value: Any) -> bool:
    return value.__class__ is str and not _base64_problem(value)


CHECKS: dict[str, Callable[[Any], bool]] = {
    "string": _is_string,
    "boolean": _is_boolean,
    "int32": _is_int32,
    "int64": _is_int64,
    "number": _is_number,
    "object": _is_object,
    "any": _is_any,
    "quantity": _is_quantity,
    "intorstring": _is_int_or_string,
    "time": _is_time,
    "byte": _is_base64,
}

_GO_TYPES = {
    "boolean": "bool",
    "number": "float64",
    "object": "map[string]interface {}",
    "any": "interface {}",
    "quantity": "resource.Quantity",
    "intorstring": "intstr.IntOrString",
    "time": "v1.Time",
    "byte": "[]uint8",
}
_ZEROS: dict[str, Any] = {
    "string": "",
    "boolean": False,
    "int32": 0,
    "int64": 0,
    "number": 0,
    "quantity": "0",
    "intorstring": 0,
    "byte": "",
    "object": {},
}


def problem(kind_of: str, value: Any) -> str:
    """Return why a value is no `kind_of`: "" when it is, "type" for the wrong JSON type, or upstream's sentence."""
    if kind_of == "quantity":
        return _quantity_problem(value)
    if CHECKS[kind_of](value):
        return ""
    if kind_of == "byte" and isinstance(value, str):
        return _base64_problem(value)
    if kind_of == "time" and isinstance(value, str):
        layout = "2006-01-02T15:04:05Z07:00"
        return f'parsing time "{value}" as "{layout}": cannot parse "{value}" as "2006"'
    return f"type {go_type(kind_of)}"


def at(problem_text: str, value: Any, root: str, path: str) -> str:
    """Return the sentence for a `problem` of the value at `path`."""
    if problem_text.startswith("type "):
        return mismatch(value, root, path, problem_text.removeprefix("type "))
    return f"{problem_text} (at {path})"


def mismatch(value: Any, root: str, path: str, wanted: str) -> str:
    """Return Go's sentence for a value of the wrong JSON type; the path has indices, where Go's has not."""
    where = f"Go struct field {root}.{path}" if path else "Go value"
    return f"json: cannot unmarshal {_json_type(value)} into {where} of type {wanted}"


def go_type(kind_of: Any) -> str:
    """Return how Go's decoder calls a type of the schema: `[]v1.Container`, `map[string]string`, `int32`."""
    if isinstance(kind_of, dict):
        if "list" in kind_of:
            return f"[]{go_type(kind_of['list'])}"
        if "map" in kind_of:
            return f"map[string]{go_type(kind_of['map'])}"
        return go_type(kind_of["of"])
    if kind_of.startswith("#"):
        version, _, name = kind_of.rpartition(".")
        return f"{version.rpartition('.')[2]}.{name}"
    return _GO_TYPES.get(kind_of) or str(kind_of)


def normalized(kind_of: str, value: Any) -> Any:
    """Return a scalar as upstream keeps it: a quantity is text, as it was written."""
    if kind_of == "quantity" and not isinstance(value, str):
        return json.dumps(value)
    return value


def zero(kind_of: Any) -> Any:
    """Return the zero value of a type, which null stands for inside lists and maps."""
    if isinstance(kind_of, dict):
        return [] if "list" in kind_of else {} if "map" in kind_of else zero(kind_of["of"])
    return {} if kind_of.startswith("#") else _ZEROS.get(kind_of)


def _json_type(value: Any) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        # Go names the number where it has the right type, yet does not fit.
        return f"number {value}" if isinstance(value, float) or value not in _INT32 else "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def _quantity_problem(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return f"type {go_type('quantity')}"
    try:
        quantity.parse(value if isinstance(value, str) else json.dumps(value))
    except quantity.QuantityError as wrong:
        return str(wrong)
    return ""


def _base64_problem(value: str) -> str:
    """Return what Go's base64 decoder says; it leaves out line ends."""
    text = value.replace("\n", "").replace("\r", "")
    try:
        binascii.a2b_base64(text.encode(), strict_mode=True)
    except (binascii.Error, UnicodeEncodeError):
        wrong = re.match("[A-Za-z0-9+/]*={0,2}", text)
        return f"illegal base64 data at input byte {wrong.end() if wrong else 0}"
    return ""
