"""`minipod get`: lists as the server's tables, or objects in any of the output formats; and watches of both."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from minipod.cli import options as flags
from minipod.cli.api import TABLE
from minipod.cli.errors import CliError, ServerError, raise_all
from minipod.cli.invocation import Invocation
from minipod.cli.resources import Resource
from minipod.cli.selection import Selection, manifest_targets, words
from minipod.cli.tables import TableOptions, TableWriter, as_table

if TYPE_CHECKING:
    from minipod.cli.api import Api

Object = dict[str, Any]
NO_TYPE = """Required resource not specified.
Use "minipod api-resources" for a complete list of supported resources, and
"minipod explain <resource>" for a detailed description of one (e.g. minipod explain pods)."""


@dataclass(frozen=True)
class GetOptions:
    """The flags of `get`."""

    args: tuple[str, ...]
    filenames: tuple[str, ...]
    recursive: bool
    selector: str
    field_selector: str
    all_namespaces: bool
    output: str
    watch: bool
    watch_only: bool
    output_watch_events: bool
    show_labels: bool
    label_columns: tuple[str, ...]
    show_kind: bool
    show_managed_fields: bool
    no_headers: bool
    sort_by: str
    ignore_not_found: bool
    raw: str

    @property
    def as_table(self) -> bool:
        """Whether the server's tables are wanted."""
        return self.output in ("", "wide")


@dataclass(frozen=True)
class Asked:
    """One request's worth: a resource with one name, or its list ("" name)."""

    resource: Resource
    namespace: str  # "" for all namespaces and for cluster-scoped resources
    name: str = ""

    @property
    def path(self) -> str:
        """The path to ask for."""
        return self.resource.path(self.namespace, self.name)


@flags.command(
    examples="""
    minipod get pods
    minipod get pods -A -o wide
    minipod get pod/nginx secret/password
    minipod get pods -l app=web -w
    minipod get pod nginx -o jsonpath='{.status.podIP}{"\\n"}'
    minipod get pods -o custom-columns=NAME:.metadata.name,IP:.status.podIP --sort-by=.metadata.name
    """
)
@flags.resource_arguments
@flags.files
@flags.selectors
@flags.all_namespaces
@flags.table_output
@flags.flag("-w", "--watch", help="After listing, show changes until interrupted")
@flags.flag("--watch-only", help="Show changes only")
@flags.flag("--output-watch-events", help="With -w: show what kind of change each is")
@flags.flag("--show-labels", help="Add a column of all labels")
@click.option(
    "-L", "--label-columns", multiple=True, metavar="LABEL", help="Add a column for this label"
)
@flags.flag("--show-kind", help="Put the kind before each name")
@flags.flag("--show-managed-fields", help="Keep managedFields in json and yaml")
@flags.flag("--no-headers", help="Leave the headers out")
@click.option("--sort-by", default="", metavar="PATH", help="Sort by this field, as a JSONPath")
@flags.flag("--ignore-not-found", help="Say nothing and succeed when an object does not exist")
@click.option(
    "--raw", default="", metavar="PATH", help="Print what the server answers at this path"
)
@flags.pass_invocation
def command(invocation: Invocation, **given: Any) -> None:
    """List objects as a table, or print them in full.

    TYPE is a kind's name in any of its forms (pods, pod, po), several joined by commas, or `all`. With names, only
    those objects are shown.
    """
    options = GetOptions(**given)
    if options.raw:
        sys.stdout.write(invocation.api.get_text(options.raw))
        return
    asked = list(_asked(invocation, options))
    if options.watch or options.watch_only:
        _watch(invocation.api, asked, options)
    elif options.as_table:
        _print_tables(invocation, asked, options)
    else:
        _print_objects(invocation.api, asked, options)


def _asked(invocation: Invocation, options: GetOptions) -> Iterator[Asked]:
    if options.filenames:
        selection = Selection(filenames=options.filenames, recursive=options.recursive)
        for target in manifest_targets(invocation, selection):
            yield Asked(target.resource, target.namespace, target.name)
        return
    if not options.args:
        raise CliError(NO_TYPE)
    for resource, names in words(invocation.api, options.args):
        if names and options.all_namespaces:
            raise CliError("a resource cannot be retrieved by name across all namespaces")
        if names and (options.selector or options.field_selector):
            raise CliError("name cannot be provided when a selector is specified")
        everywhere = options.all_namespaces or not resource.namespaced
        namespace = "" if everywhere else invocation.namespace
        yield from (Asked(resource, namespace, each) for each in names or [""])


def _query(options: GetOptions) -> dict[str, str]:
    given = {"labelSelector": options.selector, "fieldSelector": options.field_selector}
    return {key: value for key, value in given.items() if value}


def _fetch(
    api: "Api", asked: list[Asked], options: GetOptions, accept: str
) -> Iterator[tuple[Asked, Object]]:
    """Yield what the server has; what it has not is raised once everything else was yielded."""
    query = _query(options)
    if accept and options.sort_by:
        query["includeObject"] = "Object"
    failures: list[CliError] = []
    for each in asked:
        try:
            yield each, api.get_path(each.path, {} if each.name and not accept else query, accept)
        except ServerError as failed:
            if not (options.ignore_not_found and failed.reason == "NotFound"):
                failures.append(failed)
    raise_all(failures)


# ---- tables


