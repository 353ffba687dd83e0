"""`minipod edit`: objects in an editor, and what was changed there as a patch."""

import os
import shlex
import subprocess
import tempfile
from dataclasses import dataclass
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, ServerError, SilentExit
from minipod.cli.invocation import Invocation
from minipod.cli.printing import report, typed
from minipod.cli.selection import Selection, Target, targets

Object = dict[str, Any]
HEADER = """\
# Please edit the object below. Lines beginning with a '#' will be ignored,
# and an empty file will abort the edit. If an error occurs while saving this file will be
# reopened with the relevant failures.
#
"""
UNCHANGED = "Edit cancelled, no changes made."
FIXED = ("apiVersion", "kind", "name", "namespace")


@dataclass(frozen=True)
class Draft:
    """An object as it was when the editor was opened, and its text there."""

    target: Target
    before: Object
    text: str


@flags.command(
    examples="""
    minipod edit pod nginx
    minipod edit configmap/settings
    EDITOR=nano minipod edit deployment web
    """
)
@flags.resource_arguments
@flags.files
@click.option(
    "--subresource", default="", type=flags.Words("status", "resize"), help="Edit this instead"
)
@flags.switch("--output-patch", default=False, help="Print the patch that was sent")
@flags.pass_invocation
def command(
    invocation: Invocation, args: tuple[str, ...], filenames: tuple[str, ...], **given: Any
) -> None:
    """Edit objects in your editor ($KUBE_EDITOR, $EDITOR, or vi), one after another.

    What the server refuses is shown on top of the file, which is opened again; saving it unchanged gives up.
    """
    selection = Selection(args, filenames, given["recursive"])
    for target in targets(invocation, selection):
        _edit(invocation, target, given)


def _edit(invocation: Invocation, target: Target, given: dict[str, Any]) -> None:
    path = target.resource.path(target.namespace, target.name, given["subresource"])
    draft = _draft(target, invocation.api.get_path(path))
    text, problem = draft.text, ""
    while True:
        before = text
        text = _opened(_commented(problem) + text)
        if not _significant(text):
            raise CliError("Edit cancelled, saved file was empty")
        if _significant(text) == _significant(before):
            _give_up(problem, text)
            return
        try:
            patch = compute_patch(draft, text)
            if not patch:
                print(UNCHANGED)
                return
            _send(invocation, draft, path, patch, given["output_patch"])
            return
        except CliError as failed:
            problem = failed.text()


def _draft(target: Target, found: Object) -> Draft:
    from minipod.cli.formats import to_yaml, without_managed_fields

    before = without_managed_fields(typed(target, found))
    return Draft(target, before, to_yaml(before))


def _commented(problem: str) -> str:
    """Return what stands above the object in the editor: the greeting, and what was wrong the last time."""
    lines = [f"# {line}\n" for line in problem.splitlines()]
    return HEADER + "".join(lines) + ("#\n" if lines else "")


def _significant(text: str) -> str:
    return "".join(line for line in text.splitlines(True) if not line.startswith("#")).strip()


def _opened(text: str) -> str:
    """Let the user edit a text, in a file of his alone; return it without the comments. Raises CliError."""
    editor = os.environ.get("KUBE_EDITOR") or os.environ.get("EDITOR") or "vi"
    descriptor, path = tempfile.mkstemp(prefix="minipod-edit-", suffix=".yaml")
    try:
        with open(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        try:
            ended = subprocess.run([*shlex.split(editor), path], check=False)
        except OSError as failed:
            raise CliError(
                f'unable to launch the editor "{editor}": {failed.strerror}; set EDITOR'
            ) from None
        if ended.returncode:
            raise CliError(f'there was a problem with the editor "{editor}"')
        with open(path, encoding="utf-8") as file:
            return "".join(line for line in file if not line.startswith("#"))
    finally:
        os.unlink(path)


def _give_up(problem: str, text: str) -> None:
    """End because nothing was changed; what the server had refused is kept for the user."""
    if not problem:
        print(UNCHANGED)
        return
    descriptor, path = tempfile.mkstemp(prefix="minipod-edit-", suffix=".yaml")
    with open(descriptor, "w", encoding="utf-8") as file:
        file.write(_commented(problem) + text)
    click.echo(f'A copy of your changes has been stored to "{path}"', err=True)
    click.echo("error: Edit cancelled, no valid changes were saved.", err=True)
    raise SilentExit(1)


def compute_patch(draft: Draft, text: str) -> Object:
    """Return the strategic merge patch that makes of the object what the text says. Raises CliError."""
    from minipod.api.patch import three_way
    from minipod.cli.manifests import read_text

    found = read_text(text, "edited file")
    if len(found) != 1:
        raise CliError(f"the edited file holds {len(found)} objects instead of one")
    after = found[0].object
    if _identity(after) != _identity(draft.before):
        raise CliError(f"{', '.join(FIXED)} may not be edited: they say which object this is")
    resource = draft.target.resource
    return three_way(resource.api_version, resource.kind, draft.before, after, draft.before)


def _identity(obj: Object) -> Object:
    metadata = obj.get("metadata") or {}
    return {name: obj.get(name, metadata.get(name)) for name in FIXED}


def _send(
    invocation: Invocation, draft: Draft, path: str, patch: Object, output_patch: bool
) -> None:
    from minipod.cli.api import PATCH_TYPES

    if output_patch:
        import json

        print(f"Patch: {json.dumps(patch, separators=(',', ':'))}")
    query = {"fieldManager": "kubectl-edit", "fieldValidation": "Strict"}
    kind = PATCH_TYPES["strategic"]
    try:
        after = invocation.api.call("PATCH", path, query, patch, content_type=kind)
    except ServerError as failed:
        if failed.code != 415:  # a kind without merge keys
            raise
        after = invocation.api.call("PATCH", path, query, patch, content_type=PATCH_TYPES["merge"])
    same = after["metadata"].get("resourceVersion") == draft.before["metadata"].get(
        "resourceVersion"
    )
    report(draft.target, "skipped" if same else "edited")
