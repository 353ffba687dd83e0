"""OpenAPI v2 (swagger) of everything at once, from the parts of v3: what clients before kubectl 1.29 ask for.

As JSON, and as the protobuf message openapi.v2.Document (https://github.com/google/gnostic-models), which is all that
client-go's typed discovery accepts. It is only ever written, so the encoder is a table of field numbers.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from minipod.api import kinds
from minipod.client import Object
from minipod.server.discovery import GIT_VERSION
from minipod.server.openapi import all_paths, compute_schemas
from minipod.server.openapi_paths import REFERENCE

PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"
PROTOBUF_OF_OLD = (
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"  # asked for, and no media type
)
_METHODS = ("get", "put", "post", "delete", "options", "head", "patch")


def document() -> Object:
    """Return the document of all that is served."""
    schemas = compute_schemas(kinds.all_kinds())
    return {
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": {path: _path_item(item) for path, item in all_paths().items()},
        "definitions": {name: _schema(each) for name, each in schemas.items()},
        "securityDefinitions": {
            "BearerToken": {
                "description": "Bearer Token authentication",
                "type": "apiKey",
                "name": "authorization",
                "in": "header",
            }
        },
        "security": [{"BearerToken": []}],
    }


# ---- v3 to v2 ----


def _path_item(item: Object) -> Object:
    made = {method: _operation(item[method]) for method in _METHODS if method in item}
    return {**made, "parameters": [_parameter(each) for each in item.get("parameters", ())]}


def _operation(operation: Object) -> Object:
    made = {
        name: value
        for name, value in operation.items()
        if name not in ("parameters", "requestBody", "responses")
    }
    responses = operation["responses"]
    content = responses["200"].get("content", {})
    body = operation.get("requestBody")
    parameters = [_parameter(each) for each in operation.get("parameters", ())]
    if body:
        media = body["content"]
        schema = _schema(next(iter(media.values()))["schema"])
        wanted = {"required": True} if body.get("required") else {}
        parameters = [{"name": "body", "in": "body", "schema": schema, **wanted}, *parameters]
        made["consumes"] = list(media)
    return {
        **made,
        "produces": list(content),
        "parameters": parameters,
        "responses": {code: _response(each) for code, each in responses.items()},
    }


def _parameter(parameter: Object) -> Object:
    made = {name: value for name, value in parameter.items() if name != "schema"}
    made.update(parameter["schema"])
    return made


def _response(response: Object) -> Object:
    made = {"description": response["description"]}
    for media in response.get("content", {}).values():
        return made | {"schema": _schema(media["schema"])}
    return made


def _schema(schema: Object) -> Object:
    """Return a schema with v2's references; what v2 cannot say (one of several types) is left open as text."""
    made: Object = {}
    for name, value in schema.items():
        if name == "allOf":
            made |= _schema(value[0])
        elif name == "oneOf":
            made["type"] = "string"
        elif name == "$ref":
            made["$ref"] = "#/definitions/" + value.removeprefix(REFERENCE)
        elif name == "properties":
            made[name] = {key: _schema(each) for key, each in value.items()}
        elif name in ("items", "additionalProperties"):
            made[name] = _schema(value)
        else:
            made[name] = value
    return made


# ---- protobuf (https://protobuf.dev/programming-guides/encoding/) ----


def encode_protobuf(found: Object) -> bytes:
    """Return the document as the message openapi.v2.Document."""
    return b"".join(
        [
            _text(1, found["swagger"]),
            _message(2, _text(1, found["info"]["title"]) + _text(2, found["info"]["version"])),
            _message(8, b"".join(_named(2, path, _path(i)) for path, i in found["paths"].items())),
            _message(
                9,
                b"".join(_named(1, n, _of_schema(s)) for n, s in found["definitions"].items()),
            ),
            _message(12, _named(1, "BearerToken", b"")),
            _message(13, b"".join(_security(found["securityDefinitions"]))),
        ]
    )


def _security(schemes: Mapping[str, Object]) -> Iterator[bytes]:
    for name, each in schemes.items():
        key = (_text(1, each["type"]), _text(2, each["name"]), _text(3, each["in"]))
        yield _named(1, name, _message(2, b"".join((*key, _text(4, each["description"])))))


