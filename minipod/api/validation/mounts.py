"""What a container mounts: volumes by name and path, and block devices."""

from collections.abc import Iterator, Mapping
from typing import Any

from minipod.api.field import Cause, forbidden, invalid, not_found, required
from minipod.api.validation.values import descending_path, no_backsteps, optional_one_of

Object = dict[str, Any]

_PROPAGATION = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE_READ_ONLY = ("Disabled", "Enabled", "IfPossible")


def validate_mounts(container: Object, volumes: Mapping[str, Object], path: str) -> Iterator[Cause]:
    """Check a container's volumeMounts against the Pod's valid volumes, by name."""
    devices = container.get("volumeDevices") or ()
    device_names = {each.get("name") for each in devices}
    device_paths = {each.get("devicePath") for each in devices}
    seen: set[str] = set()
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        at = f"{path}[{index}]"
        name, target = mount.get("name") or "", mount.get("mountPath") or ""
        if not name:
            yield required(f"{at}.name")
        if name not in volumes:
            yield not_found(f"{at}.name", name)
        if not target:
            yield required(f"{at}.mountPath")
        if target in seen:
            yield invalid(f"{at}.mountPath", target, "must be unique")
        seen.add(target)
        if name in device_names:
            yield invalid(f"{at}.name", name, "must not already exist in volumeDevices")
        if target in device_paths:
            yield invalid(
                f"{at}.mountPath", target, "must not already exist as a path in volumeDevices"
            )
        yield from _sub_path(mount, volumes.get(name) or {}, at)
        yield from _propagation(mount, container, at)


def validate_devices(
    container: Object, volumes: Mapping[str, Object], path: str
) -> Iterator[Cause]:
    """Check a container's volumeDevices."""
    mounts = container.get("volumeMounts") or ()
    mount_names = {each.get("name") for each in mounts}
    mount_paths = {each.get("mountPath") for each in mounts}
    names: set[str] = set()
    paths: set[str] = set()
    for index, device in enumerate(container.get("volumeDevices") or ()):
        at = f"{path}[{index}]"
        name, target = device.get("name") or "", device.get("devicePath") or ""
        yield from _device_name(name, names, volumes, f"{at}.name")
        if not target:
            yield required(f"{at}.devicePath")
        if target in paths:
            yield invalid(f"{at}.devicePath", target, "must be unique")
        if list(no_backsteps(target, at)):
            yield invalid(f"{at}.devicePath", target, "can not contain backsteps ('..')")
        if name in mount_names:
            yield invalid(f"{at}.name", name, "must not already exist in volumeMounts")
        if target in mount_paths:
            yield invalid(
                f"{at}.devicePath", target, "must not already exist as a path in volumeMounts"
            )
        names.add(name)
        paths.add(target)


def _device_name(
    name: str, seen: set[str], volumes: Mapping[str, Object], path: str
) -> Iterator[Cause]:
    if not name:
        yield required(path)
    if name in seen:
        yield invalid(path, name, "must be unique")
    volume = volumes.get(name)
    if volume is None:
        yield not_found(path, name)
    elif volume.get("persistentVolumeClaim") is None and volume.get("ephemeral") is None:
        why = "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode"
        yield invalid(path, name, why)


def _sub_path(mount: Object, volume: Object, path: str) -> Iterator[Cause]:
    given = [name for name in ("subPath", "subPathExpr") if mount.get(name)]
    for name in given:
        yield from descending_path(mount[name], f"{path}.{name}")
    if len(given) == 2:
        why = "subPathExpr and subPath are mutually exclusive"
        yield invalid(f"{path}.subPathExpr", mount["subPathExpr"], why)


def _propagation(mount: Object, container: Object, path: str) -> Iterator[Cause]:
    mode = mount.get("mountPropagation")
    at = f"{path}.mountPropagation"
    yield from optional_one_of(mode, _PROPAGATION, at)
    privileged = (container.get("securityContext") or {}).get("privileged")
    if mode == "Bidirectional" and not privileged:
        why = "Bidirectional mount propagation is available only to privileged containers"
        yield forbidden(at, why)
    recursive = mount.get("recursiveReadOnly")
    at = f"{path}.recursiveReadOnly"
    yield from optional_one_of(recursive, _RECURSIVE_READ_ONLY, at)
    if recursive in ("Enabled", "IfPossible"):
        if not mount.get("readOnly"):
            yield forbidden(at, "may only be specified when readOnly is true")
        if mode not in (None, "None"):
            yield forbidden(
                at, "may only be specified when mountPropagation is None or not specified"
            )
