"""`minipod down`."""

import subprocess
import sys

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, ServerError
from minipod.cli.invocation import Invocation
from minipod.cli.processes import listener, require_root, stop
from minipod.cli.resources import PODS
from minipod.cli.selection import listed
from minipod.cli.terminal import progress
from minipod.cli.waiting import Deadline, wait_for


@flags.command(
    examples="""
    sudo minipod down
    sudo minipod down --pods
    """
)
@flags.flag("--pods", help="First delete every Pod, and end the parent of all containers too")
@click.option(
    "--timeout",
    type=flags.Duration(),
    default="60s",
    help="How long to wait for each step [default: 60s]",
)
@flags.pass_invocation
def command(invocation: Invocation, pods: bool, timeout: float) -> None:
    """Stop minipod. Pods keep running, and the next `minipod up` takes them up again; --pods ends them as well."""
    require_root("minipod down", invocation.command_line("down"))
    layout = invocation.layout
    if pods:
        _delete_pods(invocation, timeout)
    pid = listener(layout.api_socket)
    if pid is None:
        print("minipod is not up")
    else:
        stop(pid, timeout, lambda: progress(f"waiting for process {pid} to end"))
        print(
            f"minipod is down (process {pid} has ended)" + ("" if pods else "; Pods keep running")
        )
    if pods:
        _shut_shim_down(invocation)


def _delete_pods(invocation: Invocation, timeout: float) -> None:
    """Delete every Pod and wait until all are gone; a daemon that is not up is started for it."""
    layout = invocation.layout
    if listener(layout.api_socket) is None:
        if listener(layout.shim_socket) is None:
            return
        from minipod.cli.commands.up import start

        start(invocation, [])
    targets = list(listed(invocation.api, PODS, "", {}))
    if targets:
        progress(f"deleting {len(targets)} Pod{'s' if len(targets) > 1 else ''}")
    for target in targets:
        try:
            invocation.api.delete(
                PODS, target.namespace, target.name, {"apiVersion": "v1", "kind": "DeleteOptions"}
            )
        except ServerError as failed:
            if failed.reason != "NotFound":
                raise
    deadline = Deadline(timeout)
    for target in targets:
        wait_for(invocation.api, target, lambda pod: True if pod is None else None, deadline)
        print(f'pod "{target.name}" deleted from {target.namespace} namespace', flush=True)


def _shut_shim_down(invocation: Invocation) -> None:
    """End the shim by its own shutdown verb, with containers that are left, and remove the network."""
    if not invocation.layout.state.exists():
        return  # nothing was ever started here
    running = listener(invocation.layout.shim_socket)
    program = [
        sys.executable,
        "-P",
        "-m",
        "minipod.daemon",
        *invocation.root_arguments(),
        "--shutdown-shim",
    ]
    ended = subprocess.run(program, capture_output=True, text=True, check=False, timeout=60)
    if ended.returncode != 0:
        raise CliError(
            f"the parent of all containers did not shut down: {ended.stderr.strip() or ended.stdout.strip()}"
        )
    if running is not None:
        print(f"the parent of all containers has ended (process {running})")
