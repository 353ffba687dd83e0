"""Encryption at rest: EncryptionConfiguration of apiserver.config.k8s.io/v1, and the seal that follows from it.

The first entry whose resources match a kind decides; its first provider (and that one's first key) writes, all of its
providers read. The fields, their paths and their rules are upstream's (apiserver/pkg/apis/apiserver); `kms` and
`secretbox` are refused by name.
"""

import base64
import binascii
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from minipod.api import kinds
from minipod.server.ciphers import AesCbc, AesGcm, Identity, Key, Provider
from minipod.store import MARK, Opened, Unopened

Object = dict[str, Any]
logger = logging.getLogger("minipod.server")

KIND, API_VERSION = "EncryptionConfiguration", "apiserver.config.k8s.io/v1"
_CIPHERS = {"aesgcm": AesGcm, "aescbc": AesCbc}
_ELSEWHERE = {  # upstream's other providers, and why they are not here
    "secretbox": "minipod has no XSalsa20; use aesgcm",
    "kms": "minipod asks no key service; use aesgcm, with a key that a key service keeps",
}
_KEY_SIZES = (16, 24, 32)
_NOT_STORED = ("apiserveripinfo", "serviceipallocations", "servicenodeportallocations")


class EncryptionError(ValueError):
    """The configuration cannot be used; the message is one line with the field's path, and never a key."""


@dataclass(frozen=True)
class _Entry:
    resources: tuple[str, ...]
    providers: tuple[Provider, ...]


class ConfiguredSeal:
    """Seals values as an EncryptionConfiguration has it."""

    def __init__(self, entries: Sequence[_Entry]) -> None:
        self._entries = entries
        self._known: dict[str, tuple[Provider, ...]] = {}

    def close(self, key: str, value: bytes) -> bytes:
        """Return what is stored of a value."""
        return self._providers(key)[0].close(key, value)

    def open(self, key: str, stored: bytes) -> Opened:
        """Return the value, stale when another provider or key would write it now. Raises Unopened."""
        for index, provider in enumerate(self._providers(key)):
            if provider.takes(stored):
                opened = provider.open(key, stored)
                return Opened(opened.value, stale=opened.stale or index > 0)
        if stored.startswith(MARK):
            name = stored[len(MARK) :].split(b":", 1)[0].decode(errors="replace")
            raise Unopened(f'it was encrypted by "{name}", which its resource\'s providers lack')
        raise Unopened("it is not encrypted, and its resource's providers lack identity")

    def resources(self) -> list[str]:
        """Return the names and patterns of the configuration."""
        return [name for entry in self._entries for name in entry.resources]

    def _providers(self, key: str) -> tuple[Provider, ...]:
        resource = key[1 : key.index("/", 1)]
        known = self._known.get(resource)
        if known is None:
            found = (e.providers for e in self._entries if _matches_any(e.resources, resource))
            known = self._known[resource] = next(found, (Identity(),))
        return known


def _matches_any(patterns: Sequence[str], resource: str) -> bool:
    group = resource.partition(".")[2]
    return bool({resource, f"*.{group}", "*.*"} & set(patterns))


def seal_of(file: str) -> ConfiguredSeal | None:
    """Return the seal of a configuration's file, None for "". Raises EncryptionError, OSError.

    Warns about what is accepted and yet hides nothing: a file that others may read, a resource that no kind has.
    """
    if not file:
        return None
    seal = read_encryption(Path(file))
    if os.stat(file).st_mode & 0o077:
        logger.warning('"%s" holds keys and is not its owner\'s alone; try: chmod 600', file)
    known = {kind.stored_resource for kind in kinds.all_kinds()}
    for name in seal.resources():
        if "*" not in name and name not in known:
            logger.warning('"%s" encrypts "%s", which no kind is called', file, name)
    return seal


def report_unreadable(unreadable: Mapping[str, str]) -> None:
    """Say which values no key opens: they are kept, and answered with an error."""
    for key, reason in unreadable.items():
        logger.error(
            'unable to transform key "%s": %s; start with the configuration that wrote it',
            *(key, reason),
        )


def read_encryption(path: Path) -> ConfiguredSeal:
    """Read a configuration's file. Raises EncryptionError, OSError."""
    where = f'encryption configuration "{path}"'
    try:
        found = yaml.load(path.read_bytes(), yaml.CSafeLoader)
    except yaml.MarkedYAMLError as error:  # without the text, which may hold a key
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise EncryptionError(f"{where}, line {line}: {error.problem}") from None
    except yaml.YAMLError:
        raise EncryptionError(f"{where}: it is not YAML") from None
    try:
        return parse_encryption(found)
    except EncryptionError as error:
        raise EncryptionError(f"{where}: {error}") from None


