"""Environment variables out of files that an init container has written (`fileKeyRef`, KEP-3721).

A file is a subset of what a POSIX shell reads: `NAME='value'`, where the value is literal and may have several lines;
blank lines and lines that begin with `#` say nothing. The rules are the kubelet's of v1.35.
"""

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from minipod.client import Object
from minipod.linux.files import open_beneath

SIZE_LIMIT = 1 << 20  # bytes of a file: a Pod's program writes it, and the daemon reads it
File = tuple[str, str]  # a volume's name and a path in it


class BadEnvFile(ValueError):
    """A file that is no environment file; the message is the kubelet's."""


@dataclass(frozen=True)
class EnvFiles:
    """What was in the files that a container refers to; one that is not there is in neither."""

    texts: Mapping[File, str] = field(default_factory=dict, repr=False)
    failures: Mapping[File, str] = field(default_factory=dict)  # why one could not be read


def find_files(container: Object) -> dict[File, list[str]]:
    """Return the files that a container's environment refers to, and the keys in each. Pure."""
    found: dict[File, list[str]] = {}
    for variable in container.get("env") or ():
        reference = (variable.get("valueFrom") or {}).get("fileKeyRef")
        if reference:
            file = reference["volumeName"], reference["path"]
            found.setdefault(file, []).append(reference["key"])
    return found


def read_files(container: Object, places: Mapping[str, str]) -> EnvFiles:
    """Read the files of a container (blocking); `places` are the volumes' directories on the host."""
    texts, failures = dict[File, str](), dict[File, str]()
    for file in find_files(container):
        try:
            texts[file] = _read(places[file[0]], file[1])
        except FileNotFoundError:
            continue
        except (OSError, ValueError) as error:
            said = error.strerror if isinstance(error, OSError) else None
            failures[file] = said.lower() if said else str(error)
    return EnvFiles(texts, failures)


def placeholders(container: Object) -> EnvFiles:
    """Return files that stand for those which only a running Pod has."""
    return EnvFiles(
        {
            (volume, path): "".join(f"{key}='<{key} of {path}>'\n" for key in keys)
            for (volume, path), keys in find_files(container).items()
        }
    )


def _read(place: str, path: str) -> str:
    """Return a regular file's text. No link leads the daemon out of the volume, and no pipe holds it."""
    root = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        descriptor = open_beneath(root, path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    finally:
        os.close(root)
    with os.fdopen(descriptor, "rb") as opened:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        content = opened.read(SIZE_LIMIT + 1)
    if len(content) > SIZE_LIMIT:
        raise ValueError(f"larger than {SIZE_LIMIT >> 20} MiB")
    return content.decode(errors="surrogateescape")


def parse_key(text: str, key: str) -> str | None:
    """Return the value of a key, None when the file has no such key. Raises BadEnvFile for what stands before it."""
    for name, value in _variables(text):
        if name == key:
            return value
    return None


def _variables(text: str) -> Iterator[tuple[str, str]]:
    lines = iter(enumerate((each.removesuffix("\r") for each in text.split("\n")), 1))
    for number, line in lines:
        declaration = line.lstrip(" \t")
        if not declaration or declaration.startswith("#"):
            continue
        name, equals, rest = declaration.partition("=")
        if not equals:
            raise _bad(number, "missing '='")
        if not name.strip(" \t"):
            raise _bad(number, "empty variable name")
        if name != name.rstrip(" \t"):
            raise _bad(number, "whitespace before '=' is not allowed")
        if rest.startswith((" ", "\t")):  # what a shell takes for an assignment of nothing
            yield name, ""
            continue
        if not rest.startswith("'"):
            raise _bad(number, "value must be enclosed in single quotes")
        yield name, _quoted(number, rest[1:], lines)


def _quoted(number: int, rest: str, lines: Iterator[tuple[int, str]]) -> str:
    """Return what stands before the closing quote, over as many lines as it takes."""
    value, first = "", number
    while "'" not in rest:
        value += f"{rest}\n"
        number, rest = next(lines, (0, ""))
        if not number:
            raise BadEnvFile(
                f"invalid environment variable format starting at line {first}: unclosed single quote"
            )
    content, _, after = rest.partition("'")
    after = after.lstrip(" \t")
    if after and not after.startswith("#"):
        raise _bad(number, "unexpected content after closing quote")
    if "\0" in value + content:
        raise _bad(number, "a variable cannot hold a NUL byte")
    return value + content


def _bad(number: int, why: str) -> BadEnvFile:
    return BadEnvFile(f"invalid environment variable format at line {number}: {why}")
