"""`minipod wait`."""

from collections.abc import Callable
from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.selection import Selection, Target, targets
from minipod.cli.waiting import Deadline, condition, wait_for

Object = dict[str, Any]
Test = Callable[["Object | None", Target], "bool | None"]


@flags.command(
    examples="""
    minipod wait --for=condition=Ready pod/nginx
    minipod wait --for=delete pod/nginx --timeout=60s
    minipod wait --for=jsonpath='{.status.phase}'=Succeeded pod/job
    minipod wait --for=condition=Ready pods --all
    """
)
@flags.resource_arguments
@flags.files
@flags.selectors
@flags.all_namespaces
@flags.flag("--all", help="All objects of the type in the namespace")
@click.option(
    "--for",
    "wanted",
    default="",
    metavar="WHAT",
    help="create, delete, condition=NAME[=VALUE], or jsonpath='{PATH}'[=VALUE]",
)
@click.option(
    "--timeout", type=flags.Duration(), default="30s", help="[default: 30s; 0: look once]"
)
@flags.output
@flags.pass_invocation
def command(invocation: Invocation, wanted: str, timeout: float, output: str, **given: Any) -> None:
    """Wait until objects exist, are gone, have a condition, or have a field with some value."""
    test = parse_wanted(wanted)
    deadline = Deadline(timeout, zero_is_forever=False)
    if timeout == 0:
        deadline = Deadline(0.2, zero_is_forever=False)
    failures: list[CliError] = []
    found = False
    for target in targets(invocation, Selection(**given)):
        found = True
        try:
            wait_for(invocation.api, target, lambda obj, target=target: test(obj, target), deadline)  # type: ignore[misc]
        except CliError as failed:
            failures.append(failed)
            continue
        print(f"{target.label}{'' if output else ' condition met'}", flush=True)
    raise_all(failures)
    if not found and wanted != "delete":
        raise CliError("no matching resources found")


def parse_wanted(wanted: str) -> Test:
    """Return the test of --for. Raises CliError."""
    if wanted == "delete":
        return lambda obj, _target: True if obj is None else None
    if wanted == "create":
        return lambda obj, _target: True if obj is not None else None
    kind, _, rest = wanted.partition("=")
    if kind == "condition" and rest:
        name, _, value = rest.partition("=")
        return _condition_test(name, value or "true")
    if kind == "jsonpath" and rest:
        return _path_test(rest)
    raise CliError(
        f'unrecognized condition: "{wanted}"' if wanted else "unrecognized condition: []"
    )


def _existing(obj: "Object | None", target: Target) -> Object:
    if obj is not None:
        return obj
    raise CliError(
        f'Error from server (NotFound): {target.resource.qualified_plural} "{target.name}" not found'
    )


def _condition_test(name: str, value: str) -> Test:
    def test(obj: "Object | None", target: Target) -> bool | None:
        found = condition(_existing(obj, target), name)
        return True if found and str(found.get("status", "")).lower() == value.lower() else None

    return test


def _path_test(text: str) -> Test:
    from minipod.cli.jsonpath import parse_path, text_of

    end = (
        text.rfind("}") + 1
        if text.startswith("{")
        else text.find("=")
        if "=" in text
        else len(text)
    )
    path, rest = parse_path(text[:end]), text[end:]
    if rest and not rest.startswith("="):
        raise CliError(f"jsonpath wait format must be --for=jsonpath='{{.path}}'=value, not {text}")

    def test(obj: "Object | None", target: Target) -> bool | None:
        values = path.values(_existing(obj, target))
        if not rest:
            return True if values else None
        return (
            True
            if values and all(text_of(each) == rest[1:].strip("'\"") for each in values)
            else None
        )

    return test
