"""The image store on disk: an OCI image layout, with the layers unpacked beside their blobs.

    DIRECTORY/
      oci-layout, index.json, blobs/sha256/   OCI image layout 1.1; the index names images by their full reference
      layers/ID                               one unpacked layer, named from its chain ID, ready to be a lowerdir
      pulled.json                             what came from a registry: reference -> digests there and here
      aliases.json                            reference -> reference, for manifests that name another registry's image
      leases/OWNER                            digest of the manifest that OWNER (a container) runs on, and its Pod
      scratch/                                whatever is being made; nothing in it is visible as an image
      lock                                    flock: held for moments, to change index, aliases or leases
      writers.lock                            flock: shared by whoever adds blobs or layers, exclusive for garbage

An image becomes visible by one rename of index.json, after its blobs and layers are complete and synced; so a killed
writer leaves nothing but garbage. The daemon imports this module on its way up: no archive or compression modules here.
"""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from .. import fault
from ..linux.trees import remove_tree
from . import model
from .durable import locked, write_file
from .errors import ImageError
from .model import Descriptor, Image, ImageConfig, Json
from .names import Reference, parse_reference

__all__ = ["Image", "ImageConfig", "ImageError", "ImageStore"]

LAYER_NAME_LENGTH = 32  # of the chain ID's 64: an overlay's options must fit one page (mount(2))
_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


@dataclass(frozen=True)
class Collected:
    """What `collect_garbage` removed."""

    blobs: int = 0
    layers: int = 0
    bytes: int = 0  # of blobs


@dataclass
class _Cached:
    """A JSON file's last content, kept while its inode, size and mtime stay."""

    signature: tuple[int, int, int] | None = None
    content: Json | None = None


