"""The registry of kinds: open at run time, so that a kind is a declaration and never a change of the server."""

from minipod.api.access import ACCESS
from minipod.api.core import KINDS
from minipod.api.declared import DECLARED
from minipod.api.kind import Kind

_by_kind: dict[tuple[str, str], Kind] = {}
_by_path: dict[tuple[str, str, str], Kind] = {}
_by_resource: dict[str, Kind] = {}


_revision = 0


class UnknownKind(LookupError):
    """No such kind or resource is served."""


def register(kind: Kind) -> None:
    """Serve a kind from now on; a kind of the same name and version is replaced.

    Of several versions of one kind, the first registered is the one that `by_resource` finds.
    """
    _changed()
    _by_kind[kind.api_version, kind.kind] = kind
    _by_path[kind.group, kind.version, kind.plural] = kind
    known = _by_resource.get(kind.resource)
    if known is None or known.version == kind.version:
        _by_resource[kind.resource] = kind


def unregister(kind: Kind) -> None:
    """Serve a kind no longer. Forgetting one that is not there is no error."""
    _changed()
    _by_kind.pop((kind.api_version, kind.kind), None)
    _by_path.pop((kind.group, kind.version, kind.plural), None)
    if _by_resource.get(kind.resource) == kind:
        del _by_resource[kind.resource]
        for other in list(_by_kind.values()):
            if other.resource == kind.resource:
                _by_resource.setdefault(other.resource, other)


def revision() -> int:
    """Return a number that changes whenever the kinds do."""
    return _revision


def _changed() -> None:
    global _revision
    _revision += 1


def by_resource(resource: str) -> Kind:
    """Return the kind of a plural name with its group (`pods`, `deployments.apps`). Raises UnknownKind."""
    try:
        return _by_resource[resource]
    except KeyError:
        raise UnknownKind(f'no resource "{resource}" is served') from None


def by_kind(api_version: str, kind: str) -> Kind:
    """Return the kind of an object's apiVersion and kind. Raises UnknownKind."""
    try:
        return _by_kind[api_version, kind]
    except KeyError:
        raise UnknownKind(f'no matches for kind "{kind}" in version "{api_version}"') from None


def by_path(group: str, version: str, plural: str) -> Kind:
    """Return the kind served at a path (`/api/v1/pods`: "", "v1", "pods"). Raises UnknownKind."""
    try:
        return _by_path[group, version, plural]
    except KeyError:
        raise UnknownKind(f'no resource "{plural}" is served in "{group}/{version}"') from None


def stored_kind(kind: Kind) -> Kind:
    """Return the kind that keeps the objects of `kind`: itself, nearly always."""
    return kind if kind.stored_as is None else by_path(*kind.stored_as)


def all_kinds() -> list[Kind]:
    """Return every kind served, in the order of registration."""
    return list(_by_kind.values())


for _kind in (*KINDS, *DECLARED, *ACCESS):
    register(_kind)
