"""The three kinds of patch, and the computation behind client-side apply: pure functions that change no argument.

Light to import: the command line computes its patches here.
"""

from typing import TYPE_CHECKING, Any

from minipod.api.patch.errors import PatchError, PatchTooLarge
from minipod.api.patch.json_patch import apply_json
from minipod.api.patch.merge import apply_merge
from minipod.api.patch.strategic import apply_strategic
from minipod.api.patch.three_way import three_way

if TYPE_CHECKING:
    from minipod.api.kind import Kind

__all__ = ["PatchError", "apply", "apply_json", "apply_merge", "apply_strategic", "three_way"]


def apply(kind: "Kind", patch_type: str, old: dict[str, Any], patch: Any) -> dict[str, Any]:
    """Return `old` with a patch of type "json", "merge" or "strategic" applied; `old` is not changed.

    Raises StatusError: BadRequest, Invalid (a JSON patch that does not fit), RequestEntityTooLarge,
    UnsupportedMediaType (a strategic patch of a kind without a schema).
    """
    from minipod.api import errors

    try:
        if patch_type == "json":
            return _object(apply_json(old, patch))
        if patch_type == "merge":
            return _object(apply_merge(old, patch))
        if not kind.schema_name:
            accepted = ("application/json-patch+json", "application/merge-patch+json")
            raise errors.unsupported_media_type(accepted)
        return apply_strategic(kind.schema_name, old, patch)
    except PatchTooLarge as large:
        raise errors.too_large(str(large)) from large
    except PatchError as wrong:
        raise (
            errors.bad_request(str(wrong)) if wrong.fits else errors.unprocessable(str(wrong))
        ) from wrong


def _object(patched: Any) -> dict[str, Any]:
    if not isinstance(patched, dict):
        raise PatchError("the patched document is not an object")
    return patched
