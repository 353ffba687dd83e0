"""`minipod create service clusterip|nodeport|externalname`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.creating import CreateOptions, make
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import Resource

Object = dict[str, Any]
SERVICES = Resource("services", "service", "Service", ("svc",))


@flags.group(
    name="service",
    examples="""
    minipod create service clusterip web --tcp=80:8080
    """,
)
def service_group() -> None:
    """Create a Service for the Pods labelled app=NAME."""


def _ports(function: Any) -> Any:
    return click.option(
        "--tcp",
        multiple=True,
        metavar="PORT[:TARGET]",
        help="A port of the Service, and the Pods' (the same unless given); several times",
    )(function)


@service_group.command(
    "clusterip",
    examples="""
    minipod create service clusterip web --tcp=80:8080
    minipod create service clusterip web --clusterip=None
    """,
)
@click.argument("name")
@_ports
@click.option("--clusterip", default="", metavar="ADDRESS|None", help="None: a headless Service")
@flags.dry_run
@flags.output
@flags.pass_invocation
def clusterip_command(
    invocation: Invocation, name: str, tcp: tuple[str, ...], clusterip: str, **given: Any
) -> None:
    """Create a Service with an address of its own, reachable on this host and in its Pods."""
    if not tcp and clusterip != "None":
        raise CliError("at least one tcp port specifier must be provided")
    address = {"clusterIP": clusterip} if clusterip else {}
    _make(invocation, name, given, {"type": "ClusterIP", **address, "ports": ports(tcp)})


@service_group.command(
    "nodeport",
    examples="""
    minipod create service nodeport web --tcp=80:8080 --node-port=30080
    """,
)
@click.argument("name")
@_ports
@click.option("--node-port", type=int, default=0, help="The host's port [default: one is chosen]")
@flags.dry_run
@flags.output
@flags.pass_invocation
def nodeport_command(
    invocation: Invocation, name: str, tcp: tuple[str, ...], node_port: int, **given: Any
) -> None:
    """Create a Service that is reached at a port of the host too."""
    if not tcp:
        raise CliError("at least one tcp port specifier must be provided")
    found = ports(tcp)
    if node_port:
        found[0]["nodePort"] = node_port
    _make(invocation, name, given, {"type": "NodePort", "ports": found})


@service_group.command(
    "externalname",
    examples="""
    minipod create service externalname db --external-name=db.example.com
    """,
)
@click.argument("name")
@click.option("--external-name", required=True, metavar="NAME", help="The name it stands for")
@_ports
@flags.dry_run
@flags.output
@flags.pass_invocation
def externalname_command(
    invocation: Invocation, name: str, external_name: str, tcp: tuple[str, ...], **given: Any
) -> None:
    """Create a Service that is another name for a host outside."""
    spec = {"type": "ExternalName", "externalName": external_name, "ports": ports(tcp)}
    _make(invocation, name, given, spec)


COMMANDS = (service_group,)


def ports(given: tuple[str, ...]) -> list[Object]:
    """Return the ports of `80`, `80:8080` and `80:http`. Raises CliError."""
    found = []
    for word in (word for each in given for word in each.split(",") if word):
        port, colon, target = word.partition(":")
        if not port.isdigit() or (colon and not target):
            raise CliError(f'invalid port "{word}": it is PORT or PORT:TARGET')
        aim = int(target or port) if (target or port).isdigit() else target
        name = word.replace(":", "-")
        found.append({"name": name, "port": int(port), "protocol": "TCP", "targetPort": aim})
    return found


def _make(invocation: Invocation, name: str, given: dict[str, Any], spec: Object) -> None:
    labels = {"app": name}
    options = CreateOptions(**given)
    make(invocation, SERVICES, name, options, labels=labels, spec={**spec, "selector": labels})
