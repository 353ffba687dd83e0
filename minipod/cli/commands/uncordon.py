"""`minipod uncordon`."""

from minipod.cli import options as flags
from minipod.cli.cordoning import mark, nodes
from minipod.cli.invocation import Invocation


@flags.command(
    examples="""
    minipod uncordon vm
    minipod uncordon -l disk=slow
    """
)
@flags.nodes
@flags.dry_run
@flags.pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], selector: str, dry_run: str) -> None:
    """Let new Pods start on a node again, those too that have been waiting."""
    for node in nodes(invocation, names, selector):
        mark(invocation, node, dry_run, unschedulable=False)
