"""`minipod inspect`."""

import sys

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.node_proxy import of_pod
from minipod.cli.pods import pod_name


@flags.command(
    examples="""
    minipod inspect pod/nginx
    minipod inspect nginx -o json
    """
)
@flags.pod_argument
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, pod: str | None, output: str) -> None:
    """Show a Pod as the kernel has it: namespaces, mounts, cgroups and processes, read at this moment."""
    from minipod.cli.formats import printer

    name = pod_name(pod, "give the name of a Pod, as in: minipod inspect pod/nginx")
    sys.stdout.write(printer(output or "yaml")(of_pod(invocation, "inspect", name)))