def parse_encryption(found: Any) -> ConfiguredSeal:
    """Check a configuration. Raises EncryptionError."""
    if not isinstance(found, dict) or found.get("kind") != KIND:
        raise EncryptionError(f"it is no {KIND} of {API_VERSION}")
    if found.get("apiVersion") != API_VERSION:
        raise EncryptionError(f"apiVersion must be {API_VERSION}")
    _only(found, ("kind", "apiVersion", "metadata", "resources"), "")
    return ConfiguredSeal(
        [
            _entry(each, f"resources[{index}]")
            for index, each in enumerate(_list(found, "resources", ""))
        ]
    )


def _entry(entry: Any, path: str) -> _Entry:
    _only(entry, ("resources", "providers"), path)
    resources = tuple(_list(entry, "resources", path))
    for index, name in enumerate(resources):
        _check_resource(name, f"{path}.resources[{index}]")
    _check_overlap(resources, f"{path}.resources")
    providers = [
        _provider(each, f"{path}.providers[{index}]")
        for index, each in enumerate(_list(entry, "providers", path))
    ]
    return _Entry(resources, tuple(providers))


def _check_resource(name: Any, path: str) -> None:
    why = ""
    if not isinstance(name, str) or not name:
        why = "a resource is a name like secrets or deployments.apps"
    elif name != name.lower():
        why = "resource name should not contain capital letters"
    elif name == "*":
        why = "use '*.' for all resources of the core group, or '*.*' for all resources"
    elif name in _NOT_STORED:
        why = "resources which do not have REST API/s cannot be encrypted"
    elif name.endswith(".events.k8s.io"):
        why = "events of events.k8s.io are stored as the core group's: use events"
    elif name.endswith(".extensions"):
        why = "'extensions' group has been removed and cannot be used for encryption"
    elif name.endswith(".*") and name != "*.*":
        why = "encrypting the same resource across groups is not supported"
    if why:
        raise EncryptionError(f'{path}: Invalid value: "{name}": {why}')


def _check_overlap(names: Sequence[str], path: str) -> None:
    for index, name in enumerate(names):
        others = [*names[:index], *names[index + 1 :]]
        if name in others:
            raise EncryptionError(
                f'{path}: Invalid value: "{name}": the same resource cannot be specified multiple times'
            )
        if "*" in name and any(_matches_any((name,), each) for each in others):
            raise EncryptionError(
                f'{path}: Invalid value: "{name}": it overlaps with others of the same list, and masks them'
            )


def _provider(provider: Any, path: str) -> Provider:
    names = (*_CIPHERS, "identity", *_ELSEWHERE)
    _only(provider, names, path)
    if len(provider) != 1:
        raise EncryptionError(f"{path}: Invalid value: one provider is needed, of {names[:3]}")
    ((name, given),) = provider.items()
    if name in _ELSEWHERE:
        raise EncryptionError(f"{path}.{name}: Forbidden: {_ELSEWHERE[name]}")
    if name == "identity":
        return Identity()
    _only(given, ("keys",), f"{path}.{name}")
    keys = [
        _key(each, f"{path}.{name}.keys[{index}]")
        for index, each in enumerate(_list(given, "keys", f"{path}.{name}"))
    ]
    return _CIPHERS[name](keys)


def _key(given: Any, path: str) -> Key:
    _only(given, ("name", "secret"), path)
    for field in ("name", "secret"):
        if not given.get(field) or not isinstance(given[field], str):
            raise EncryptionError(f"{path}.{field}: Required value: {field} is a key's")
    if ":" in given["name"]:
        raise EncryptionError(f'{path}.name: Invalid value: "{given["name"]}": must not have a ":"')
    try:
        secret = base64.b64decode(given["secret"], validate=True)
    except (binascii.Error, ValueError):
        raise EncryptionError(
            f'{path}.secret: Invalid value: "REDACTED": secrets must be base64 encoded'
        ) from None
    if len(secret) not in _KEY_SIZES:
        raise EncryptionError(
            f'{path}.secret: Invalid value: "REDACTED": secret is not of the expected length, got {len(secret)}, '
            "expected one of [16 24 32]; try: head -c 32 /dev/urandom | base64"
        )
    return Key(given["name"], secret)


def _list(obj: Object, name: str, path: str) -> list[Any]:
    found = obj.get(name)
    where = f"{path}.{name}" if path else name
    if not isinstance(found, list) or not found:
        raise EncryptionError(f"{where}: Required value: at least one of {name} is required")
    return found


def _only(obj: Any, names: Sequence[str], path: str) -> None:
    """Refuse what is not an object of these fields."""
    if not isinstance(obj, dict):
        raise EncryptionError(f"{path}: Invalid value: must be an object")
    for name in obj:
        if name not in names:
            where = f"{path}.{name}" if path else name
            raise EncryptionError(f'unknown field "{where}"')
