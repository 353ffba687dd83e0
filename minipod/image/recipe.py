"""What an image is built from: `recipe.toml`, read strictly.

    [image]        name, base (folder of another recipe, relative), aliases
    [packages]     install, exclude (packages that others depend on, which the image can do without)
    [layer]        applets (a busybox whose applets get links beside it), remove, keep (patterns of paths)
    [alternatives] link = target, as update-alternatives(1) makes them
    [[directory]]  path, mode, uid, gid
    [[file]]       path, mode, uid, gid, and one of: content, source (file beside the recipe), copy (path in the image)
    [[symlink]]    path, target
    [[user]]       name, uid, gid, home, shell (and a group of the same name)
    [[archive]]    path, source (folder beside the recipe, packed as a zip: .war, .jar)
    [certificates] bundle (PEM file), keystore (Java's), from the package ca-certificates
    [config]       entrypoint, cmd, env, working_dir, user, stop_signal, ports, volumes, labels

Every path is absolute within the image. An unknown key is refused by name.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, get_origin, get_type_hints

from .errors import ImageError
from .names import parse_reference

RECIPE_NAME = "recipe.toml"

_T = TypeVar("_T")


@dataclass(frozen=True)
class ImageSection:
    """How the image is called and what it stands on."""

    name: str
    base: str = ""
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True)
class PackagesSection:
    """Debian packages, with their dependencies."""

    install: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayerSection:
    """What else shapes the layer as a whole."""

    applets: str = ""
    remove: tuple[str, ...] = ()
    keep: tuple[str, ...] = ()


@dataclass(frozen=True)
class DirectoryItem:
    """A directory to make."""

    path: str
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True)
class FileItem:
    """A file to make."""

    path: str
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    content: str | None = None
    source: str | None = None
    copy: str | None = None


@dataclass(frozen=True)
class SymlinkItem:
    """A symbolic link to make."""

    path: str
    target: str


@dataclass(frozen=True)
class UserItem:
    """A user to add to passwd, group and shadow."""

    name: str
    uid: int
    gid: int
    home: str = "/nonexistent"
    shell: str = "/usr/sbin/nologin"


@dataclass(frozen=True)
class ArchiveItem:
    """A zip file to make from a folder."""

    path: str
    source: str


@dataclass(frozen=True)
class CertificatesSection:
    """Where the authorities' certificates go; "" makes none."""

    bundle: str = ""
    keystore: str = ""


@dataclass(frozen=True)
class ConfigSection:
    """How the image wants to be run. What is unset is the base image's, env and labels are merged with it."""

    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: dict[str, str] = field(default_factory=dict)
    working_dir: str | None = None
    user: str | None = None
    stop_signal: str | None = None
    ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Recipe:
    """A whole recipe; `folder` is where it lies."""

    folder: Path
    image: ImageSection
    packages: PackagesSection
    layer: LayerSection
    alternatives: dict[str, str]
    directories: tuple[DirectoryItem, ...]
    files: tuple[FileItem, ...]
    symlinks: tuple[SymlinkItem, ...]
    users: tuple[UserItem, ...]
    archives: tuple[ArchiveItem, ...]
    certificates: CertificatesSection
    config: ConfigSection
    text: bytes = b""

    @property
    def base_folder(self) -> Path | None:
        """The folder of the recipe below this one."""
        return (self.folder / self.image.base).resolve() if self.image.base else None


def load_recipe(folder: Path) -> Recipe:
    """Read the recipe in `folder`; raises ImageError naming the file and the key that is wrong."""
    path = folder / RECIPE_NAME
    try:
        text = path.read_bytes()
        document = tomllib.loads(text.decode())
    except FileNotFoundError:
        raise ImageError(
            f'no recipe "{path}"; build takes the folder of one, as images/nginx'
        ) from None
    except (OSError, ValueError) as error:
        raise ImageError(f'recipe "{path}": {error}') from None
    try:
        return _parse(folder.resolve(), document, text)
    except (TypeError, ValueError) as error:
        raise ImageError(f'recipe "{path}": {error}') from None


def _parse(folder: Path, document: dict[str, Any], text: bytes) -> Recipe:
    recipe = Recipe(
        folder=folder,
        image=_section(ImageSection, document, "image"),
        packages=_section(PackagesSection, document, "packages"),
        layer=_section(LayerSection, document, "layer"),
        alternatives=_table_of_strings(document.pop("alternatives", {}), "alternatives"),
        directories=_items(DirectoryItem, document, "directory"),
        files=_items(FileItem, document, "file"),
        symlinks=_items(SymlinkItem, document, "symlink"),
        users=_items(UserItem, document, "user"),
        archives=_items(ArchiveItem, document, "archive"),
        certificates=_section(CertificatesSection, document, "certificates"),
        config=_section(ConfigSection, document, "config"),
        text=text,
    )
    if document:
        raise ValueError(f'unknown section "{next(iter(document))}"')
    for name in (recipe.image.name, *recipe.image.aliases):
        parse_reference(name)
    for item in recipe.files:
        if sum(value is not None for value in (item.content, item.source, item.copy)) != 1:
            raise ValueError(f'file "{item.path}" needs exactly one of content, source, copy')
    return recipe


def _section(kind: type[_T], document: dict[str, Any], name: str) -> _T:
    return _made(kind, document.pop(name, {}), f"[{name}]")


def _items(kind: type[_T], document: dict[str, Any], name: str) -> tuple[_T, ...]:
    found = document.pop(name, [])
    if not isinstance(found, list):
        raise TypeError(f"[[{name}]] is not an array of tables")
    return tuple(_made(kind, value, f"[[{name}]]") for value in found)


def _made(kind: type[_T], found: object, where: str) -> _T:
    if not isinstance(found, Mapping):
        raise TypeError(f"{where} is not a table")
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for key, value in found.items():
        if key not in hints:
            raise ValueError(f'{where}: unknown key "{key}"')
        values[key] = _checked(hints[key], value, f"{where}: {key}")
    fields = dataclasses.fields(kind)  # type: ignore[arg-type]
    for each in fields:
        required = (
            each.default is dataclasses.MISSING and each.default_factory is dataclasses.MISSING
        )
        if required and each.name not in values:
            raise ValueError(f'{where}: "{each.name}" is missing')
    if "path" in values and not values["path"].startswith("/"):
        raise ValueError(f'{where}: path "{values["path"]}" is not absolute')
    return kind(**values)


def _checked(hint: Any, value: object, where: str) -> object:
    if get_origin(hint) is dict:
        return _table_of_strings(value, where)
    if "tuple" in str(hint):
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise TypeError(f"{where} is not a list of strings")
        return tuple(value)
    wanted = int if hint is int else str
    if not isinstance(value, wanted) or isinstance(value, bool):
        raise TypeError(f"{where} is not {'a number' if wanted is int else 'a string'}")
    return value


def _table_of_strings(value: object, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not all(isinstance(v, str) for v in value.values()):
        raise TypeError(f"{where} is not a table of strings")
    return dict(value)
