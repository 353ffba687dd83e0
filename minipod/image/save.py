"""Save images as one archive that other tools load.

Both formats are an OCI archive (an image layout in a tar); `docker` adds the manifest.json that `docker load` reads, as
docker itself has written since version 25. The same images give the same bytes.
"""

import io
import json
import os
import secrets
import sys
import tarfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from . import model
from .model import Image, Json
from .names import parse_reference
from .progress import Progress
from .store import ImageStore


def save(
    store: ImageStore,
    references: Sequence[str],
    output: Path | None,
    kind: str,
    progress: Progress,
) -> None:
    """Write the images `references` to the file `output` (None: standard output); `kind` is "docker" or "oci".

    A file appears whole or not at all; a device, a pipe or what a link leads to is written to, and stays what it is.
    Raises ImageError when there is no such image.
    """
    images = [store.require(reference) for reference in references]
    owner = f"save-{os.getpid()}-{secrets.token_hex(4)}"
    with store.writing():  # nothing is collected while it is read
        if output is None:
            _write(store, images, kind, sys.stdout.buffer, progress)
            return
        output = output.resolve()
        if output.exists() and not output.is_file():
            with open(output, "wb") as stream:
                _write(store, images, kind, stream, progress)
            return
        partial = output.with_name(f".{output.name}.{owner}")
        try:
            with open(partial, "xb") as stream:
                _write(store, images, kind, stream, progress)
                stream.flush()
                os.fsync(stream.fileno())
            os.rename(partial, output)
        finally:
            with suppress(FileNotFoundError):
                partial.unlink()


def _write(
    store: ImageStore, images: Sequence[Image], kind: str, stream: BinaryIO, progress: Progress
) -> None:
    with tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT) as archive:
        _add_bytes(archive, "oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
        done: set[str] = set()
        for image in images:
            progress.step(f"saving {image.reference}")
            for digest in _blobs(store, image):
                if digest not in done:
                    _add_blob(archive, store, digest, progress)
                    done.add(digest)
        _add_bytes(archive, "index.json", _json(_compute_index(store, images)))
        if kind == "docker":
            _add_bytes(archive, "manifest.json", _json(_compute_docker(store, images)))


def _manifest(store: ImageStore, image: Image) -> Json:
    manifest: Json = json.loads(store.read_blob(image.manifest_digest))
    return manifest


def _blobs(store: ImageStore, image: Image) -> list[str]:
    config, layers = model.parse_manifest(_manifest(store, image), image.reference)
    return [image.manifest_digest, config.digest, *(layer.digest for layer in layers)]


def _compute_index(store: ImageStore, images: Sequence[Image]) -> Json:
    entries = [
        {
            "mediaType": _manifest(store, image).get("mediaType", model.MANIFEST_TYPE),
            "digest": image.manifest_digest,
            "size": store.blob_path(image.manifest_digest).stat().st_size,
            "annotations": {
                "io.containerd.image.name": image.reference,
                model.REFERENCE_ANNOTATION: image.reference,
            },
        }
        for image in images
    ]
    return {"schemaVersion": 2, "mediaType": model.INDEX_TYPE, "manifests": entries}


def _compute_docker(store: ImageStore, images: Sequence[Image]) -> list[Json]:
    """Return manifest.json: one entry per image, with all its names."""
    entries: dict[str, Json] = {}
    for image in images:
        _, config, *layers = _blobs(store, image)
        entry = entries.setdefault(
            image.id,
            {
                "Config": _path(config),
                "RepoTags": [],
                "Layers": [_path(layer) for layer in layers],
            },
        )
        reference = parse_reference(image.reference)
        if reference.tag:
            entry["RepoTags"].append(reference.familiar)
    return list(entries.values())


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.partition(':')[2]}"


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _add_bytes(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = len(data), 0o644
    archive.addfile(member, io.BytesIO(data))


def _add_blob(archive: tarfile.TarFile, store: ImageStore, digest: str, progress: Progress) -> None:
    with open(store.blob_path(digest), "rb") as stream:
        member = tarfile.TarInfo(_path(digest))
        member.size, member.mode = os.fstat(stream.fileno()).st_size, 0o644
        progress.amount("writing", 0, member.size)
        archive.addfile(member, stream)
