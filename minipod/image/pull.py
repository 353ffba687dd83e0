"""Pull an image: its manifest, its configuration, its layers side by side; unpacked, then visible, in one step."""

import asyncio
import os
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from yarl import URL

from .. import fault
from . import model
from .archive import NESTING
from .contents import add_bytes, ensure_layers, publish_blob
from .credentials import Credential, Keyring, merge, parse_auths, select
from .durable import sync_file
from .errors import ImageError
from .model import Descriptor, Image, Json
from .names import Reference, parse_reference
from .progress import Progress
from .registries import Registry, endpoints, parse_registries
from .registry import RegistryClient, RegistryError, Tell, connected
from .store import ImageStore
from .stream import Limits

CONCURRENT_LAYERS = 3  # containerd's max_concurrent_downloads
AUTHFILE, REGISTRIES = "config.json", "registries.toml"  # in minipod's state directory


@dataclass(frozen=True)
class Pulled:
    """The image, whether it was not there in this version before, and the credential that the registry was shown."""

    image: Image
    changed: bool
    credential: Credential


@dataclass(frozen=True)
class _Remote:
    """An image as a registry has it: not a byte of its layers is here yet."""

    client: RegistryClient
    digest: str  # of what the name stands for: an index, or the manifest itself
    manifest: Descriptor
    manifest_data: bytes
    config: Descriptor
    layers: tuple[Descriptor, ...]


def pull(
    store: ImageStore,
    name: str,
    state: Path,
    progress: Progress,
    *,
    authfile: str | None = None,
    limits: Limits | None = None,
) -> Pulled:
    """Make the store's image `name` what its registry has now, and return it.

    `state` is where `registries.toml` and `config.json` may lie. Raises ImageError (RegistryError for what the
    registry says); whatever is shown under the name then is what was shown before.
    """
    reference = parse_reference(name)
    registry = _registry(state / REGISTRIES, reference)
    keyrings = _keyrings(authfile, state)
    with store.writing():
        return asyncio.run(
            _pull(store, reference, registry, keyrings, progress, limits or Limits())
        )


async def _pull(
    store: ImageStore,
    reference: Reference,
    registry: Registry,
    keyrings: Sequence[Keyring],
    progress: Progress,
    limits: Limits,
) -> Pulled:
    name = str(reference)
    async with connected(registry.ca) as session:
        clients = [
            RegistryClient(session, address, reference, _credentials(keyrings, reference, mirror))
            for address in endpoints(reference.domain, registry)
            for mirror in [address if address in registry.mirrors else ""]
        ]
        known = store.pulled_digest(name)
        client, digest = await _first_answer(clients, reference)
        if known and digest == known:
            return Pulled(store.require(name), False, client.shown)
        remote = await _resolve(client, reference, limits)
        config = await _fetch_config(store, remote, limits)
        await _fetch_layers(store, remote, progress)
    ensure_layers(store, remote.layers, model.parse_diff_ids(config, name), progress, limits)
    add_bytes(store, remote.manifest.media_type, remote.manifest_data)
    fault.point("image.publish")
    store.publish(remote.manifest, [reference], remote.digest)
    return Pulled(store.require(name), True, client.shown)


async def _first_answer(
    clients: Sequence[RegistryClient], reference: Reference
) -> tuple[RegistryClient, str]:
    """Return the first address that has the image. Raises the last one's RegistryError."""
    if not clients:
        raise ImageError(
            f'no mirror is configured for "{reference.domain}", and nothing else is allowed'
        )
    for client in clients:
        try:
            return client, await client.digest(reference.digest or reference.tag)
        except RegistryError as error:
            failure = error
    raise failure


async def _resolve(client: RegistryClient, reference: Reference, limits: Limits) -> _Remote:
    """Follow indexes to the manifest for this host."""
    where = str(reference)
    found, data = await client.manifest(reference.digest or reference.tag, limits.document_bytes)
    digest = found.digest
    for _ in range(NESTING):
        document = model.parse_object(data, where)
        if found.media_type not in model.LIST_TYPES and "manifests" not in document:
            config, layers = model.parse_manifest(document, where)
            return _Remote(client, digest, found, data, config, layers)
        chosen = model.choose_platform(document, where)
        found, data = await client.manifest(chosen.digest, limits.document_bytes)
    raise ImageError(f"{where}: its indexes lie within indexes")


