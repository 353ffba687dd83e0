"""`minipod up`."""

import time
from typing import Any

from minipod.cli import options as flags
from minipod.cli.daemon_options import daemon_arguments, daemon_flags
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.processes import listener, require_root, start_detached
from minipod.cli.terminal import progress


@flags.command(
    examples="""
    sudo minipod up
    sudo minipod --root /tmp/lab up --backoff-base=1s
    """
)
@daemon_flags
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Start minipod in the background and return when it is ready. Does nothing when it is up already."""
    require_root("minipod up", invocation.command_line("up"))
    running = listener(invocation.layout.api_socket)
    if running is not None:
        print(f"minipod is up already (process {running})")
        return
    start(invocation, daemon_arguments(given))


def start(invocation: Invocation, arguments: list[str]) -> None:
    """Start the daemon and return when it is ready. Raises CliError with what it said otherwise."""
    log = invocation.layout.log / "daemon.log"
    progress(f"starting minipod, its log is {log}")
    begin = time.monotonic()
    try:
        pid = start_detached(invocation, "minipod.daemon", arguments, log)
    except CliError as failed:
        raise CliError(f"minipod did not start: {failed.message}") from failed
    print(f"minipod is up (process {pid}, {time.monotonic() - begin:.1f} s)")
