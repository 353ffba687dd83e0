"""Build an image from a recipe and Debian packages: the same recipe and packages give the same digest.

    recipe -> base image (built first) -> packages -> tree -> layer -> configuration, manifest -> unpacked -> named

An image whose inputs are those of the one in the store is not built again.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from .. import fault
from . import model
from .assemble import assemble, scratch_folder
from .contents import add_document, ensure_layers, publish_blob
from .errors import ImageError
from .lower import LowerLayers
from .model import Descriptor, Image, Json
from .names import parse_reference
from .packages import Package, PackageFolder
from .progress import Progress
from .recipe import ConfigSection, Recipe, load_recipe
from .store import ImageStore
from .tarball import GZIP_TYPE, Written, write_layer

INPUTS_LABEL = "io.minipod.image.inputs"  # digest of everything that decides the content
BUILDER = "1"  # raise it when the same inputs give another image
_DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Built:
    """An image, and what further images are built on."""

    image: Image
    packages: tuple[Package, ...]  # all of them, the bases' included
    excluded: tuple[str, ...]
    epoch: int  # date of its newest part
    fresh: bool  # False: it was in the store already


def build(store: ImageStore, folder: Path, packages: PackageFolder, progress: Progress) -> Built:
    """Build the recipe in `folder`, its bases first, and name it in the store with its aliases.

    Raises ImageError; nothing is visible then that was not before.
    """
    with store.writing():
        return _build(store, load_recipe(folder), packages, progress, ())


def _build(
    store: ImageStore,
    recipe: Recipe,
    folder: PackageFolder,
    progress: Progress,
    above: tuple[Path, ...],
) -> Built:
    base = _build_base(store, recipe, folder, progress, above)
    progress.step(f"{recipe.image.name}: choosing packages")
    excluded = (*recipe.packages.exclude, *(base.excluded if base else ()))
    installed = base.packages if base else ()
    packages = folder.resolve(recipe.packages.install, excluded, installed)
    epoch = _compute_epoch(packages, base)
    inputs = _compute_inputs(recipe, packages, base, epoch)
    image = _up_to_date(store, recipe, inputs)
    fresh = image is None
    if image is None:
        image = _make(store, recipe, packages, base, epoch, inputs, progress)
    for alias in recipe.image.aliases:
        _ensure_alias(store, alias, recipe.image.name)
    state = "built" if fresh else "up to date"
    progress.step(f"{recipe.image.name}: {state}, {image.size / 1e6:.1f} MB, {image.id[:19]}")
    return Built(image, (*installed, *packages), excluded, epoch, fresh)


def _build_base(
    store: ImageStore,
    recipe: Recipe,
    folder: PackageFolder,
    progress: Progress,
    above: tuple[Path, ...],
) -> Built | None:
    base = recipe.base_folder
    if base is None:
        return None
    if base == recipe.folder or base in above:
        raise ImageError(f'recipe "{recipe.folder}" stands on itself')
    return _build(store, load_recipe(base), folder, progress, (*above, recipe.folder))


def _make(
    store: ImageStore,
    recipe: Recipe,
    packages: Sequence[Package],
    base: Built | None,
    epoch: int,
    inputs: str,
    progress: Progress,
) -> Image:
    name = recipe.image.name
    progress.step(f"{name}: assembling {len(packages)} packages")
    layer = _write_layer(store, recipe, packages, base, epoch, progress)
    config, manifest = _compute_documents(store, recipe, base, layer, epoch, inputs)
    config_descriptor = add_document(store, model.CONFIG_TYPE, config)
    manifest["config"] = config_descriptor.to_json()
    descriptor = add_document(store, model.MANIFEST_TYPE, manifest)
    _, layers = model.parse_manifest(manifest, name)
    diff_ids = model.parse_diff_ids(config, name)
    ensure_layers(store, layers, diff_ids, progress)
    fault.point("image.publish")
    store.publish(descriptor, [parse_reference(name)])
    return store.require(name)


def _write_layer(
    store: ImageStore,
    recipe: Recipe,
    packages: Sequence[Package],
    base: Built | None,
    epoch: int,
    progress: Progress,
) -> Written:
    lower = LowerLayers([Path(layer) for layer in base.image.layers] if base else [])
    with scratch_folder(store.scratch) as scratch:
        tree = assemble(recipe, packages, lower, Path(scratch), epoch)
        progress.step(f"{recipe.image.name}: writing the layer")
        path = Path(scratch, "layer.tar.gz")
        written = write_layer(
            tree, path, epoch, lambda done, total: progress.amount("writing", done, total)
        )
        publish_blob(store, path, written.digest)
    return written


# -- what decides the image ----------------------------------------------------------------------


def _compute_epoch(packages: Sequence[Package], base: Built | None) -> int:
    """The date of the newest part, or $SOURCE_DATE_EPOCH (https://reproducible-builds.org/specs/source-date-epoch/)."""
    given = os.environ.get("SOURCE_DATE_EPOCH", "")
    if given:
        if not given.isdigit():
            raise ImageError(f'SOURCE_DATE_EPOCH "{given}" is not a number of seconds')
        return int(given)
    return max([base.epoch if base else 0, *(package.date for package in packages)])


def _compute_inputs(
    recipe: Recipe, packages: Sequence[Package], base: Built | None, epoch: int
) -> str:
    digest = hashlib.sha256()
    parts = [BUILDER, model.architecture(), str(epoch), base.image.manifest_digest if base else ""]
    parts += [package.sha256 for package in packages]
    digest.update("\n".join(parts).encode())
    for path in sorted(path for path in recipe.folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        digest.update(f"\n{path.relative_to(recipe.folder)} {len(content)}\n".encode() + content)
    return "sha256:" + digest.hexdigest()


def _up_to_date(store: ImageStore, recipe: Recipe, inputs: str) -> Image | None:
    try:
        image = store.resolve_exactly(recipe.image.name)
    except ImageError:
        return None  # damaged: build it anew
    return image if image and (INPUTS_LABEL, inputs) in image.config.labels else None


def _ensure_alias(store: ImageStore, alias: str, name: str) -> None:
    full, aim = str(parse_reference(alias)), str(parse_reference(name))
    if full != aim and store.aliases().get(full) != aim:
        store.alias(alias, name)


# -- documents -----------------------------------------------------------------------------------


def _compute_documents(
    store: ImageStore,
    recipe: Recipe,
    base: Built | None,
    layer: Written,
    epoch: int,
    inputs: str,
) -> tuple[Json, Json]:
    """Return the image configuration, and the manifest without it."""
    lower_layers: list[Json] = []
    lower_config: Json = {}
    if base is not None:
        lower = json.loads(store.read_blob(base.image.manifest_digest))
        lower_layers = lower["layers"]
        lower_config = json.loads(store.read_blob(lower["config"]["digest"]))
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    diff_ids = lower_config.get("rootfs", {}).get("diff_ids", [])
    step = {"created": created, "created_by": f"minipod image build {recipe.folder.name}"}
    config: Json = {
        "architecture": model.architecture(),
        "os": "linux",
        "created": created,
        "config": _compute_config(recipe.config, lower_config.get("config", {}), inputs),
        "rootfs": {"type": "layers", "diff_ids": [*diff_ids, layer.diff_id]},
        "history": [*lower_config.get("history", []), step],
    }
    descriptor = Descriptor(GZIP_TYPE, layer.digest, layer.size)
    manifest: Json = {
        "schemaVersion": 2,
        "mediaType": model.MANIFEST_TYPE,
        "layers": [*lower_layers, descriptor.to_json()],
    }
    return config, manifest


def _compute_config(section: ConfigSection, lower: Json, inputs: str) -> Json:
    """Merge a recipe's [config] over its base's: a new entrypoint takes the base's cmd away, as Dockerfiles have it."""
    config = dict(lower)
    environment = dict(item.split("=", 1) for item in lower.get("Env", [f"PATH={_DEFAULT_PATH}"]))
    environment.update(section.env)
    config["Env"] = [f"{name}={value}" for name, value in environment.items()]
    if section.entrypoint is not None:
        config.pop("Cmd", None)
    plain = {
        "Entrypoint": section.entrypoint,
        "Cmd": section.cmd,
        "WorkingDir": section.working_dir,
        "User": section.user,
        "StopSignal": section.stop_signal,
    }
    config.update({key: value for key, value in plain.items() if value is not None})
    for key, added in (("ExposedPorts", section.ports), ("Volumes", section.volumes)):
        if added:
            config[key] = {**config.get(key, {}), **{name: {} for name in added}}
    config["Labels"] = {**lower.get("Labels", {}), **section.labels, INPUTS_LABEL: inputs}
    return config
