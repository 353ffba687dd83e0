"""OpenAPI v3 of what is served: /openapi/v3 and a document per group version.

Clients ask for it to explain fields and to find out that the server validates fields itself (kubectl refuses to apply
anything before). Made from upstream's definitions when asked for: it is large and rarely wanted, so nothing is kept.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

from minipod.api import kinds
from minipod.api.definitions import definitions, descriptions, referenced
from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server.discovery import GIT_VERSION

_REFERENCE = "#/components/schemas/"
_SCALARS: dict[str, Object] = {
    "any": {},
    "boolean": {"type": "boolean"},
    "byte": {"type": "string", "format": "byte"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "intorstring": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "number": {"type": "number"},
    "object": {"type": "object"},
    "quantity": {"type": "string"},
    "string": {"type": "string"},
    "time": {"type": "string", "format": "date-time"},
}
_EXTENSIONS = {
    "enum": "enum",
    "type": "x-kubernetes-list-type",
    "keys": "x-kubernetes-list-map-keys",
    "merge": "x-kubernetes-patch-merge-key",
    "strategy": "x-kubernetes-patch-strategy",
}
_QUERY = ("dryRun", "fieldManager", "fieldValidation")
_ITEM_METHODS = {"get": "get", "update": "put", "patch": "patch", "delete": "delete"}
_LIST_METHODS = {"list": "get", "create": "post", "deletecollection": "delete"}


def index() -> Object:
    """Return the list of documents; each address changes with its content, so that clients may keep it."""
    found = {}
    for path in sorted({_group_path(kind) for kind in kinds.all_kinds()}):
        served = [kind.schema_name for kind in kinds.all_kinds() if _group_path(kind) == path]
        digest = hashlib.sha256(repr((GIT_VERSION, path, sorted(served))).encode()).hexdigest()[:32]
        found[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={digest}"}
    return {"paths": found}


def document(path: str) -> Object | None:
    """Return the document of one group version (`api/v1`, `apis/apps/v1`), None when it is not served."""
    served = [kind for kind in kinds.all_kinds() if _group_path(kind) == path]
    if not served:
        return None
    prose = descriptions()
    descriptions.cache_clear()
    schemas = {name: _schema(name, prose.get(name, {})) for name in sorted(_reachable(served))}
    paths = dict(pair for kind in served for pair in _paths(path, kind))
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": paths,
        "components": {"schemas": schemas},
    }


def _group_path(kind: Kind) -> str:
    return f"apis/{kind.group}/{kind.version}" if kind.group else f"api/{kind.version}"


def _reachable(served: list[Kind]) -> set[str]:
    """Return the names of all definitions that the kinds are made of."""
    found: set[str] = set()
    waiting = [kind.schema_name for kind in served if kind.schema_name]
    while waiting:
        name = waiting.pop()
        if name in found or name not in definitions():
            continue
        found.add(name)
        properties = definitions()[name].get("properties", {})
        waiting += [other for each in properties.values() if (other := referenced(each))]
    return found


def _schema(name: str, prose: Mapping[str, str]) -> Object:
    definition = definitions()[name]
    if "scalar" in definition:
        return dict(_SCALARS[definition["scalar"]])
    properties = {
        field: _described(_type(kind_of), prose.get(field, ""))
        for field, kind_of in definition["properties"].items()
    }
    schema = _described({"type": "object", "properties": properties}, prose.get("", ""))
    if definition.get("required"):
        schema["required"] = definition["required"]
    if definition.get("gvk"):
        schema["x-kubernetes-group-version-kind"] = [
            {"group": group, "version": version, "kind": kind}
            for group, version, kind in definition["gvk"]
        ]
    return schema


def _type(kind_of: Any) -> Object:
    if isinstance(kind_of, str):
        if kind_of.startswith("#"):
            return {"allOf": [{"$ref": _REFERENCE + kind_of[1:]}]}
        return dict(_SCALARS[kind_of])
    if "list" in kind_of:
        schema: Object = {"type": "array", "items": _type(kind_of["list"])}
    elif "map" in kind_of:
        schema = {"type": "object", "additionalProperties": _type(kind_of["map"])}
    else:
        schema = _type(kind_of["of"])
    return schema | {
        name: kind_of[short] for short, name in _EXTENSIONS.items() if short in kind_of
    }


def _described(schema: Object, text: str) -> Object:
    return {"description": text, **schema} if text else schema


def _paths(path: str, kind: Kind) -> Iterator[tuple[str, Object]]:
    """Yield the paths of a kind with what can be done there."""
    middle = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"/{path}{middle}/{kind.plural}"
    yield collection, _operations(kind, _LIST_METHODS)
    yield f"{collection}/{{name}}", _operations(kind, _ITEM_METHODS)
    if kind.namespaced:
        yield f"/{path}/{kind.plural}", _operations(kind, {"list": "get"})


def _operations(kind: Kind, methods: Mapping[str, str]) -> Object:
    return {
        method: _operation(kind, verb) for verb, method in methods.items() if verb in kind.verbs
    }


def _operation(kind: Kind, verb: str) -> Object:
    body = {"schema": {"$ref": _REFERENCE + kind.schema_name} if kind.schema_name else {}}
    return {
        "parameters": [
            {"name": name, "in": "query", "schema": {"type": "string"}}
            for name in (_QUERY if verb in ("create", "update", "patch") else ())
        ],
        "responses": {"200": {"description": "OK", "content": {"application/json": body}}},
        "x-kubernetes-action": {"update": "put", "create": "post"}.get(verb, verb),
        "x-kubernetes-group-version-kind": {
            "group": kind.group,
            "version": kind.version,
            "kind": kind.kind,
        },
    }