def _varint(number: int) -> bytes:
    found = bytearray()
    while number > 0x7F:
        found.append(number & 0x7F | 0x80)
        number >>= 7
    found.append(number)
    return bytes(found)


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


def _text(field: int, text: str) -> bytes:
    return _message(field, text.encode()) if text else b""


def _truth(field: int, value: bool) -> bytes:
    return _varint(field << 3) + b"\x01" if value else b""


def _named(field: int, name: str, value: bytes) -> bytes:
    """Return one entry of a map: a message of a name (1) and a value (2)."""
    return _message(field, _text(1, name) + _message(2, value))


def _any(value: Any) -> bytes:
    """Return the message Any, which holds YAML; JSON is YAML."""
    return _text(2, json.dumps(value, separators=(",", ":")) + "\n")


def _extensions(field: int, found: Object) -> bytes:
    return b"".join(
        _named(field, name, _any(value)) for name, value in found.items() if name.startswith("x-")
    )


_PATH_FIELDS = dict(zip(_METHODS, range(2, 9), strict=True))


def _path(item: Object) -> bytes:
    methods = b"".join(
        _message(_PATH_FIELDS[name], _of_operation(each))
        for name, each in item.items()
        if name in _PATH_FIELDS
    )
    return methods + b"".join(_message(9, _of_parameter(each)) for each in item["parameters"])


def _of_operation(operation: Object) -> bytes:
    responses = b"".join(_named(1, c, _of_response(r)) for c, r in operation["responses"].items())
    return b"".join(
        [
            *(_text(1, tag) for tag in operation["tags"]),
            _text(3, operation["description"]),
            _text(5, operation["operationId"]),
            *(_text(6, media) for media in operation["produces"]),
            *(_text(7, media) for media in operation.get("consumes", ())),
            *(_message(8, _of_parameter(each)) for each in operation["parameters"]),
            _message(9, responses),
            _extensions(13, operation),
        ]
    )


def _of_response(response: Object) -> bytes:
    """Return the message ResponseValue of a Response."""
    content = _text(1, response["description"])
    if "schema" in response:
        content += _message(2, _message(1, _of_schema(response["schema"])))
    return _message(1, content)


def _of_parameter(parameter: Object) -> bytes:
    """Return the message ParametersItem of a Parameter: of a body, or in the path or the query."""
    name, needed = parameter["name"], bool(parameter.get("required"))
    where, about = parameter["in"], parameter.get("description", "")
    if where == "body":
        body = _text(1, about) + _text(2, name) + _text(3, where) + _truth(4, needed)
        return _message(1, _message(1, body + _message(5, _of_schema(parameter["schema"]))))
    in_query = where == "query"
    plain = _truth(1, needed) + _text(2, where) + _text(3, about) + _text(4, name)
    plain += _text(6 if in_query else 5, parameter["type"])
    plain += _truth(20 if in_query else 19, bool(parameter.get("uniqueItems")))
    return _message(1, _message(2, _message(3 if in_query else 4, plain)))


def _of_schema(schema: Object) -> bytes:
    parts = [
        _SCHEMA_FIELDS[name](value) for name, value in schema.items() if name in _SCHEMA_FIELDS
    ]
    return b"".join(parts) + _extensions(31, schema)


def _properties(properties: Object) -> bytes:
    return _message(25, b"".join(_named(1, n, _of_schema(s)) for n, s in properties.items()))


_SCHEMA_FIELDS: dict[str, Callable[[Any], bytes]] = {
    "$ref": lambda value: _text(1, value),
    "format": lambda value: _text(2, value),
    "description": lambda value: _text(4, value),
    "required": lambda value: b"".join(_text(19, each) for each in value),
    "enum": lambda value: b"".join(_message(20, _any(each)) for each in value),
    "additionalProperties": lambda value: _message(21, _message(1, _of_schema(value))),
    "type": lambda value: _message(22, _text(1, value)),
    "items": lambda value: _message(23, _message(1, _of_schema(value))),
    "properties": _properties,
}
