"""`minipod diff`."""

import difflib
import os
import sys
from collections.abc import Iterator
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.commands.apply import (
    LAST_APPLIED,
    MANAGER,
    compute_patch,
    last_applied,
    server_side,
)
from minipod.cli.errors import CliError, ServerError, SilentExit, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.printing import typed
from minipod.cli.selection import Selection, Target, existing, manifest_targets

Object = dict[str, Any]
DIFFERENT = 1  # exit codes, as diff(1) has them
TROUBLE = 2


@flags.command(
    examples="""
    minipod diff -f pod.yaml
    cat pod.yaml | minipod diff -f -
    """
)
@flags.files
@flags.flag("--server-side", help="As `apply --server-side` would change it")
@flags.flag("--force-conflicts", help="With --server-side: also what others own")
@flags.flag("--show-managed-fields", help="Do not leave out who owns which field")
@flags.pass_invocation
def command(
    invocation: Invocation, filenames: tuple[str, ...], recursive: bool, **given: Any
) -> None:
    """Show what `apply` would change, as diff(1) does: the live object, and what the server would make of it.

    Nothing is stored. The exit code is 0 without differences, 1 with some, and 2 when something failed.
    """
    try:
        if not filenames:
            raise CliError("must specify one of -f and -k")
        different = _compare(invocation, Selection((), filenames, recursive), given)
    except CliError as failed:
        failed.exit_code = TROUBLE
        raise
    if different:
        raise SilentExit(DIFFERENT)


def _compare(invocation: Invocation, chosen: Selection, given: dict[str, Any]) -> bool:
    """Print what differs; return whether anything does. Raises CliError."""
    failures: list[CliError] = []
    different = False
    for target in manifest_targets(invocation, chosen):
        try:
            for line in _lines(invocation, target, given):
                different = True
                click.echo(_coloured(line), nl=False)
        except ServerError as failed:
            failures.append(failed.when("diffing", target.source))
    raise_all(failures)
    return different


def _lines(invocation: Invocation, target: Target, given: dict[str, Any]) -> Iterator[str]:
    live = existing(invocation.api, target)
    merged = _merged(invocation, target, live, given)
    pair = [typed(target, live) if live else {}, typed(target, merged)]
    if (target.resource.kind, target.resource.group) == ("Secret", ""):
        pair = [_masked(pair[0], pair[1], "before"), _masked(pair[1], pair[0], "after")]
    before, after = (_text(each, given["show_managed_fields"]) for each in pair)
    name = f"{target.resource.qualified}.{target.namespace}.{target.name}"
    yield from difflib.unified_diff(
        before.splitlines(True), after.splitlines(True), f"live/{name}", f"merged/{name}"
    )


def _merged(
    invocation: Invocation, target: Target, live: Object | None, given: dict[str, Any]
) -> Object:
    """Return the object as the server would have it, having stored nothing."""
    api, query = invocation.api, {"dryRun": "All", "fieldManager": MANAGER}
    if given["server_side"]:
        query["fieldManager"] = "kubectl"
        return server_side(api, target, query, force=given["force_conflicts"])
    modified = target.object or {}
    if live is None:
        return api.create(target.resource, target.namespace, modified, query)
    patch = compute_patch(target, last_applied(live) or {}, _remembering(modified, live), live)
    if not patch:
        return live
    return api.patch(target.resource, target.namespace, target.name, patch, "strategic", query)


def _remembering(modified: Object, live: Object) -> Object:
    """Return the object with what the live one was last applied as: that apply will change it goes without saying."""
    metadata = modified["metadata"]
    annotations = {**(metadata.get("annotations") or {})}
    remembered = (live["metadata"].get("annotations") or {}).get(LAST_APPLIED)
    if remembered is not None:
        annotations[LAST_APPLIED] = remembered
    return {**modified, "metadata": {**metadata, "annotations": annotations}}


def _text(obj: Object, managed_fields: bool) -> str:
    from minipod.cli.formats import to_yaml, without_managed_fields

    if not obj:
        return ""
    return to_yaml(obj if managed_fields else without_managed_fields(obj))


def _masked(secret: Object, other: Object, when: str) -> Object:
    """Return a Secret that shows which of its values differ from the other's, and no value."""
    if not secret:
        return {}
    fields: Object = {}
    for name in ("data", "stringData"):
        values, others = secret.get(name) or {}, other.get(name) or {}
        if values:
            fields[name] = {
                key: "***" if others.get(key) in (None, value) else f"*** ({when})"
                for key, value in values.items()
            }
    metadata = {**secret["metadata"]}
    annotations = metadata.pop("annotations", None) or {}
    kept = {key: value for key, value in annotations.items() if key != LAST_APPLIED}
    if kept:
        metadata["annotations"] = kept
    return {**secret, **fields, "metadata": metadata}


def _coloured(line: str) -> str:
    """Return a line of a diff in its colour, on a terminal that wants one."""
    if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
        return line
    colours = {"+": "green", "-": "red", "@": "cyan"}
    colour = colours.get(line[:1])
    return click.style(line, fg=colour) if colour else line
