"""`minipod image`."""

import click

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.processes import execute


class PassThrough(flags.Command):
    """Hands everything behind its name on, unread."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep all arguments, but for a question for help."""
        if not args or args[0] in ("-h", "--help"):
            return super().parse_args(ctx, ["--help"])
        ctx.params["arguments"] = tuple(args)
        return []


@click.command(
    cls=PassThrough,
    examples="""
    minipod image build images/nginx
    minipod image load nginx.tar
    minipod image pull registry.example.com/team/app:v2
    minipod image list
    minipod image tag nginx docker.io/library/nginx:1.9.1
    minipod image remove nginx
    minipod image prune
    """,
)
@click.argument(
    "arguments",
    nargs=-1,
    metavar="build|load|pull|save|list|inspect|remove|tag|alias|prune [ARG...]",
)
@flags.pass_invocation
def command(invocation: Invocation, arguments: tuple[str, ...]) -> None:
    """Build images from recipes, pull them from registries, load and save archives, list, tag, remove.

    Works beside a running daemon, and without one. `minipod image VERB --help` explains each verb.
    """
    execute(invocation, "minipod.image", list(arguments), root_flag=False)
