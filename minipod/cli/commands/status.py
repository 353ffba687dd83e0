"""`minipod status`."""

from collections import Counter
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, SilentExit
from minipod.cli.invocation import Invocation
from minipod.cli.processes import listener
from minipod.cli.resources import NODES, PODS
from minipod.cli.waiting import condition


@flags.command(
    examples="""
    minipod status
    minipod --root /tmp/lab status -o json
    """
)
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, output: str) -> None:
    """Show whether minipod is up, where it lives, its version and its Pods. The exit code is 1 when it is not up."""
    found = collect(invocation)
    if output:
        from minipod.cli.formats import printer

        click.echo(printer(output)(found), nl=False)
    else:
        _print(found, invocation.command_line("up"))
    if not found["up"]:
        raise SilentExit(1)


def collect(invocation: Invocation) -> dict[str, Any]:
    """Return what there is to know about this root."""
    layout = invocation.layout
    found: dict[str, Any] = {
        "instance": layout.instance,
        "state": str(layout.state),
        "socket": str(layout.api_socket),
        "log": str(layout.log),
        "daemon": listener(layout.api_socket),
        "shim": listener(layout.shim_socket),
        "up": False,
    }
    if found["daemon"] is None:
        return found
    try:
        found["version"] = invocation.api.get_path("/version").get("gitVersion", "")
        phases = Counter(
            str((each.get("status") or {}).get("phase", "Unknown"))
            for each in invocation.api.list(PODS, "").get("items") or []
        )
        found["pods"] = dict(sorted(phases.items()))
        found["nodes"] = {
            each["metadata"]["name"]: (condition(each, "Ready") or {}).get("status") == "True"
            for each in invocation.api.list(NODES, "").get("items") or []
        }
        found["up"] = True
    except CliError as failed:
        found["problem"] = failed.message
    return found


def _print(found: dict[str, Any], start: str) -> None:
    process = found["daemon"]
    print(
        f"instance  {found['instance']} (state {found['state']}, socket {found['socket']}, log {found['log']})"
    )
    version = f", version {found['version']}" if found.get("version") else ""
    print(f"daemon    {f'up, process {process}{version}' if process else f'not up; try: {start}'}")
    print(_shim(found))
    for name, ready in (found.get("nodes") or {}).items():
        print(f"node      {name} ({'Ready' if ready else 'NotReady'})")
    if "pods" in found:
        counts = ", ".join(f"{count} {phase}" for phase, count in found["pods"].items())
        print(f"pods      {counts or 'none'}")
    if "problem" in found:
        print(f"problem   {found['problem']}")


def _shim(found: dict[str, Any]) -> str:
    return f"shim      up, process {found['shim']}" if found["shim"] else "shim      not up"
