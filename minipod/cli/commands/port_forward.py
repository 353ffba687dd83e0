"""`minipod port-forward`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.pods import get_pod, pod_name
from minipod.cli.resources import PODS

Object = dict[str, Any]
USAGE = "TYPE/NAME and list of ports are required for port-forward"
NOT_RUNNING = "unable to forward port because pod is not running. Current status={}"


@flags.command(
    name="port-forward",
    examples="""
    minipod port-forward pod/nginx 8080:80
    minipod port-forward nginx :80 8443:https
    minipod port-forward --address 0.0.0.0 nginx 8888:80
    """,
)
@flags.pod_argument
@click.argument("ports", nargs=-1, metavar="[LOCAL_PORT:]REMOTE_PORT...")
@click.option(
    "--address",
    default="localhost",
    show_default=True,
    metavar="IP,...",
    help="Addresses to listen on; localhost is 127.0.0.1 and ::1",
)
@click.option(
    "--pod-running-timeout",
    default="1m0s",
    show_default=True,
    metavar="DURATION",
    type=flags.Duration(),
    help="How long to wait until the Pod runs",
)
@flags.pass_invocation
def command(
    invocation: Invocation,
    pod: str | None,
    ports: tuple[str, ...],
    address: str,
    pod_running_timeout: float,
) -> None:
    """Make ports of a Pod reachable on this host, until interrupted."""
    from minipod.cli.forwarding import listen, parse_port, resolve_addresses

    if not pod or not ports:
        raise CliError(USAGE)
    name = pod_name(pod, USAGE)
    addresses = resolve_addresses(address)
    found = _wait_running(invocation, name, pod_running_timeout)
    wanted = [parse_port(_with_number(found, text)) for text in ports]
    forward(invocation, name, lambda: listen(wanted, addresses))


def forward(invocation: Invocation, name: str, open_listeners: Any) -> None:
    """Connect to the Pod, listen, and serve. Raises ServerError, CliError."""
    from minipod.cli.forwarding import PROTOCOL, Forwarder, close_all
    from minipod.cli.websocket import connect

    path = PODS.path(invocation.namespace, name, "portforward")
    websocket = connect(invocation.api.connection(), path, (PROTOCOL,))
    listeners = []
    try:
        listeners = open_listeners()
        Forwarder(websocket, listeners).run()
    finally:
        close_all(listeners)
        websocket.close()


def _wait_running(invocation: Invocation, name: str, seconds: float) -> Object:
    """Return the Pod once it runs. Raises ServerError (NotFound), CliError when it does not run in time."""
    from minipod.cli.selection import Target
    from minipod.cli.waiting import Deadline, TimedOut, wait_for

    def running(pod: Object | None) -> Object | None:
        phase = ((pod or {}).get("status") or {}).get("phase", "Unknown")
        if pod is None or phase in ("Succeeded", "Failed"):
            raise CliError(NOT_RUNNING.format(phase))
        return pod if phase == "Running" else None

    found = get_pod(invocation, name)
    target = Target(PODS, invocation.namespace, name)
    try:
        return running(found) or wait_for(invocation.api, target, running, Deadline(seconds))
    except TimedOut:
        phase = get_pod(invocation, name)["status"].get("phase", "Unknown")
        raise CliError(NOT_RUNNING.format(phase)) from None


def _with_number(pod: Object, text: str) -> str:
    """Return a port with the container port's number in place of its name."""
    local, colon, remote = text.rpartition(":")
    if remote.isdigit() or not remote:
        return text
    for container in pod["spec"]["containers"]:
        for each in container.get("ports") or ():
            if each.get("name") == remote:
                number = each["containerPort"]
                return f"{local}{colon}{number}" if colon else str(number)
    raise CliError(f"Pod '{pod['metadata']['name']}' does not have a named port '{remote}'")
