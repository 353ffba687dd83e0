"""Secrets: keys, size, and what each type must contain."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, required, too_long
from minipod.api.validation.metadata import causes_of, immutable

Object = dict[str, Any]

SIZE_LIMIT = 1024 * 1024
FROZEN = "field is immutable when `immutable` is set"
_ACCOUNT = "kubernetes.io/service-account.name"
# Keys that a Secret of a type must have.
_REQUIRED = {
    "kubernetes.io/dockercfg": (".dockercfg",),
    "kubernetes.io/dockerconfigjson": (".dockerconfigjson",),
    "kubernetes.io/ssh-auth": ("ssh-privatekey",),
    "kubernetes.io/tls": ("tls.crt", "tls.key"),
}
_JSON_TYPES = ("kubernetes.io/dockercfg", "kubernetes.io/dockerconfigjson")


def validate_secret(secret: Object) -> list[Cause]:
    """Return what is wrong with a Secret."""
    return list(_checks(secret))


def validate_secret_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a Secret: its type stays, and all of it once it is immutable."""
    causes = [*immutable(new.get("type"), old.get("type"), "type"), *frozen(new, old, ("data",))]
    return [*causes, *_checks(new)]


def frozen(new: Object, old: Object, fields: tuple[str, ...]) -> Iterator[Cause]:
    """Check that an immutable Secret or ConfigMap stays what it is."""
    if not old.get("immutable"):
        return
    if not new.get("immutable"):
        yield forbidden("immutable", FROZEN)
    for name in fields:
        if (new.get(name) or {}) != (old.get(name) or {}):
            yield forbidden(name, FROZEN)


def _checks(secret: Object) -> Iterator[Cause]:
    data, kind = secret.get("data") or {}, secret.get("type") or ""
    total = 0
    for key, value in data.items():
        yield from causes_of(names.config_key(key), f"data[{key}]", key)
        total += len(value or "") * 3 // 4 - (value or "")[-2:].count("=")
    if total > SIZE_LIMIT:
        yield too_long("data", SIZE_LIMIT)
    for key in _REQUIRED.get(kind, ()):
        if key not in data or (kind == "kubernetes.io/ssh-auth" and not data[key]):
            yield required(f"data[{key}]")
    if kind in _JSON_TYPES:
        yield from _json_content(_REQUIRED[kind][0], data)
    if kind == "kubernetes.io/basic-auth" and not {"username", "password"} & set(data):
        yield required("data[username]")
        yield required("data[password]")
    annotations = secret["metadata"].get("annotations") or {}
    if kind == "kubernetes.io/service-account-token" and not annotations.get(_ACCOUNT):
        yield required(f"metadata.annotations[{_ACCOUNT}]")


def _json_content(key: str, data: Object) -> Iterator[Cause]:
    if key not in data:
        return
    content = base64.b64decode(data[key] or "")
    try:
        json.loads(content)
    except ValueError as wrong:
        yield invalid(f"data[{key}]", "<secret contents redacted>", _unparsed(content, wrong))


def _unparsed(content: bytes, wrong: ValueError) -> str:
    """Return what Go says of a text that is not JSON, where that is plain."""
    start = content.lstrip()[:1].decode("latin-1")
    if not start:
        return "unexpected end of JSON input"
    if start in '{["-0123456789tfn':
        return str(wrong)
    return f"invalid character '{start}' looking for beginning of value"
