"""`minipod trace`."""

import sys
from typing import Any

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.node_proxy import of_pod
from minipod.cli.pods import pod_name
from minipod.cli.tables import lay_out

Object = dict[str, Any]


@flags.command(
    examples="""
    minipod trace pod/nginx
    minipod trace nginx -o json
    """
)
@flags.pod_argument
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, pod: str | None, output: str) -> None:
    """Show the operations that really made a Pod, each with the microseconds it took, and their total."""
    name = pod_name(pod, "give the name of a Pod, as in: minipod trace pod/nginx")
    found = of_pod(invocation, "trace", name)
    if output:
        from minipod.cli.formats import printer

        sys.stdout.write(printer(output)(found))
        return
    sys.stdout.write(table(steps_of(found)))


def steps_of(found: Object) -> list[Object]:
    """Return the steps of a trace in order."""
    return list(found.get("steps") or found.get("items") or [])


def table(steps: list[Object]) -> str:
    """Return the steps lined up, numbers to the right, with the total below."""
    if not steps:
        return "No steps recorded.\n"
    micros = [float(each.get("microseconds") or 0) for each in steps]
    width = max(12, *(len(f"{each:.0f}") for each in micros))
    rows = [["#", "MICROSECONDS".rjust(width), "WHERE", "TARGET", "OPERATION"]]
    for number, (each, taken) in enumerate(zip(steps, micros, strict=True), 1):
        rows.append([str(number), f"{taken:.0f}".rjust(width), *_words(each)])
    rows.append(
        ["", f"{sum(micros):.0f}".rjust(width), "", "", f"total of {len(steps)} operations"]
    )
    return lay_out(rows)


def _words(step: Object) -> list[str]:
    what = step.get("summary") or step.get("operation") or step.get("op") or ""
    return [
        str(step.get("where", "")),
        str(step.get("target") or step.get("container") or ""),
        str(what),
    ]
