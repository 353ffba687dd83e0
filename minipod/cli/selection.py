"""Which objects a command means: TYPE NAME..., TYPE/NAME..., -l, --all, or the objects of -f."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from minipod.cli.errors import CliError, ServerError
from minipod.cli.resources import Resource, find, find_kind

if TYPE_CHECKING:
    from minipod.cli.api import Api
    from minipod.cli.invocation import Invocation
    from minipod.cli.manifests import Manifest

Object = dict[str, Any]
NOTHING_GIVEN = """You must provide one or more resources by argument or filename.
Example resource specifications include:
   '-f rsrc.yaml'
   '--filename=rsrc.json'
   '<resource> <name>'
   '<resource>'"""


@dataclass(frozen=True)
class Target:
    """One object to act on. `object` is what a manifest or a list said, when one did."""

    resource: Resource
    namespace: str
    name: str
    source: str = ""
    object: Object | None = field(default=None, repr=False)

    @property
    def label(self) -> str:
        """`pod/x`, as kubectl prints it."""
        return f"{self.resource.qualified}/{self.name}"

    def path(self) -> str:
        """The object's path."""
        return self.resource.path(self.namespace, self.name)


@dataclass(frozen=True)
class Selection:
    """The arguments and flags by which a command line names objects."""

    args: tuple[str, ...] = ()
    filenames: tuple[str, ...] = ()
    recursive: bool = False
    selector: str = ""
    field_selector: str = ""
    all: bool = False
    all_namespaces: bool = False

    def query(self) -> dict[str, str]:
        """Return the query parameters of the selectors."""
        given = {"labelSelector": self.selector, "fieldSelector": self.field_selector}
        return {key: value for key, value in given.items() if value}


def words(api: "Api", args: tuple[str, ...]) -> list[tuple[Resource, list[str]]]:
    """Return the resources typed, each with its names (none: all of them). Raises CliError."""
    if any("/" in each for each in args):
        return _slashed(api, args)
    kinds = [each for word in args[0].split(",") if word for each in find(api, word)]
    unique = list(dict.fromkeys(kinds))
    return [(each, list(dict.fromkeys(args[1:]))) for each in unique]


def _slashed(api: "Api", args: tuple[str, ...]) -> list[tuple[Resource, list[str]]]:
    found: list[tuple[Resource, list[str]]] = []
    for arg in args:
        kind, slash, name = arg.partition("/")
        if not slash:
            raise CliError(
                "there is no need to specify a resource type as a separate argument when passing arguments in "
                "resource/name form (e.g. 'minipod get resource/<resource_name>' instead of "
                "'minipod get resource resource/<resource_name>'"
            )
        if not kind or not name or "/" in name:
            raise CliError(
                f"arguments in resource/name form must have a single resource and name: {arg}"
            )
        found += [(resource, [name]) for resource in find(api, kind)]
    return found


def targets(invocation: "Invocation", selection: Selection) -> Iterator[Target]:
    """Yield the objects a command is to act on. Raises CliError when the command line names none."""
    if selection.filenames:
        if selection.args:
            raise CliError(
                "when paths, URLs, or stdin is provided as input, you may not specify resource arguments as well"
            )
        yield from manifest_targets(invocation, selection)
        return
    if not selection.args:
        raise CliError(NOTHING_GIVEN)
    for resource, names in words(invocation.api, selection.args):
        yield from _named_or_listed(invocation, selection, resource, names)


def _named_or_listed(
    invocation: "Invocation", selection: Selection, resource: Resource, names: list[str]
) -> Iterator[Target]:
    namespace = invocation.namespace if resource.namespaced else ""
    listing = selection.query() or selection.all
    if names and listing:
        flag = "a selector" if selection.query() else "--all"
        raise CliError(f"name cannot be provided when {flag} is specified")
    if names and selection.all_namespaces:
        raise CliError("a resource cannot be retrieved by name across all namespaces")
    if not names and not listing:
        raise CliError("resource(s) were provided, but no name was specified")
    if names:
        yield from (Target(resource, namespace, each) for each in names)
        return
    where = "" if selection.all_namespaces else namespace
    yield from listed(invocation.api, resource, where, selection.query())


def listed(
    api: "Api", resource: Resource, namespace: str, query: dict[str, str]
) -> Iterator[Target]:
    """Yield the objects of one list request."""
    for item in api.list(resource, namespace, query).get("items") or []:
        item = {"apiVersion": resource.api_version, "kind": resource.kind, **item}
        metadata = item["metadata"]
        yield Target(resource, metadata.get("namespace", ""), metadata["name"], object=item)


def manifest_targets(invocation: "Invocation", selection: Selection) -> list[Target]:
    """Return the objects of -f. Raises CliError for kinds that the server does not have."""
    from minipod.cli.manifests import read_all

    return [
        manifest_target(invocation, each)
        for each in read_all(selection.filenames, selection.recursive)
    ]


def manifest_target(invocation: "Invocation", manifest: "Manifest") -> Target:
    """Return a manifest's object with its namespace filled in. Raises CliError when it contradicts -n."""
    obj = manifest.object
    resource = find_kind(invocation.api, obj["apiVersion"], obj["kind"])
    metadata = obj.get("metadata") or {}
    name = str(metadata.get("name") or "")
    if resource is None:
        raise CliError(
            f'resource mapping not found for name: "{name}" namespace: "{metadata.get("namespace", "")}" from '
            f'"{manifest.source}": no matches for kind "{obj["kind"]}" in version "{obj["apiVersion"]}"'
        )
    if not resource.namespaced:
        return Target(resource, "", name, manifest.source, obj)
    own = str(metadata.get("namespace") or "")
    if own and invocation.given_namespace and own != invocation.given_namespace:
        raise CliError(
            f'the namespace from the provided object "{own}" does not match the namespace '
            f"\"{invocation.given_namespace}\". You must pass '--namespace={own}' to perform this operation."
        )
    namespace = own or invocation.namespace
    obj = {**obj, "metadata": {**metadata, "namespace": namespace}}
    return Target(resource, namespace, name, manifest.source, obj)


def existing(api: "Api", target: Target) -> Object | None:
    """Return the live object, or None when there is none."""
    try:
        return api.get(target.resource, target.namespace, target.name)
    except ServerError as failed:
        if failed.reason == "NotFound":
            return None
        raise
