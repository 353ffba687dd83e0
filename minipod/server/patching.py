"""The three patch types over one object."""

from typing import Any

from minipod.api import patch
from minipod.api.kind import Kind
from minipod.client import Object, PatchType


def apply_patch(kind: Kind, patch_type: PatchType, old: Object, body: Any) -> Object:
    """Return a patched copy of `old`. Raises StatusError: BadRequest, or Invalid when it cannot be applied."""
    return patch.apply(kind, patch_type, old, body)
