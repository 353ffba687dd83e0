"""`minipod delete`."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from minipod.cli import options as flags
from minipod.cli.api import warn
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.printing import SUFFIX, dry_run_query
from minipod.cli.selection import Selection, Target, targets
from minipod.cli.waiting import Deadline, wait_for

if TYPE_CHECKING:
    from minipod.cli.api import Api

Object = dict[str, Any]
FORCED = (
    "Immediate deletion does not wait for confirmation that the running resource has been terminated. "
    "The resource may continue to run on the cluster indefinitely."
)


@dataclass(frozen=True)
class DeleteOptions:
    """The flags of `delete`."""

    args: tuple[str, ...]
    filenames: tuple[str, ...]
    recursive: bool
    selector: str
    field_selector: str
    all: bool
    all_namespaces: bool
    force: bool
    grace_period: int
    now: bool
    wait: bool
    timeout: float
    ignore_not_found: bool
    cascade: str
    dry_run: str
    output: str

    @property
    def selection(self) -> Selection:
        """What is to be deleted."""
        return Selection(
            self.args,
            self.filenames,
            self.recursive,
            self.selector,
            self.field_selector,
            self.all,
            self.all_namespaces,
        )

    @property
    def grace(self) -> int:
        """The grace period to ask for in seconds; -1 leaves it to the object. 0 needs --force."""
        if self.now or (self.grace_period == 0 and not self.force):
            return 1
        return 0 if self.force and self.grace_period < 0 else self.grace_period

    def check(self) -> None:
        """Raise CliError when flags contradict each other."""
        if self.output not in ("", "name"):
            raise CliError(f"unexpected -o output mode: {self.output}. We only support '-o name'")
        if self.all and (self.selector or self.field_selector):
            raise CliError("cannot set --all and --selector at the same time")
        if self.now and self.grace_period != -1:
            raise CliError("--now and --grace-period cannot be specified together")
        if self.force and self.grace > 0:
            raise CliError("--force and --grace-period greater than 0 cannot be specified together")
        if self.cascade not in ("background", "foreground", "orphan"):
            raise CliError(
                f'invalid cascade value ({self.cascade}). Must be "background", "foreground", or "orphan"'
            )


@flags.command(
    examples="""
    minipod delete pod nginx
    minipod delete -f pod.yaml
    minipod delete pods -l app=web
    minipod delete pods --all --now
    minipod delete pod nginx --force --grace-period=0
    """
)
@flags.resource_arguments
@flags.files
@flags.selectors
@flags.all_namespaces
@flags.flag("--all", help="All objects of the type in the namespace")
@flags.flag("--force", help="Do not wait for the programs to end: kill them")
@click.option(
    "--grace-period",
    type=int,
    default=-1,
    help="Seconds between SIGTERM and SIGKILL (-1: the Pod's own)",
)
@flags.flag("--now", help="The same as --grace-period=1")
@flags.switch("--wait", default=True, help="Return when the objects are gone")
@click.option(
    "--timeout", type=flags.Duration(), default="0s", help="How long --wait waits (0: for ever)"
)
@flags.flag("--ignore-not-found", help="Succeed when an object does not exist")
@click.option(
    "--cascade",
    cls=flags.Bare,
    bare="background",
    default="background",
    type=flags.Words("background", "foreground", "orphan"),
    help="What happens to objects owned by the deleted ones",
)
@flags.dry_run
@click.option("-o", "--output", default="", type=flags.Words("name"), help="Print kind/name only")
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Delete objects by name, by manifest, by label or all of a type, and wait until they are gone.

    A Pod's programs get SIGTERM, then their grace period, then SIGKILL.
    """
    options = DeleteOptions(**given)
    options.check()
    if options.force and options.grace == 0:
        warn(FORCED)
    api = invocation.api
    failures: list[CliError] = []
    deleted: list[tuple[Target, str]] = []
    for target in _existing_targets(invocation, options):
        try:
            uid = _delete(api, target, options)
        except ServerError as failed:
            if not _forgiven(failed, options):
                failures.append(failed.when("deleting", target.source) if target.source else failed)
            continue
        _report(target, options)
        deleted.append((target, uid))
    raise_all(failures)
    if not deleted:
        print("No resources found")
    elif options.wait and options.dry_run == "none":
        _wait(api, deleted, options)


def _existing_targets(invocation: Invocation, options: DeleteOptions) -> Iterator[Target]:
    """Yield what to delete; for a client-side dry run only what is really there."""
    for target in targets(invocation, options.selection):
        if not target.name:
            raise CliError(f'"{target.source}" has an object without a name (metadata.name)')
        if options.dry_run == "client" and target.object is None:
            invocation.api.get(target.resource, target.namespace, target.name)
        yield target


def _delete(api: "Api", target: Target, options: DeleteOptions) -> str:
    """Delete one object; return its UID ("" when the server does not say)."""
    if options.dry_run == "client":
        return ""
    body: Object = {
        "apiVersion": "v1",
        "kind": "DeleteOptions",
        "propagationPolicy": options.cascade.capitalize(),
    }
    if options.grace >= 0:
        body["gracePeriodSeconds"] = options.grace
    found = api.delete(
        target.resource, target.namespace, target.name, body, dry_run_query(options.dry_run)
    )
    if found.get("kind") == "Status":
        return str((found.get("details") or {}).get("uid") or "")
    return str((found.get("metadata") or {}).get("uid") or "")


def _forgiven(failed: ServerError, options: DeleteOptions) -> bool:
    several = options.all or options.selector or options.field_selector
    return failed.reason == "NotFound" and bool(options.ignore_not_found or several)


def _report(target: Target, options: DeleteOptions) -> None:
    if options.output == "name":
        print(target.label)
        return
    done = "force deleted" if options.grace == 0 else "deleted"
    where = f" from {target.namespace} namespace" if target.resource.namespaced else ""
    print(
        f'{target.resource.qualified} "{target.name}" {done}{SUFFIX[options.dry_run]}{where}',
        flush=True,
    )


def _wait(api: "Api", deleted: list[tuple[Target, str]], options: DeleteOptions) -> None:
    deadline = Deadline(options.timeout)
    for target, uid in deleted:

        def gone(obj: Object | None, uid: str = uid) -> bool | None:
            same = obj is not None and (not uid or obj["metadata"].get("uid") == uid)
            return None if same else True

        wait_for(api, target, gone, deadline)
