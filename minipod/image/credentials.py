"""Who may pull from where: the credentials of docker's config.json and of `imagePullSecrets`. Pure.

A key is a registry's host, or a host with the beginning of a path; the host's parts and port may hold wildcards
(`*.example.com`). The longest key that fits comes first, and each that fits is tried, as the kubelet does
(https://kubernetes.io/docs/concepts/containers/images/, "Interpretation of config.json").
"""

import base64
import binascii
import fnmatch
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .errors import ImageError
from .names import DEFAULT_DOMAIN, Reference

_HUB = ("index.docker.io", "docker.io", "registry-1.docker.io")


@dataclass(frozen=True)
class Credential:
    """What one registry is shown. An `identity_token` is exchanged for a token, a `registry_token` is one."""

    username: str = ""
    password: str = field(default="", repr=False)
    identity_token: str = field(default="", repr=False)
    registry_token: str = field(default="", repr=False)


def fingerprint(credential: Credential) -> str:
    """Return what tells credentials apart without being one; "" for an anonymous caller."""
    shown = asdict(credential)
    if not any(shown.values()):
        return ""
    return hashlib.sha256(json.dumps(shown, sort_keys=True).encode()).hexdigest()


Keyring = tuple[tuple[str, Credential], ...]  # keys as they are written, longest first


def parse_auths(text: str | bytes, where: str, *, legacy: bool = False) -> Keyring:
    """Read a config.json (`legacy`: a .dockercfg, which is its `auths` alone). Raises ImageError, quoting no secret."""
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        raise ImageError(f"{where}: not JSON") from None
    auths = document if legacy else _member(document, "auths", where)
    if not isinstance(auths, dict):
        raise ImageError(f"{where}: no object of registries")
    found = [(_normal(key), _parse(entry, f'{where}: "{key}"')) for key, entry in auths.items()]
    return merge([tuple(found)])


def merge(keyrings: Iterable[Keyring]) -> Keyring:
    """Return all keys of several keyrings; of equally long ones, the earlier come first."""
    together = [entry for keyring in keyrings for entry in keyring]
    return tuple(sorted(together, key=lambda entry: -len(entry[0])))


def select(keyring: Keyring, reference: Reference) -> list[Credential]:
    """Return the credentials to try for an image, the most fitting first."""
    found = [each for key, each in keyring if _fits(key, reference)]
    return list(dict.fromkeys(found))


def to_config(keyring: Keyring) -> str:
    """Return a config.json that `parse_auths` reads again.

    Several credentials may have the same key, and an object has each member once: further ones are spelled with
    slashes at the end, which mean nothing.
    """
    auths: dict[str, dict[str, str]] = {}
    for key, each in keyring:
        fields = {
            "username": each.username,
            "password": each.password,
            "identitytoken": each.identity_token,
            "registrytoken": each.registry_token,
        }
        while key in auths:
            key += "/"
        auths[key] = {name: value for name, value in fields.items() if value}
    return json.dumps({"auths": auths})


def _member(document: Any, name: str, where: str) -> Any:
    if not isinstance(document, dict):
        raise ImageError(f"{where}: not an object")
    return document.get(name) or {}


def _normal(key: str) -> str:
    """Return a key without scheme, API version and trailing slash: "https://index.docker.io/v1/" is docker.io."""
    plain = key.partition("://")[2] or key
    host, _, path = plain.strip("/").partition("/")
    path = "" if path in ("v1", "v2") else path.removeprefix("v1/").removeprefix("v2/")
    host = DEFAULT_DOMAIN if host in _HUB else host
    return f"{host}/{path}" if path else host


def _parse(entry: object, where: str) -> Credential:
    if not isinstance(entry, Mapping):
        raise ImageError(f"{where}: not an object")
    texts = {name: entry.get(name) or "" for name in ("username", "password", "auth")}
    texts |= {name: entry.get(name) or "" for name in ("identitytoken", "registrytoken")}
    if not all(isinstance(value, str) for value in texts.values()):
        raise ImageError(f"{where}: its members are not all strings")
    if texts["auth"]:
        texts["username"], texts["password"] = _decode(texts["auth"], where)
    return Credential(
        texts["username"], texts["password"], texts["identitytoken"], texts["registrytoken"]
    )


def _decode(auth: str, where: str) -> tuple[str, str]:
    try:
        username, colon, password = base64.b64decode(auth, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        colon = ""
    if not colon:
        raise ImageError(f'{where}: "auth" is not USER:PASSWORD in base64')
    return username, password.strip("\0")


def _fits(key: str, reference: Reference) -> bool:
    host, _, path = key.partition("/")
    if path and not f"{reference.path}/".startswith(f"{path}/"):
        return False
    wanted, found = host.partition(":"), reference.domain.partition(":")
    if wanted[2] != found[2]:
        return False
    parts, actual = wanted[0].split("."), found[0].split(".")
    return len(parts) == len(actual) and all(map(fnmatch.fnmatchcase, actual, parts))
