"""What makes an object valid: upstream's rules, field paths and wording, one file per kind or part of a Pod.

Nothing here changes an object. Structure has been checked before (`schema`): fields have the right types.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

from minipod.api.defaults import apply_defaults
from minipod.api.field import Cause
from minipod.api.kind import Kind
from minipod.api.validation.metadata import validate_metadata, validate_metadata_update

Object = dict[str, Any]
Rules = Callable[[Object, Object], list[Cause]]  # of the new and the old object


def validate_create(kind: Kind, obj: Object) -> list[Cause]:
    """Return what is wrong with a new, defaulted object; nothing when it may be stored."""
    return [*validate_metadata(kind, obj), *kind.hooks.validate_create(obj)]


def validate_update(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with replacing `old` by `new`."""
    return _added(kind, new, old, _with_metadata(kind, kind.hooks.validate_update))


def validate_status_update(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with replacing the status of `old` by that of `new`."""
    return _added(kind, new, old, _with_metadata(kind, kind.hooks.validate_status_update))


def validate_form_update(kind: Kind, new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with a change in the form of a kind that is stored as another, which judges the rest."""
    return _added(kind, new, old, kind.hooks.validate_update)


def _with_metadata(kind: Kind, rules: Rules) -> Rules:
    return lambda new, old: [*validate_metadata_update(kind, new, old), *rules(new, old)]


def _added(kind: Kind, new: Object, old: Object, rules: Rules) -> list[Cause]:
    """Return what a change makes wrong: rules and defaults may be younger than the object.

    What is wrong with it as it is stored is not held against its change, or nobody could label it, tell its status or
    take its finalizers.
    """
    if not rules(new, old):
        return []
    stored = deepcopy(old)
    apply_defaults(kind, stored)
    known = set(rules(stored, stored))
    return [cause for cause in rules(new, stored) if cause not in known]
