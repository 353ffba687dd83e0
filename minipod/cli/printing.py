"""What commands that change objects print: `pod/x created`, or the object with -o."""

import sys
from typing import Any

from minipod.cli.selection import Target

Object = dict[str, Any]
SUFFIX = {"none": "", "client": " (dry run)", "server": " (server dry run)"}


def report(
    target: Target, done: str, dry_run: str = "none", output: str = "", obj: Object | None = None
) -> None:
    """Print that something was done to an object, or the object itself when -o asks for it.

    It is shown at once, through a pipe, too: what comes next may take long.
    """
    if output and obj is not None:
        from minipod.cli.formats import printer

        sys.stdout.write(printer(output)(typed(target, obj)))
    else:
        print(f"{target.label} {done}{SUFFIX[dry_run]}")
    sys.stdout.flush()


def typed(target: Target, obj: Object) -> Object:
    """Return the object with its apiVersion and kind."""
    return {"apiVersion": target.resource.api_version, "kind": target.resource.kind, **obj}


def dry_run_query(dry_run: str) -> dict[str, str]:
    """Return the query parameter that keeps the server from storing anything."""
    return {"dryRun": "All"} if dry_run == "server" else {}
