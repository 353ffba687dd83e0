"""The paths of OpenAPI: for every kind what can be asked where, with parameters, bodies and answers.

In the form of OpenAPI v3; names of operations, tags and extensions are upstream's, which generated clients depend on.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from minipod.api.definitions import definition_names
from minipod.api.kind import Kind, Subresource
from minipod.client import Object

REFERENCE = "#/components/schemas/"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1"
STATUS, DELETE_OPTIONS, PATCH = f"{_META}.Status", f"{_META}.DeleteOptions", f"{_META}.Patch"
RESOURCE_LIST = f"{_META}.APIResourceList"

_JSON = ("application/json", "application/yaml")
_STREAM = "application/json;stream=watch"
PATCH_TYPES = (
    "application/apply-patch+yaml",
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
)
_BOOLEAN, _INTEGER, _STRING = "boolean", "integer", "string"

# name: type and what it does
_PARAMETERS: Mapping[str, tuple[str, str]] = {
    "allowWatchBookmarks": (_BOOLEAN, "Ask for BOOKMARK events in a watch."),
    "continue": (_STRING, "Where the next page of a list begins, as the page before told."),
    "dryRun": (
        _STRING,
        "With the value All the request is judged and answered, and nothing is stored.",
    ),
    "fieldManager": (_STRING, "The name under which the fields that are set are remembered."),
    "fieldSelector": (_STRING, "Restrict the objects to those whose fields match."),
    "fieldValidation": (
        _STRING,
        "What unknown and repeated fields lead to: Ignore, Warn or Strict.",
    ),
    "force": (_BOOLEAN, "Take over the fields that other managers hold (apply only)."),
    "gracePeriodSeconds": (_INTEGER, "How long the object has to end; 0 removes it at once."),
    "labelSelector": (_STRING, "Restrict the objects to those whose labels match."),
    "limit": (_INTEGER, "How many objects a page of a list has at most."),
    "orphanDependents": (_BOOLEAN, "The old way to say propagationPolicy=Orphan."),
    "pretty": (_STRING, "With the value true the answer is indented."),
    "propagationPolicy": (
        _STRING,
        "What becomes of dependents: Orphan, Background or Foreground.",
    ),
    "resourceVersion": (_STRING, "The version to read at, or to watch from."),
    "resourceVersionMatch": (_STRING, "How resourceVersion is meant: Exact or NotOlderThan."),
    "sendInitialEvents": (_BOOLEAN, "Begin a watch with what there is, and a bookmark at its end."),
    "timeoutSeconds": (_INTEGER, "When a watch ends by itself."),
    "watch": (_BOOLEAN, "Answer a stream of changes instead of a list."),
    "command": (_STRING, "The program and its arguments, each a parameter of its own."),
    "container": (_STRING, "The container that is meant; a Pod of one needs none."),
    "follow": (_BOOLEAN, "Go on with what is logged from now on."),
    "insecureSkipTLSVerifyBackend": (_BOOLEAN, "Do not check the node's certificate."),
    "limitBytes": (_INTEGER, "End after so many bytes."),
    "path": (_STRING, "The path to ask for there."),
    "ports": (_INTEGER, "The ports to forward."),
    "previous": (_BOOLEAN, "The log of the container's run before this one."),
    "sinceSeconds": (_INTEGER, "Only what was logged in the last so many seconds."),
    "sinceTime": (_STRING, "Only what was logged since this time."),
    "stderr": (_BOOLEAN, "Connect the standard error."),
    "stdin": (_BOOLEAN, "Connect the standard input."),
    "stdout": (_BOOLEAN, "Connect the standard output."),
    "stream": (_STRING, "Which stream of the log: All, Stdout or Stderr."),
    "tailLines": (_INTEGER, "Only the last so many lines."),
    "timestamps": (_BOOLEAN, "Begin each line with its time."),
    "tty": (_BOOLEAN, "Run in a terminal."),
}
_SELECTING = (
    "allowWatchBookmarks",
    "continue",
    "fieldSelector",
    "labelSelector",
    "limit",
    "resourceVersion",
    "resourceVersionMatch",
    "sendInitialEvents",
    "timeoutSeconds",
    "watch",
)
_DELETING = ("dryRun", "gracePeriodSeconds", "orphanDependents", "propagationPolicy")
_WRITING = ("dryRun", "fieldManager", "fieldValidation")
_BY_VERB: Mapping[str, tuple[str, ...]] = {
    "get": (),
    "list": _SELECTING,
    "create": _WRITING,
    "update": _WRITING,
    "patch": (*_WRITING, "force"),
    "delete": _DELETING,
    "deletecollection": tuple(sorted({*_SELECTING, *_DELETING} - {"watch", "allowWatchBookmarks"})),
}
_BY_SUBRESOURCE: Mapping[str, tuple[str, ...]] = {
    "attach": ("container", "stderr", "stdin", "stdout", "tty"),
    "exec": ("command", "container", "stderr", "stdin", "stdout", "tty"),
    "log": (
        "container",
        "follow",
        "insecureSkipTLSVerifyBackend",
        "limitBytes",
        "previous",
        "sinceSeconds",
        "sinceTime",
        "stream",
        "tailLines",
        "timestamps",
    ),
    "portforward": ("ports",),
    "proxy": ("path",),
}
_CONNECTED = ("attach", "exec", "portforward", "proxy")

_METHODS: Mapping[str, str] = {
    "get": "get",
    "list": "get",
    "create": "post",
    "update": "put",
    "patch": "patch",
    "delete": "delete",
    "deletecollection": "delete",
}
_WORDS = {"get": "read", "update": "replace", "deletecollection": "delete"}
_ACTIONS = {"update": "put", "create": "post"}
_ITEM_VERBS = ("get", "update", "patch", "delete")
_LIST_VERBS = ("list", "create", "deletecollection")


def group_path(group: str, version: str) -> str:
    """Return `api/v1`, or `apis/apps/v1`."""
    return f"apis/{group}/{version}" if group else f"api/{version}"


def compute_paths(kinds: list[Kind]) -> dict[str, Object]:
    """Return the paths of the kinds of one group version, and of its own discovery document."""
    root = f"/{group_path(kinds[0].group, kinds[0].version)}"
    found = {f"{root}/": {"get": _discovery(kinds[0])}}
    for kind in kinds:
        found |= dict(_paths(root, kind))
    return found


def _discovery(kind: Kind) -> Object:
    return {
        "tags": [_tag(kind)],
        "description": "get available resources",
        "operationId": f"get{_group_name(kind)}APIResources",
        "responses": _answers({"200": RESOURCE_LIST}),
    }


def _paths(root: str, kind: Kind) -> Iterator[tuple[str, Object]]:
    middle = "/namespaces/{namespace}" if kind.namespaced else ""
    collection = f"{root}{middle}/{kind.plural}"
    if operations := _operations(kind, _LIST_VERBS):
        yield collection, operations | _common(kind.namespaced, named=False)
    if operations := _operations(kind, _ITEM_VERBS):
        yield f"{collection}/{{name}}", operations | _common(kind.namespaced, named=True)
    for sub in kind.subresources:
        path = f"{collection}/{{name}}/{sub.name}"
        yield path, _subresource(kind, sub) | _common(kind.namespaced, named=True)
        if sub.name == "proxy":
            deep = _subresource(kind, sub, deep=True)
            common = _common(kind.namespaced, named=True)
            common["parameters"] = [*common["parameters"], _path_parameter("path")]
            yield f"{path}/{{path}}", deep | common
    if kind.namespaced and "list" in kind.verbs:
        everywhere = _operation(kind, "list", suffix=f"{kind.kind}ForAllNamespaces")
        yield f"{root}/{kind.plural}", {"get": everywhere} | _common(False, named=False)


def _common(namespaced: bool, *, named: bool) -> Object:
    """Return the parameters of every operation of a path."""
    found = [_path_parameter("name")] if named else []
    if namespaced:
        found.append(_path_parameter("namespace"))
    return {"parameters": [*found, _parameter("pretty")]}


def _path_parameter(name: str) -> Object:
    about = {
        "name": "The object's name.",
        "namespace": "The namespace that it is in.",
        "path": "What to ask for there.",
    }[name]
    schema = {"type": "string", "uniqueItems": True}
    return {"name": name, "in": "path", "required": True, "description": about, "schema": schema}


def _parameter(name: str) -> Object:
    kind_of, about = _PARAMETERS[name]
    schema: Object = {"type": kind_of, "uniqueItems": True}
    return {"name": name, "in": "query", "description": about, "schema": schema}


def _operations(kind: Kind, verbs: tuple[str, ...]) -> Object:
    return {
        _METHODS[verb]: _operation(kind, verb, suffix=_scope(kind) + kind.kind)
        for verb in verbs
        if verb in kind.verbs
    }


def _scope(kind: Kind) -> str:
    return "Namespaced" if kind.namespaced else ""


def _operation(kind: Kind, verb: str, *, suffix: str) -> Object:
    collected = "Collection" if verb == "deletecollection" else ""
    made: Object = {
        "tags": [_tag(kind)],
        "description": _description(verb, kind.kind),
        "operationId": f"{_WORDS.get(verb, verb)}{_group_name(kind)}{collected}{suffix}",
        "parameters": [_parameter(name) for name in _BY_VERB[verb]],
        **_body(verb, kind.schema_name),
        "responses": _answers(_codes(verb, kind), watched=verb == "list"),
    }
    return made | _extensions(verb, kind.group, kind.version, kind.kind)


def _description(verb: str, kind: str) -> str:
    return {
        "get": f"read the specified {kind}",
        "list": f"list or watch objects of kind {kind}",
        "create": f"create a {kind}",
        "update": f"replace the specified {kind}",
        "patch": f"partially update the specified {kind}",
        "delete": f"delete a {kind}",
        "deletecollection": f"delete collection of {kind}",
    }[verb]


def _body(verb: str, schema: str) -> Object:
    if verb == "patch":
        content = {media: {"schema": _reference(PATCH)} for media in PATCH_TYPES}
        return {"requestBody": {"content": content, "required": True}}
    if verb in ("create", "update"):
        return {
            "requestBody": {"content": {"*/*": {"schema": _reference(schema)}}, "required": True}
        }
    if verb in ("delete", "deletecollection"):
        return {"requestBody": {"content": {"*/*": {"schema": _reference(DELETE_OPTIONS)}}}}
    return {}


def _codes(verb: str, kind: Kind) -> Mapping[str, str]:
    schema = kind.schema_name
    if verb == "list":
        return {"200": list_schema(kind)}
    if verb == "deletecollection":
        return {"200": STATUS}
    if verb == "delete":
        return {"200": STATUS, "202": STATUS}
    codes = {"create": ("200", "201", "202"), "update": ("200", "201"), "patch": ("200", "201")}
    return dict.fromkeys(codes.get(verb, ("200",)), schema)


def list_schema(kind: Kind) -> str:
    """Return the definition of a list of a kind, "" for none."""
    return definition_names().get((kind.group, kind.version, kind.list_kind), "")


_PHRASES = {"200": "OK", "201": "Created", "202": "Accepted"}


def _answers(codes: Mapping[str, str], *, watched: bool = False) -> Object:
    found: Object = {}
    for code, schema in codes.items():
        media = (*_JSON, _STREAM) if watched else _JSON
        content = {each: {"schema": _reference(schema)} for each in media}
        found[code] = {"description": _PHRASES[code], "content": content}
    return found | {"401": {"description": "Unauthorized"}}


def _reference(schema: str) -> Object:
    return {"$ref": REFERENCE + schema} if schema else {"type": "object"}


def _extensions(verb: str, group: str, version: str, kind: str) -> Object:
    return {
        "x-kubernetes-action": _ACTIONS.get(verb, verb),
        "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": kind},
    }


# ---- subresources ----


def _subresource(kind: Kind, sub: Subresource, *, deep: bool = False) -> Object:
    make = _connection if sub.name in _CONNECTED else _of_subresource
    methods = {_METHODS[verb]: make(kind, sub, verb) for verb in sub.verbs}
    if deep:
        for operation in methods.values():
            operation["operationId"] += "WithPath"
    return methods


def _of_subresource(kind: Kind, sub: Subresource, verb: str) -> Object:
    schema = subresource_schema(kind, sub)
    codes = ("200", "201") if verb in ("update", "patch", "create") else ("200",)
    name = "".join(part.capitalize() for part in sub.name.split("-"))
    text = sub.name == "log"
    answers = {"200": {"description": "OK", "content": _TEXT}} if text else None
    made: Object = {
        "tags": [_tag(kind)],
        "description": f"{_WORDS.get(verb, verb)} {sub.name} of the specified {kind.kind}",
        "operationId": f"{_WORDS.get(verb, verb)}{_group_name(kind)}{_scope(kind)}{kind.kind}{name}",
        "parameters": [
            _parameter(each) for each in (*_BY_VERB[verb], *_BY_SUBRESOURCE.get(sub.name, ()))
        ],
        **_body(verb, schema),
        "responses": answers or _answers(dict.fromkeys(codes, schema)),
    }
    return made | _extensions(verb, sub.group or kind.group, sub.version or kind.version, sub.kind)


_TEXT = {"text/plain": {"schema": {"type": "string"}}}


def _connection(kind: Kind, sub: Subresource, verb: str) -> Object:
    method = _METHODS[verb]
    name = f"{_scope(kind)}{kind.kind}{sub.name.capitalize()}"
    made: Object = {
        "tags": [_tag(kind)],
        "description": f"connect {method.upper()} requests to {sub.name} of {kind.kind}",
        "operationId": f"connect{_group_name(kind)}{method.capitalize()}{name}",
        "parameters": [_parameter(each) for each in _BY_SUBRESOURCE[sub.name]],
        "responses": {
            "200": {"description": "OK", "content": {"*/*": {"schema": {"type": "string"}}}},
            "401": {"description": "Unauthorized"},
        },
    }
    return made | _extensions(
        "connect", sub.group or kind.group, sub.version or kind.version, sub.kind
    )


def subresource_schema(kind: Kind, sub: Subresource) -> str:
    """Return the definition of what a subresource's body holds, "" for none."""
    group, version = sub.group or kind.group, sub.version or kind.version
    return definition_names().get((group, version, sub.kind), "")


def _tag(kind: Kind) -> str:
    return f"{_short_group(kind)}_{kind.version}"


def _short_group(kind: Kind) -> str:
    return (kind.group or "core").removesuffix(".k8s.io").replace(".", "_").replace("-", "_")


def _group_name(kind: Kind) -> str:
    parts: list[Any] = (kind.group or "core").removesuffix(".k8s.io").split(".")
    return "".join(part[:1].upper() + part[1:] for part in parts) + kind.version.capitalize()