class ImageStore:
    """Images by reference. One instance per process; several processes may share the directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.blobs = directory / "blobs" / "sha256"
        self.layers = directory / "layers"
        self.scratch = directory / "scratch"
        self._leases = directory / "leases"
        self._index_path = directory / "index.json"
        self._aliases_path = directory / "aliases.json"
        self._pulled_path = directory / "pulled.json"
        self._index = _Cached()
        self._aliases = _Cached()
        self._pulled = _Cached()
        self._images: dict[str, Image] = {}
        self._resolved: dict[str, Image] = {}
        self._ensure_layout()

    # -- reading ---------------------------------------------------------------------------------

    def resolve(self, reference: str) -> Image | None:
        """Return the image that `reference` (a name, an alias, or an image ID `sha256:...`) stands for, or None.

        Two stat(2) calls when nothing changed. Raises ValueError for an invalid name, ImageError for a damaged store.
        """
        self._refresh()
        found = self._resolved.get(reference)
        if found is None:
            found = self._find(reference)
            if found is not None:
                self._resolved[reference] = found
        return found

    def resolve_exactly(self, reference: str) -> Image | None:
        """Return the image of this very name, aliases aside, or None."""
        name = str(parse_reference(reference))
        return self._image(name) if name in self._names() else None

    def list(self) -> list[Image]:
        """Return every named image, by reference."""
        return [self._image(name) for name in sorted(self._names())]

    def aliases(self) -> dict[str, str]:
        """Return the aliases: full reference -> full reference."""
        self._refresh()
        return dict(self._aliases.content or {})

    def pulled_digest(self, reference: str) -> str:
        """Return the digest under which a registry gave the image of this very name; "" for one that was made here.

        It is the index's where there is one. What was built, loaded or tagged over a pulled image was made here.
        """
        name = str(parse_reference(reference))
        _read_cached(self._pulled_path, self._pulled)
        record = (self._pulled.content or {}).get(name) or {}
        found = self._names().get(name)
        same = found is not None and record.get("manifest") == found.digest
        return str(record["digest"]) if same else ""

    def leases(self) -> dict[str, str]:
        """Return the leases: owner -> manifest digest."""
        return {owner: digest for owner, digest, _ in self._read_leases()}

    def users(self, image: Image) -> tuple[str, ...]:
        """Return who uses an image, as their leases call them."""
        digest = image.manifest_digest
        return tuple(sorted({user for _, leased, user in self._read_leases() if leased == digest}))

    def _read_leases(self) -> Iterator[tuple[str, str, str]]:
        """Yield owner, manifest digest and user (the owner, where the lease names no other) of each lease."""
        for entry in self._leases.iterdir():
            try:
                digest, _, user = entry.read_text("utf-8").partition("\n")
            except FileNotFoundError:
                continue  # released meanwhile
            if model.is_digest(digest):  # a power cut may leave an empty file
                owner = unquote(entry.name)
                yield owner, digest, user.strip() or f'"{owner}"'

    def read_blob(self, digest: str) -> bytes:
        """Return a small blob's (a document's) content, verified; raises ImageError."""
        path = self.blob_path(digest)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ImageError(
                f'image store "{self.directory}": blob "{digest}" is missing'
            ) from None
        if model.compute_digest(data) != digest:
            raise ImageError(f'image store "{self.directory}": blob "{digest}" is damaged')
        return data

    def blob_path(self, digest: str) -> Path:
        """Return where a blob is or would be."""
        return self.blobs / digest.partition(":")[2]

    def layer_path(self, chain_id: str) -> Path:
        """Return where an unpacked layer is or would be."""
        return self.layers / chain_id.partition(":")[2][:LAYER_NAME_LENGTH]

    # -- leases ----------------------------------------------------------------------------------

    def lease(self, image: Image, owner: str, user: str = "", *, wait: bool = True) -> None:
        """Keep `image`'s layers for `owner` until `release`. Idempotent; raises ImageError when it is gone already.

        Unless it is to `wait`, BlockingIOError when another process is changing the store.

        `user` is what whoever wants to remove the image is told of the owner: 'pod "default/web"'.
        Not synced to disk, as it is on a Pod's start path: no container outlives a power cut either.
        """
        how = fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB
        with locked(self.directory / "lock", how):
            if not self.blob_path(image.manifest_digest).exists():
                raise ImageError(
                    f'image "{image.reference}" was removed meanwhile; load or build it again'
                )
            data = f"{image.manifest_digest}\n{user}".encode()
            write_file(self._lease_path(owner), data, self.scratch, sync=False)

    def release(self, owner: str) -> None:
        """Give up `owner`'s lease; none is fine."""
        self._lease_path(owner).unlink(missing_ok=True)

    def _lease_path(self, owner: str) -> Path:
        return self._leases / quote(owner, safe="")

    # -- changing --------------------------------------------------------------------------------

    def tag(self, source: str, target: str) -> Image:
        """Give the image `source` the further name `target`; raises ImageError when there is no such image."""
        image = self.require(source)
        self.publish(self._descriptor(image.reference), [parse_reference(target)])
        return self.require(target)

    def alias(self, name: str, target: str) -> None:
        """Let `name` stand for `target`, which need not exist yet. An image of that very name goes before its alias."""
        full, aim = str(parse_reference(name)), str(parse_reference(target))
        with self._changing():
            aliases = self.aliases()
            aim = aliases.get(aim, aim)
            if full == aim:
                raise ImageError(f'alias "{name}" would stand for itself')
            aliases[full] = aim
            for other, old_aim in aliases.items():
                if old_aim == full:
                    aliases[other] = aim
            self._write(self._aliases_path, aliases)

    def publish(
        self, manifest: Descriptor, names: Sequence[Reference], pulled_digest: str = ""
    ) -> None:
        """Make a complete image visible under `names`, in one step. Its blobs and layers must be there already."""
        with self._changing():
            entries = self._names()
            for name in names:
                entries[str(name)] = manifest
            if pulled_digest:  # first: alone it says nothing
                record = {"digest": pulled_digest, "manifest": manifest.digest}
                self._record_pulled({str(name): record for name in names}, entries)
            self._write_index(entries)

    def _record_pulled(
        self, records: Mapping[str, Json], entries: Mapping[str, Descriptor]
    ) -> None:
        _read_cached(self._pulled_path, self._pulled)
        known = {n: r for n, r in (self._pulled.content or {}).items() if n in entries}
        self._write(self._pulled_path, {**known, **records})

    def remove(self, reference: str) -> tuple[str, ...]:
        """Remove a name (by ID: all the image's names) and return what was removed; blobs stay for `collect_garbage`.

        An alias is removed as such. Raises ImageError when there is no such image, or when a container still uses
        the image and this is its last name.
        """
        with self._changing():
            if self._remove_alias(reference):
                return (str(parse_reference(reference)),)
            image = self.require(reference)
            entries = self._names()
            same = [n for n, d in entries.items() if d.digest == image.manifest_digest]
            doomed = same if _is_id(reference) else [image.reference]
            if len(doomed) == len(same):
                self._refuse_leased(image)
            for name in doomed:
                del entries[name]
            self._write_index(entries)
            fault.point("image.unnamed")
            return tuple(doomed)

    def require(self, reference: str) -> Image:
        """Return the image or raise ImageError."""
        image = self.resolve(reference)
        if image is None:
            raise ImageError(
                f'image "{reference}" is not in the store; "minipod image list" shows what is, '
                '"minipod image build|load" adds one'
            )
        return image

    def _remove_alias(self, reference: str) -> bool:
        if _is_id(reference):
            return False
        full, aliases = str(parse_reference(reference)), self.aliases()
        if full in self._names() or full not in aliases:
            return False
        del aliases[full]
        self._write(self._aliases_path, aliases)
        return True

    def _refuse_leased(self, image: Image) -> None:
        if users := self.users(image):
            more = f" and {len(users) - 1} more" if len(users) > 1 else ""
            raise ImageError(
                f'image "{image.reference}" is in use by {users[0]}{more}; delete its Pods first'
            )

    # -- garbage ---------------------------------------------------------------------------------

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Hold this while adding blobs and layers that no index names yet; clears what killed writers left."""
        with locked(self.directory / "writers.lock", fcntl.LOCK_SH) as descriptor:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass  # others are writing: the scratch directory is theirs as well
            else:
                self._clear_scratch()
            fcntl.flock(descriptor, fcntl.LOCK_SH)
            yield

    def collect_garbage(self) -> Collected:
        """Remove blobs and layers that neither an image nor a lease needs, and what killed writers left.

        Raises ImageError while another process adds an image; nothing is removed then.
        """
        try:
            with locked(self.directory / "writers.lock", fcntl.LOCK_EX | fcntl.LOCK_NB):
                self._clear_scratch()
                with self._changing():
                    collected = self._set_garbage_aside()
                self._clear_scratch()
                return collected
        except BlockingIOError:
            raise ImageError(
                f'image store "{self.directory}": an image is being added just now; try again later'
            ) from None

    def _set_garbage_aside(self) -> Collected:
        blobs, layers = self._reachable()
        size = removed_blobs = removed_layers = 0
        for path in self.layers.iterdir():
            if path.name not in layers:
                os.rename(path, self.scratch / f"garbage-{path.name}")
                fault.point("image.layer-aside")
                removed_layers += 1
        for path in self.blobs.iterdir():
            if path.name not in blobs:
                size += path.stat().st_size
                path.unlink()
                fault.point("image.blob-removed")
                removed_blobs += 1
        return Collected(removed_blobs, removed_layers, size)

    def _reachable(self) -> tuple[set[str], set[str]]:
        """Return the file names of all blobs and layers that images and leases need."""
        blobs: set[str] = set()
        layers: set[str] = set()
        wanted = {descriptor.digest for descriptor in self._names().values()}
        for digest in wanted | set(self.leases().values()):
            config, parts, diff_ids = self._documents(digest)
            digests = (digest, config.digest, *(part.digest for part in parts))
            blobs.update(self.blob_path(each).name for each in digests)
            chain = model.compute_chain_ids(diff_ids)
            layers.update(self.layer_path(each).name for each in chain)
        return blobs, layers

    def _clear_scratch(self) -> None:
        for path in self.scratch.iterdir():
            if not path.name.startswith("file-"):  # of another process that holds only `lock`
                remove_tree(path)

    def clear_leftovers(self) -> None:
        """Remove what a killed process has left of an index or a lease."""
        with self._changing():
            pass

    # -- inside ----------------------------------------------------------------------------------

    def _ensure_layout(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in (self.blobs, self.layers, self.scratch, self._leases):
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
        marker = self.directory / "oci-layout"
        if marker.exists() and self._index_path.exists():
            return
        with self._changing():
            write_file(marker, _LAYOUT, self.scratch)
            if not self._index_path.exists():
                self._write_index({})

    @contextmanager
    def _changing(self) -> Iterator[None]:
        with locked(self.directory / "lock"):
            for path in self.scratch.glob("file-*"):
                path.unlink(
                    missing_ok=True
                )  # written only under this lock: a killed process left it
            yield

    def _refresh(self) -> None:
        """Read again what changed on disk, and forget what was derived from it."""
        index = _read_cached(self._index_path, self._index)
        aliases = _read_cached(self._aliases_path, self._aliases)
        if index or aliases:
            self._images, self._resolved = {}, {}

    def _find(self, reference: str) -> Image | None:
        names = self._names()
        if _is_id(reference):
            images = (self._image(name) for name in sorted(names))
            return next((i for i in images if reference in (i.id, i.manifest_digest)), None)
        full = parse_reference(reference)
        for name in (str(full), self.aliases().get(str(full), "")):
            if name in names:
                return self._image(name)
        if full.digest:
            return self._find_by_digest(full)
        return None

    def _find_by_digest(self, wanted: Reference) -> Image | None:
        for name, descriptor in self._names().items():
            if descriptor.digest == wanted.digest and parse_reference(name).name == wanted.name:
                return self._image(name)
        return None

    def _names(self) -> dict[str, Descriptor]:
        self._refresh()
        where = f'"{self._index_path}"'
        entries: dict[str, Descriptor] = {}
        for entry in (self._index.content or {}).get("manifests", ()):
            name = (entry.get("annotations") or {}).get(model.REFERENCE_ANNOTATION)
            if name:
                entries[name] = model.parse_descriptor(entry, where)
        return entries

    def _descriptor(self, name: str) -> Descriptor:
        return self._names()[name]

    def _image(self, name: str) -> Image:
        if name not in self._images:
            self._images[name] = self._read_image(name)
        return self._images[name]

    def _read_image(self, name: str) -> Image:
        descriptor = self._descriptor(name)
        config, parts, diff_ids = self._documents(descriptor.digest)
        document = json.loads(self.read_blob(config.digest))
        chain = model.compute_chain_ids(diff_ids)
        layers = tuple(str(self.layer_path(chain_id)) for chain_id in reversed(chain))
        for layer in layers:
            if not os.path.isdir(layer):
                raise ImageError(
                    f'image "{name}": its layer "{layer}" is missing; load or build it again'
                )
        return Image(
            reference=name,
            id=config.digest,
            manifest_digest=descriptor.digest,
            config=model.parse_config(document, f'image "{name}"'),
            layers=layers,
            size=descriptor.size + config.size + sum(part.size for part in parts),
            created=str(document.get("created") or ""),
        )

    def _documents(
        self, manifest_digest: str
    ) -> tuple[Descriptor, tuple[Descriptor, ...], tuple[str, ...]]:
        where = f'manifest "{manifest_digest}"'
        manifest = json.loads(self.read_blob(manifest_digest))
        config, parts = model.parse_manifest(manifest, where)
        diff_ids = model.parse_diff_ids(json.loads(self.read_blob(config.digest)), where)
        return config, parts, diff_ids

    def _write_index(self, entries: Mapping[str, Descriptor]) -> None:
        manifests = [
            {
                **entries[name].to_json(),
                "mediaType": entries[name].media_type or model.MANIFEST_TYPE,
                "annotations": {model.REFERENCE_ANNOTATION: name},
            }
            for name in sorted(entries)
        ]
        index = {"schemaVersion": 2, "mediaType": model.INDEX_TYPE, "manifests": manifests}
        self._write(self._index_path, index)

    def _write(self, path: Path, content: Mapping[str, object]) -> None:
        write_file(path, json.dumps(content, indent=1).encode(), self.scratch)


def _read_cached(path: Path, cached: _Cached) -> bool:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        changed = cached.signature is not None
        cached.signature, cached.content = None, None
        return changed
    signature = (found.st_ino, found.st_size, found.st_mtime_ns)
    if signature == cached.signature:
        return False
    try:
        content = json.loads(path.read_bytes())
    except ValueError as error:
        raise ImageError(f'image store: "{path}" is damaged: {error}') from None
    cached.signature, cached.content = signature, content
    return True


def _is_id(reference: str) -> bool:
    return model.is_digest(reference)
