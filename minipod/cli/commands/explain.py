"""`minipod explain`: upstream's own words about fields, from the definitions that the package was built with."""

import sys
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import Resource, find

TEXT_WIDTH = 80
INDENT = "    "
WORDS = {"int32": "integer", "int64": "integer", "byte": "string", "time": "string"}
NAMED = {"quantity": "Quantity", "intorstring": "IntOrString", "any": "any", "object": "Object"}


@flags.command(
    examples="""
    minipod explain pods
    minipod explain pod.spec.containers
    minipod explain pod.spec.volumes --recursive
    """
)
@click.argument("path", metavar="TYPE[.FIELD...]")
@flags.flag("--recursive", help="Name all fields below too, without their descriptions")
@flags.pass_invocation
def command(invocation: Invocation, path: str, recursive: bool) -> None:
    """Explain a kind of object and its fields, with types and descriptions.

    A minipod that is not up explains the built-in kinds too.
    """
    word, *fields = path.split(".")
    resource = find(invocation.api, word)[0]
    sys.stdout.write(explained(resource, fields, recursive))


def explained(resource: Resource, fields: list[str], recursive: bool = False) -> str:
    """Return the explanation of a field of a resource, or of the whole. Raises CliError for unknown fields."""
    from minipod.api.definitions import definition_names, descriptions, field_type, referenced

    definition = definition_names().get((resource.group, resource.version, resource.kind), "")
    if not definition:
        raise CliError(f"couldn't find the definition of {resource.kind} in {resource.api_version}")
    field, owner = "", definition
    for name in fields:
        kind_of = field_type(definition, name) if definition else None
        if kind_of is None:
            raise CliError(f'field "{name}" does not exist')
        field, owner, definition = name, definition, referenced(kind_of)
    lines = _head(resource)
    if field:
        lines += [f"FIELD: {field} <{type_name(field_type(owner, field))}>", ""]
    words = [descriptions().get(owner, {}).get(field, "")] if field else []
    words += [descriptions().get(definition, {}).get("", "")] if definition else []
    lines += ["DESCRIPTION:", *(_wrapped("\n".join(dict.fromkeys(words)) or "<empty>", INDENT))]
    lines += [INDENT]
    if _properties(definition):
        lines += ["FIELDS:", *_field_lines(definition, recursive)]
    return "\n".join(lines) + "\n\n"


def _head(resource: Resource) -> list[str]:
    group = [f"GROUP:      {resource.group}"] if resource.group else []
    return [*group, f"KIND:       {resource.kind}", f"VERSION:    {resource.version}", ""]


def _properties(definition: str) -> dict[str, Any]:
    from minipod.api.definitions import definitions

    found: dict[str, Any] = definitions().get(definition, {}).get("properties") or {}
    return found


def _field_lines(definition: str, recursive: bool) -> list[str]:
    if recursive:
        return list(_names(definition, 1, (definition,)))
    from minipod.api.definitions import definitions, descriptions

    required = definitions()[definition].get("required", ())
    lines: list[str] = []
    for name, kind_of in sorted(_properties(definition).items()):
        lines.append(f"  {name}\t<{type_name(kind_of)}>{' -required-' if name in required else ''}")
        if isinstance(kind_of, dict) and kind_of.get("enum"):
            lines.append(f"  enum: {', '.join(map(str, kind_of['enum']))}")
        lines += [
            *_wrapped(descriptions().get(definition, {}).get(name, "<no description>"), INDENT),
            "",
        ]
    return lines[:-1]


def _names(definition: str, level: int, above: tuple[str, ...]) -> list[str]:
    from minipod.api.definitions import definitions, referenced

    lines: list[str] = []
    required = definitions()[definition].get("required", ())
    for name, kind_of in sorted(_properties(definition).items()):
        lines.append(
            f"{'  ' * level}{name}\t<{type_name(kind_of)}>{' -required-' if name in required else ''}"
        )
        below = referenced(kind_of)
        if _properties(below) and below not in above:
            lines += _names(below, level + 1, (*above, below))
    return lines


def type_name(kind_of: Any) -> str:
    """Return a type as explain shows it: `string`, `[]Container`, `map[string]string`."""
    if isinstance(kind_of, dict):
        if "list" in kind_of:
            return f"[]{type_name(kind_of['list'])}"
        if "map" in kind_of:
            return f"map[string]{type_name(kind_of['map'])}"
        return type_name(kind_of.get("of"))
    if isinstance(kind_of, str) and kind_of.startswith("#"):
        return kind_of.rpartition(".")[2]
    return NAMED.get(str(kind_of)) or WORDS.get(str(kind_of), str(kind_of))


def _wrapped(text: str, indent: str) -> list[str]:
    from textwrap import wrap

    lines: list[str] = []
    for paragraph in text.splitlines():
        lines += wrap(
            paragraph, TEXT_WIDTH - len(indent), initial_indent=indent, subsequent_indent=indent
        ) or [indent]
    return lines
