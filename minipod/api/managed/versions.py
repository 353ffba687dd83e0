"""A change of an object that is served in several versions, as each of them has it: fields differ in name and place.

Each manager's fields are kept in the version that it wrote by, and compared in that one (structured-merge-diff's
Updater does the same).
"""

from typing import Any

from minipod.api import kinds
from minipod.api.kind import Kind
from minipod.api.managed import fieldset
from minipod.api.managed.fieldset import Fields
from minipod.api.managed.shape import empty_object, shape_of
from minipod.api.managed.typed import Comparison, MergeError, compare

Object = dict[str, Any]


class Change:
    """What a writer changes between two states of an object (`old` None: all that the new one sets).

    `kind` is whose form both are in; `ignored` is what no set of this writer holds; `whole` says that the old one has
    what its kind always has, as an update sees it.
    """

    def __init__(
        self, kind: Kind, old: Object | None, new: Object, ignored: Fields, *, whole: bool
    ) -> None:
        self._kind, self._old, self._new = kind, old, new
        self._ignored, self._whole = ignored, whole
        self._known: dict[str, Comparison] = {}

    def by(self, api_version: str) -> Comparison:
        """Return the change in a version's fields, or in the form it was given in when that is served no more.

        Raises MergeError when the form it was given in cannot be compared.
        """
        kind = _sibling(self._kind, api_version)
        known = self._known.get(kind.api_version)
        if known is None:
            known = self._known[kind.api_version] = self._compared(kind)
        return known

    def _compared(self, kind: Kind) -> Comparison:
        old = _in_form(kind, self._kind, self._old) if self._old is not None else {}
        new = _in_form(kind, self._kind, self._new)
        if self._whole:
            old = {**empty_object(kind.schema_name), **old}
        try:
            changes = compare(shape_of(kind.schema_name), old, new)
        except MergeError:
            if kind == self._kind:
                raise
            return self.by(self._kind.api_version)
        return Comparison(
            fieldset.without_all(_leaves_of_metadata(changes.added), self._ignored),
            fieldset.without_all(_leaves_of_metadata(changes.modified), self._ignored),
            changes.removed,
        )


def _sibling(kind: Kind, api_version: str) -> Kind:
    """Return another version of a kind, the kind itself where that version has no such objects."""
    if api_version == kind.api_version:
        return kind
    try:
        other = kinds.by_kind(api_version, kind.kind)
        return other if kinds.stored_kind(other) == kinds.stored_kind(kind) else kind
    except kinds.UnknownKind:
        return kind


def _in_form(wanted: Kind, given: Kind, obj: Object) -> Object:
    if wanted == given:
        return obj
    stored = obj if given.stored_as is None else given.hooks.to_stored(obj)
    return stored if wanted.stored_as is None else wanted.hooks.from_stored(stored)


def _leaves_of_metadata(fields: Fields) -> Fields:
    """Return the set without `metadata` itself, which nobody owns."""
    below = fields.get("f:metadata")
    if below is None or fieldset.SELF not in below:
        return fields
    rest = {key: node for key, node in below.items() if key != fieldset.SELF}
    return {**fields, "f:metadata": rest}
