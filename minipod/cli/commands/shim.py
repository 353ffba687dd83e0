"""`minipod shim`."""

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.processes import execute, listener, require_root, start_detached
from minipod.cli.terminal import progress


@flags.command(
    examples="""
    sudo minipod shim
    sudo minipod shim --background
    """
)
@flags.flag(
    "--background", help="See that one runs: start it detached, or upgrade the running one in place"
)
@flags.pass_invocation
def command(invocation: Invocation, background: bool) -> None:
    """Run the parent of all containers. The daemon starts it by itself; the systemd unit uses --background."""
    require_root("minipod shim", invocation.command_line("shim"))
    if not background:
        execute(invocation, "minipod.runtime.shim", [])
    pid = listener(invocation.layout.shim_socket)
    if pid is not None:
        progress(
            f"the parent of all containers runs (process {pid}); asking it to upgrade in place"
        )
        execute(invocation, "minipod.runtime.shim", ["--replace"])
    log = invocation.layout.log / "shim.log"
    pid = start_detached(invocation, "minipod.runtime.shim", [], log, ready_flag="--ready")
    progress(f"the parent of all containers runs (process {pid})")
