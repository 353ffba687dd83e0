"""Kinds and their names: the built-in ones from a table, all others from the server's discovery.

The table saves `minipod get pods` a round trip; a name that it does not have is looked up, so that whatever the
server learns to serve can be typed at once.
"""

import contextlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from minipod.cli.errors import CliError, ServerError

if TYPE_CHECKING:
    from minipod.cli.api import Api

Object = dict[str, Any]
ALL_VERBS = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """One kind as the API serves it."""

    plural: str
    singular: str
    kind: str
    short_names: tuple[str, ...] = ()
    namespaced: bool = True
    group: str = ""
    version: str = "v1"
    verbs: tuple[str, ...] = ALL_VERBS
    categories: tuple[str, ...] = ()

    @property
    def api_version(self) -> str:
        """`v1`, or `apps/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def qualified(self) -> str:
        """The singular name with its group, as printed before a slash: `pod`, `deployment.apps`."""
        lower = self.kind.lower()
        return f"{lower}.{self.group}" if self.group else lower

    @property
    def qualified_plural(self) -> str:
        """The plural name with its group: `pods`, `deployments.apps`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of one object, or of its subresource."""
        path = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        if self.namespaced and namespace:
            path += f"/namespaces/{quote(namespace)}"
        path += f"/{self.plural}"
        if name:
            path += f"/{quote(name)}"
        return f"{path}/{subresource}" if subresource else path


PODS = Resource("pods", "pod", "Pod", ("po",), categories=("all",))
NAMESPACES = Resource("namespaces", "namespace", "Namespace", ("ns",), namespaced=False)
NODES = Resource("nodes", "node", "Node", ("no",), namespaced=False)
LEASES = Resource("leases", "lease", "Lease", group="coordination.k8s.io")
EVENTS = Resource("events", "event", "Event", ("ev",))
SECRETS = Resource("secrets", "secret", "Secret")
CONFIGMAPS = Resource("configmaps", "configmap", "ConfigMap", ("cm",))
SERVICEACCOUNTS = Resource("serviceaccounts", "serviceaccount", "ServiceAccount", ("sa",))
BUILT_IN = (PODS, NAMESPACES, NODES, EVENTS, SECRETS, CONFIGMAPS, SERVICEACCOUNTS)


def quote(part: str) -> str:
    """Return one path segment, percent-encoded."""
    from urllib.parse import quote as percent

    plain = part.isascii() and part.replace("-", "").replace(".", "").isalnum()
    return part if plain else percent(part, safe="")


def find(api: "Api", word: str) -> list[Resource]:
    """Return what `word` means: a plural, singular or short name, a kind, or a category such as `all`.

    Raises CliError when the server has nothing of that name.
    """
    lower = word.lower()
    if lower == "all":
        return [each for each in api.discovered() if "all" in each.categories]
    for resource in BUILT_IN:
        if _named(resource, lower):
            return [resource]
    for resource in api.discovered():
        if _named(resource, lower):
            return [resource]
    raise CliError(f'the server doesn\'t have a resource type "{word}"')


def find_kind(api: "Api", api_version: str, kind: str) -> Resource | None:
    """Return the resource of a manifest's `apiVersion` and `kind`, or None when the server has none."""
    core = api_version == "v1" and any(each.kind == kind for each in BUILT_IN)
    known: Iterable[Resource] = BUILT_IN if core else api.discovered()
    resource = _of(known, api_version, kind)
    if resource is None and "/" in api_version:  # a version that its group does not prefer
        with contextlib.suppress(ServerError):
            resource = _of(_served(api, api_version), api_version, kind)
    return resource


def _of(known: Iterable[Resource], api_version: str, kind: str) -> Resource | None:
    of_kind = (each for each in known if each.kind == kind)
    return next((each for each in of_kind if each.api_version == api_version), None)


def _named(resource: Resource, word: str) -> bool:
    names = (resource.plural, resource.singular, resource.kind.lower(), *resource.short_names)
    if word in names:
        return True
    name, _, rest = word.partition(".")
    return name in names and rest.rstrip(".") in _qualifiers(resource)


def _qualifiers(resource: Resource) -> tuple[str, ...]:
    version = resource.version
    if not resource.group:
        return (version,)
    return resource.group, f"{version}.{resource.group}"


def discover(api: "Api") -> Iterator[Resource]:
    """Yield every resource the server serves, subresources left out, core group first.

    Each in one version: its group's preferred one, or else the first that has it.
    """
    yield from _parse(api.get_path("/api/v1"))
    try:
        groups = api.get_path("/apis").get("groups") or []
    except ServerError:
        return
    for group in groups:
        versions = [group.get("preferredVersion") or {}, *(group.get("versions") or [])]
        known: set[str] = set()
        for version in dict.fromkeys(each.get("groupVersion", "") for each in versions):
            found = _served(api, version) if version else []
            yield from (each for each in found if each.plural not in known)
            known |= {each.plural for each in found}


def _served(api: "Api", group_version: str) -> list[Resource]:
    return list(_parse(api.get_path(f"/apis/{group_version}")))


def _parse(listed: Object) -> Iterator[Resource]:
    group, _, version = str(listed.get("groupVersion", "v1")).rpartition("/")
    for each in listed.get("resources") or []:
        if "/" in each["name"]:
            continue
        yield Resource(
            plural=each["name"],
            singular=each.get("singularName") or each["kind"].lower(),
            kind=each["kind"],
            short_names=tuple(each.get("shortNames") or ()),
            namespaced=bool(each.get("namespaced")),
            group=each.get("group") or group,
            version=each.get("version") or version,
            verbs=tuple(each.get("verbs") or ()),
            categories=tuple(each.get("categories") or ()),
        )


def parse_json(text: bytes | str, what: str) -> Any:
    """Return parsed JSON. Raises CliError naming `what` when it is none."""
    try:
        return json.loads(text)
    except ValueError as bad:
        raise CliError(f"{what} is not JSON: {bad}") from bad
