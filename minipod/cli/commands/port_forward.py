"""`minipod port-forward`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.pod_choice import Chosen, choose_pod
from minipod.cli.pods import get_pod
from minipod.cli.resources import PODS

Object = dict[str, Any]
USAGE = "TYPE/NAME and list of ports are required for port-forward"
NOT_RUNNING = "unable to forward port because pod is not running. Current status={}"


@flags.command(
    name="port-forward",
    examples="""
    minipod port-forward pod/nginx 8080:80
    minipod port-forward nginx :80 8443:https
    minipod port-forward svc/web 8080:http
    minipod port-forward deploy/web 8080:80
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
    """Make ports of a Pod reachable on this host, until interrupted; of a Service or a workload, of one of its Pods."""
    from minipod.cli.forwarding import listen, parse_port, resolve_addresses

    if not pod or not ports:
        raise CliError(USAGE)
    addresses = resolve_addresses(address)
    chosen = choose_pod(invocation, pod, USAGE, pod_running_timeout)
    found = _wait_running(invocation, chosen.name, pod_running_timeout)
    chosen = Chosen(found, chosen.owner)
    wanted = [parse_port(_translated(chosen, text)) for text in ports]
    forward(invocation, chosen.name, lambda: listen(wanted, addresses))


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


def _translated(chosen: Chosen, text: str) -> str:
    """Return a port as the Pod's: a Service's port stands for its target. Raises CliError."""
    owner = chosen.owner
    if owner is None or owner["kind"] != "Service":
        return _with_number(chosen.pod, text)
    local, colon, remote = text.rpartition(":")
    port = _service_port(owner, remote)
    if owner["spec"].get("clusterIP") == "None":
        target: int | str = port["port"]  # nobody translates for those who look up its Pods
    else:
        target = port.get("targetPort") or port["port"]
    number = str(target)
    if not number.isdecimal():
        number = _with_number(chosen.pod, number)
    return f"{local}:{number}" if colon else f"{port['port']}:{number}"


def _service_port(service: Object, wanted: str) -> Object:
    name, ports = service["metadata"]["name"], service["spec"].get("ports") or ()
    for each in ports:
        if wanted.isdecimal() and each["port"] == int(wanted):
            return dict(each)
        if wanted and each.get("name") == wanted:
            return dict(each)
    what = "service port" if wanted.isdecimal() else "named port"
    raise CliError(f"Service '{name}' does not have a {what} {wanted}".rstrip())


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
