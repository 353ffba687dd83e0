"""Load images from what other tools write: `docker save` archives, OCI archives and OCI layout folders.

Every blob is checked against its digest, every layer against the configuration; the names become visible last.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .. import fault
from . import model
from .contents import add_blob, add_bytes, add_document, ensure_layers, pieces_of
from .errors import ImageError
from .model import Descriptor, Image, Json
from .names import Reference, parse_reference
from .progress import Progress
from .sources import Source, opened_source
from .store import ImageStore
from .stream import Limits

_CONTAINERD_NAME = "io.containerd.image.name"
NESTING = 4  # indexes within indexes


@dataclass(frozen=True)
class _Found:
    """An image in an archive: its manifest is in the store, its layers may not be unpacked."""

    manifest: Descriptor
    names: tuple[Reference, ...]


def load(
    store: ImageStore,
    path: Path,
    progress: Progress,
    name: str | None = None,
    limits: Limits | None = None,
) -> list[Image]:
    """Add every image of the archive or folder `path` ("-": standard input) and return them, one per name.

    `name` is given to the archive's only image in place of its own. Raises ImageError for what is damaged, hostile,
    nameless, or made for another architecture; no image of the archive is visible then.
    """
    limits = limits or Limits()
    given = parse_reference(name) if name else None
    with store.writing(), opened_source(path, store.scratch, limits) as source:
        found = list(_read_images(store, source, given, progress, limits))
        if not found or (given and len(found) > 1):
            count = len(found) or "no"
            raise ImageError(f"{source.what}: there are {count} images in it, one was expected")
        for each in found:
            _unpack(store, each, progress, limits)
        fault.point("image.publish")
        for each in found:
            store.publish(each.manifest, each.names)
    return [store.require(str(n)) for each in found for n in each.names]


def _read_images(
    store: ImageStore,
    source: Source,
    given: Reference | None,
    progress: Progress,
    limits: Limits,
) -> Iterator[_Found]:
    if source.has("index.json") and source.has("oci-layout"):
        yield from _read_layout(store, source, given, progress, limits)
    elif source.has("manifest.json"):
        yield from _read_docker(store, source, given, progress, limits)
    else:
        raise ImageError(
            f"{source.what}: neither a docker save archive (manifest.json) nor an OCI layout (index.json)"
        )


def _unpack(store: ImageStore, found: _Found, progress: Progress, limits: Limits) -> None:
    where = str(found.names[0])
    manifest = json.loads(store.read_blob(found.manifest.digest))
    config_descriptor, layers = model.parse_manifest(manifest, where)
    config = json.loads(store.read_blob(config_descriptor.digest))
    model.parse_config(config, where)
    ensure_layers(store, layers, model.parse_diff_ids(config, where), progress, limits)


# -- OCI layout ----------------------------------------------------------------------------------


def _read_layout(
    store: ImageStore,
    source: Source,
    given: Reference | None,
    progress: Progress,
    limits: Limits,
) -> Iterator[_Found]:
    index = _object(_read_json(source, "index.json", limits))
    entries = [
        entry for entry in model.parse_index(index, source.what) if not _is_attestation(entry)
    ]
    for entry in entries:
        descriptor = model.parse_descriptor(entry, source.what)
        names = _names_of(entry, given, source.what)
        manifest = _choose_manifest(source, descriptor, limits)
        _read_manifest(store, source, manifest, progress, limits)
        yield _Found(manifest, names)


def _is_attestation(entry: Json) -> bool:
    platform = _object(entry.get("platform"))
    return platform.get("os") == "unknown" or "artifactType" in entry


def _names_of(entry: Json, given: Reference | None, what: str) -> tuple[Reference, ...]:
    annotations = _object(entry.get("annotations"))
    found = (annotations.get(_CONTAINERD_NAME), annotations.get(model.REFERENCE_ANNOTATION))
    names = [text for text in found if isinstance(text, str) and _is_full_name(text)]
    return _named(names[:1], given, what)


def _named(texts: Sequence[str], given: Reference | None, what: str) -> tuple[Reference, ...]:
    """Return an image's names: the one `given` by the user, or else those of the archive."""
    if given:
        return (given,)
    if not texts:
        raise ImageError(f"{what}: it gives its image no name; say one with --name")
    try:
        return tuple(parse_reference(text) for text in texts)
    except ValueError as error:
        raise ImageError(f"{what}: {error}") from None


def _is_full_name(text: str) -> bool:
    """Tell a name from a bare tag, which the annotation may be as well."""
    return "/" in text or ":" in text


def _choose_manifest(
    source: Source, descriptor: Descriptor, limits: Limits, depth: int = 0
) -> Descriptor:
    """Follow indexes to the manifest for this host's platform."""
    if descriptor.media_type not in model.LIST_TYPES:
        return descriptor
    if depth >= NESTING:
        raise ImageError(f"{source.what}: its indexes lie within indexes")
    index = model.parse_object(_read_document(source, descriptor, limits), source.what)
    chosen = model.choose_platform(index, source.what)
    return _choose_manifest(source, chosen, limits, depth + 1)


