"""`minipod annotate`."""

from typing import Any

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.metadata import edit_flags, run


@flags.command(
    examples="""
    minipod annotate pod nginx note='ask me first'
    minipod annotate pod nginx note-
    """
)
@edit_flags
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Set annotations (KEY=VALUE) or remove them (KEY-). One that is set already needs --overwrite."""
    run(invocation, "annotations", "annotated", given)
