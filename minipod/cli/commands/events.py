"""`minipod events`."""

import sys
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.describe.common import event_age, last_seen
from minipod.cli.errors import CliError
from minipod.cli.invocation import Invocation
from minipod.cli.resources import EVENTS, find
from minipod.cli.tables import lay_out

Object = dict[str, Any]
HEADERS = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]


@flags.command(
    examples="""
    minipod events
    minipod events --for pod/nginx --watch
    minipod events -A --types=Warning
    """
)
@click.option(
    "--for", "about", default="", metavar="TYPE/NAME", help="Only events about this object"
)
@click.option(
    "--types",
    multiple=True,
    type=flags.Words("Normal", "Warning"),
    help="Only events of these types",
)
@flags.flag("-w", "--watch", help="Then show further events until interrupted")
@flags.all_namespaces
@flags.flag("--no-headers", help="Leave the headers out")
@click.option(
    "-o", "--output", default="", type=flags.Words("json", "yaml"), help="Print the events in full"
)
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """List what happened, oldest first, for a namespace or for one object."""
    namespace = "" if given["all_namespaces"] else invocation.namespace
    query = _query(invocation, given["about"])
    found = invocation.api.list(EVENTS, namespace, query)
    events = sorted(
        (each for each in found.get("items") or [] if _wanted(each, given)), key=last_seen
    )
    if given["output"]:
        from minipod.cli.commands.get import as_list
        from minipod.cli.formats import printer

        typed = [{"apiVersion": "v1", "kind": "Event", **each} for each in events]
        sys.stdout.write(printer(given["output"])(as_list(typed)))
        return
    widths: list[int] = []
    rows = [] if given["no_headers"] else [_headers(given)]
    if events or given["watch"]:
        sys.stdout.write(lay_out(rows + [_row(each, given) for each in events], widths))
        sys.stdout.flush()
    else:
        where = "" if given["all_namespaces"] else f" in {invocation.namespace} namespace"
        print(f"No events found{where}.", file=sys.stderr)
    if given["watch"]:
        _watch(invocation, namespace, query, found["metadata"]["resourceVersion"], given, widths)


def _watch(
    invocation: Invocation,
    namespace: str,
    query: dict[str, str],
    since: str,
    given: dict[str, Any],
    widths: list[int],
) -> None:
    path = EVENTS.path(namespace)
    for change in invocation.api.watch(path, {**query, "resourceVersion": since}):
        if change["type"] in ("ADDED", "MODIFIED") and _wanted(change["object"], given):
            sys.stdout.write(lay_out([_row(change["object"], given)], widths))
            sys.stdout.flush()


def _query(invocation: Invocation, about: str) -> dict[str, str]:
    if not about:
        return {}
    kind, slash, name = about.partition("/")
    if not slash or not name:
        raise CliError("--for must be in resource/name form")
    resource = find(invocation.api, kind)[0]
    return {"fieldSelector": f"involvedObject.kind={resource.kind},involvedObject.name={name}"}


def _wanted(event: Object, given: dict[str, Any]) -> bool:
    types = [each.lower() for one in given["types"] for each in one.split(",")]
    return not types or str(event.get("type", "")).lower() in types


def _headers(given: dict[str, Any]) -> list[str]:
    return ["NAMESPACE", *HEADERS] if given["all_namespaces"] else HEADERS


def _row(event: Object, given: dict[str, Any]) -> list[str]:
    about = event.get("involvedObject") or {}
    message = str(event.get("message", "")).strip().replace("\n", " ")
    row = [
        event_age(event),
        str(event.get("type", "")),
        str(event.get("reason", "")),
        f"{about.get('kind', '')}/{about.get('name', '')}",
        message,
    ]
    return [event["metadata"].get("namespace", ""), *row] if given["all_namespaces"] else row
