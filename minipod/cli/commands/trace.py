"""`minipod trace`."""

import sys
from typing import Any

from minipod.cli import options as flags
from minipod.cli.invocation import Invocation
from minipod.cli.node_proxy import of_pod
from minipod.cli.pods import pod_name
from minipod.cli.tables import lay_out

Object = dict[str, Any]

HEADERS = ["MICROSECONDS", "WHERE", "OPERATION"]


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
    sys.stdout.write(table(groups_of(found)))


def groups_of(found: Object) -> list[Object]:
    """Return the traces of a Pod in order: a title (what was made) and steps each."""
    for value in found.values():
        if isinstance(value, list) and value and isinstance(value[0], dict) and "steps" in value[0]:
            return value
    return [found] if found.get("steps") else []


def table(groups: list[Object]) -> str:
    """Return the steps lined up under their titles, numbers to the right, with the total below."""
    steps = [step for group in groups for step in group["steps"]]
    if not steps:
        return "No steps recorded.\n"
    width = max(len(HEADERS[0]), len(f"{sum(map(_taken, steps))}"))
    widths: list[int] = []
    lines = lay_out([_row(HEADERS, width), *(_words(each, width) for each in steps)], widths)
    rows = iter(lines.splitlines(keepends=True))
    text = next(rows)
    for group in groups:
        text += f"{group['title']}:\n" if group.get("title") else ""
        text += "".join(next(rows) for _ in group["steps"])
    total = [str(sum(map(_taken, steps))), "", f"total of {len(steps)} operations"]
    return text + lay_out([_row(total, width)], widths)


def _row(cells: list[str], width: int) -> list[str]:
    return [cells[0].rjust(width), *cells[1:]]


def _words(step: Object, width: int) -> list[str]:
    summary = str(step.get("summary") or step.get("operation") or "")
    error = f" (failed: {step['error']})" if step.get("error") else ""
    return _row([str(_taken(step)), str(step.get("where", "")), summary + error], width)


def _taken(step: Object) -> int:
    return round(float(step.get("duration_us") or 0))
