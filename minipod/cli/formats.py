"""Objects as text: json, yaml, name, jsonpath=, custom-columns=, as kubectl prints them."""

import json
import re
from collections.abc import Callable
from typing import Any

from minipod.cli.errors import CliError

Object = dict[str, Any]
Printer = Callable[[Object], str]
TEMPLATED = (
    "jsonpath",
    "jsonpath-as-json",
    "jsonpath-file",
    "custom-columns",
    "custom-columns-file",
)
ALLOWED = (*TEMPLATED[3:], "json", *TEMPLATED[:3], "name", "wide", "yaml")


def printer(output: str, *, managed_fields: bool = False, headers: bool = True) -> Printer:
    """Return what turns an object (or a List) into text, its line end included. Raises CliError on a bad format."""
    name, _, argument = output.partition("=")
    if name in TEMPLATED and not argument:
        raise CliError(f"{name} format specified but no {_missing(name)} given")
    if name.endswith("-file"):
        argument = _read(argument)
    makers: dict[str, Callable[[], Printer]] = {
        "json": lambda: to_json,
        "yaml": lambda: to_yaml,
        "name": lambda: to_names,
        "jsonpath": lambda: _jsonpath(argument),
        "jsonpath-file": lambda: _jsonpath(argument),
        "jsonpath-as-json": lambda: _jsonpath_as_json(argument),
        "custom-columns": lambda: _custom_columns(argument, headers),
        "custom-columns-file": lambda: _custom_columns(_columns_file(argument), headers),
    }
    if name not in makers:
        allowed = ",".join(ALLOWED)
        raise CliError(
            f'unable to match a printer suitable for the output format "{output}", allowed formats are: {allowed}'
        )
    make = makers[name]()
    return make if managed_fields else lambda obj: make(without_managed_fields(obj))


def _missing(name: str) -> str:
    return "template" if name.startswith("jsonpath") else "custom columns"


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.read()


def without_managed_fields(obj: Object) -> Object:
    """Return the object (or List) without the book-keeping of field owners."""
    if "items" in obj:
        return {**obj, "items": [without_managed_fields(each) for each in obj["items"] or []]}
    metadata = obj.get("metadata")
    if not isinstance(metadata, dict) or "managedFields" not in metadata:
        return obj
    kept = {key: value for key, value in metadata.items() if key != "managedFields"}
    return {**obj, "metadata": kept}


def to_json(obj: Object) -> str:
    """Return an object as kubectl indents it."""
    text = json.dumps(obj, indent=4, sort_keys=True, ensure_ascii=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") + "\n"


def to_names(obj: Object) -> str:
    """Return `pod/x` for the object, or a line for each item of a List."""
    return "".join(f"{name_of(each)}\n" for each in items_of(obj))


def items_of(obj: Object) -> list[Object]:
    """Return the items of a List, or the object alone."""
    if "items" in obj and str(obj.get("kind", "")).endswith("List"):
        return list(obj["items"] or [])
    return [obj]


def name_of(obj: Object) -> str:
    """Return `pod/x`, or `deployment.apps/x` for a kind of a named group."""
    group = str(obj.get("apiVersion", "")).rpartition("/")[0]
    kind = str(obj.get("kind", "")).lower()
    return (
        f"{kind}.{group}/{obj['metadata']['name']}"
        if group
        else f"{kind}/{obj['metadata']['name']}"
    )


# What YAML 1.1 parsers (Go's among them) may read as something other than a string.
_AMBIGUOUS = re.compile(
    r"(?:y|n|yes|no|on|off|true|false|null|~|\.nan|[-+]?\.inf"
    r"|[-+]?(?:0b[01_]+|0o?[0-7_]+|0x[0-9a-f_]+|[\d_]+)"
    r"|[-+]?(?:\.[\d_]+|[\d_]+(?:\.[\d_]*)?)(?:e[-+]?\d+)?"
    r"|[-+]?\d[\d_]*(?::[0-5]?\d)+(?:\.\d*)?"
    r"|\d{4}-\d\d?-\d\d?(?:[Tt\s].*)?|<<|=|)",
    re.IGNORECASE,
)


def to_yaml(obj: Any) -> str:
    """Return YAML with sorted keys, quoted as Go's encoder quotes."""
    import yaml

    base: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)

    class Dumper(base):  # type: ignore[misc]
        def ignore_aliases(self, data: Any) -> bool:
            return True

    def represent(dumper: Any, text: str) -> Any:
        style = "|" if "\n" in text else '"' if _AMBIGUOUS.fullmatch(text) else None
        return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)

    Dumper.add_representer(str, represent)
    dumped: str = yaml.dump(
        obj, Dumper=Dumper, default_flow_style=False, allow_unicode=True, sort_keys=True
    )
    return dumped


def _jsonpath(template: str) -> Printer:
    from minipod.cli.jsonpath import Template

    return Template(template).render


def _jsonpath_as_json(template: str) -> Printer:
    from minipod.cli.jsonpath import Template

    parsed = Template(template)
    return lambda obj: json.dumps(parsed.values(obj), indent=4, ensure_ascii=False) + "\n"


def _columns_file(text: str) -> str:
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != 2 or len(lines[0]) != len(lines[1]):
        raise CliError(
            "a custom-columns file has two lines, headers and paths, of as many words each"
        )
    return ",".join(f"{header}:{path}" for header, path in zip(*lines, strict=True))


def _custom_columns(spec: str, headers: bool) -> Printer:
    from minipod.cli.jsonpath import parse_path
    from minipod.cli.tables import lay_out

    columns = []
    for part in spec.split(","):
        header, colon, path = part.partition(":")
        if not colon or not path:
            raise CliError(
                f"unexpected custom-columns spec: {part}, expected <header>:<json-path-expr>"
            )
        columns.append((header, parse_path(path)))

    def print_columns(obj: Object) -> str:
        rows = [[header for header, _ in columns]] if headers else []
        rows += [[_cell(path.values(each)) for _, path in columns] for each in items_of(obj)]
        return lay_out(rows)

    return print_columns


def _cell(values: list[Any]) -> str:
    from minipod.cli.jsonpath import text_of

    texts = [text_of(each) for each in values]
    return ",".join(texts) if texts else "<none>"
