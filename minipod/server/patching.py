"""The three patch types over one object: which function, and which status its failure is."""

from typing import Any

from minipod.api.errors import bad_request, status_error
from minipod.api.kind import Kind
from minipod.api.patch import PatchError, apply_json, apply_merge, apply_strategic
from minipod.client import Object, PatchType
from minipod.server import wire


def apply_patch(kind: Kind, patch_type: PatchType, old: Object, body: Any) -> Any:
    """Return a patched copy of `old`, sharing nothing with it.

    Raises StatusError: BadRequest for a malformed patch, Invalid for one that does not fit the object.
    """
    try:
        return wire.copy(_patched(kind, patch_type, old, body))
    except PatchError as error:
        if error.fits:
            raise bad_request(str(error)) from error
        details = {"name": old["metadata"]["name"], "kind": kind.plural}
        message = f"the server rejected our request due to an error in our request: {error}"
        raise status_error(422, "Invalid", message, details) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise bad_request(f"the patch cannot be applied: {error}") from error


def _patched(kind: Kind, patch_type: PatchType, old: Object, body: Any) -> Any:
    if patch_type == "json":
        return apply_json(wire.copy(old), body)
    if not isinstance(body, dict):
        raise PatchError("the patch must be an object")
    if patch_type == "strategic" and kind.schema_name:
        return apply_strategic(kind.schema_name, old, body)
    return apply_merge(old, body)
