"""PEM: blocks of Base64 between BEGIN and END lines (RFC 7468); what stands between blocks is ignored."""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

_BLOCK = re.compile(
    r"^-----BEGIN ([A-Z0-9 ]*)-----[ \t]*\r?\n(.*?)^-----END \1-----[ \t\r]*$",
    re.MULTILINE | re.DOTALL,
)
_LINE = 64  # characters of Base64


@dataclass(frozen=True)
class Block:
    """One block: its label, whether it has headers before its data, and the data (empty when it is no Base64)."""

    label: str
    headers: bool
    data: bytes


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a text in order."""
    for label, body in _BLOCK.findall(text):
        lines = [line.strip() for line in body.splitlines() if line.strip()]
        headers = any(":" in line for line in lines)
        data = "".join(line for line in lines if ":" not in line)
        try:
            yield Block(label, headers, base64.b64decode(data, validate=True))
        except (binascii.Error, ValueError):
            yield Block(label, headers, b"")


def encode(label: str, data: bytes) -> str:
    """Return one block."""
    text = base64.b64encode(data).decode()
    lines = [text[at : at + _LINE] for at in range(0, len(text), _LINE)]
    return "\n".join((f"-----BEGIN {label}-----", *lines, f"-----END {label}-----", ""))