def _writers(resources: list[Resource], options: GetOptions) -> dict[Resource, TableWriter]:
    mixed = options.show_kind or len(resources) > 1
    writers = {}
    for resource in resources:
        shown = TableOptions(
            wide=options.output == "wide",
            headers=not options.no_headers,
            with_namespace=options.all_namespaces and resource.namespaced,
            show_labels=options.show_labels,
            label_columns=tuple(one for each in options.label_columns for one in each.split(",")),
            show_kind=mixed,
            show_events=options.output_watch_events,
        )
        writers[resource] = TableWriter(shown, resource.qualified)
    return writers


def _print_tables(invocation: Invocation, asked: list[Asked], options: GetOptions) -> None:
    tables: dict[Resource, Object] = {}
    failed: CliError | None = None
    try:
        for each, found in _fetch(invocation.api, asked, options, TABLE):
            table = as_table(found)
            known = tables.setdefault(each.resource, {**table, "rows": []})
            known["rows"] = [*known["rows"], *(table.get("rows") or [])]
    except CliError as error:
        failed = error
    writers = _writers(list(tables), options)
    texts = [writers[resource].text(_sorted(table, options)) for resource, table in tables.items()]
    sys.stdout.write("\n".join(each for each in texts if each))
    if failed is not None:
        raise failed
    if not any(texts) and not options.ignore_not_found:
        _say_nothing_found(invocation, asked, options)


def _say_nothing_found(invocation: Invocation, asked: list[Asked], options: GetOptions) -> None:
    namespaced = any(each.resource.namespaced for each in asked) and not options.all_namespaces
    where = f" in {invocation.namespace} namespace." if namespaced else ""
    print(f"No resources found{where}", file=sys.stderr)


def _sorted(table: Object, options: GetOptions) -> Object:
    if not options.sort_by:
        return table
    rows = sorted(
        table["rows"], key=lambda row: _sort_key(row.get("object") or {}, options.sort_by)
    )
    return {**table, "rows": rows}


def _sort_key(obj: Object, path: str) -> tuple[int, float, str]:
    """Order numbers as numbers, everything else as text, what has no such field first."""
    from minipod.cli.jsonpath import parse_path, text_of

    values = parse_path(path).values(obj)
    if not values:
        return 0, 0.0, ""
    if isinstance(values[0], int | float) and not isinstance(values[0], bool):
        return 1, float(values[0]), ""
    return 2, 0.0, text_of(values[0])


# ---- objects


def _print_objects(api: "Api", asked: list[Asked], options: GetOptions) -> None:
    from minipod.cli.formats import printer

    to_text = printer(
        options.output, managed_fields=options.show_managed_fields, headers=not options.no_headers
    )
    objects: list[Object] = []
    failed: CliError | None = None
    try:
        for each, found in _fetch(api, asked, options, ""):
            objects += _items(each, found)
    except CliError as error:
        failed = error
    if options.sort_by:
        objects.sort(key=lambda obj: _sort_key(obj, options.sort_by))
    single = len(asked) == 1 and asked[0].name
    if objects or not (single or failed):
        sys.stdout.write(to_text(objects[0] if single else as_list(objects)))
    if failed is not None:
        raise failed


def _items(asked: Asked, found: Object) -> list[Object]:
    if asked.name:
        return [found]
    kind = {"apiVersion": asked.resource.api_version, "kind": asked.resource.kind}
    return [{**kind, **each} for each in found.get("items") or []]


def as_list(objects: list[Object]) -> Object:
    """Return objects as the List that kubectl prints."""
    return {
        "apiVersion": "v1",
        "items": objects,
        "kind": "List",
        "metadata": {"resourceVersion": ""},
    }


# ---- watches


def _watch(api: "Api", asked: list[Asked], options: GetOptions) -> None:
    if len(asked) != 1:
        raise CliError("you may only specify a single resource type to watch")
    target = asked[0]
    path = target.resource.path(target.namespace)
    query = _query(options)
    if target.name:
        query["fieldSelector"] = f"metadata.name={target.name}"
    show = _table_shower(asked, options) if options.as_table else _object_shower(options)
    accept = TABLE if options.as_table else ""
    if target.name:
        api.get_path(target.path)  # NotFound is an error, not something to wait for
    listed = api.get_path(path, query, accept)
    if not options.watch_only:
        show("ADDED", listed)
    query["resourceVersion"] = (listed.get("metadata") or {}).get("resourceVersion", "")
    for event in api.watch(path, query, accept=accept):
        if event["type"] != "BOOKMARK":
            show(event["type"], event["object"])


def _table_shower(asked: list[Asked], options: GetOptions) -> Any:
    writer = _writers([asked[0].resource], options)[asked[0].resource]

    def show(event: str, found: Object) -> None:
        sys.stdout.write(writer.text(as_table(found), event))
        sys.stdout.flush()

    return show


def _object_shower(options: GetOptions) -> Any:
    from minipod.cli.formats import items_of, printer

    to_text = printer(
        options.output, managed_fields=options.show_managed_fields, headers=not options.no_headers
    )
    between = "---\n" if options.output == "yaml" else ""
    before = ""

    def show(event: str, found: Object) -> None:
        nonlocal before
        for each in items_of(found):
            shown = {"object": each, "type": event} if options.output_watch_events else each
            sys.stdout.write(before + to_text(shown))
            before = between
        sys.stdout.flush()

    return show
