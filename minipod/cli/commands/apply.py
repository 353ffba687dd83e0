"""`minipod apply`: client-side with the last-applied annotation, exactly as kubectl does it, or server-side."""

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from minipod.cli import options as flags
from minipod.cli.api import warn
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.printing import dry_run_query, report
from minipod.cli.selection import Selection, Target, existing, manifest_targets

if TYPE_CHECKING:
    from minipod.cli.api import Api

Object = dict[str, Any]
LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"
MANAGER = "kubectl-client-side-apply"
SERVER_SIDE = "kubectl"  # the field manager of --server-side
APPLY_PATCH = "application/apply-patch+yaml"
WAYS_OUT = """Please review the fields above: they have other managers. You can
* take them over, and overwrite what is there: add --force-conflicts
* leave them to their managers: remove them from the manifest
* share them: give them the values that they have now"""
ATTEMPTS = 5  # when somebody else writes the object at the same time


@dataclass(frozen=True)
class ApplyOptions:
    """The flags of `apply`."""

    filenames: tuple[str, ...]
    recursive: bool
    dry_run: str
    output: str
    validate: str
    until_ready: bool
    timeout: float
    server_side: bool = False
    force_conflicts: bool = False
    field_manager: str = ""

    def check(self) -> None:
        """Raise CliError when flags contradict each other."""
        if not self.filenames:
            raise CliError("must specify one of -f and -k")
        if self.force_conflicts and not self.server_side:
            raise CliError("--force-conflicts only works with --server-side")
        if self.server_side and self.dry_run == "client":
            raise CliError(
                "--dry-run=client doesn't work with --server-side (did you mean --dry-run=server instead?)"
            )

    def query(self) -> dict[str, str]:
        """Return the query parameters of every write."""
        validation = {"true": "Strict", "strict": "Strict", "warn": "Warn"}.get(
            self.validate, "Ignore"
        )
        return {
            "fieldManager": self.field_manager or (SERVER_SIDE if self.server_side else MANAGER),
            "fieldValidation": validation,
            **dry_run_query(self.dry_run),
        }


@dataclass(frozen=True)
class Applied:
    """What became of one object."""

    target: Target
    object: Object
    done: str  # created, configured, unchanged


@flags.command(
    examples="""
    minipod apply -f pod.yaml
    minipod apply -f examples/13-pod -R
    minipod apply -f pod.yaml --server-side
    minipod apply -f pod.yaml --until-ready --timeout=30s
    cat pod.yaml | minipod apply -f -
    """
)
@flags.files
@flags.dry_run
@flags.output
@flags.validate
@flags.flag("--until-ready", help="Then wait until every Pod is Ready or has finished")
@click.option(
    "--timeout",
    type=flags.Duration(),
    default="2m",
    help="How long --until-ready waits [default: 2m]",
)
@flags.flag("--server-side", help="Let the server merge, and keep account of who owns which field")
@flags.flag("--force-conflicts", help="With --server-side: take over fields that others own")
@click.option("--field-manager", default="", metavar="NAME", help="Who is to own the fields")
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """Make objects what the manifests say: create those that are missing, change those that differ.

    What an earlier apply set and the manifest no longer has is removed; what others set is kept. The annotation
    kubectl.kubernetes.io/last-applied-configuration remembers what was applied; with --server-side the object's
    managed fields do.
    """
    options = ApplyOptions(**given)
    options.check()
    targets = manifest_targets(invocation, Selection((), options.filenames, options.recursive))
    applied: list[Applied] = []
    failures: list[CliError] = []
    for target in targets:
        try:
            applied.append(apply(invocation.api, target, options))
        except CliError as failed:
            failures.append(failed)
            continue
        last = applied[-1]
        report(last.target, last.done, options.dry_run, options.output, last.object)
    raise_all(failures)
    if options.until_ready and options.dry_run == "none":
        _wait(invocation.api, applied, options)


