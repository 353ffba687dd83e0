"""`minipod patch`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.manifests import read_text
from minipod.cli.printing import dry_run_query, report
from minipod.cli.selection import Selection, Target, targets

KINDS = ("strategic", "merge", "json")


@flags.command(
    examples="""
    minipod patch pod nginx -p '{"metadata":{"labels":{"tier":"web"}}}'
    minipod patch pod nginx --type=merge -p '{"metadata":{"labels":{"tier":null}}}'
    minipod patch pod nginx --type=json -p '[{"op":"remove","path":"/metadata/labels/tier"}]'
    """
)
@flags.resource_arguments
@flags.files
@click.option(
    "-p", "--patch", "text", default="", metavar="PATCH", help="The patch, as JSON or YAML"
)
@click.option("--patch-file", default="", metavar="FILE", help="A file that holds the patch")
@click.option(
    "--type",
    "kind",
    default="strategic",
    type=flags.Words("strategic", "merge", "json"),
    help="[default: strategic]",
)
@click.option(
    "--subresource", default="", type=flags.Words("status"), help="Patch this subresource instead"
)
@flags.dry_run
@flags.output
@flags.pass_invocation
def command(
    invocation: Invocation, args: tuple[str, ...], filenames: tuple[str, ...], **given: Any
) -> None:
    """Change some fields of an object, by a strategic merge patch (the default), a merge patch or a JSON patch."""
    if given["kind"] not in KINDS:
        raise CliError(f"--type must be one of {list(KINDS)}, not {given['kind']!r}")
    patch = _patch(given["text"], given["patch_file"], given["kind"])
    if given["dry_run"] == "client":
        raise CliError("a patch is merged by the server: use --dry-run=server")
    for target in targets(invocation, Selection(args, filenames, given["recursive"])):
        _patch_one(invocation, target, patch, given)


def _patch_one(invocation: Invocation, target: Target, patch: Any, given: dict[str, Any]) -> None:
    from minipod.cli.api import PATCH_TYPES

    api, query = (
        invocation.api,
        {"fieldManager": "kubectl-patch", **dry_run_query(given["dry_run"])},
    )
    before = api.get(target.resource, target.namespace, target.name)
    path = target.resource.path(target.namespace, target.name, given["subresource"])
    after = api.call("PATCH", path, query, patch, content_type=PATCH_TYPES[given["kind"]])
    same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
    done = "patched (no change)" if same and given["dry_run"] == "none" else "patched"
    report(target, done, given["dry_run"], given["output"], after)


def _patch(text: str, file: str, kind: str) -> Any:
    if bool(text) == bool(file):
        raise CliError("must specify --patch or --patch-file containing the contents of the patch")
    if file:
        with open(file, encoding="utf-8") as opened:
            text = opened.read()
    patch = _parse(text)
    wanted = list if kind == "json" else dict
    if not isinstance(patch, wanted):
        raise CliError(
            f"unable to parse the patch: a {kind} patch is {'a list' if kind == 'json' else 'an object'}"
        )
    return patch


def _parse(text: str) -> Any:
    import json

    try:
        return json.loads(text)
    except ValueError:
        pass
    wrapped = "apiVersion: v1\nkind: Patch\npatch:\n" + "".join(
        f"  {line}\n" for line in text.splitlines()
    )
    return read_text(wrapped, "patch")[0].object["patch"]
