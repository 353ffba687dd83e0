"""Build step: takes one Kubernetes version's OpenAPI definitions out of the wheel of kubernetes-validate.

Writes two files into `minipod/api/schema/` (generated, never committed): `structure.json`, what the daemon needs to
check and merge objects, and `descriptions.json`, the prose that only `explain` and OpenAPI readers ask for.
Standard library only, and nothing of minipod: `setup.py` runs this file by its path before anything is installed.

`python -m minipod.api.schema_build` writes them into the source tree when kubernetes-validate is installed.

The form of a definition in structure.json:

- `properties`: name to type; `required`: names; `gvk`: lists of [group, version, kind]; `atomic`: true for
  x-kubernetes-map-type atomic; `unions`: x-kubernetes-unions as upstream has them; `scalar`: a type, for definitions
  that are no objects (Quantity, Time).
- A type is a word (`string`, `boolean`, `int32`, `int64`, `number`, `byte`, `time`, `quantity`, `intorstring`,
  `object` for free-form JSON objects, `any` for any JSON), `#NAME` for a definition, or an object with `list` or `map`
  (the type of the elements) and, where upstream has them, `type` (list type: atomic, set, map), `keys` (list map
  keys), `merge` (patch merge key), `strategy` (patch strategy), `atomic`, `enum`.
"""

import json
import sys
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

VERSION = "v1.36.0"
SOURCE = f"kubernetes-json-schema/{VERSION}-local/_definitions.json"
STRUCTURE = "structure.json"
DESCRIPTIONS = "descriptions.json"

Definition = Mapping[str, Any]

_SCALARS = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "intorstring",
    "io.k8s.apimachinery.pkg.apis.meta.v1.Time": "time",
    "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime": "time",
}
_KEPT = {
    "x-kubernetes-list-type": "type",
    "x-kubernetes-list-map-keys": "keys",
    "x-kubernetes-patch-merge-key": "merge",
    "x-kubernetes-patch-strategy": "strategy",
    "enum": "enum",
}


class SchemaSourceError(Exception):
    """kubernetes-validate is not installed, or does not have the wanted version."""


def find_definitions() -> dict[str, Any]:
    """Return upstream's definitions by name. Raises SchemaSourceError saying how to get them."""
    found = find_spec("kubernetes_validate")
    if found is None or not found.submodule_search_locations:
        raise SchemaSourceError(
            "kubernetes-validate is not installed; try: pip install kubernetes-validate==1.37.0"
        )
    path = Path(found.submodule_search_locations[0]) / SOURCE
    if not path.is_file():
        raise SchemaSourceError(f"{path} does not exist: kubernetes-validate 1.37.0 is needed")
    definitions: dict[str, Any] = json.loads(path.read_bytes())["$defs"]
    return definitions


def compute_structure(definitions: Mapping[str, Definition]) -> dict[str, Any]:
    """Return the compact structure of all definitions."""
    return {
        "version": VERSION,
        "definitions": {name: _definition(name, each) for name, each in definitions.items()},
    }


def compute_descriptions(definitions: Mapping[str, Definition]) -> dict[str, Any]:
    """Return each definition's prose: its own under "", its properties' under their names."""
    return {name: _prose(each) for name, each in definitions.items()}


def write_schema(directory: Path) -> list[Path]:
    """Write both files into `directory`, made if missing. The same source gives the same bytes."""
    definitions = find_definitions()
    directory.mkdir(parents=True, exist_ok=True)
    contents = {
        STRUCTURE: compute_structure(definitions),
        DESCRIPTIONS: compute_descriptions(definitions),
    }
    written = []
    for name, content in contents.items():
        path = directory / name
        temporary = directory / f"{name}.new"
        temporary.write_text(json.dumps(content, separators=(",", ":"), sort_keys=True))
        temporary.replace(path)
        written.append(path)
    return written


def _definition(name: str, definition: Definition) -> dict[str, Any]:
    if name in _SCALARS:
        return {"scalar": _SCALARS[name]}
    if "properties" not in definition:
        # RawExtension, FieldsV1, CustomResourceSubresourceStatus: objects of any form; JSON and the like: anything.
        free = "object" if _is(definition, "object") else "any"
        return {"scalar": free}
    compact: dict[str, Any] = {
        "properties": {key: _type(each) for key, each in definition["properties"].items()}
    }
    if definition.get("required"):
        compact["required"] = sorted(definition["required"])
    if definition.get("x-kubernetes-map-type") == "atomic":
        compact["atomic"] = True
    if definition.get("x-kubernetes-unions"):
        compact["unions"] = definition["x-kubernetes-unions"]
    known = definition.get("x-kubernetes-group-version-kind")
    if known:
        compact["gvk"] = [[each["group"], each["version"], each["kind"]] for each in known]
    return compact


def _type(field: Definition) -> Any:
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        base: Any = _SCALARS.get(name) or f"#{name}"
    elif _is(field, "array"):
        base = {"list": _type(field["items"])}
    elif _is(field, "object"):
        base = {"map": _type(field["additionalProperties"])} if _valued(field) else "object"
    else:
        base = _word(field)
    extras = {short: field[key] for key, short in _KEPT.items() if key in field}
    if field.get("x-kubernetes-map-type") == "atomic":
        extras["atomic"] = True
    if not extras:
        return base
    return {**base, **extras} if isinstance(base, dict) else {"of": base, **extras}


def _valued(field: Definition) -> bool:
    return isinstance(field.get("additionalProperties"), dict)


def _word(field: Definition) -> str:
    if _is(field, "boolean"):
        return "boolean"
    if _is(field, "integer"):
        return str(field.get("format", "int64"))
    if _is(field, "number"):
        return "number"
    if _is(field, "string"):
        return "byte" if field.get("format") == "byte" else "string"
    return "any"


def _is(field: Definition, wanted: str) -> bool:
    """Whether the JSON type is `wanted`; the wheel writes optional ones as [type, null]."""
    given = field.get("type")
    return wanted in given if isinstance(given, list) else given == wanted


def _prose(definition: Definition) -> dict[str, str]:
    prose = {"": definition.get("description", "")}
    for name, field in definition.get("properties", {}).items():
        prose[name] = field.get("description", "")
    return {name: text for name, text in prose.items() if text}


def main() -> int:
    """Write the schema into this source tree."""
    try:
        for path in write_schema(Path(__file__).parent / "schema"):
            print(f"wrote {path} ({path.stat().st_size:,} bytes)")
    except SchemaSourceError as missing:
        print(f"error: {missing}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
