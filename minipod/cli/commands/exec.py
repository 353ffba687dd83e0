"""`minipod exec`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.completion import complete_containers
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.pod_choice import choose_pod
from minipod.cli.pods import choose_container
from minipod.cli.resources import PODS

NO_COMMAND = "you must specify at least one command for the container"
NO_DASHES = "exec [POD] [COMMAND] is not supported anymore. Use exec [POD] -- [COMMAND] instead"
FINISHED = "cannot exec into a container in a completed pod; current phase is {}"


@flags.command(
    after_dashes=True,
    examples="""
    minipod exec nginx -- ls /
    minipod exec -it nginx -c shell -- sh
    minipod exec deploy/web -- hostname
    echo hello | minipod exec -i nginx -- cat
    """,
)
@flags.pod_argument
@click.argument("words", nargs=-1, metavar="-- COMMAND [ARG...]")
@click.option(
    "-c",
    "--container",
    default="",
    metavar="NAME",
    shell_complete=complete_containers,
    help="Which container",
)
@flags.flag("-i", "--stdin", help="Pass this command's standard input on")
@flags.flag("-t", "--tty", help="Give the command a terminal")
@flags.flag("-q", "--quiet", help="Print only what the command prints")
@flags.pass_invocation
def command(invocation: Invocation, pod: str | None, words: tuple[str, ...], **given: Any) -> None:
    """Run a command in a running container; its exit code becomes this command's."""
    arguments = flags.command_after_dashes() or []
    if words:
        raise CliError(NO_DASHES)
    if pod and not arguments:
        raise CliError(NO_COMMAND)
    chosen = choose_pod(invocation, pod, "pod or type/name must be specified")
    found, name = chosen.pod, chosen.name
    phase = (found.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CliError(FINISHED.format(phase))
    container = choose_container(found, given["container"], quiet=given["quiet"])["name"]
    connect(invocation, name, container, arguments, given)


def connect(
    invocation: Invocation, name: str, container: str, arguments: list[str], given: dict[str, Any]
) -> None:
    """Run the command with this process's streams. Raises SilentExit with its exit code."""
    from minipod.cli import streams, terminal

    tty = given["tty"]
    if tty and given["stdin"] and not terminal.is_terminal(0):
        terminal.progress("Unable to use a TTY - input is not a terminal or the right kind of file")
        tty = False
    options = streams.StreamOptions(given["stdin"], tty, quiet=given["quiet"])
    query = {"container": container, "command": arguments}
    streams.run(invocation.api, PODS.path(invocation.namespace, name, "exec"), query, options)
