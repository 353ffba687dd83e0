"""OpenAPI of what is served: the index of /openapi/v3, a document for each group version, and /openapi/v2.

Made from upstream's definitions. Clients explain fields with it, check manifests, and find out that the server
validates fields itself (kubectl refuses to apply anything before).
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from minipod.api import kinds
from minipod.api.definitions import definitions, descriptions, referenced
from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server.discovery import GIT_VERSION
from minipod.server.openapi_paths import (
    DELETE_OPTIONS,
    PATCH,
    REFERENCE,
    RESOURCE_LIST,
    STATUS,
    compute_paths,
    group_path,
    list_schema,
    subresource_schema,
)

_QUANTITY = "io.k8s.apimachinery.pkg.api.resource.Quantity"
_INT_OR_STRING = "io.k8s.apimachinery.pkg.util.intstr.IntOrString"
_TIME = "io.k8s.apimachinery.pkg.apis.meta.v1.Time"
_NAMED = {"quantity": _QUANTITY, "intorstring": _INT_OR_STRING, "time": _TIME}
_SCALARS: dict[str, Object] = {
    "any": {},
    "boolean": {"type": "boolean"},
    "byte": {"type": "string", "format": "byte"},
    "int32": {"type": "integer", "format": "int32"},
    "int64": {"type": "integer", "format": "int64"},
    "intorstring": {"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]},
    "number": {"type": "number", "format": "double"},
    "object": {"type": "object"},
    "quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
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
_SECURITY = {
    "BearerToken": {
        "type": "apiKey",
        "description": "Bearer Token authentication",
        "name": "authorization",
        "in": "header",
    }
}


def index() -> Object:
    """Return the list of documents; each address changes with its content, so that clients may keep it."""
    paths = sorted({_path_of(kind) for kind in kinds.all_kinds()})
    return {"paths": {path: {"serverRelativeURL": address(path)} for path in paths}}


def address(path: str) -> str:
    """Return the address of a group version's document as it is now."""
    served = sorted(repr(kind) for kind in kinds.all_kinds() if _path_of(kind) == path)
    digest = hashlib.sha256(repr((GIT_VERSION, path, served)).encode()).hexdigest()
    return f"/openapi/v3/{path}?hash={digest[:32].upper()}"


def document(path: str) -> Object | None:
    """Return the document of one group version (`api/v1`, `apis/apps/v1`), None when it is not served."""
    served = [kind for kind in kinds.all_kinds() if _path_of(kind) == path]
    if not served:
        return None
    return {
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": GIT_VERSION},
        "paths": compute_paths(served),
        "components": {"schemas": compute_schemas(served), "securitySchemes": _SECURITY},
        "security": [{"BearerToken": []}],
    }


def all_paths() -> dict[str, Object]:
    """Return the paths of every group version."""
    found: dict[str, Object] = {}
    for path in sorted({_path_of(kind) for kind in kinds.all_kinds()}):
        found |= compute_paths([kind for kind in kinds.all_kinds() if _path_of(kind) == path])
    return found


def compute_schemas(served: Iterable[Kind]) -> dict[str, Object]:
    """Return the schemas of all that the kinds are made of, with their prose."""
    prose = descriptions()
    descriptions.cache_clear()  # large, and the documents are kept
    names = sorted(_reachable(served))
    return {name: _schema(name, prose.get(name, {})) for name in names}


def _path_of(kind: Kind) -> str:
    return group_path(kind.group, kind.version)


def _reachable(served: Iterable[Kind]) -> set[str]:
    """Return the names of all definitions that the kinds, their lists and their subresources are made of."""
    found: set[str] = set()
    waiting = [STATUS, DELETE_OPTIONS, PATCH, RESOURCE_LIST]
    for kind in served:
        waiting += [kind.schema_name, list_schema(kind)]
        waiting += [subresource_schema(kind, sub) for sub in kind.subresources]
    while waiting:
        name = waiting.pop()
        if name in found or name not in definitions():
            continue
        found.add(name)
        for each in definitions()[name].get("properties", {}).values():
            waiting += _references(each)
    return found


def _references(kind_of: Any) -> Iterator[str]:
    if isinstance(kind_of, dict):
        yield from _references(kind_of.get("list") or kind_of.get("map") or kind_of.get("of"))
    elif kind_of in _NAMED:
        yield _NAMED[kind_of]
    elif name := referenced(kind_of):
        yield name


def _schema(name: str, prose: Mapping[str, str]) -> Object:
    definition = definitions()[name]
    about = prose.get("", "")
    if "scalar" in definition:
        return _described(dict(_SCALARS[definition["scalar"]]), about)
    properties = {
        field: _described(_type(kind_of), prose.get(field, ""))
        for field, kind_of in definition["properties"].items()
    }
    schema = _described({"type": "object", "properties": properties}, about)
    if definition.get("required"):
        schema["required"] = definition["required"]
    if definition.get("atomic"):
        schema["x-kubernetes-map-type"] = "atomic"
    if definition.get("unions"):
        schema["x-kubernetes-unions"] = definition["unions"]
    if definition.get("gvk"):
        schema["x-kubernetes-group-version-kind"] = [
            {"group": group, "version": version, "kind": kind}
            for group, version, kind in definition["gvk"]
        ]
    return schema


def _type(kind_of: Any) -> Object:
    if isinstance(kind_of, str):
        name = kind_of[1:] if kind_of.startswith("#") else _NAMED.get(kind_of)
        return {"allOf": [{"$ref": REFERENCE + name}]} if name else dict(_SCALARS[kind_of])
    if "list" in kind_of:
        schema: Object = {"type": "array", "items": _bare(_type(kind_of["list"]))}
    elif "map" in kind_of:
        schema = {"type": "object", "additionalProperties": _bare(_type(kind_of["map"]))}
    else:
        schema = _type(kind_of["of"])
    if kind_of.get("atomic"):
        schema["x-kubernetes-map-type"] = "atomic"
    return schema | {
        name: kind_of[short] for short, name in _EXTENSIONS.items() if short in kind_of
    }


def _bare(schema: Object) -> Object:
    """Return a lone reference without the wrapping that a description beside it would need."""
    wrapped = schema.get("allOf")
    return wrapped[0] if wrapped and len(schema) == 1 else schema


def _described(schema: Object, text: str) -> Object:
    return {"description": text, **schema} if text else schema
