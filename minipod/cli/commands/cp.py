"""`minipod cp`."""

import click

from minipod.cli import options as flags
from minipod.cli.completion import complete_containers
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation

USAGE = "source and destination are required"


@flags.command(
    examples="""
    minipod cp ./site nginx:/usr/share/nginx/html
    minipod cp default/nginx:/var/log/nginx/access.log access.log -c nginx
    """
)
@click.argument("source", required=False, metavar="[NAMESPACE/]POD:PATH|PATH")
@click.argument("destination", required=False, metavar="[NAMESPACE/]POD:PATH|PATH")
@click.option(
    "-c",
    "--container",
    default="",
    metavar="NAME",
    shell_complete=complete_containers,
    help="Which container",
)
@flags.switch(
    "--no-preserve",
    default=False,
    help="Leave ownership and permissions to the container's tar",
)
@flags.pass_invocation
def command(
    invocation: Invocation,
    source: str | None,
    destination: str | None,
    container: str,
    no_preserve: bool,
) -> None:
    """Copy files and directories into a container or out of it. The container needs `tar`."""
    from minipod.cli.copying import Container, FileSpec, copy_from, copy_to, parse_spec
    from minipod.cli.pods import choose_container
    from minipod.cli.resources import PODS

    if not source or not destination:
        raise CliError(USAGE)
    here, there = parse_spec(source), parse_spec(destination)
    if here.pod and there.pod:
        raise CliError("one of src or dest must be a local file specification")
    remote: FileSpec = here if here.pod else there
    if not remote.pod:
        raise CliError("one of src or dest must be a remote file specification")
    namespace = remote.namespace or invocation.namespace
    found = invocation.api.get(PODS, namespace, remote.pod)
    name = choose_container(found, container)["name"]
    place = Container(invocation, namespace, remote.pod, name)
    if here.pod:
        copy_from(place, here.path, there.path)
    else:
        copy_to(place, here.path, there.path, preserve=not no_preserve)
