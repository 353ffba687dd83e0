"""`minipod api-resources`."""

import sys
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import Resource
from minipod.cli.tables import lay_out


@flags.command(
    examples="""
    minipod api-resources
    minipod api-resources --namespaced=false -o name
    """
)
@click.option(
    "--namespaced",
    cls=flags.Bare,
    type=bool,
    default=None,
    help="Only kinds that are (or =false: are not) namespaced",
)
@click.option("--api-group", default=None, metavar="GROUP", help="Only kinds of this group")
@flags.flag("--no-headers", help="Leave the headers out")
@click.option(
    "-o",
    "--output",
    default="",
    type=flags.Words("wide", "name"),
    help="Add verbs and categories, or print names only",
)
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """List the kinds of objects that the server has, with their short names."""
    if given["output"] not in ("", "wide", "name"):
        raise CliError(f"--output {given['output']} is not available")
    found = [each for each in invocation.api.discovered() if _wanted(each, given)]
    found.sort(key=lambda each: (each.group, each.plural))
    if given["output"] == "name":
        sys.stdout.write("".join(f"{each.qualified_plural}\n" for each in found))
        return
    wide = given["output"] == "wide"
    headers = [
        "NAME",
        "SHORTNAMES",
        "APIVERSION",
        "NAMESPACED",
        "KIND",
        *(("VERBS", "CATEGORIES") if wide else ()),
    ]
    rows = [] if given["no_headers"] else [headers]
    sys.stdout.write(lay_out(rows + [_row(each, wide) for each in found]))


def _wanted(resource: Resource, given: dict[str, Any]) -> bool:
    if given["namespaced"] is not None and resource.namespaced != given["namespaced"]:
        return False
    return given["api_group"] is None or resource.group == given["api_group"]


def _row(resource: Resource, wide: bool) -> list[str]:
    names = ",".join(resource.short_names)
    row = [
        resource.plural,
        names,
        resource.api_version,
        str(resource.namespaced).lower(),
        resource.kind,
    ]
    return [*row, ",".join(sorted(resource.verbs)), ",".join(resource.categories)] if wide else row
