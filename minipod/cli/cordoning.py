"""`cordon`, `uncordon` and `drain`: which nodes, and marking them (un)schedulable."""

from typing import TYPE_CHECKING, Any

from minipod.cli.errors import CliError
from minipod.cli.printing import dry_run_query, report
from minipod.cli.resources import NODES
from minipod.cli.selection import Target, listed

if TYPE_CHECKING:
    from minipod.cli.invocation import Invocation

Object = dict[str, Any]


def nodes(invocation: "Invocation", names: tuple[str, ...], selector: str) -> list[Target]:
    """Return the nodes that a command line names, each as it is now. Raises CliError."""
    if names and selector:
        raise CliError("cannot specify both a node name and a --selector option")
    if not names and not selector:
        raise CliError("name a node, or choose nodes with -l (see: minipod get nodes)")
    api = invocation.api
    if selector:
        return list(listed(api, NODES, "", {"labelSelector": selector}))
    plain = [each.removeprefix("nodes/").removeprefix("node/") for each in names]
    return [Target(NODES, "", each, object=api.get(NODES, "", each)) for each in plain]


def mark(invocation: "Invocation", node: Target, dry_run: str, *, unschedulable: bool) -> None:
    """Make a node (un)schedulable, and say so. Raises ServerError."""
    word = "cordoned" if unschedulable else "uncordoned"
    now = ((node.object or {}).get("spec") or {}).get("unschedulable", False)
    if now == unschedulable:
        report(node, f"already {word}", dry_run)
        return
    if dry_run != "client":
        patch = {"spec": {"unschedulable": unschedulable or None}}
        query = {"fieldManager": f"kubectl-{word[:-2]}", **dry_run_query(dry_run)}
        invocation.api.patch(NODES, "", node.name, patch, "merge", query)
    report(node, word, dry_run)
