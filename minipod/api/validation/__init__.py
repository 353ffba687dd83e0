"""What makes an object valid: upstream's rules, field paths and wording, one file per kind or part of a Pod.

Nothing here changes an object. Structure has been checked before (`schema`): fields have the right types.
"""

from typing import Any

from minipod.api.field import Cause
from minipod.api.kind import Kind
from minipod.api.validation.metadata import validate_metadata, validate_metadata_update

Object = dict[str, Any]


def validate_create(kind: Kind, obj: Object) -> list[Cause]:
    """Return what is wrong with a new, defaulted object; nothing when it may be stored."""
    return [*validate_metadata(kind, obj), *kind.hooks.validate_create(obj)]


def validate_update(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with replacing `old` by `new`."""
    return [*validate_metadata_update(kind, new, old), *kind.hooks.validate_update(new, old)]


def validate_status_update(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with replacing the status of `old` by that of `new`."""
    return [*validate_metadata_update(kind, new, old), *kind.hooks.validate_status_update(new, old)]
