"""From a request's body to an object of the kind its URL names: structure, unknown fields, identity."""

import json
from typing import Any

from minipod.api import schema
from minipod.api.errors import bad_request, not_decodable
from minipod.api.kind import Kind
from minipod.client import Object, Request
from minipod.server import options
from minipod.server.bodies import Parsed


def parsed(body: Any) -> Parsed:
    """Return a body with what its text repeated; one that never was text repeats nothing."""
    return body if isinstance(body, Parsed) else Parsed(body)


def decode_object(kind: Kind, body: Any, request: Request, warnings: list[str]) -> Object:
    """Return `body` as an object of `kind` with the URL's name and namespace. Parts may be the body's own.

    Unknown and repeated fields are dropped, warned about, or refused, as `fieldValidation` says.
    Raises BadRequest.
    """
    given = parsed(body)
    if not isinstance(given.value, dict):
        raise not_decodable(
            kind, f"json: cannot unmarshal {_json_word(given.value)} into a {kind.kind}"
        )
    _check_type(kind, given.value)
    findings = schema.examine(kind, given.value)
    if findings.errors:
        raise not_decodable(kind, ", ".join(findings.errors))
    complaints = [f'unknown field "{path}"{_hint(findings, path)}' for path in findings.unknown]
    complaints += [f'duplicate field "{path}"' for path in given.duplicates]
    _complain(kind, complaints, request, warnings)
    kept = schema.normalize(kind.schema_name, given.value)
    obj = {**kept, "kind": kind.kind, "apiVersion": kind.api_version}
    obj["metadata"] = _without_empty(kept.get("metadata") or {})
    _drop_repeated_owners(obj["metadata"], request, warnings)
    _check_identity(kind, obj["metadata"], request)
    return {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": obj["metadata"], **obj}


_EMPTY_IS_NONE = ("labels", "annotations", "finalizers", "ownerReferences")


def _without_empty(metadata: Object) -> Object:
    """Return metadata as upstream keeps it: a list or map of nothing is not there."""
    return {name: value for name, value in metadata.items() if value or name not in _EMPTY_IS_NONE}


def _drop_repeated_owners(metadata: Object, request: Request, warnings: list[str]) -> None:
    """Keep each owner once, in place, and say so; a patch's result has been through upstream's admission by then."""
    kept: list[Object] = []
    repeated = []
    for owner in metadata.get("ownerReferences") or ():
        if owner in kept:
            repeated.append(owner.get("uid") or "")
        else:
            kept.append(owner)
    if not repeated:
        return
    metadata["ownerReferences"] = kept
    when = " after mutating admission happens" if request.verb == "patch" else ""
    warnings.append(
        f".metadata.ownerReferences contains duplicate entries{when}; API server dedups owner references in 1.20+, "
        "and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: "
        + ", ".join(repeated)
    )


def _check_type(kind: Kind, body: Object) -> None:
    version, name = body.get("apiVersion"), body.get("kind")
    if version not in (None, "", kind.api_version):
        raise bad_request(
            f"the API version in the data ({version}) does not match the expected API version "
            f"({kind.api_version})"
        )
    if name not in (None, "", kind.kind):
        raise bad_request(
            f'{name} in version "{kind.version}" cannot be handled as a {kind.kind}: the object provided is '
            f"unrecognized (must be of type {kind.kind})"
        )


def _complain(kind: Kind, found: list[str], request: Request, warnings: list[str]) -> None:
    mode = options.field_validation(request.options)
    if found and mode == "Strict":
        raise not_decodable(kind, f"strict decoding error: {', '.join(found)}")
    if mode == "Warn":
        warnings += found


def _hint(findings: schema.Findings, path: str) -> str:
    likely = findings.hints.get(path)
    return f' (did you mean "{likely}"?)' if likely else ""


def _json_word(value: Any) -> str:
    return {"n": "null", "t": "bool", "f": "bool", '"': "string", "[": "array"}.get(
        json.dumps(value)[:1], "number"
    )


def _check_identity(kind: Kind, metadata: Object, request: Request) -> None:
    """The body's name and namespace must be the URL's, where both are given."""
    if not kind.namespaced:
        metadata.pop("namespace", None)
    else:
        if (metadata.get("namespace") or request.namespace) != request.namespace:
            raise bad_request(
                f"the namespace of the provided object ({metadata['namespace']}) does not match the namespace "
                f"sent on the request ({request.namespace})"
            )
        metadata["namespace"] = request.namespace
    if request.name and (metadata.get("name") or request.name) != request.name:
        raise bad_request(
            f"the name of the object ({metadata['name']}) does not match the name on the URL ({request.name})"
        )
    if request.name:
        metadata["name"] = request.name
