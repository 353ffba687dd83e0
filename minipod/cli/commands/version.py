"""`minipod version`."""

import click

from minipod import __version__
from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation


@flags.command(
    examples="""
    minipod version
    minipod version --client
    """
)
@flags.flag("--client", help="The command line's version only")
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, client: bool, output: str) -> None:
    """Print the versions of the command line and of the server."""
    versions = {"clientVersion": {"gitVersion": f"v{__version__}"}}
    failed: CliError | None = None
    if not client:
        try:
            versions["serverVersion"] = invocation.api.get_path("/version")
        except CliError as error:
            failed = error
    if output:
        from minipod.cli.formats import printer

        click.echo(printer(output)(versions), nl=False)
    else:
        print(f"Client Version: v{__version__}")
        if "serverVersion" in versions:
            print(f"Server Version: {versions['serverVersion'].get('gitVersion', '')}")
    if failed is not None:
        raise failed
