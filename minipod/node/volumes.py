"""Volumes: from a Pod's `volumes` to operations that prepare them on the host, and from `volumeMounts` to mounts. Pure.

The directories are the kubelet's: PODS/UID/volumes/kubernetes.io~KIND/NAME. What is mounted on the host for a Pod (a
tmpfs) is below its directory, so that it can be found again and taken down by the path alone.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from minipod.api.quantity import value
from minipod.client import Object
from minipod.node.environment import References
from minipod.node.errors import StepError
from minipod.node.image_volumes import KIND as IMAGE
from minipod.node.image_volumes import image_volume_place
from minipod.node.projection import (
    Payload,
    compute_payload,
    compute_projection,
    compute_version,
)
from minipod.node.security import pod_context
from minipod.runtime.operations import CheckHostPath, MakeDirectory, MountTmpfs, Operation
from minipod.runtime.spec import Mount, MountKind, Propagation

PROJECTED_KINDS = ("secret", "configMap", "downwardAPI", "projected")
KINDS = ("emptyDir", "hostPath", *PROJECTED_KINDS)

_PROPAGATION: dict[str, Propagation] = {
    "None": "private",
    "HostToContainer": "rslave",
    "Bidirectional": "rshared",
}
_HOST_PATH_KINDS: dict[str, MountKind] = {
    "Directory": "directory",
    "DirectoryOrCreate": "directory",
    "File": "file",
    "FileOrCreate": "file",
}
_DEVICES = ("CharDevice", "BlockDevice")
_CONFIG_ERROR = "CreateContainerConfigError"


@dataclass(frozen=True)
class VolumePlace:
    """Where a volume is, or will be, on the host, and whether containers can only read it.

    A `device` is a node of the host's, asked for by its type. What a hostPath without a type is nobody knows yet.
    """

    path: str
    read_only: bool = False
    device: bool = False
    kind: MountKind = "directory"


@dataclass(frozen=True)
class PreparedVolume:
    """One volume: its place, and the operations that bring it there.

    `version` names the files of a volume that follows API objects, as `..data` in it does; "" for other kinds.
    """

    name: str
    place: VolumePlace
    operations: tuple[Operation, ...]
    version: str = ""

    @property
    def path(self) -> str:
        """Where it is on the host."""
        return self.place.path


def kind_of(volume: Object) -> str:
    """Return the volume's kind: its one key beside the name."""
    return next((key for key in volume if key != "name"), "emptyDir")


def compute_places(pod: Object, directory: Path) -> dict[str, VolumePlace]:
    """Return where the Pod's volumes will be, by name: known before anything of them is."""
    volumes = pod["spec"].get("volumes") or ()
    return {each["name"]: _compute_place(each, directory) for each in volumes}


def _compute_place(volume: Object, directory: Path) -> VolumePlace:
    kind, name = kind_of(volume), volume["name"]
    if kind == "hostPath":
        source = volume[kind]
        wanted = source.get("type") or ""
        known = _HOST_PATH_KINDS.get(wanted, "")
        return VolumePlace(str(source["path"]), device=wanted in _DEVICES, kind=known)
    if kind == IMAGE:
        return VolumePlace(image_volume_place(directory, name), read_only=True)
    below = directory / "volumes" / f"kubernetes.io~{_directory_name(kind)}"
    return VolumePlace(str(below / name), read_only=kind in PROJECTED_KINDS)


def compute_filesystems(pod: Object, directory: Path) -> dict[str, MountTmpfs]:
    """Return what is mounted for the Pod's volumes, by name: known before anything of their contents is.

    A container is made after these: where the host passes no mounts on, its mount namespace would never see them.
    """
    found = {}
    for volume in pod["spec"].get("volumes") or ():
        kind = kind_of(volume)
        path = _compute_place(volume, directory).path
        if kind in PROJECTED_KINDS:
            found[volume["name"]] = _projection(pod, path)
        elif kind == "emptyDir" and (volume.get(kind) or {}).get("medium") == "Memory":
            found[volume["name"]] = _memory(pod, volume[kind], path)
    return found


def compute_volumes(
    pod: Object, directory: Path, references: References
) -> dict[str, PreparedVolume]:
    """Return the Pod's volumes by name. StepError("FailedMount") names what cannot be had."""
    found, failures = compute_available_volumes(pod, directory, references)
    if failures:
        raise failures[0]
    return found


def compute_available_volumes(
    pod: Object, directory: Path, references: References
) -> tuple[dict[str, PreparedVolume], list[StepError]]:
    """Return the volumes that can be had, and why the others cannot: one does not hold up another.

    Images are not among them: they are pulled, and mounted when the first container that wants them is started.
    """
    found, failures = {}, []
    for volume in pod["spec"].get("volumes") or ():
        if kind_of(volume) == IMAGE:
            continue
        try:
            found[volume["name"]] = _compute_volume(pod, volume, directory, references)
        except StepError as error:
            failures.append(mount_failure(volume["name"], error.message))
    return found, failures


def mount_failure(name: str, message: str) -> StepError:
    """Return the kubelet's sentence for a volume that could not be prepared."""
    return StepError("FailedMount", f'MountVolume.SetUp failed for volume "{name}" : {message}')


