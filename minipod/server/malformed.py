"""What a sender is told whose body cannot be read: in Go's words for JSON, and in upstream's for the request's verb.

Scripts and people meet these texts in kubectl's output (apiserver's transformDecodeError, encoding/json's scanner).
"""

import json
import re

from minipod.api.errors import StatusError, bad_request
from minipod.api.kind import Kind
from minipod.client import PatchType

_SUMMARY = 30  # bytes of a body that are shown
_END = "unexpected end of JSON input"
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_HEXADECIMAL = re.compile(r"\\u[0-9a-fA-F]{0,3}(?![0-9a-fA-F])")
# What Python's decoder calls a mistake, and what Go's scanner was doing then.
_DOING = {
    "Expecting value": "looking for beginning of value",
    "Expecting property name enclosed in double quotes": "looking for beginning of object key string",
    "Expecting ':' delimiter": "after object key",
    "Extra data": "after top-level value",
    "Invalid control character at": "in string literal",
}
_TRAILING_COMMA = (
    "Illegal trailing comma"  # since Python 3.13, which points to the comma, not behind it
)


class Malformed(StatusError):
    """400: a body is no document of its media type. `why` says it shortly, `where` what was tried."""

    def __init__(self, why: str, where: str = "") -> None:
        super().__init__(bad_request(f"{where}{why}").status)
        self.why = why


def unrecognized(kind: Kind, error: Malformed, data: bytes) -> StatusError:
    """Return the answer to a body that should have been an object of `kind`."""
    what = f"the object provided is unrecognized (must be of type {kind.kind})"
    return bad_request(f"{what}: {error.message} ({_summary(data)})")


def undecodable_patch(patch_type: PatchType | None, error: Malformed) -> StatusError:
    """Return the answer to a patch that cannot be read."""
    what = {"apply": "error decoding YAML: ", "strategic": ""}
    return bad_request(f"{what.get(patch_type or '', 'error decoding patch: ')}{error.why}")


def _summary(data: bytes) -> str:
    if not data:
        return "<empty>"
    shown = data[:_SUMMARY]
    text = shown.decode(errors="replace") if data[:1] == b"{" else shown.hex()
    return " ".join(text.split()) + (" ..." if len(data) > _SUMMARY else "")


def explain(error: ValueError) -> str:
    """Return what is wrong with a JSON text, as Go's encoding/json says it where it has words for it."""
    if not isinstance(error, json.JSONDecodeError):
        return " ".join(str(error).split())
    text, at = error.doc, error.pos
    if error.msg.startswith("Unterminated string") or at >= len(text.rstrip()):
        return _END
    if error.msg.startswith("Invalid \\u"):
        found = _HEXADECIMAL.search(text, max(0, at - 6))
        return _about(text, found.end() if found else at, "in \\u hexadecimal character escape")
    if error.msg.startswith("Invalid \\escape"):
        return _about(text, at + 1, "in string escape code")
    if error.msg.startswith(_TRAILING_COMMA):
        wanted = "value" if error.msg.endswith("array") else "object key string"
        rest = text[at + 1 :]
        bracket = at + 1 + len(rest) - len(rest.lstrip())
        return _about(text, bracket, f"looking for beginning of {wanted}")
    if error.msg == "Expecting value":
        return _no_value(text, at)
    inside = "array element" if _innermost(text[:at]) == "[" else "object key:value pair"
    return _about(text, at, _DOING.get(error.msg, f"after {inside}"))


def _about(text: str, at: int, doing: str) -> str:
    if at >= len(text):
        return _END
    char = text[at]
    shown = {"'": "'\\''", '"': "'\"'"}.get(char) or f"'{json.dumps(char)[1:-1]}'"
    return f"invalid character {shown} {doing}"


def _no_value(text: str, at: int) -> str:
    """Explain what begins no value: perhaps a literal or a number that goes wrong later."""
    for literal in ("true", "false", "null"):
        if text[at] == literal[0]:
            right = next(n for n in range(5) if text[at + n : at + n + 1] != literal[n])
            return _about(text, at + right, f"in literal {literal} (expecting '{literal[right]}')")
    if text[at] == "-":
        return _about(text, at + 1, "in numeric literal")
    return _about(text, at, _DOING["Expecting value"])


def _innermost(text: str) -> str:
    """Return the bracket that is open where a text without mistakes ends."""
    opened: list[str] = []
    for char in _STRING.sub("", text):
        if char in "[{":
            opened.append(char)
        elif char in "]}" and opened:
            opened.pop()
    return opened[-1] if opened else ""
