"""`minipod daemon`."""

from typing import Any

from minipod.cli import options as flags
from minipod.cli.daemon_options import daemon_arguments, daemon_flags
from minipod.cli.invocation import Invocation
from minipod.cli.processes import execute, require_root


@flags.command(
    examples="""
    sudo minipod daemon
    sudo minipod --root /tmp/lab daemon --backoff-base=1s
    """
)
@daemon_flags
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Run minipod in the foreground: API server, controllers and node agent in one process.

    It stops on SIGTERM or Ctrl-C; Pods keep running and are taken up again at the next start.
    """
    require_root("minipod daemon", invocation.command_line("daemon"))
    execute(invocation, "minipod.daemon", daemon_arguments(given))
