"""One object, several versions or groups: it is stored as one kind, and each other kind is a view of it.

What a kind declares is `stored_as` and its hooks `to_stored` and `from_stored`. Defaults are those of the version
that a request speaks; strategy and validation are those of the kind that is stored, as upstream's are those of its
internal type.
"""

from minipod.api.kind import Kind
from minipod.api.kinds import stored_kind
from minipod.client import Object
from minipod.server import wire


def to_stored(kind: Kind, obj: Object) -> Object:
    """Return an object of `kind` as it is stored. May share parts with the argument."""
    return obj if kind.stored_as is None else _typed(stored_kind(kind), kind.hooks.to_stored(obj))


def from_stored(kind: Kind, obj: Object) -> Object:
    """Return a stored object as `kind`. May share parts with the argument."""
    return obj if kind.stored_as is None else _typed(kind, kind.hooks.from_stored(obj))


def presented(kind: Kind, value: bytes) -> bytes:
    """Return an encoded stored object as `kind`, encoded: the very bytes for a kind that is stored as itself."""
    if kind.stored_as is None:
        return value
    return wire.encode(from_stored(kind, wire.decode(value)))


def _typed(kind: Kind, obj: Object) -> Object:
    rest = {name: value for name, value in obj.items() if name not in ("kind", "apiVersion")}
    return {"kind": kind.kind, "apiVersion": kind.api_version, **rest}
