"""From a request's body to an object: JSON, apiVersion and kind, structure, unknown and duplicate fields.

Upstream's decoding, with `fieldValidation` Strict (refuse unknown and duplicate fields), Warn (tell) and Ignore.
YAML is not decoded here: whoever accepts it turns it into the same dictionaries.
"""

import json
from dataclasses import dataclass
from typing import Any, Literal

from minipod.api import errors, schema
from minipod.api.kind import Kind

Object = dict[str, Any]
FieldValidation = Literal["Strict", "Warn", "Ignore"]


@dataclass(frozen=True)
class Parsed:
    """A JSON document, and the paths of fields that it has twice (the last one counts)."""

    value: Any
    duplicates: tuple[str, ...] = ()


@dataclass(frozen=True)
class Decoded:
    """An object as it will be kept, and the warnings for its sender."""

    object: Object
    warnings: tuple[str, ...] = ()


class _Repeated(dict[str, Any]):
    """An object that has some key more than once."""

    repeated: tuple[str, ...] = ()


def parse_json(body: bytes | str) -> Parsed:
    """Parse JSON. Raises StatusError (BadRequest) when it is none, or is nested too deeply."""
    found: list[_Repeated] = []

    def pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(items)
        if len(plain) == len(items):
            return plain
        names = [name for name, _ in items]
        marked = _Repeated(plain)
        marked.repeated = tuple(dict.fromkeys(each for each in names if names.count(each) > 1))
        found.append(marked)
        return marked

    try:
        value = json.loads(body, object_pairs_hook=pairs, parse_constant=_refuse_constant)
    except RecursionError:
        raise errors.bad_request("couldn't parse the body: exceeded max depth") from None
    except ValueError as wrong:
        raise errors.bad_request(f"couldn't parse the body as JSON: {wrong}") from wrong
    if not found:
        return Parsed(value)
    duplicates: list[str] = []
    value = _without_marks(value, "", duplicates)
    return Parsed(value, tuple(duplicates))


def decode(
    kind: Kind,
    body: Any,
    field_validation: FieldValidation = "Warn",
    duplicates: tuple[str, ...] = (),
) -> Decoded:
    """Return the object of a parsed body, without nulls and unknown fields. Raises StatusError (BadRequest).

    A missing apiVersion and kind are filled in, wrong ones refused.
    """
    if not isinstance(body, dict):
        why = f"json: cannot unmarshal {_json_word(body)} into Go value of type {kind.version}.{kind.kind}"
        raise errors.not_decodable(kind, why)
    _check_type(kind, body)
    findings = schema.examine(kind, body)
    if findings.errors:
        raise errors.not_decodable(kind, ", ".join(findings.errors))
    complaints = [f'unknown field "{each}"{_hint(findings, each)}' for each in findings.unknown]
    complaints += [f'duplicate field "{each}"' for each in duplicates]
    if complaints and field_validation == "Strict":
        raise errors.not_decodable(kind, f"strict decoding error: {', '.join(complaints)}")
    obj = schema.normalize(kind.schema_name, body)
    obj = {**obj, "apiVersion": kind.api_version, "kind": kind.kind}
    obj["metadata"] = dict(obj.get("metadata") or {})
    return Decoded(obj, tuple(complaints) if field_validation == "Warn" else ())


def _check_type(kind: Kind, body: Object) -> None:
    version, word = body.get("apiVersion"), body.get("kind")
    if version not in (None, "", kind.api_version):
        raise errors.bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({kind.api_version})"
        )
    if word not in (None, "", kind.kind):
        raise errors.bad_request(
            f'{word} in version "{kind.version}" cannot be handled as a {kind.kind}: the object provided '
            f"is unrecognized (must be of type {kind.kind})"
        )


def _hint(findings: schema.Findings, path: str) -> str:
    likely = findings.hints.get(path)
    return f' (did you mean "{likely}"?)' if likely else ""


def _refuse_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")


def _without_marks(value: Any, path: str, duplicates: list[str]) -> Any:
    """Return plain dictionaries again, and note where keys were repeated."""
    if isinstance(value, list):
        return [_without_marks(each, f"{path}[{at}]", duplicates) for at, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    for key in value.repeated if isinstance(value, _Repeated) else ():
        duplicates.append(f"{path}.{key}" if path else key)
    return {
        key: _without_marks(each, f"{path}.{key}" if path else key, duplicates)
        for key, each in value.items()
    }


def _json_word(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, (int, float)):
        return "number"
    return "string" if isinstance(value, str) else "array"
