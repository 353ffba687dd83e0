"""`minipod attach`."""

from functools import partial
from typing import TYPE_CHECKING, Any

import click

from minipod.cli import options as flags
from minipod.cli.completion import complete_containers
from minipod.cli.errors import CliError, ServerError
from minipod.cli.invocation import Invocation
from minipod.cli.pod_choice import choose_pod
from minipod.cli.pods import choose_container
from minipod.cli.resources import PODS
from minipod.cli.selection import Target
from minipod.cli.waiting import Deadline, wait_for

if TYPE_CHECKING:
    from minipod.cli.streams import StreamOptions

Object = dict[str, Any]
ENDED_SECONDS = 5.0  # how long the Pod's status may take to say that a program has ended
FINISHED = "cannot attach a container in a completed pod; current phase is {}"


@flags.command(
    examples="""
    minipod attach nginx
    minipod attach -it nginx -c shell
    """
)
@flags.pod_argument
@click.option(
    "-c",
    "--container",
    default="",
    metavar="NAME",
    shell_complete=complete_containers,
    help="Which container",
)
@flags.flag(
    "-i", "--stdin", help="Pass this command's standard input on (the container needs stdin: true)"
)
@flags.flag("-t", "--tty", help="Use the container's terminal (the container needs tty: true)")
@flags.flag("-q", "--quiet", help="Print only what the container prints")
@flags.pass_invocation
def command(invocation: Invocation, pod: str | None, **given: Any) -> None:
    """Connect to the streams of a container's own program: see what it prints and, with -i, type to it."""
    chosen = choose_pod(
        invocation, pod, "POD, TYPE/NAME, or TYPE NAME must be specified for attach"
    )
    found, name = chosen.pod, chosen.name
    phase = (found.get("status") or {}).get("phase")
    if phase in ("Succeeded", "Failed"):
        raise CliError(FINISHED.format(phase))
    container = choose_container(found, given["container"], quiet=given["quiet"])
    attach(
        invocation, name, container, stdin=given["stdin"], tty=given["tty"], quiet=given["quiet"]
    )


def attach_or_print_log(
    invocation: Invocation, target: Target, container: Object, **wanted: bool
) -> None:
    """Attach to what has just been started, or print its log when it had ended before anybody could.

    `wanted` is stdin, tty and quiet, as of `attach`, which raises what this raises.
    """
    deadline, tried = Deadline(ENDED_SECONDS), ""
    while True:
        try:
            attach(invocation, target.name, container, **wanted)
            return
        except CliError as refused:
            if not _does_not_run(refused):
                raise
            try:  # the node knows before the Pod's status says so
                known = partial(_next_state, name=container["name"], tried=tried)
                status = wait_for(invocation.api, target, known, deadline)
            except CliError:
                raise refused from None
        if "terminated" in status["state"]:
            print_log(invocation, target, {"container": container["name"]})
            return
        tried = status["containerID"]


def check_started(container: str, ended: Object, exit_code: int = 1) -> None:
    """Raise CliError for a container whose program could not be executed: it has no log to say so."""
    if ended.get("reason") == "StartError":
        why = ended.get("message") or "no reason given"
        raise CliError(f'container "{container}" was not started: {why}', exit_code)


def _does_not_run(refused: CliError) -> bool:
    """Whether the node may have refused because the container does not run: all else is as it will be."""
    from minipod.cli.streams import StreamFailed

    return isinstance(refused, StreamFailed) or (
        isinstance(refused, ServerError) and refused.code == 404
    )


def _next_state(pod: Object | None, name: str, tried: str) -> Object | None:
    """Return the status of a container that has ended, or runs and is not the one that was tried. CliError: no Pod."""
    if pod is None:
        raise CliError("the Pod is gone")
    found = pod.get("status") or {}
    for each in (*found.get("containerStatuses", ()), *found.get("ephemeralContainerStatuses", ())):
        state = each.get("state") or {}
        fresh = "running" in state and each.get("containerID", "") not in ("", tried)
        if each["name"] == name and ("terminated" in state or fresh):
            return dict(each)
    return None


def print_log(invocation: Invocation, target: Target, query: dict[str, str]) -> None:
    """Print a container's log as it is."""
    import sys

    response = invocation.api.stream(PODS.path(target.namespace, target.name, "log"), query)
    for piece in response.body:
        sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
    sys.stdout.flush()


def attach(
    invocation: Invocation,
    name: str,
    container: Object,
    *,
    stdin: bool,
    tty: bool,
    quiet: bool = False,
) -> None:
    """Attach this process's streams. Raises SilentExit with the program's exit code when it ends meanwhile."""
    from minipod.cli import streams

    options = _options(name, container, stdin, tty, quiet)
    query = {"container": container["name"]}
    streams.run(invocation.api, PODS.path(invocation.namespace, name, "attach"), query, options)


def _options(name: str, container: Object, stdin: bool, tty: bool, quiet: bool) -> "StreamOptions":
    from minipod.cli import streams, terminal

    if tty and not container.get("tty"):
        if not quiet:
            terminal.progress(
                f"error: Unable to use a TTY - container {container['name']} did not allocate one"
            )
        tty = False
    elif container.get("tty") and not tty:
        tty = True  # the container's output is a terminal's, whatever was asked for
    if tty and stdin and not terminal.is_terminal(0):
        terminal.progress("Unable to use a TTY - input is not a terminal or the right kind of file")
    if stdin and not container.get("stdin"):
        raise CliError(
            f'container "{container["name"]}" of pod "{name}" has no stdin (spec: stdin: true); leave out -i'
        )
    if stdin and not quiet and tty:
        terminal.progress("If you don't see a command prompt, try pressing enter.")
    return streams.StreamOptions(stdin, tty, quiet=quiet)
