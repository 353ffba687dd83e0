"""What a list, watch or deletecollection is about: a prefix of keys and a predicate over objects."""

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

from minipod.api.errors import bad_request
from minipod.api.kind import Kind
from minipod.api.selectors import (
    SelectorError,
    compile_selectors,
    parse_fields,
    parse_labels,
)
from minipod.client import Object, Request
from minipod.server import conversion, keys, wire

Predicate = Callable[[Object], bool]


@dataclass(frozen=True)
class Selection:
    """`single` says that `prefix` is the key of one object; `selected` is None when everything is."""

    kind: Kind
    prefix: str
    single: bool
    selected: Predicate | None


def select(kind: Kind, request: Request) -> Selection:
    """Read namespace and selectors of a request. Raises BadRequest."""
    try:
        labels = parse_labels(request.options.get("labelSelector", ""))
        fields = parse_fields(request.options.get("fieldSelector", ""), kind)
    except SelectorError as error:
        raise bad_request(str(error)) from error
    predicate = _as_seen(kind, compile_selectors(kind, labels, fields))
    name = request.name or fields.required("metadata.name")
    namespace = request.namespace
    if kind.namespaced:
        namespace = namespace or fields.required("metadata.namespace") or ""
    if name and (namespace or not kind.namespaced) and "/" not in name:
        return Selection(kind, keys.object_key(kind, namespace, name), True, predicate)
    if "/" in namespace:
        raise bad_request(f'namespace "{namespace}" is not a name')
    return Selection(kind, keys.prefix(kind, namespace), False, predicate)


def _as_seen(kind: Kind, predicate: Predicate | None) -> Predicate | None:
    """Return the predicate over stored objects: selectors speak of the kind that the caller sees."""
    if predicate is None or kind.stored_as is None:
        return predicate
    return lambda obj: predicate(conversion.from_stored(kind, obj))


class SharedDecoder:
    """Decodes a version once for all the predicates that look at it: soon after it was written, so few are kept.

    What it returns must not be changed, and lacks managedFields, which no predicate looks at.
    """

    def __init__(self, size: int = 32) -> None:
        self._size = size
        self._decoded: OrderedDict[int, Object] = OrderedDict()

    def object(self, revision: int, value: bytes) -> Object:
        """Return the object that `revision` wrote."""
        found = self._decoded.get(revision)
        if found is None:
            found = self._decoded[revision] = wire.decode(value)
            found.get("metadata", {}).pop("managedFields", None)
            if len(self._decoded) > self._size:
                self._decoded.popitem(last=False)
        return found
