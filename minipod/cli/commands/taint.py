"""`minipod taint`."""

from typing import Any

from minipod.cli import options as flags
from minipod.cli.errors import CliError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.printing import dry_run_query, report
from minipod.cli.resources import NODES
from minipod.cli.selection import Selection, Target, targets
from minipod.cli.taints import Changes, compute_taints, parse, split


@flags.command(
    examples="""
    minipod taint nodes --all dedicated=lab:NoSchedule
    minipod taint node vm dedicated=lab:NoExecute --overwrite
    minipod taint node vm dedicated:NoSchedule-
    minipod taint node vm dedicated-
    """
)
@flags.resource_arguments
@flags.selectors
@flags.flag("--all", help="All nodes")
@flags.flag("--overwrite", help="Replace taints that are there already")
@flags.dry_run
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, args: tuple[str, ...], **given: Any) -> None:
    """Set taints of a node (KEY=VALUE:EFFECT, KEY:EFFECT) or remove them (KEY:EFFECT-, KEY-).

    NoSchedule keeps Pods away that do not tolerate the taint, PreferNoSchedule where it can be helped, and NoExecute
    evicts those that are there already.
    """
    names, words = split(args)
    if not names:
        raise CliError("one or more resources must be specified as <resource> <name>")
    if not words:
        raise CliError("at least one taint update is required")
    changes = parse(words)
    selection = Selection(
        names,
        selector=given["selector"],
        field_selector=given["field_selector"],
        all=given["all"],
    )
    failures: list[CliError] = []
    for target in targets(invocation, selection):
        try:
            _taint(invocation, target, changes, given)
        except CliError as failed:
            failures.append(failed)
    raise_all(failures)


def _taint(invocation: Invocation, target: Target, changes: Changes, given: dict[str, Any]) -> None:
    if target.resource != NODES:
        plural = target.resource.plural
        raise CliError(f"invalid resource type {plural}, only node types are supported")
    api, dry_run = invocation.api, given["dry_run"]
    node = target.object or api.get(target.resource, "", target.name)
    taints, done = compute_taints(node, changes, overwrite=given["overwrite"])
    # Taints are a list whole: of two who change it at once, the second is told.
    patch = {
        "metadata": {"resourceVersion": node["metadata"].get("resourceVersion")},
        "spec": {"taints": taints},
    }
    after = {**node, "spec": {**(node.get("spec") or {}), "taints": taints}}
    if dry_run != "client":
        query = {"fieldManager": "kubectl-taint", **dry_run_query(dry_run)}
        after = api.patch(target.resource, "", target.name, patch, "merge", query)
    report(target, done, dry_run, given["output"], after)