def apply(api: "Api", target: Target, options: ApplyOptions) -> Applied:
    """Create or change one object. Raises CliError naming its source."""
    if not target.name:
        generated = (target.object or {}).get("metadata", {}).get("generateName")
        why = (
            "cannot use generate name with apply" if generated else "resource name may not be empty"
        )
        raise CliError(f'error when applying "{target.source}": {why}')
    assert target.object is not None
    if options.server_side:
        return _apply_on_server(api, target, options)
    modified = with_annotation(target.object)
    for attempt in range(ATTEMPTS):
        live = existing(api, target)
        try:
            if live is None:
                return _create(api, target, modified, options)
            return _change(api, target, live, modified, options)
        except ServerError as failed:
            if attempt == ATTEMPTS - 1 or failed.reason not in ("Conflict", "AlreadyExists"):
                raise failed.when(
                    "creating" if live is None else "applying patch to", target.source
                ) from failed
    raise AssertionError("unreachable")


def _apply_on_server(api: "Api", target: Target, options: ApplyOptions) -> Applied:
    try:
        found = server_side(api, target, options.query(), force=options.force_conflicts)
    except ServerError as failed:
        if failed.reason == "Conflict":
            raise CliError(f"{failed.message}\n{WAYS_OUT}") from failed
        raise failed.when("applying", target.source) from failed
    return Applied(target, found, "serverside-applied")


def server_side(api: "Api", target: Target, query: dict[str, str], *, force: bool) -> Object:
    """Let the server apply an object; return it as it is then. Raises ServerError, Conflict among them."""
    forced = {**query, "force": "true"} if force else query
    return api.call("PATCH", target.path(), forced, target.object, content_type=APPLY_PATCH)


def _create(api: "Api", target: Target, modified: Object, options: ApplyOptions) -> Applied:
    if options.dry_run == "client":
        return Applied(target, modified, "created")
    created = api.create(target.resource, target.namespace, modified, options.query())
    return Applied(target, created, "created")


def _change(
    api: "Api", target: Target, live: Object, modified: Object, options: ApplyOptions
) -> Applied:
    original = last_applied(live)
    if original is None:
        warn(
            f"resource {target.resource.qualified_plural}/{target.name} is missing the {LAST_APPLIED} annotation "
            "which is required by minipod apply. minipod apply should only be used on resources created "
            "declaratively by either minipod create --save-config or minipod apply. The missing annotation "
            "will be patched automatically."
        )
    patch = compute_patch(target, original or {}, modified, live)
    if not patch:
        return Applied(target, live, "unchanged")
    if options.dry_run == "client":
        return Applied(target, modified, "configured")
    patched = api.patch(
        target.resource, target.namespace, target.name, patch, "strategic", options.query()
    )
    return Applied(target, patched, "configured")


def compute_patch(target: Target, original: Object, modified: Object, live: Object) -> Object:
    """Return the strategic merge patch that brings `live` to `modified`, dropping what only `original` had."""
    from minipod.api.patch import three_way

    return three_way(target.resource.api_version, target.resource.kind, original, modified, live)


def with_annotation(obj: Object) -> Object:
    """Return the object with the annotation that says what it was applied as: compact JSON, sorted, one line."""
    metadata = obj.get("metadata") or {}
    annotations = {
        key: value
        for key, value in (metadata.get("annotations") or {}).items()
        if key != LAST_APPLIED
    }
    plain = {**obj, "metadata": {**metadata, "annotations": annotations}}
    text = json.dumps(plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    text = text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026") + "\n"
    return {**obj, "metadata": {**metadata, "annotations": {**annotations, LAST_APPLIED: text}}}


def last_applied(live: Object) -> Object | None:
    """Return what the live object was last applied as; None when it never was. Raises CliError."""
    text = ((live.get("metadata") or {}).get("annotations") or {}).get(LAST_APPLIED)
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as bad:
        name = live["metadata"]["name"]
        raise CliError(
            f'the annotation {LAST_APPLIED} of "{name}" is not JSON: {bad}; remove it'
        ) from bad
    return found if isinstance(found, dict) else None


def _wait(api: "Api", applied: list[Applied], options: ApplyOptions) -> None:
    from minipod.cli.readiness import settle
    from minipod.cli.waiting import Deadline

    deadline = Deadline(options.timeout)
    failures: list[CliError] = []
    for each in applied:
        if each.target.resource.kind != "Pod":
            continue
        try:
            pod = settle(api, each.target, deadline, each.object)
        except CliError as failed:
            failures.append(failed)
            continue
        phase = (pod.get("status") or {}).get("phase")
        report(replace(each.target, object=None), "finished" if phase == "Succeeded" else "ready")
    raise_all(failures)