def _read_manifest(
    store: ImageStore, source: Source, descriptor: Descriptor, progress: Progress, limits: Limits
) -> None:
    data = _read_document(source, descriptor, limits)
    config, layers = model.parse_manifest(model.parse_object(data, source.what), source.what)
    config_data = _read_document(source, config, limits)
    model.check_platform(model.parse_object(config_data, source.what), source.what)
    add_bytes(store, config.media_type, config_data)
    for number, layer in enumerate(layers, 1):
        name = _blob_name(layer)
        if store.blob_path(layer.digest).exists():
            continue
        progress.step(f"reading layer {number} of {len(layers)} ({layer.size / 1e6:.1f} MB)")
        with source.open(name) as stream:
            pieces = progress.watched("reading", pieces_of(stream), layer.size)
            add_blob(store, layer, pieces, f'{source.what}: "{name}"')
    add_bytes(store, descriptor.media_type, data)


# -- docker save ---------------------------------------------------------------------------------


def _read_docker(
    store: ImageStore,
    source: Source,
    given: Reference | None,
    progress: Progress,
    limits: Limits,
) -> Iterator[_Found]:
    for entry in _docker_entries(source, limits):
        tags = entry.get("RepoTags") or []
        if not isinstance(tags, list):
            raise ImageError(f'{source.what}: "RepoTags" in manifest.json is not a list')
        names = _named([str(tag) for tag in tags], given, source.what)
        yield _Found(_read_docker_image(store, source, entry, progress, limits), names)


def _docker_entries(source: Source, limits: Limits) -> list[Json]:
    entries = _read_json(source, "manifest.json", limits)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise ImageError(f"{source.what}: manifest.json is not a list of images")
    return entries


def _read_docker_image(
    store: ImageStore, source: Source, entry: Json, progress: Progress, limits: Limits
) -> Descriptor:
    """Add the image of one entry of manifest.json; its manifest is made here."""
    config_name, layer_names = entry.get("Config"), entry.get("Layers")
    if not isinstance(config_name, str) or not isinstance(layer_names, list):
        raise ImageError(f"{source.what}: manifest.json names no configuration or no layers")
    data = _read_small(source, config_name, limits)
    config = model.parse_object(data, source.what)
    model.check_platform(config, source.what)
    _check_name(config_name, model.compute_digest(data), source.what)
    layers = [_add_docker_layer(store, source, str(name), progress, limits) for name in layer_names]
    config_descriptor = add_bytes(store, model.CONFIG_TYPE, data)
    manifest: Json = {
        "schemaVersion": 2,
        "mediaType": model.MANIFEST_TYPE,
        "config": config_descriptor.to_json(),
        "layers": [layer.to_json() for layer in layers],
    }
    return add_document(store, model.MANIFEST_TYPE, manifest)


def _check_name(name: str, digest: str, what: str) -> None:
    """Check a file whose name says its digest: `<hex>.json`, `blobs/sha256/<hex>`."""
    claimed = "sha256:" + name.rpartition("/")[2].removesuffix(".json")
    if model.is_digest(claimed) and claimed != digest:
        raise ImageError(f'{what}: "{name}" has another content, "{digest}"')


def _add_docker_layer(
    store: ImageStore, source: Source, name: str, progress: Progress, limits: Limits
) -> Descriptor:
    """Add a layer as it is, compressed or not; what it must contain is checked when it is unpacked."""
    size = source.size(name)
    progress.step(f'reading layer "{name[:40]}" ({size / 1e6:.1f} MB)')
    with source.open(name) as stream:
        digest = model.compute_stream_digest(pieces_of(stream))
    _check_name(name, digest, source.what)
    with source.open(name) as stream:
        compressed = stream.read(2) == b"\x1f\x8b"
    descriptor = Descriptor(model.LAYER_TYPE + ("+gzip" if compressed else ""), digest, size)
    with source.open(name) as stream:
        pieces = progress.watched("reading", pieces_of(stream), size)
        add_blob(store, descriptor, pieces, f'{source.what}: "{name}"')
    return descriptor


# -- documents -----------------------------------------------------------------------------------


def _blob_name(descriptor: Descriptor) -> str:
    return f"blobs/sha256/{descriptor.digest.partition(':')[2]}"


def _read_document(source: Source, descriptor: Descriptor, limits: Limits) -> bytes:
    name = _blob_name(descriptor)
    data = _read_small(source, name, limits)
    if model.compute_digest(data) != descriptor.digest or len(data) != descriptor.size:
        raise ImageError(f'{source.what}: "{name}" is not what its digest and size say')
    return data


def _read_small(source: Source, name: str, limits: Limits) -> bytes:
    if source.size(name) > limits.document_bytes:
        raise ImageError(f'{source.what}: "{name}" exceeds {limits.document_bytes} bytes')
    with source.open(name) as stream:
        return stream.read()


def _read_json(source: Source, name: str, limits: Limits) -> object:
    return model.parse_json(_read_small(source, name, limits), f'{source.what}: "{name}"')


def _object(value: object) -> Json:
    """Return an optional member's object, or an empty one."""
    return value if isinstance(value, dict) else {}
