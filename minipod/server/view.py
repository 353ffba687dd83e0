"""The server's own look at what is committed: decoded objects, kept until their kind changes.

For decisions that many requests ask for. What is returned is shared: nobody may change it.
"""

from minipod.api import kinds
from minipod.client import Object
from minipod.server import keys, wire
from minipod.store import Store

_KEPT = 64  # lists


class View:
    """Reads one store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lists: dict[str, tuple[int, list[Object]]] = {}

    def get(self, resource: str, namespace: str, name: str) -> Object | None:
        """Return an object, None when there is none."""
        key = keys.object_key(kinds.by_resource(resource), namespace, name)
        entry = self._store.get(key)
        return None if entry is None else wire.stored(entry)

    def any(self, resource: str, namespace: str = "") -> bool:
        """Whether there is any object of a resource in a namespace."""
        prefix = keys.prefix(kinds.by_resource(resource), namespace)
        return bool(self._store.list(prefix, limit=1).entries)

    def list(self, resource: str, namespace: str = "") -> list[Object]:
        """Return the objects of a resource, of one namespace or ("") of all."""
        kind = kinds.by_resource(resource)
        prefix = keys.prefix(kind, namespace)
        changed = self._store.changed(f"/{kind.stored_resource}/")
        known = self._lists.get(prefix)
        if known is not None and known[0] == changed:
            return known[1]
        found = [wire.stored(entry) for entry in self._store.list(prefix).entries]
        while len(self._lists) >= _KEPT:
            del self._lists[next(iter(self._lists))]
        self._lists[prefix] = (changed, found)
        return found
