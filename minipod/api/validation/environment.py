"""Environment variables of a container, and references to fields, resources and keys."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from minipod.api import names, quantity
from minipod.api.field import Cause, invalid, not_found, not_supported, required, too_long
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.values import descending_path

Object = dict[str, Any]

ENV_FIELDS = (
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
)
VOLUME_FIELDS = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_RESOURCES = tuple(
    f"{which}.{name}"
    for which in ("limits", "requests")
    for name in ("cpu", "ephemeral-storage", "memory")
)
_KNOWN_FIELDS = frozenset((*ENV_FIELDS, *VOLUME_FIELDS))
_BYTES = ("1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei")
_SUBSCRIPT = re.compile(r"(.*)\['(.*)'\]")
_SOURCES = ("fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef")
_FILE_KEY_LIMIT = 128  # characters


def validate_env(
    variables: list[Object], path: str, volumes: Mapping[str, Object] | None = None
) -> Iterator[Cause]:
    """Check the variables of a container; the Pod's volumes are known but for a preset's."""
    for index, variable in enumerate(variables):
        at = f"{path}[{index}]"
        name = variable.get("name") or ""
        if not name:
            yield required(f"{at}.name")
        else:
            yield from causes_of(names.environment_name(name), f"{at}.name", name)
        if variable.get("valueFrom") is not None:
            yield from _value_from(variable, f"{at}.valueFrom")
            file = variable["valueFrom"].get("fileKeyRef")
            if file is not None:
                yield from _file_ref(file, volumes, f"{at}.valueFrom.fileKeyRef")


def validate_env_from(sources: list[Object], path: str) -> Iterator[Cause]:
    """Check the ConfigMaps and Secrets whose keys all become variables."""
    for index, source in enumerate(sources):
        at = f"{path}[{index}]"
        prefix = source.get("prefix") or ""
        if prefix:
            yield from causes_of(names.environment_name(prefix), f"{at}.prefix", prefix)
        given = [each for each in ("configMapRef", "secretRef") if source.get(each) is not None]
        for name in given:
            yield from _object_name(source[name].get("name") or "", f"{at}.{name}.name")
        if not given:
            yield invalid(at, "", "must specify one of: `configMapRef` or `secretRef`")
        elif len(given) > 1:
            yield invalid(at, "", "may not have more than one field specified at a time")


def validate_field_ref(reference: Object, fields: tuple[str, ...], path: str) -> Iterator[Cause]:
    """Check a reference to a field of the Pod; labels and annotations may be picked by ['KEY']."""
    if not reference.get("apiVersion"):
        yield required(f"{path}.apiVersion")
        return
    field_path = reference.get("fieldPath") or ""
    if not field_path:
        yield required(f"{path}.fieldPath")
        return
    subscripted = _SUBSCRIPT.fullmatch(field_path)
    if subscripted:
        yield from _subscript(subscripted[1], subscripted[2], path)
    elif field_path not in _KNOWN_FIELDS:
        why = f"error converting fieldPath: field label not supported: {field_path}"
        yield invalid(f"{path}.fieldPath", field_path, why)
    elif field_path not in fields:
        yield not_supported(f"{path}.fieldPath", field_path, fields)


def validate_resource_ref(reference: Object, path: str, in_volume: bool) -> Iterator[Cause]:
    """Check a reference to a request or limit; in a volume it must name the container."""
    resource = reference.get("resource") or ""
    if in_volume and not reference.get("containerName"):
        yield required(f"{path}.containerName")
    elif not resource:
        yield required(f"{path}.resource")
    elif resource not in _RESOURCES and not resource.startswith(
        ("limits.hugepages-", "requests.hugepages-")
    ):
        yield not_supported(f"{path}.resource", resource, _RESOURCES)
    yield from _divisor(resource, reference.get("divisor"), f"{path}.divisor")


def _value_from(variable: Object, path: str) -> Iterator[Cause]:
    source = variable["valueFrom"]
    given = [each for each in _SOURCES if source.get(each) is not None]
    if "fieldRef" in given:
        yield from validate_field_ref(source["fieldRef"], ENV_FIELDS, f"{path}.fieldRef")
    if "resourceFieldRef" in given:
        yield from validate_resource_ref(
            source["resourceFieldRef"], f"{path}.resourceFieldRef", False
        )
    for name in ("configMapKeyRef", "secretKeyRef"):
        if name in given:
            yield from _key_ref(source[name], f"{path}.{name}")
    if not given:
        listed = ", ".join(f"`{each}`" for each in _SOURCES[:-1])
        yield invalid(path, "", f"must specify one of: {listed} or `{_SOURCES[-1]}`")
    elif variable.get("value"):
        yield invalid(path, "", "may not be specified when `value` is not empty")
    elif len(given) > 1:
        yield invalid(path, "", "may not have more than one field specified at a time")


def _key_ref(reference: Object, path: str) -> Iterator[Cause]:
    yield from causes_of(
        names.dns1123_subdomain(reference.get("name") or ""),
        f"{path}.name",
        reference.get("name") or "",
    )
    key = reference.get("key") or ""
    if not key:
        yield required(f"{path}.key")
    else:
        yield from causes_of(names.config_key(key), f"{path}.key", key)


def _file_ref(
    reference: Object, volumes: Mapping[str, Object] | None, path: str
) -> Iterator[Cause]:
    """Check a key of a file (KEP-3721): in an emptyDir, since what writes it is of the same Pod."""
    volume, target = reference.get("volumeName") or "", reference.get("path") or ""
    if not volume:
        yield required(f"{path}.volumeName")
    elif volumes is not None and volume not in volumes:
        yield not_found(f"{path}.volumeName", volume)
    elif volumes is not None and volumes[volume].get("emptyDir") is None:
        yield invalid(f"{path}.volumeName", volume, "referenced volume must be of type emptyDir")
    if not target:
        yield required(f"{path}.path")
    else:
        yield from descending_path(target, f"{path}.path")
    key = reference.get("key") or ""
    if not key:
        yield required(f"{path}.key")
    elif len(key) > _FILE_KEY_LIMIT:
        yield too_long(f"{path}.key", _FILE_KEY_LIMIT)
    else:
        yield from causes_of(names.environment_name(key), f"{path}.key", key)


def _object_name(name: str, path: str) -> Iterator[Cause]:
    if not name:
        yield required(path)
    else:
        yield from causes_of(names.dns1123_subdomain(name), path, name)


def _subscript(field_path: str, key: str, path: str) -> Iterator[Cause]:
    if field_path == "metadata.annotations":
        yield from causes_of(names.qualified_name(key.lower()), path, key)
    elif field_path == "metadata.labels":
        yield from causes_of(names.qualified_name(key), path, key)
    else:
        yield invalid(path, field_path, "does not support subscript")


def _divisor(resource: str, divisor: str | None, path: str) -> Iterator[Cause]:
    if not divisor or not quantity.parse(divisor):
        return
    name = resource.partition(".")[2]
    text = quantity.canonical(divisor)
    if name == "cpu" and text not in ("1m", "1"):
        yield invalid(
            path, resource, "only divisor's values 1m and 1 are supported with the cpu resource"
        )
    elif name != "cpu" and text not in _BYTES:
        word = "local ephemeral storage" if name == "ephemeral-storage" else name.partition("-")[0]
        listed = ", ".join(_BYTES)
        yield invalid(
            path, resource, f"only divisor's values {listed} are supported with the {word} resource"
        )
