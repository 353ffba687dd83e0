"""How an answer looks: the object itself, a Table for people, or its metadata alone, as JSON or YAML.

`Accept` chooses, as upstream's content negotiation does:
`application/json;as=Table;g=meta.k8s.io;v=v1,application/json`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import yaml

from minipod.api import columns
from minipod.api.errors import bad_request, not_acceptable, unacceptable
from minipod.api.kind import Kind
from minipod.client import Object
from minipod.server import wire
from minipod.server.answers import Answer, Many

JSON = "application/json"
YAML = "application/yaml"
_META, _VERSIONS = "meta.k8s.io", ("v1", "v1beta1")
_TRANSFORMS = ("Table", "PartialObjectMetadata", "PartialObjectMetadataList")
_INCLUDE: dict[str, columns.Include] = {"None": "None", "Metadata": "Metadata", "Object": "Object"}


@dataclass(frozen=True, slots=True)
class Representation:
    """A media type and ("" for none) a transformation of meta.k8s.io; `include` says what a Table's rows carry."""

    media_type: str = JSON
    transform: str = ""
    include: columns.Include = "Metadata"
    version: str = "v1"

    @property
    def api_version(self) -> str:
        """The apiVersion of what the transformation makes."""
        return f"{_META}/{self.version}"


PLAIN = Representation()


def negotiate(
    accept: str, options: Mapping[str, str], *, streaming: bool = False, tables: bool = True
) -> Representation:
    """Choose the first acceptable representation; not every kind has `tables`. Raises NotAcceptable."""
    if not accept or accept == "*/*" or accept == JSON:
        return PLAIN
    include = _INCLUDE.get(options.get("includeObject") or "Metadata")
    if include is None:
        raise bad_request(f'includeObject: Unsupported value: "{options["includeObject"]}"')
    for clause in accept.split(","):
        media_type, *parameters = (part.strip() for part in clause.split(";"))
        chosen = _media_type(media_type, streaming)
        given = dict(each.partition("=")[::2] for each in parameters)
        transform = given.get("as", "")
        if chosen is None or (transform and not _known(transform, given)):
            continue
        if transform == "Table" and not tables:
            continue
        version = given["v"] if transform else "v1"
        return Representation(chosen, transform, include, version)
    raise not_acceptable((JSON,) if streaming else (JSON, YAML))


def _media_type(media_type: str, streaming: bool) -> str | None:
    if media_type in (JSON, "*/*", "application/*"):
        return JSON
    if media_type in (YAML, "application/x-yaml", "text/yaml") and not streaming:
        return YAML
    return None


def _known(transform: str, given: Mapping[str, str]) -> bool:
    named = given.get("g") == _META and given.get("v") in _VERSIONS
    return transform in _TRANSFORMS and named


def render(answer: Answer, wanted: Representation) -> bytes:
    """Return the body of an answer. Raises NotAcceptable."""
    value = (
        answer.value
        if not wanted.transform or answer.kind is None
        else _transformed(answer, wanted)
    )
    if wanted.media_type == YAML:
        return yaml.dump(
            json.loads(value), Dumper=yaml.CSafeDumper, sort_keys=False, allow_unicode=True
        ).encode()
    return value


def _transformed(answer: Answer, wanted: Representation) -> bytes:
    assert answer.kind is not None
    _check_shape(answer, wanted.transform, answer.kind.kind)
    if not isinstance(answer, Many):
        return render_object(answer.kind, answer.value, wanted)
    head = json.loads(Many(answer.kind, [], answer.revision, answer.token, answer.remaining).value)
    objects = [wire.decode(item) for item in answer.items]
    if wanted.transform == "Table":
        return wire.encode(_table(answer.kind, objects, wanted) | {"metadata": head["metadata"]})
    return wire.encode(
        {
            "kind": "PartialObjectMetadataList",
            "apiVersion": wanted.api_version,
            "metadata": head["metadata"],
            "items": [_metadata_only(obj, wanted) for obj in objects],
        }
    )


def _check_shape(answer: Answer, transform: str, kind: str) -> None:
    """Refuse to show one as many, or many as one. Raises NotAcceptable."""
    many = isinstance(answer, Many)
    if transform != "Table" and transform.endswith("List") != many:
        found = f"a list ({kind}List)" if many else f"not a list ({kind})"
        raise unacceptable(f"you requested {transform}, but the requested object is {found}")


def render_object(
    kind: Kind, value: bytes, wanted: Representation, *, headers: bool = True
) -> bytes:
    """Return one encoded object in the wanted representation; `headers` says whether a Table names its columns."""
    if not wanted.transform:
        return value
    obj = wire.decode(value)
    if wanted.transform != "Table":
        return wire.encode(_metadata_only(obj, wanted))
    version = {"resourceVersion": obj["metadata"].get("resourceVersion", "")}
    table = _table(kind, [obj], wanted) | {"metadata": version}
    if not headers:
        table["columnDefinitions"] = None
    return wire.encode(table)


def render_bookmark(
    kind: Kind, value: bytes, wanted: Representation, *, headers: bool = True
) -> bytes:
    """Return an encoded bookmark: an object of metadata alone, which as a Table is one without rows."""
    if wanted.transform != "Table":
        return render_object(kind, value, wanted)
    table = _table(kind, [], wanted) | {"metadata": wire.decode(value)["metadata"]}
    if not headers:
        table["columnDefinitions"] = None
    return wire.encode(table)


def _table(kind: Kind, objects: list[Object], wanted: Representation) -> Object:
    made = columns.table(kind, objects, True, datetime.now(UTC), wanted.include)
    if wanted.version != "v1":  # the very same in all but name
        made["apiVersion"] = wanted.api_version
        for row in made["rows"]:
            if wanted.include == "Metadata":
                row["object"]["apiVersion"] = wanted.api_version
    return made


def _metadata_only(obj: Any, wanted: Representation) -> Object:
    version = wanted.api_version
    return {"kind": "PartialObjectMetadata", "apiVersion": version, "metadata": obj["metadata"]}
