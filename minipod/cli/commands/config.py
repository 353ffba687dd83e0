"""`minipod config`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation


@flags.group(
    examples="""
    minipod config view
    minipod --root /tmp/lab config view
    """
)
def command() -> None:
    """Show which minipod this command line talks to. There is nothing to configure but --root and -n."""


@command.command(
    "view",
    examples="""
    minipod config view
    """,
)
@flags.output
@flags.pass_invocation
def view(invocation: Invocation, output: str) -> None:
    """Print the root's directories, the socket and the namespace in use."""
    from minipod.cli.formats import printer

    layout = invocation.layout
    shown: dict[str, Any] = {
        "instance": layout.instance,
        "namespace": invocation.namespace,
        "server": f"unix://{layout.api_socket}",
        "state": str(layout.state),
        "run": str(layout.run),
        "log": str(layout.log),
        "bridge": layout.bridge,
    }
    click.echo(printer(output or "yaml")(shown), nl=False)


@command.command(
    "current-context",
    examples="""
    minipod config current-context
    """,
)
@flags.pass_invocation
def current_context(invocation: Invocation) -> None:
    """Print the name of the minipod in use."""
    print(invocation.layout.instance)
