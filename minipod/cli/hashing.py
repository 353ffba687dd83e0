"""Names that change with the content (`--append-hash`), the very ones that kubectl and kustomize make."""

import hashlib
import json
from typing import Any

Object = dict[str, Any]
_LENGTH = 10
_LETTERS = str.maketrans({"0": "g", "1": "h", "3": "k", "a": "m", "e": "t"})  # spell no words
# what Go's JSON encoder does not leave as it is
_ESCAPES = {ord(each): f"\\u{ord(each):04x}" for each in "<>&\u2028\u2029"}


def hashed_name(name: str, kind: str, fields: Object) -> str:
    """Return the name of a ConfigMap or Secret with its content's hash appended. Pure."""
    told: Object = {"kind": kind, "name": name, "data": fields.get("data") or {}}
    if kind == "Secret":
        told["type"] = fields.get("type", "")
    if fields.get("binaryData"):
        told["binaryData"] = fields["binaryData"]
    text = json.dumps(told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    digest = hashlib.sha256(text.translate(_ESCAPES).encode()).hexdigest()
    return f"{name}-{digest[:_LENGTH].translate(_LETTERS)}"
