"""`minipod cordon`."""

from minipod.cli import options as flags
from minipod.cli.cordoning import mark, nodes
from minipod.cli.invocation import Invocation


@flags.command(
    examples="""
    minipod cordon vm
    minipod cordon -l disk=slow
    """
)
@flags.nodes
@flags.dry_run
@flags.pass_invocation
def command(invocation: Invocation, names: tuple[str, ...], selector: str, dry_run: str) -> None:
    """Let no new Pods start on a node; those that run there stay."""
    for node in nodes(invocation, names, selector):
        mark(invocation, node, dry_run, unschedulable=True)