async def _fetch_config(store: ImageStore, remote: _Remote, limits: Limits) -> Json:
    """Add the image's configuration, once it is known to be for this host."""
    where = "image configuration"
    if remote.config.size > limits.document_bytes:
        raise ImageError(f"{where}: it exceeds {limits.document_bytes} bytes")
    path = await _download(store, remote, remote.config, lambda _: None)
    try:
        data = path.read_bytes()
    finally:
        path.unlink()
    config = model.parse_object(data, where)
    model.check_platform(config, where)
    model.parse_config(config, where)
    add_bytes(store, remote.config.media_type, data)
    return config


async def _fetch_layers(store: ImageStore, remote: _Remote, progress: Progress) -> None:
    """Add the layers that are not here, a few at a time. One that fails ends the others."""
    wanted = {e.digest: e for e in remote.layers if not store.blob_path(e.digest).exists()}
    total = sum(layer.size for layer in wanted.values())
    if wanted:
        progress.step(
            f"fetching {len(wanted)} of {len(remote.layers)} layers ({total / 1e6:.1f} MB)"
        )
    turns, done = asyncio.Semaphore(CONCURRENT_LAYERS), 0

    def tell(count: int) -> None:
        nonlocal done
        done += count
        progress.amount("fetching", done, total)

    async def fetch(layer: Descriptor) -> None:
        async with turns:
            path = await _download(store, remote, layer, tell)
        await asyncio.to_thread(sync_file, path)
        publish_blob(store, path, layer.digest)

    failure: Exception | None = None
    try:
        async with asyncio.TaskGroup() as group:
            for layer in wanted.values():
                group.create_task(fetch(layer))
    except* (ImageError, OSError) as failures:
        failure = failures.exceptions[0]
    if failure:
        raise failure


async def _download(store: ImageStore, remote: _Remote, blob: Descriptor, tell: Tell) -> Path:
    path = store.scratch / f"blob-{secrets.token_hex(8)}"
    try:
        await remote.client.fetch(blob, path, tell)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


# -- what is configured ----------------------------------------------------------------------------


def _registry(path: Path, reference: Reference) -> Registry:
    try:
        configured = parse_registries(path.read_text(), str(path))
    except FileNotFoundError:
        return Registry()
    except UnicodeDecodeError:
        raise ImageError(f'"{path}": not UTF-8 text') from None
    return configured.get(reference.domain, Registry())


def _credentials(
    keyrings: Sequence[Keyring], reference: Reference, mirror: str = ""
) -> list[Credential]:
    """Return what an address is shown: a mirror what is meant for the mirror, never what is the registry's."""
    if mirror:
        reference = replace(reference, domain=URL(mirror).authority.rpartition("@")[2])
    found = [each for keyring in keyrings for each in select(keyring, reference)]
    return list(dict.fromkeys(found))


def _keyrings(authfile: str | None, state: Path) -> list[Keyring]:
    """Return the credentials of `authfile`, or else those of minipod's own file and of docker's.

    Those on standard input (a Pod's) go before the host's, as with the kubelet; both are tried.
    """
    if authfile and authfile != "-":
        return [parse_auths(Path(authfile).read_bytes(), f'"{authfile}"')]
    docker = Path(os.environ.get("DOCKER_CONFIG") or Path.home() / ".docker") / AUTHFILE
    found = []
    for path in (state / AUTHFILE, docker):
        try:
            found.append(parse_auths(path.read_bytes(), f'"{path}"'))
        except (FileNotFoundError, NotADirectoryError):
            continue
    given = [parse_auths(sys.stdin.buffer.read(), "standard input")] if authfile else []
    return [*given, merge(found)]
