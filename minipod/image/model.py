"""What an image is, as values: its configuration, its layers, and the JSON documents it is read from.

Media types, manifests and configurations are those of the OCI image specification 1.1; Docker's schema 2 documents
have the same members and are accepted as well.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from .errors import ImageError

Json = dict[str, Any]

INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"
LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar"
DOCKER_LIST_TYPE = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST_TYPE = "application/vnd.docker.distribution.manifest.v2+json"
REFERENCE_ANNOTATION = "org.opencontainers.image.ref.name"
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
LIST_TYPES = frozenset({INDEX_TYPE, DOCKER_LIST_TYPE})


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A reference to a blob by its content."""

    media_type: str
    digest: str  # "sha256:<hex>"
    size: int  # bytes

    def to_json(self) -> Json:
        """Return the descriptor as the specification writes it."""
        return {"mediaType": self.media_type, "digest": self.digest, "size": self.size}


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """How the image wants to be run (the `config` member of the image configuration)."""

    entrypoint: tuple[str, ...] = ()
    cmd: tuple[str, ...] = ()
    env: tuple[str, ...] = ()  # "NAME=value"
    working_dir: str = ""
    user: str = ""  # "name", "uid", "name:group", "uid:gid"
    stop_signal: str = ""  # "SIGQUIT", "3"; "" is SIGTERM
    exposed_ports: tuple[str, ...] = ()  # "80/tcp"
    volumes: tuple[str, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is unpacked and ready for an overlay mount."""

    reference: str  # full name in the store, aliases resolved: "docker.io/library/nginx:latest"
    id: str  # digest of the configuration: "sha256:<hex>"
    manifest_digest: str
    config: ImageConfig
    layers: tuple[str, ...]  # unpacked directories, topmost first
    size: int  # bytes of manifest, configuration and layer blobs
    created: str = ""  # RFC 3339

    @property
    def repo_digest(self) -> str:
        """The name with the manifest's digest, as `imageID` of a container status has it."""
        name = self.reference.partition("@")[0]
        head, _, tail = name.rpartition("/")
        return f"{head}/{tail.partition(':')[0]}@{self.manifest_digest}"


def architecture() -> str:
    """Return this host's architecture as images name it (Go's GOARCH)."""
    machine = os.uname().machine
    return _ARCHITECTURES.get(machine, machine)


def compute_digest(data: bytes) -> str:
    """Return the sha256 digest of `data`, with its algorithm prefix."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


def compute_stream_digest(pieces: Iterable[bytes]) -> str:
    """Return the sha256 digest of all `pieces`."""
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return "sha256:" + digest.hexdigest()


def compute_chain_ids(diff_ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return each layer's chain ID, lowest first (image specification, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        chain.append(compute_digest(f"{chain[-1]} {diff_id}".encode("ascii")) if chain else diff_id)
    return tuple(chain)


def parse_descriptor(value: object, where: str) -> Descriptor:
    """Read a descriptor; raises ImageError naming `where` it stood."""
    if not isinstance(value, Mapping):
        raise ImageError(f"{where}: not a descriptor")
    digest, size = value.get("digest"), value.get("size")
    if not isinstance(digest, str) or not is_digest(digest):
        raise ImageError(f'{where}: digest "{digest}" is not a sha256 digest')
    if not isinstance(size, int) or size < 0:
        raise ImageError(f'{where}: size "{size}" of "{digest}" is not a number of bytes')
    return Descriptor(str(value.get("mediaType") or ""), digest, size)


def is_digest(text: str) -> bool:
    """Tell whether `text` is a well-formed sha256 digest."""
    algorithm, _, hexadecimal = text.partition(":")
    return (
        algorithm == "sha256"
        and len(hexadecimal) == 64
        and not set(hexadecimal) - set("0123456789abcdef")
    )


def parse_index(index: Json, where: str) -> list[Json]:
    """Return an index's entries; raises ImageError."""
    manifests = index.get("manifests")
    if not isinstance(manifests, list) or not all(isinstance(m, dict) for m in manifests):
        raise ImageError(f"{where}: its index has no list of manifests")
    return manifests


def choose_platform(index: Json, where: str) -> Descriptor:
    """Return the index's manifest (or further index) for this host; raises ImageError."""
    wanted = architecture()
    for entry in parse_index(index, where):
        platform = entry.get("platform")
        if not isinstance(platform, dict):
            continue
        if platform.get("os") == "linux" and platform.get("architecture") == wanted:
            return parse_descriptor(entry, where)
    raise ImageError(f"{where}: it has no image for linux/{wanted}")


def check_platform(config: Json, where: str) -> None:
    """Refuse a configuration that is for other hosts; raises ImageError."""
    found = f"{config.get('os')}/{config.get('architecture')}"
    if found != f"linux/{architecture()}":
        raise ImageError(
            f'{where}: its image is for "{found}", this host is linux/{architecture()}'
        )


def parse_object(data: bytes, where: str) -> Json:
    """Read a document that must be a JSON object; raises ImageError."""
    parsed = parse_json(data, where)
    if not isinstance(parsed, dict):
        raise ImageError(f"{where}: a document of it is not a JSON object")
    return parsed


def parse_json(data: bytes, where: str) -> object:
    """Read a document; raises ImageError."""
    try:
        parsed: object = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ImageError(f"{where}: not JSON: {error}") from None
    return parsed


def parse_manifest(manifest: Json, where: str) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """Return a manifest's configuration and layers (lowest first); raises ImageError."""
    layers = manifest.get("layers")
    if manifest.get("schemaVersion") != 2 or not isinstance(layers, list):
        raise ImageError(f"{where}: not an image manifest of schema version 2")
    config = parse_descriptor(manifest.get("config"), where)
    return config, tuple(parse_descriptor(layer, where) for layer in layers)


def parse_diff_ids(config: Json, where: str) -> tuple[str, ...]:
    """Return the digests of the uncompressed layers, lowest first; raises ImageError."""
    rootfs = config.get("rootfs")
    found = rootfs.get("diff_ids") if isinstance(rootfs, Mapping) else None
    if not isinstance(found, list) or not all(isinstance(d, str) and is_digest(d) for d in found):
        raise ImageError(f"{where}: the image configuration has no usable rootfs.diff_ids")
    return tuple(found)


def parse_config(config: Json, where: str) -> ImageConfig:
    """Read the `config` member of an image configuration; raises ImageError for wrong types."""
    found = config.get("config") or {}
    if not isinstance(found, Mapping):
        raise ImageError(f'{where}: "config" of the image configuration is not an object')
    labels = _mapping(found, "Labels", where)
    return ImageConfig(
        entrypoint=_strings(found, "Entrypoint", where),
        cmd=_strings(found, "Cmd", where),
        env=_strings(found, "Env", where),
        working_dir=_string(found, "WorkingDir", where),
        user=_string(found, "User", where),
        stop_signal=_string(found, "StopSignal", where),
        exposed_ports=tuple(sorted(_mapping(found, "ExposedPorts", where))),
        volumes=tuple(sorted(_mapping(found, "Volumes", where))),
        labels=tuple(sorted((str(name), str(value)) for name, value in labels.items())),
    )


def _string(found: Mapping[str, Any], name: str, where: str) -> str:
    value = found.get(name) or ""
    if not isinstance(value, str):
        raise ImageError(f'{where}: "{name}" of the image configuration is not a string')
    return value


def _strings(found: Mapping[str, Any], name: str, where: str) -> tuple[str, ...]:
    value = found.get(name) or []
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise ImageError(f'{where}: "{name}" of the image configuration is not a list of strings')
    return tuple(value)


def _mapping(found: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    value = found.get(name) or {}
    if not isinstance(value, Mapping):
        raise ImageError(f'{where}: "{name}" of the image configuration is not an object')
    return value
