"""`label` and `annotate`: setting and removing keys of metadata.labels or metadata.annotations."""

from dataclasses import dataclass
from typing import Any

from minipod.cli import options as flags
from minipod.cli.errors import CliError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.printing import dry_run_query, report
from minipod.cli.selection import Selection, Target, targets

Object = dict[str, Any]


@dataclass(frozen=True)
class Edit:
    """What to do to the keys of one map of metadata."""

    field: str  # "labels" or "annotations"
    past: str  # "labeled" or "annotated"
    setting: dict[str, str]
    removing: tuple[str, ...]

    def patch(self) -> Object:
        """Return the merge patch."""
        values: Object = {**self.setting, **dict.fromkeys(self.removing)}
        return {"metadata": {self.field: values}}


def edit_flags(function: Any) -> Any:
    """The flags of both commands."""
    for decorate in (
        flags.output,
        flags.dry_run,
        flags.flag("--list", "list_only", help="Print the keys and values instead"),
        flags.flag("--overwrite", help="Replace values that are set already"),
        flags.flag("--all", help="All objects of the type in the namespace"),
        flags.all_namespaces,
        flags.selectors,
        flags.files,
        flags.resource_arguments,
    ):
        function = decorate(function)
    return function


def run(invocation: Invocation, field: str, past: str, given: dict[str, Any]) -> None:
    """Carry out `label` or `annotate`. Raises CliError."""
    names, edits = split(given["args"])
    edit = Edit(field, past, *parse(edits, past))
    if not edits and not given["list_only"]:
        raise CliError(f"at least one {field[:-1]} update is required")
    selection = Selection(
        names,
        given["filenames"],
        given["recursive"],
        given["selector"],
        given["field_selector"],
        given["all"],
        given["all_namespaces"],
    )
    failures: list[CliError] = []
    for target in targets(invocation, selection):
        try:
            _edit(invocation, target, edit, given)
        except CliError as failed:
            failures.append(failed)
    raise_all(failures)


def split(args: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the words that name objects, and those that say what to change (`key=value`, `key-`)."""
    first = next(
        (i for i, each in enumerate(args) if "=" in each or (each.endswith("-") and i)), len(args)
    )
    return args[:first], args[first:]


def parse(edits: tuple[str, ...], past: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return what to set and what to remove. Raises CliError."""
    setting: dict[str, str] = {}
    removing: list[str] = []
    for each in edits:
        key, equals, value = each.partition("=")
        if equals and key:
            setting[key] = value
        elif each.endswith("-") and len(each) > 1 and not equals:
            removing.append(each[:-1])
        else:
            raise CliError(
                f"unknown {'label' if past == 'labeled' else 'annotation'} format: {each}"
            )
    both = sorted(set(setting) & set(removing))
    if both:
        raise CliError(f"can not both modify and remove the same key: {', '.join(both)}")
    return setting, tuple(removing)


def _edit(invocation: Invocation, target: Target, edit: Edit, given: dict[str, Any]) -> None:
    api = invocation.api
    before = target.object if target.object and not target.source else None
    live = before or api.get(target.resource, target.namespace, target.name)
    present: dict[str, str] = live["metadata"].get(edit.field) or {}
    if given["list_only"]:
        print("\n".join(f"{key}={present[key]}" for key in sorted(present)))
        return
    _refuse_overwriting(edit, present, given["overwrite"])
    done = compute_done(edit, present)
    if given["dry_run"] != "client" and not done.endswith("not " + edit.past):
        query = {"fieldManager": f"kubectl-{edit.field[:-1]}", **dry_run_query(given["dry_run"])}
        live = api.patch(
            target.resource, target.namespace, target.name, edit.patch(), "merge", query
        )
    report(target, done, given["dry_run"], given["output"], live)


def _refuse_overwriting(edit: Edit, present: dict[str, str], overwrite: bool) -> None:
    """Raise CliError, in each command's own words, when values are set already and may not be replaced."""
    clashes = [
        f"'{key}' already has a value ({present[key]})"
        for key, value in edit.setting.items()
        if key in present and present[key] != value
    ]
    if overwrite or not clashes:
        return
    if edit.field == "labels":
        raise CliError(f"{clashes[0]}, and --overwrite is false")
    found = "; ".join(clashes)
    raise CliError(f"--overwrite is false but found the following declared annotation(s): {found}")


def compute_done(edit: Edit, present: dict[str, str]) -> str:
    """Return the word for what the edit does to the keys that are there."""
    if edit.field == "annotations":
        return edit.past
    changes = any(present.get(key) != value for key, value in edit.setting.items())
    removes = any(key in present for key in edit.removing)
    if changes:
        return edit.past
    return "unlabeled" if removes else f"not {edit.past}"
