"""`minipod label`."""

from typing import Any

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.metadata import edit_flags, run


@flags.command(
    examples="""
    minipod label pod nginx tier=web
    minipod label pod nginx tier=db --overwrite
    minipod label pod nginx tier-
    minipod label pods --all lab=1
    """
)
@edit_flags
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Set labels (KEY=VALUE) or remove them (KEY-). A label that is set already needs --overwrite."""
    run(invocation, "labels", "labeled", given)
