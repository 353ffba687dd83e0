"""Where a PersistentVolume keeps its data: one source of those that there are, in upstream's order."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, forbidden, invalid, not_supported, required
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.values import csi_driver_name, in_range, no_backsteps, optional_one_of
from minipod.api.validation.volumes import HOST_PATH_TYPES

Object = dict[str, Any]
Check = Callable[[Object, str], Iterator[Cause]]

# Each source, with the fields that it cannot be without.
SOURCES: dict[str, tuple[str, ...]] = {
    "hostPath": ("path",),
    "gcePersistentDisk": ("pdName",),
    "awsElasticBlockStore": ("volumeID",),
    "glusterfs": ("endpoints", "path"),
    "flocker": (),
    "nfs": ("server", "path"),
    "rbd": ("monitors", "image"),
    "quobyte": ("volume",),
    "cephfs": ("monitors",),
    "iscsi": ("targetPortal", "iqn"),
    "cinder": ("volumeID",),
    "fc": (),
    "flexVolume": ("driver",),
    "azureFile": ("secretName", "shareName"),
    "vsphereVolume": ("volumePath",),
    "photonPersistentDisk": ("pdID",),
    "portworxVolume": ("volumeID",),
    "azureDisk": ("diskName", "diskURI"),
    "scaleIO": ("gateway", "system", "volumeName"),
    "local": ("path",),
    "storageos": ("volumeName",),
    "csi": (),
}
# Where a path of upstream's differs from the field's name.
_PATHS = {"gcePersistentDisk": "persistentDisk"}
_CSI_SECRETS = (
    "controllerPublishSecretRef",
    "controllerExpandSecretRef",
    "nodePublishSecretRef",
    "nodeExpandSecretRef",
)
_INITIATORS = {
    "iqn": r"iqn\.\d{4}-\d{2}\.([0-9A-Za-z\-.]+)(:[^,;*&$|\s]+)",
    "eui": "eui.[0-9A-Za-z]{16}",
    "naa": "naa.[0-9A-Za-z]{32}",
}
_AZURE_URIS = {
    True: (
        "/subscriptions/",
        "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
    ),
    False: (
        "https://",
        "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd",
    ),
}


def validate_source(spec: Object, volume: str, path: str) -> Iterator[Cause]:
    """Check that the volume of that name has one source, and that one."""
    given = [name for name in SOURCES if spec.get(name) is not None]
    if not given:
        yield required(path, "must specify a volume type")
        return
    name = given[0]
    at = f"{path}.{_PATHS.get(name, name)}"
    for field in SOURCES[name]:
        if not spec[name].get(field):
            yield required(f"{at}.{field}")
    if name in _CHECKS:
        yield from _CHECKS[name](spec[name], at)
    if name == "iscsi" and spec[name].get("initiatorName") is not None:
        yield from _portal(spec[name], volume, at)
    if name == "local" and spec.get("nodeAffinity") is None:
        yield required(f"{path}.nodeAffinity", "Local volume requires node affinity")
    for extra in given[1:]:
        yield forbidden(f"{path}.{extra}", "may not specify more than 1 volume type")


def _host_path(source: Object, path: str) -> Iterator[Cause]:
    yield from no_backsteps(source.get("path") or "", f"{path}.path")
    yield from optional_one_of(source.get("type"), HOST_PATH_TYPES, f"{path}.type")


def _local(source: Object, path: str) -> Iterator[Cause]:
    yield from no_backsteps(source.get("path") or "", f"{path}.path")


def _nfs(source: Object, path: str) -> Iterator[Cause]:
    target = source.get("path") or ""
    if not target.startswith("/"):
        yield invalid(f"{path}.path", target, "must be an absolute path")


def _disk(source: Object, path: str) -> Iterator[Cause]:
    partition = source.get("partition") or 0
    if not 0 <= partition <= 255:
        yield invalid(f"{path}.partition", partition, "must be between 1 and 255, inclusive")


def _iscsi(source: Object, path: str) -> Iterator[Cause]:
    iqn, initiator = source.get("iqn"), source.get("initiatorName")
    if iqn and not _is_initiator(iqn):
        yield invalid(f"{path}.iqn", iqn, "must be valid format")
    yield from in_range(source.get("lun") or 0, 0, 255, f"{path}.lun")
    authenticated = source.get("chapAuthDiscovery") or source.get("chapAuthSession")
    if authenticated and source.get("secretRef") is None:
        yield required(f"{path}.secretRef")
    if source.get("secretRef") is not None and not source["secretRef"].get("name"):
        yield required(f"{path}.secretRef.name")
    if initiator is not None and not _is_initiator(initiator):
        yield invalid(f"{path}.initiatorname", initiator, "must be valid format")


def _portal(source: Object, volume: str, path: str) -> Iterator[Cause]:
    portal = source.get("targetPortal") or ""
    if len(f"{volume}:{portal}") > 64:
        why = (
            "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if "
            "iscsi.initiatorName is specified."
        )
        yield invalid(f"{path}.targetportal", portal, why)


def _quobyte(source: Object, path: str) -> Iterator[Cause]:
    why = "must be a host:port pair or multiple pairs separated by commas"
    registry = source.get("registry") or ""
    if not registry:
        yield required(f"{path}.registry", why)
    elif len(source.get("tenant") or "") > 64:
        yield required(
            f"{path}.tenant", "must be a UUID and may not exceed a length of 64 characters"
        )
    elif any(not re.fullmatch(r"(\[.*\]|[^:\[\]]*):[^:]*", each) for each in registry.split(",")):
        yield invalid(f"{path}.registry", registry, why)


def _is_initiator(name: str) -> bool:
    pattern = _INITIATORS.get(name[:3])
    return pattern is not None and re.fullmatch(pattern, name) is not None


def _fc(source: Object, path: str) -> Iterator[Cause]:
    targets, identifiers, lun = source.get("targetWWNs"), source.get("wwids"), source.get("lun")
    at = f"{path}.targetWWNs"
    if not targets and not identifiers:
        yield required(at, "must specify either targetWWNs or wwids, but not both")
    if targets and identifiers:
        why = "targetWWNs and wwids can not be specified simultaneously"
        yield invalid(at, targets, why)
    if targets and lun is None:
        yield required(f"{path}.lun", "lun is required if targetWWNs is specified")
    elif targets and lun is not None:
        yield from in_range(lun, 0, 255, f"{path}.lun")


def _glusterfs(source: Object, path: str) -> Iterator[Cause]:
    namespace, at = source.get("endpointsNamespace"), f"{path}.endpointsNamespace"
    if namespace == "":
        why = "if the endpointnamespace is set, it must be a valid namespace name"
        yield invalid(at, namespace, why)
    elif namespace is not None:
        yield from causes_of(names.dns1123_label(namespace), at, namespace)


def _flocker(source: Object, path: str) -> Iterator[Cause]:
    name, uuid = source.get("datasetName") or "", source.get("datasetUUID")
    if not name and not uuid:
        yield required(path, "one of datasetName and datasetUUID is required")
    if name and uuid:
        why = "datasetName and datasetUUID can not be specified simultaneously"
        yield invalid(path, "resource", why)
    if "/" in name:
        yield invalid(f"{path}.datasetName", name, "must not contain '/'")


def _flex(source: Object, path: str) -> Iterator[Cause]:
    for key in source.get("options") or ():
        if f".{key.partition('/')[0].lower()}".endswith((".kubernetes.io", ".k8s.io")):
            why = "kubernetes.io and k8s.io namespaces are reserved"
            yield invalid(f"{path}.options[{key}]", key, why)


def _azure_file(source: Object, path: str) -> Iterator[Cause]:
    if source.get("secretNamespace") == "":
        yield required(f"{path}.secretNamespace")


def _azure_disk(source: Object, path: str) -> Iterator[Cause]:
    kind, uri = source.get("kind"), source.get("diskURI") or ""
    modes = ("None", "ReadOnly", "ReadWrite")
    yield from optional_one_of(source.get("cachingMode"), modes, f"{path}.cachingMode")
    yield from optional_one_of(kind, ("Dedicated", "Managed", "Shared"), f"{path}.kind")
    if kind is not None:
        start, form = _AZURE_URIS[kind == "Managed"]
        if not uri.startswith(start):
            yield not_supported(f"{path}.diskURI", uri, (form,))


def _storageos(source: Object, path: str) -> Iterator[Cause]:
    for name in ("volumeName", "volumeNamespace"):
        if source.get(name):
            yield from causes_of(names.dns1123_label(source[name]), f"{path}.{name}", source[name])
    yield from _secret(source, path)


def _secret(source: Object, path: str) -> Iterator[Cause]:
    reference: Any = source.get("secretRef")
    for name in ("name", "namespace") if reference is not None else ():
        if not reference.get(name):
            yield required(f"{path}.secretRef.{name}")


def _csi(source: Object, path: str) -> Iterator[Cause]:
    yield from csi_driver_name(source.get("driver") or "", f"{path}.driver")
    if not source.get("volumeHandle"):
        yield required(f"{path}.volumeHandle")
    for name in _CSI_SECRETS:
        if source.get(name) is not None:
            yield from _secret_reference(source[name], f"{path}.{name}")


def _secret_reference(reference: Object, path: str) -> Iterator[Cause]:
    for name, rule in (("name", names.dns1123_subdomain), ("namespace", names.dns1123_label)):
        value = reference.get(name)
        if not value:
            yield required(f"{path}.{name}")
        else:
            yield from causes_of(rule(value), f"{path}.{name}", value)


_CHECKS: dict[str, Check] = {
    "hostPath": _host_path,
    "gcePersistentDisk": _disk,
    "awsElasticBlockStore": _disk,
    "glusterfs": _glusterfs,
    "flocker": _flocker,
    "nfs": _nfs,
    "quobyte": _quobyte,
    "iscsi": _iscsi,
    "cinder": _secret,
    "fc": _fc,
    "flexVolume": _flex,
    "azureFile": _azure_file,
    "azureDisk": _azure_disk,
    "local": _local,
    "storageos": _storageos,
    "csi": _csi,
}
