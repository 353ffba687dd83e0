"""From a recipe and its packages to the tree of one layer."""

import io
import os
import stat
import subprocess
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from time import gmtime

from . import debian
from .certificates import BUNDLE_SOURCE, compute_bundle, compute_keystore
from .errors import ImageError
from .lower import LowerLayers
from .packages import Package, unpacked_tar
from .recipe import FileItem, Recipe
from .tree import Tree

_ACCOUNT_FILES = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")
_ZIP_EPOCH = 315532800  # 1980: a zip file knows no earlier date


def assemble(
    recipe: Recipe, packages: Sequence[Package], lower: LowerLayers, scratch: Path, epoch: int
) -> Tree:
    """Return the layer's tree. File contents stay in `scratch` (packages unpacked) until the layer is written."""
    tree = Tree()
    for package in packages:
        _add_package(tree, package, scratch)
    debian.make_accounts(tree, epoch)
    _link_applets(tree, recipe.layer.applets, scratch)
    _add_items(tree, recipe, epoch)
    _add_users(tree, recipe, lower, epoch)
    _add_certificates(tree, recipe, epoch)
    tree.remove((*debian.TRIMMED, *recipe.layer.remove), (*debian.KEPT, *recipe.layer.keep))
    debian.record_packages(tree, list(packages))
    if not recipe.image.base:
        debian.merge_usr(tree)
    return tree


def _add_package(tree: Tree, package: Package, scratch: Path) -> None:
    spool = scratch / f"{package.name}.tar"
    unpacked_tar(package, spool)
    with open(spool, "rb") as stream:
        tree.add_tar(stream, spool, f'package "{package.name}"')


def _link_applets(tree: Tree, program: str, scratch: Path) -> None:
    """Link every applet that the busybox `program` names to it, in the directory that `--list-full` gives."""
    if not program:
        return
    executable = scratch / "busybox"  # by its own name it is no applet
    executable.write_bytes(tree.read(program))
    executable.chmod(0o700)
    done = subprocess.run(
        [str(executable), "--list-full"], capture_output=True, text=True, check=True
    )
    for applet in done.stdout.split():
        if f"/{applet}" not in tree:
            tree.add_symlink(f"/{applet}", program)


def _add_items(tree: Tree, recipe: Recipe, epoch: int) -> None:
    for directory in recipe.directories:
        tree.ensure_directory(directory.path, directory.mode, directory.uid, directory.gid)
    for file in recipe.files:
        data = _file_content(tree, recipe, file)
        tree.add_file(file.path, data, file.mode, file.uid, file.gid)
    for link in recipe.symlinks:
        tree.add_symlink(link.path, link.target)
    debian.link_alternatives(tree, recipe.alternatives)
    for archive in recipe.archives:
        data = compute_zip(recipe.folder / archive.source, epoch)
        tree.add_file(archive.path, data)


def _file_content(tree: Tree, recipe: Recipe, file: FileItem) -> bytes:
    if file.content is not None:
        return file.content.encode()
    if file.copy is not None:
        return tree.read(file.copy)
    source = recipe.folder / (file.source or "")
    try:
        return source.read_bytes()
    except OSError as error:
        raise ImageError(f'recipe "{recipe.folder}": "{source}": {error.strerror}') from None


def _add_users(tree: Tree, recipe: Recipe, lower: LowerLayers, epoch: int) -> None:
    if not recipe.users:
        return
    for path in _ACCOUNT_FILES:
        found = lower.find(tuple(path.strip("/").split("/")))
        if path not in tree and found is not None:
            mode = stat.S_IMODE(found.status.st_mode)
            tree.add_file(path, found.path.read_bytes(), mode, gid=found.status.st_gid)
        elif path not in tree:
            tree.add_file(path, b"", 0o640 if "shadow" in path else 0o644)
    for user in recipe.users:
        debian.add_user(tree, user, epoch)


def _add_certificates(tree: Tree, recipe: Recipe, epoch: int) -> None:
    wanted = recipe.certificates
    if not wanted.bundle and not wanted.keystore:
        return
    paths = [p for p in tree.entries if p.startswith(BUNDLE_SOURCE) and p.endswith(".crt")]
    found = {os.path.basename(path): tree.read(path) for path in paths}
    if not found:
        raise ImageError(
            f'recipe "{recipe.folder}": [certificates] needs the package ca-certificates'
        )
    if wanted.bundle:
        tree.add_file(wanted.bundle, compute_bundle(found))
    if wanted.keystore:
        tree.add_file(wanted.keystore, compute_keystore(found, epoch))


def compute_zip(folder: Path, epoch: int) -> bytes:
    """Return the files below `folder` as a zip archive: sorted, all of one date, the same bytes every time."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    if not files:
        raise ImageError(f'"{folder}" has no files to pack')
    buffer = io.BytesIO()
    date = gmtime(max(epoch, _ZIP_EPOCH))[:6]
    with zipfile.ZipFile(buffer, "w") as archive:
        for path in files:
            item = zipfile.ZipInfo(path.relative_to(folder).as_posix(), date)
            item.external_attr = 0o644 << 16
            item.create_system = 3  # Unix, wherever this runs
            archive.writestr(item, path.read_bytes(), zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def scratch_folder(parent: Path) -> "tempfile.TemporaryDirectory[str]":
    """Return a folder for contents in the store's scratch directory: cleared there when this process is killed."""
    return tempfile.TemporaryDirectory(prefix="build-", dir=parent)
