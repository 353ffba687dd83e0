"""A Pod's volumes: a name, and exactly one source."""

from collections.abc import Callable, Iterator
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, duplicate, forbidden, invalid, required
from minipod.api.validation.environment import (
    VOLUME_FIELDS,
    validate_field_ref,
    validate_resource_ref,
)
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.values import (
    PULL_POLICIES,
    file_mode,
    no_backsteps,
    non_reserved_path,
    optional_one_of,
)

Object = dict[str, Any]

HOST_PATH_TYPES = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_SHORTEST_TOKEN, _LONGEST_TOKEN = 600, 2**32
# What each kind of source that this version only stores cannot be without.
_REQUIRED: dict[str, tuple[str, ...]] = {
    "awsElasticBlockStore": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "azureFile": ("secretName", "shareName"),
    "cephfs": ("monitors",),
    "cinder": ("volumeID",),
    "csi": ("driver",),
    "ephemeral": ("volumeClaimTemplate",),
    "flexVolume": ("driver",),
    "gcePersistentDisk": ("pdName",),
    "gitRepo": ("repository",),
    "glusterfs": ("endpoints", "path"),
    "iscsi": ("targetPortal", "iqn"),
    "nfs": ("server", "path"),
    "persistentVolumeClaim": ("claimName",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "quobyte": ("registry", "volume"),
    "rbd": ("monitors", "image"),
    "scaleIO": ("gateway", "system", "secretRef"),
    "storageos": (),
    "vsphereVolume": ("volumePath",),
}


def validate_volumes(volumes: list[Object], path: str) -> tuple[dict[str, Object], list[Cause]]:
    """Return the valid volumes by name, and what is wrong with the others."""
    valid: dict[str, Object] = {}
    causes: list[Cause] = []
    seen: set[str] = set()
    for index, volume in enumerate(volumes):
        at = f"{path}[{index}]"
        found = [*_source(volume, at), *_name(volume, seen, at)]
        seen.add(volume.get("name") or "")
        if found:
            causes += found
        else:
            valid[volume["name"]] = volume
    return valid, causes


def _name(volume: Object, seen: set[str], path: str) -> Iterator[Cause]:
    name = volume.get("name") or ""
    if not name:
        yield required(f"{path}.name")
        return
    yield from causes_of(names.dns1123_label(name), f"{path}.name", name)
    if name in seen:
        yield duplicate(f"{path}.name", name)


def _source(volume: Object, path: str) -> Iterator[Cause]:
    given = [name for name, each in volume.items() if name != "name" and each is not None]
    if not given:
        yield required(path, "must specify a volume type")
        return
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")
    name = given[0]
    check = _CHECKS.get(name)
    if check is not None:
        yield from check(volume[name], f"{path}.{name}")
    for field in _REQUIRED.get(name, ()):
        if not volume[name].get(field):
            yield required(f"{path}.{name}.{field}")


def _empty_dir(source: Object, path: str) -> Iterator[Cause]:
    limit = source.get("sizeLimit")
    if limit is not None and quantity.parse(limit) < 0:
        yield forbidden(f"{path}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _host_path(source: Object, path: str) -> Iterator[Cause]:
    target = source.get("path") or ""
    if not target:
        yield required(f"{path}.path")
        return
    yield from no_backsteps(target, f"{path}.path")
    yield from optional_one_of(source.get("type"), HOST_PATH_TYPES, f"{path}.type")


def _config_map(source: Object, path: str) -> Iterator[Cause]:
    if not source.get("name"):
        yield required(f"{path}.name")
    yield from file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    yield from _keys(source, path)


def _secret(source: Object, path: str) -> Iterator[Cause]:
    if not source.get("secretName"):
        yield required(f"{path}.secretName")
    yield from file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    yield from _keys(source, path)


def _downward_api(source: Object, path: str) -> Iterator[Cause]:
    yield from file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    for index, item in enumerate(source.get("items") or ()):
        yield from _downward_file(item, f"{path}.items[{index}]")


def _keys(source: Object, path: str) -> Iterator[Cause]:
    for index, item in enumerate(source.get("items") or ()):
        at = f"{path}.items[{index}]"
        for name in ("key", "path"):
            if not item.get(name):
                yield required(f"{at}.{name}")
        yield from non_reserved_path(item.get("path") or "", f"{at}.path")
        yield from file_mode(item.get("mode"), f"{at}.mode")


def _downward_file(item: Object, path: str) -> Iterator[Cause]:
    if not item.get("path"):
        yield required(f"{path}.path")
    yield from non_reserved_path(item.get("path") or "", f"{path}.path")
    field, resource = item.get("fieldRef"), item.get("resourceFieldRef")
    if field is not None:
        yield from validate_field_ref(field, VOLUME_FIELDS, f"{path}.fieldRef")
        if resource is not None:
            why = "fieldRef and resourceFieldRef can not be specified simultaneously"
            yield invalid(path, "resource", why)
    elif resource is not None:
        yield from validate_resource_ref(resource, f"{path}.resourceFieldRef", True)
    else:
        yield required(path, "one of fieldRef and resourceFieldRef is required")
    yield from file_mode(item.get("mode"), f"{path}.mode")


def _projected(source: Object, path: str) -> Iterator[Cause]:
    yield from file_mode(source.get("defaultMode"), f"{path}.defaultMode")
    taken: set[str] = set()
    for index, projection in enumerate(source.get("sources") or ()):
        at = f"{path}.sources[{index}]"
        given = [name for name, each in projection.items() if each is not None]
        for name in given:
            yield from _PROJECTIONS[name](projection[name], f"{at}.{name}")
            for target in _targets(name, projection[name]):
                if target in taken:
                    named = projection[name].get("name") if "items" in projection[name] else None
                    yield invalid(path, named or target, "conflicting duplicate paths")
                taken.add(target)
        if len(given) > 1:
            yield forbidden(at, "may not specify more than 1 volume type per source")


def _targets(name: str, projection: Object) -> Iterator[str]:
    """Yield where a projection writes; whole Secrets and ConfigMaps are not known yet, a token yields to others."""
    for item in projection.get("items") or ():
        if item.get("path"):
            yield item["path"]
    fields = ("path", "credentialBundlePath", "keyPath", "certificateChainPath")
    for field in fields if name != "serviceAccountToken" else ():
        if projection.get(field):
            yield projection[field]


def _named_keys(projection: Object, path: str) -> Iterator[Cause]:
    if not projection.get("name"):
        yield required(f"{path}.name")
    yield from _keys(projection, path)


def _token(projection: Object, path: str) -> Iterator[Cause]:
    seconds = projection.get("expirationSeconds", 3600)
    at = f"{path}.expirationSeconds"
    if seconds < _SHORTEST_TOKEN:
        yield invalid(at, seconds, "may not specify a duration less than 10 minutes")
    if seconds > _LONGEST_TOKEN:
        yield invalid(at, seconds, "may not specify a duration larger than 2^32 seconds")
    yield from _target(projection, path)


def _image(source: Object, path: str) -> Iterator[Cause]:
    if not source.get("reference"):
        yield required(f"{path}.reference")
    yield from optional_one_of(source.get("pullPolicy"), PULL_POLICIES, f"{path}.pullPolicy")


def _trust_bundle(projection: Object, path: str) -> Iterator[Cause]:
    named, signed = projection.get("name") is not None, projection.get("signerName") is not None
    if named and signed:
        yield invalid(path, projection, "only one of name and signerName may be used")
    elif not named and not signed:
        yield required(path, "either name or signerName must be specified")
    yield from _target(projection, path)


def _certificate(projection: Object, path: str) -> Iterator[Cause]:
    for name in ("signerName", "keyType"):
        if not projection.get(name):
            yield required(f"{path}.{name}")


def _target(projection: Object, path: str) -> Iterator[Cause]:
    target = projection.get("path") or ""
    if not target:
        yield required(f"{path}.path")
    yield from non_reserved_path(target, f"{path}.path")


Check = Callable[[Object, str], Iterator[Cause]]

_CHECKS: dict[str, Check] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "configMap": _config_map,
    "secret": _secret,
    "downwardAPI": _downward_api,
    "projected": _projected,
    "image": _image,
}
_PROJECTIONS: dict[str, Check] = {
    "secret": _named_keys,
    "configMap": _named_keys,
    "downwardAPI": _downward_api,
    "serviceAccountToken": _token,
    "clusterTrustBundle": _trust_bundle,
    "podCertificate": _certificate,
}
