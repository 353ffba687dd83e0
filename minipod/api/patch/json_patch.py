"""JSON Patch (RFC 6902), by the jsonpatch library, with the error wording of upstream's."""

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from minipod.api.patch.errors import PatchError, PatchTooLarge

if TYPE_CHECKING:
    from collections.abc import Sequence

OPERATIONS_LIMIT = 10000
_VERBS = ("add", "remove", "replace", "move", "copy", "test")


def apply_json(original: Any, operations: "Sequence[Any]") -> Any:
    """Return the original with the operations applied, all or none. Raises PatchError."""
    import jsonpatch  # heavy, and rarely needed

    if not isinstance(operations, list):
        raise PatchError(
            "error decoding patch: json: cannot unmarshal object into Go value of type jsonpatch.Patch"
        )
    if len(operations) > OPERATIONS_LIMIT:
        raise PatchTooLarge(
            f"The allowed maximum operations in a JSON patch is {OPERATIONS_LIMIT}, got {len(operations)}"
        )
    result = deepcopy(original)
    for operation in operations:
        _check(operation)
        try:
            result = jsonpatch.apply_patch(result, [operation], in_place=True)
        except jsonpatch.JsonPatchTestFailed:
            raise PatchError(
                f"testing value {operation['path']} failed: test failed", fits=False
            ) from None
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as wrong:
            raise PatchError(_words(operation, wrong), fits=False) from wrong
    return result


def _check(operation: Any) -> None:
    if not isinstance(operation, dict) or operation.get("op") not in _VERBS:
        given = operation.get("op") if isinstance(operation, dict) else operation
        raise PatchError(f"Unexpected kind: {given}", fits=False)
    if not isinstance(operation.get("path"), str):
        raise PatchError(f"{operation['op']} operation does not apply: missing path", fits=False)
    if operation["op"] in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"{operation['op']} operation does not apply: missing value", fits=False)


def _words(operation: "dict[str, Any]", wrong: Exception) -> str:
    path = operation["path"]
    missing = (
        f'doc is missing path: "{path}"'
        if operation["op"] == "add"
        else f"doc is missing key: {path}"
    )
    word = "missing value" if isinstance(wrong, KeyError | LookupError) else str(wrong)
    return f"{operation['op']} operation does not apply: {missing}: {word}"
