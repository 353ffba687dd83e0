"""JSON Patch (RFC 6902) by the jsonpatch library, as lenient as upstream's, and with its wording of errors."""

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
    for given in operations:
        _check(given)
        if (operation := _as_meant(given, result)) is None:
            continue
        try:
            result = jsonpatch.apply_patch(result, [operation], in_place=True)
        except jsonpatch.JsonPatchTestFailed as failed:
            raise PatchError(_failed_test(given, result), fits=False) from failed
        except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as wrong:
            raise PatchError(_words(given, result), fits=False) from wrong
    return result


def _as_meant(operation: "dict[str, Any]", document: Any) -> "dict[str, Any] | None":
    """Return the operation as RFC 6902 has it, None where there is nothing to do.

    Upstream's library replaces what is not in a map, and finds null where nothing is.
    """
    holder, key = _find(document, operation["path"])
    if not isinstance(holder, dict) or key in holder:
        return operation
    if operation["op"] == "replace":
        return {**operation, "op": "add"}
    return None if operation["op"] == "test" and operation["value"] is None else operation


def _find(document: Any, path: str) -> "tuple[Any, str]":
    """Return what holds the end of a path, and the key there; (None, "") where the way does not lead so far."""
    if "/" not in path:
        return None, ""
    *above, last = (part.replace("~1", "/").replace("~0", "~") for part in path.split("/")[1:])
    found = document
    for part in above:
        if isinstance(found, dict):
            found = found.get(part)
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            return None, ""
    return (found, last) if isinstance(found, dict | list) else (None, "")


def _check(operation: Any) -> None:
    if not isinstance(operation, dict) or operation.get("op") not in _VERBS:
        given = operation.get("op") if isinstance(operation, dict) else operation
        raise PatchError(f"Unexpected kind: {given}", fits=False)
    if not isinstance(operation.get("path"), str):
        raise PatchError(f"{operation['op']} operation does not apply: missing path", fits=False)
    if operation["op"] in ("add", "replace", "test") and "value" not in operation:
        raise PatchError(f"{operation['op']} operation does not apply: missing value", fits=False)


def _failed_test(operation: "dict[str, Any]", document: Any) -> str:
    path = operation["path"]
    if path and _find(document, path)[0] is None:
        return f"test operation does not apply: is missing path: {path}: missing value"
    return f"testing value {path} failed: test failed"


def _words(operation: "dict[str, Any]", document: Any) -> str:
    """Return why an operation does not fit a document."""
    verb, path, source = operation["op"], operation["path"], operation.get("from", "")
    if verb in ("move", "copy"):
        holder, key = _find(document, source)
        if holder is None:
            return f"{verb} operation does not apply: doc is missing from path: {source}: missing value"
        if isinstance(holder, list) or key not in holder:
            return f"error in {verb} for path: '{key}': {_missing(holder, key)}"
        return f"{verb} operation does not apply: doc is missing destination path: {path}: missing value"
    holder, key = _find(document, path)
    if holder is None:
        named = path if verb in ("replace", "test") else f'"{path}"'
        return f"{verb} operation does not apply: doc is missing path: {named}: missing value"
    if verb == "replace":
        return f"replace operation does not apply: doc is missing key: {path}: missing value"
    return f"error in {verb} for path: '{path}': {_missing(holder, key)}"


def _missing(holder: Any, key: str) -> str:
    if isinstance(holder, dict):
        return f"Unable to remove nonexistent key: {key}: missing value"
    return f"Unable to access invalid index: {key}: invalid index referenced"