def _compute_volume(
    pod: Object, volume: Object, directory: Path, references: References
) -> PreparedVolume:
    kind, name = kind_of(volume), volume["name"]
    source = volume.get(kind) or {}
    place = _compute_place(volume, directory)
    if kind == "hostPath":
        checks = (CheckHostPath(place.path, source.get("type") or ""),)
        return PreparedVolume(name, place, checks)
    if kind == "emptyDir":
        return PreparedVolume(name, place, (_empty_dir(pod, source, place.path),))
    if kind in PROJECTED_KINDS:
        payload = compute_payload(pod, kind, source, references)
        return _projected(pod, name, payload, place)
    raise StepError(
        "FailedMount",
        f"volumes of kind {kind} are not supported by minipod; use emptyDir, hostPath, configMap, secret, "
        "downwardAPI, projected or image",
    )


def _directory_name(kind: str) -> str:
    return {
        "emptyDir": "empty-dir",
        "hostPath": "host-path",
        "configMap": "configmap",
        "downwardAPI": "downward-api",
    }.get(kind, kind)


def _empty_dir(pod: Object, source: Object, path: str) -> Operation:
    if source.get("medium") not in ("Memory", "", None):
        raise StepError("FailedMount", f'unknown storage medium "{source["medium"]}"')
    if source.get("medium") == "Memory":
        return _memory(pod, source, path)
    group, mode = _group_and_mode(pod)
    return MakeDirectory(path, mode, gid=group)


def _memory(pod: Object, source: Object, path: str) -> MountTmpfs:
    limit = value(source["sizeLimit"]) if source.get("sizeLimit") else _memory_limit(pod)
    group, mode = _group_and_mode(pod)
    return MountTmpfs(path, limit or None, mode, gid=group)


def _projection(pod: Object, path: str) -> MountTmpfs:
    """Return the tmpfs of a volume of files: what is secret shall not reach a disk."""
    group, mode = _group_and_mode(pod)
    return MountTmpfs(path, None, mode, gid=group)


def _group_and_mode(pod: Object) -> tuple[int, int]:
    group = pod_context(pod).get("fsGroup")
    return group or 0, 0o777 if group is None else 0o2777


def _memory_limit(pod: Object) -> int:
    """Return the Pod's memory limit, beyond which a tmpfs could never be filled; 0 when there is none."""
    limits = [
        ((each.get("resources") or {}).get("limits") or {}).get("memory")
        for each in pod["spec"]["containers"]
    ]
    known = [value(each) for each in limits if each]
    return sum(known) if len(known) == len(limits) else 0


def _projected(pod: Object, name: str, payload: Payload, place: VolumePlace) -> PreparedVolume:
    """Return a volume of files, on a tmpfs of its own."""
    group = pod_context(pod).get("fsGroup")
    files = compute_projection(payload, place.path, group)
    operations = (_projection(pod, place.path), *files)
    return PreparedVolume(name, place, operations, compute_version(payload))


# -- mounts ----------------------------------------------------------------------------------------


def compute_mounts(
    container: Object, volumes: Mapping[str, VolumePlace], expand: Callable[[str], str]
) -> list[Mount]:
    """Return the mounts of a container's volumeMounts; `expand` replaces $(VAR) in subPathExpr."""
    name, wanted = container["name"], container.get("volumeMounts") or ()
    return [_compute_mount(name, each, volumes, expand) for each in wanted]


def _compute_mount(
    container: str, wanted: Object, volumes: Mapping[str, VolumePlace], expand: Callable[[str], str]
) -> Mount:
    volume = volumes.get(wanted["name"])
    if volume is None:
        missing = f'cannot find volume "{wanted["name"]}" to mount into container "{container}"'
        raise StepError(_CONFIG_ERROR, missing)
    subpath = _subpath(wanted, expand)
    return Mount(
        destination=_absolute(wanted["mountPath"]),
        source=volume.path,
        source_subpath=subpath,
        kind="" if subpath else volume.kind,
        read_only=bool(wanted.get("readOnly")) or volume.read_only,
        recursive_read_only=is_recursive_read_only(wanted),
        recursive=not volume.read_only,  # what minipod alone writes has nothing mounted below
        propagation=_PROPAGATION[wanted.get("mountPropagation") or "None"],
        devices=volume.device,
    )


def is_recursive_read_only(mount: Object) -> bool:
    """Return whether what is mounted below a volumeMount is to be read-only too: where it is possible, it is here."""
    return mount.get("recursiveReadOnly") in ("Enabled", "IfPossible")


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _subpath(wanted: Object, expand: Callable[[str], str]) -> str:
    """Return the sub path. StepError for one that leaves its volume (links are the executor's to refuse)."""
    path = str(wanted.get("subPath") or "")
    if wanted.get("subPathExpr"):
        path = expand(wanted["subPathExpr"])
    if path.startswith("/"):
        raise StepError(_CONFIG_ERROR, f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise StepError(
            _CONFIG_ERROR, f"unable to provision SubPath `{path}`: must not contain '..'"
        )
    return path


def order_mounts(mounts: list[Mount]) -> tuple[Mount, ...]:
    """Return the mounts with parents before what is mounted inside them."""
    return tuple(
        sorted(mounts, key=lambda each: len([p for p in each.destination.split("/") if p]))
    )
