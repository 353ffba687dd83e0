"""Adding to the store: blobs by digest, layers unpacked by chain ID. Nothing is visible before it is complete."""

import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, cast

from .. import fault
from ..linux.trees import remove_tree
from . import model
from .durable import sync_directory, sync_file_system
from .errors import ImageError
from .lower import LowerLayers
from .model import Descriptor, Json
from .progress import Progress, Watched
from .store import ImageStore
from .stream import CHUNK, LayerStream, Limits
from .unpack import unpack_layer


def add_document(store: ImageStore, media_type: str, document: Json) -> Descriptor:
    """Add a JSON document in its canonical form (sorted, compact)."""
    data = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
    return add_bytes(store, media_type, data)


def add_bytes(store: ImageStore, media_type: str, data: bytes) -> Descriptor:
    """Add a small blob."""
    descriptor = Descriptor(media_type, model.compute_digest(data), len(data))
    add_blob(store, descriptor, (data,), "blob")
    return descriptor


def add_blob(store: ImageStore, descriptor: Descriptor, pieces: Iterable[bytes], what: str) -> None:
    """Add the blob that `descriptor` announces, unless it is there; raises ImageError when the content differs."""
    target = store.blob_path(descriptor.digest)
    if target.exists():
        return
    made = _write_blob(store, pieces, what, descriptor.size)
    path, found = made
    if found != descriptor.digest:
        path.unlink()
        raise ImageError(f'{what}: its content is "{found}", not "{descriptor.digest}"')
    publish_blob(store, path, found)


def publish_blob(store: ImageStore, path: Path, digest: str) -> None:
    """Make the complete and synced file `path` of the scratch directory the blob `digest`."""
    fault.point("image.blob")
    os.rename(path, store.blob_path(digest))
    sync_directory(store.blobs)


def _write_blob(
    store: ImageStore, pieces: Iterable[bytes], what: str, size: int
) -> tuple[Path, str]:
    path = store.scratch / f"blob-{secrets.token_hex(8)}"
    digest, written = hashlib.sha256(), 0
    try:
        with open(path, "xb") as stream:
            for piece in pieces:
                written += len(piece)
                if written > size:
                    raise ImageError(f"{what}: it is longer than the {size} bytes announced")
                digest.update(piece)
                stream.write(piece)
            stream.flush()
            os.fsync(stream.fileno())
        if written != size:
            raise ImageError(f"{what}: it has {written} bytes, {size} were announced")
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path, "sha256:" + digest.hexdigest()


def pieces_of(stream: object) -> Iterator[bytes]:
    """Yield a binary stream's content in pieces."""
    read: Callable[[int], bytes] = stream.read  # type: ignore[attr-defined]
    while piece := read(CHUNK):
        yield piece


def ensure_layers(
    store: ImageStore,
    layers: Sequence[Descriptor],
    diff_ids: tuple[str, ...],
    progress: Progress,
    limits: Limits | None = None,
) -> None:
    """Unpack the layers (lowest first) that are not unpacked yet. Their blobs must be in the store.

    Raises ImageError for hostile or damaged layers, and when a layer is not the one that `diff_ids` announces.
    """
    if len(layers) != len(diff_ids):
        raise ImageError(
            f"the manifest has {len(layers)} layers, the configuration {len(diff_ids)}"
        )
    for layer in layers:
        _check_size(store, layer)
    below: list[Path] = []
    for number, (layer, diff_id, chain_id) in enumerate(
        zip(layers, diff_ids, model.compute_chain_ids(diff_ids), strict=True), 1
    ):
        target = store.layer_path(chain_id)
        if not target.exists():
            progress.step(f"unpacking layer {number} of {len(layers)} ({layer.size / 1e6:.1f} MB)")
            lower = LowerLayers(below[::-1])
            _unpack(store, layer, diff_id, target, lower, limits, progress)
        below.append(target)


def _check_size(store: ImageStore, layer: Descriptor) -> None:
    """Hold a blob that was here before against what this manifest says of it."""
    size = store.blob_path(layer.digest).stat().st_size
    if size != layer.size:
        raise ImageError(
            f'layer "{layer.digest[:19]}" has {size} bytes, the manifest announces {layer.size}'
        )


def _unpack(
    store: ImageStore,
    layer: Descriptor,
    diff_id: str,
    target: Path,
    lower: LowerLayers,
    limits: Limits | None,
    progress: Progress,
) -> None:
    what = f'layer "{layer.digest[:19]}"'
    made = store.scratch / f"layer-{secrets.token_hex(8)}"
    made.mkdir(mode=0o755)
    try:
        made.chmod(0o755)
        with open(store.blob_path(layer.digest), "rb") as blob:
            source = Watched(blob, lambda done: progress.amount("unpacking", done, layer.size))
            stream = LayerStream(cast(BinaryIO, source), what, limits)
            found = unpack_layer(stream, made, lower)
        if found != diff_id:
            raise ImageError(f'{what}: its content is "{found}", not "{diff_id}" as configured')
        fault.point("image.layer")
        sync_file_system(made)
        _publish_layer(made, target)
    except BaseException:
        remove_tree(made)
        raise


def _publish_layer(made: Path, target: Path) -> None:
    try:
        os.rename(made, target)
    except OSError:
        if not target.is_dir():
            raise
        remove_tree(made)  # another process was quicker
    sync_directory(target.parent)
