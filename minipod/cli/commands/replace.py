"""`minipod replace`."""

from typing import Any

import click

from minipod.cli import options as flags
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.printing import dry_run_query, report
from minipod.cli.selection import Selection, Target, manifest_targets
from minipod.cli.waiting import Deadline, wait_for

Object = dict[str, Any]


@flags.command(
    examples="""
    minipod replace -f pod.yaml
    minipod get pod nginx -o yaml | sed 's/nginx:1/nginx:2/' | minipod replace -f -
    minipod replace --force -f pod.yaml
    """
)
@flags.files
@flags.flag("--force", help="Delete the object and create it again, whatever may not be changed")
@click.option(
    "--grace-period",
    type=int,
    default=-1,
    help="With --force: seconds between SIGTERM and SIGKILL (-1: the Pod's own)",
)
@click.option(
    "--timeout",
    type=flags.Duration(),
    default="0s",
    help="With --force: how long to wait for the deletion (0: five minutes)",
)
@click.option(
    "--subresource", default="", type=flags.Words("status", "scale"), help="Replace this instead"
)
@flags.validate
@flags.dry_run
@flags.output
@flags.pass_invocation
def command(
    invocation: Invocation, filenames: tuple[str, ...], recursive: bool, **given: Any
) -> None:
    """Replace whole objects by what a manifest says. What it leaves out is gone, or has its default again.

    A manifest with a resourceVersion replaces only what nobody has changed since.
    """
    if not filenames:
        raise CliError("must specify --filename to replace")
    _check(given)
    failures: list[CliError] = []
    for target in manifest_targets(invocation, Selection((), filenames, recursive)):
        try:
            after = _replace(invocation, target, given)
        except ServerError as failed:
            failures.append(failed.when("replacing", target.source))
            continue
        report(target, "replaced", given["dry_run"], given["output"], after)
    raise_all(failures)


def _check(given: dict[str, Any]) -> None:
    for name in ("grace_period", "timeout"):
        if not given["force"] and given[name] != {"grace_period": -1, "timeout": 0}[name]:
            raise CliError(f"--{name.replace('_', '-')} must have --force specified")
    if given["subresource"] not in ("", "status", "scale"):
        raise CliError(
            f'invalid subresource value: "{given["subresource"]}". Must be one of [status scale]'
        )
    if given["force"] and given["dry_run"] != "none":
        raise CliError("--dry-run can not be used when --force is set")


def _replace(invocation: Invocation, target: Target, given: dict[str, Any]) -> Object:
    if given["dry_run"] == "client":
        return target.object or {}
    words = {"true": "Strict", "strict": "Strict", "warn": "Warn"}
    query = {
        "fieldManager": "kubectl-replace",
        "fieldValidation": words.get(given["validate"], "Ignore"),
        **dry_run_query(given["dry_run"]),
    }
    if given["force"]:
        _remove(invocation, target, given)
        return invocation.api.create(
            target.resource, target.namespace, _fresh(target.object or {}), query
        )
    path = target.resource.path(target.namespace, target.name, given["subresource"])
    return invocation.api.call("PUT", path, query, target.object)


def _remove(invocation: Invocation, target: Target, given: dict[str, Any]) -> None:
    """Delete what is there, if anything, and wait until it is gone."""
    options: Object = {"apiVersion": "v1", "kind": "DeleteOptions"}
    if (
        given["grace_period"] >= 0
    ):  # as kubectl does, 0 is made 1: the old one must be gone for sure
        options["gracePeriodSeconds"] = max(given["grace_period"], 1)
    try:
        invocation.api.delete(target.resource, target.namespace, target.name, options)
    except ServerError as failed:
        if failed.reason != "NotFound":
            raise
        return
    deadline = Deadline(given["timeout"] or 300)
    wait_for(invocation.api, target, lambda state: None if state else True, deadline)


def _fresh(obj: Object) -> Object:
    """Return the object without what only the one before it had."""
    metadata = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "uid")}
    return {**obj, "metadata": metadata}
