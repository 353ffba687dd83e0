"""Small rules that many fields share: relative paths, ranges, file modes."""

import re
from collections.abc import Callable, Hashable, Iterable, Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, invalid, not_supported, required, too_long

_HTTP_PATH = r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+"
INT32_MAX = 2**31 - 1
_SIGNER_LENGTH = 2 * names.SUBDOMAIN_LENGTH + names.LABEL_LENGTH + 2
FILE_MODE_TEXT = "must be a number between 0 and 0777 (octal), both inclusive"
PULL_POLICIES = ("Always", "IfNotPresent", "Never")


def no_backsteps(value: str, path: str) -> Iterator[Cause]:
    """Check that no element of a path is `..`."""
    if ".." in value.split("/"):
        yield invalid(path, value, "must not contain '..'")


def descending_path(value: str, path: str) -> Iterator[Cause]:
    """Check that a path is relative and never goes up."""
    if value.startswith("/"):
        yield invalid(path, value, "must be a relative path")
    yield from no_backsteps(value, path)


def non_reserved_path(value: str, path: str) -> Iterator[Cause]:
    """Check a path below a projected volume, whose own entries start with `..`."""
    yield from descending_path(value, path)
    if value.startswith("..") and not value.startswith("../") and value != "..":
        yield invalid(path, value, "must not start with '..'")


def file_mode(value: int | None, path: str) -> Iterator[Cause]:
    """Check the permission bits of a file."""
    if value is not None and not 0 <= value <= 0o777:
        yield invalid(path, value, FILE_MODE_TEXT)


def domain_prefixed_path(value: str, path: str) -> Iterator[Cause]:
    """Check a name of the form `example.com/controller`."""
    domain, _, rest = value.partition("/")
    if not value:
        yield required(path)
    elif not domain or not rest:
        yield invalid(path, value, 'must be a domain-prefixed path (such as "acme.io/foo")')
    else:
        for problem in names.dns1123_subdomain(domain):
            yield invalid(path, domain, problem)
        if not re.fullmatch(_HTTP_PATH, rest):
            why = f"Invalid path (regex used for validation is '{_HTTP_PATH}')"
            yield invalid(path, rest, why)


def csi_driver_name(name: str, path: str) -> Iterator[Cause]:
    """Check the name of a CSI driver: a domain name in any case, as short as a label."""
    if not name:
        yield required(path)
        return
    if len(name) > names.LABEL_LENGTH:
        yield too_long(path, names.LABEL_LENGTH)
    for problem in names.dns1123_subdomain(name.lower()):
        yield invalid(path, name, problem)


def signer_name(name: str, path: str) -> Iterator[Cause]:
    """Check who is to sign: `example.com/signer`."""
    domain, slash, rest = name.partition("/")
    if not name:
        yield required(path)
        return
    if not slash or "/" in rest:
        why = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
        yield invalid(path, name, why)
        return
    if len(domain) > names.SUBDOMAIN_LENGTH:
        yield too_long(path, names.SUBDOMAIN_LENGTH)
    yield from _parts(domain, names.dns1123_label, path)
    if "." not in domain:
        why = "should be a domain with at least two segments separated by dots"
        yield invalid(path, domain, why)
    yield from _parts(rest, names.dns1123_subdomain, path)
    if len(name) > _SIGNER_LENGTH:
        yield too_long(path, _SIGNER_LENGTH)


def _parts(text: str, rule: Callable[[str], list[str]], path: str) -> Iterator[Cause]:
    """Check the parts between a text's dots, up to the first that is wrong."""
    for part in text.split("."):
        problems = rule(part)
        for problem in problems:
            yield invalid(path, text, f'validating label "{part}": {problem}')
        if problems:
            return


def repeats(values: Iterable[Hashable]) -> set[int]:
    """Return where values stand that stood before, in one pass: a sender may write very many of them."""
    seen: set[Hashable] = set()
    found = set()
    for index, value in enumerate(values):
        if value in seen:
            found.add(index)
        seen.add(value)
    return found


def in_range(value: int, low: int, high: int, path: str) -> Iterator[Cause]:
    """Check that a number is within bounds, which belong to the range."""
    if not low <= value <= high:
        yield invalid(path, value, f"must be between {low} and {high}, inclusive")


def non_negative(value: int | None, path: str) -> Iterator[Cause]:
    """Check that a number is not below zero."""
    if value is not None and value < 0:
        yield invalid(path, value, "must be greater than or equal to 0")


def one_of(value: Any, supported: tuple[str, ...], path: str) -> Iterator[Cause]:
    """Check that a value is there and is one of an enumeration."""
    if not value:
        yield required(path)
    elif value not in supported:
        yield not_supported(path, value, supported)


def optional_one_of(value: Any, supported: tuple[str, ...], path: str) -> Iterator[Cause]:
    """Check that a value, if it is there, is one of an enumeration; empty text is there."""
    if value is not None and value not in supported:
        yield not_supported(path, value, supported)
