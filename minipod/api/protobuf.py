"""Objects as Go clients send them: Kubernetes' protobuf encoding, turned into the JSON form that all else here knows.

`field_numbers.json` gives, for each of upstream's definitions, its fields' JSON names in the order of their numbers
("-" for a number without a field, "+Name" for a message whose fields are its parent's in JSON): the numbers of
Kubernetes v1.36's generated.proto files. The types are the schema's. A field that is not listed is passed over, as
any protobuf reader does. Answers are never encoded so: clients that send protobuf accept JSON.

Go writes the fields that are no pointers even when they are empty, and JSON leaves them out: so are they here, but
for those whose emptiness says something (a Go pointer to it).

Sources: protobuf.dev/programming-guides/encoding, apimachinery's runtime.Unknown.
"""

import base64
import json
import os.path
import struct
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from minipod.api.definitions import definitions

Object = dict[str, Any]

MEDIA_TYPE = "application/vnd.kubernetes.protobuf"
_MAGIC = b"k8s\x00"
_DEPTH_LIMIT = 60
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Fields whose zero, false or empty value is not the same as leaving them out.
_POINTERS = frozenset(
    (
        "activeDeadlineSeconds",
        "allocateLoadBalancerNodePorts",
        "allowPrivilegeEscalation",
        "attachRequired",
        "automountServiceAccountToken",
        "averageUtilization",
        "backoffLimit",
        "backoffLimitPerIndex",
        "borrowingLimitPercent",
        "completions",
        "defaultMode",
        "deletionGracePeriodSeconds",
        "enableServiceLinks",
        "expirationSeconds",
        "failedJobsHistoryLimit",
        "fsGroup",
        "gracePeriodSeconds",
        "hostUsers",
        "index",
        "lendablePercent",
        "maxFailedIndexes",
        "minReplicas",
        "mode",
        "nominalConcurrencyShares",
        "orphanDependents",
        "parallelism",
        "partition",
        "priority",
        "progressDeadlineSeconds",
        "replicas",
        "revisionHistoryLimit",
        "runAsGroup",
        "runAsNonRoot",
        "runAsUser",
        "stabilizationWindowSeconds",
        "startingDeadlineSeconds",
        "storageClassName",
        "successfulJobsHistoryLimit",
        "terminationGracePeriodSeconds",
        "tolerationSeconds",
        "ttlSecondsAfterFinished",
        "value",
    )
)


def decode(data: bytes) -> Object:
    """Return the object that a body holds. Raises ValueError."""
    if not data.startswith(_MAGIC):
        raise ValueError("it does not start with Kubernetes' four bytes")
    parts = _last(data[len(_MAGIC) :])
    kind = _last(_bytes(parts.get(1, b"")))
    version, name = _text(kind.get(1, b"")), _text(kind.get(2, b""))
    definition = _kinds().get((version, name))
    if definition is None:
        raise ValueError(f'no kind "{name}" is known in version "{version}"')
    made = _message(_bytes(parts.get(2, b"")), definition, definition, 0)
    return {"apiVersion": version, "kind": name, **made}


# ---- the wire format ----


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Yield numbers and values: varints as they are, all else as bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, wire_type = key >> 3, key & 7
        value: int | bytes
        if wire_type == 0:
            value, at = _varint(data, at)
        elif wire_type in (1, 5):
            size = 8 if wire_type == 1 else 4
            value, at = data[at : at + size], at + size
        elif wire_type == 2:
            size, at = _varint(data, at)
            value, at = data[at : at + size], at + size
        else:
            raise ValueError(f"wire type {wire_type} is not used")
        if at > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value & (2**64 - 1), at
    raise ValueError("it ends in the middle of a number")


def _last(data: bytes) -> dict[int, int | bytes]:
    """Return a small message's fields by number."""
    return dict(_fields(data))


def _bytes(value: int | bytes) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number stands where text or a message belongs")
    return value


def _text(value: int | bytes) -> str:
    return _bytes(value).decode("utf-8")


def _integer(value: int | bytes) -> int:
    if not isinstance(value, int):
        raise ValueError("text stands where a number belongs")
    return value - 2**64 if value >= 2**63 else value


# ---- from definitions ----


@lru_cache(maxsize=1)
def _kinds() -> Mapping[tuple[str, str], str]:
    """Return the definition of every kind, by apiVersion and kind."""
    found = {}
    for name, definition in definitions().items():
        for group, version, kind in definition.get("gvk") or ():
            found[f"{group}/{version}" if group else version, kind] = name
    return found


@lru_cache(maxsize=1)
def _numbers() -> Mapping[str, str]:
    path = os.path.join(os.path.dirname(__file__), "field_numbers.json")
    with open(path, "rb") as file:
        loaded: Mapping[str, str] = json.load(file)
    return loaded


@lru_cache(maxsize=512)
def _names(definition: str) -> tuple[str, ...]:
    return tuple(_numbers().get(definition, "").split())


def _message(data: bytes, numbers: str, typed: str, depth: int) -> Object:
    """Decode a message: its numbers are of one definition, its types of another when it is inlined into that."""
    if depth > _DEPTH_LIMIT:
        raise ValueError("it is nested too deeply")
    names = _names(numbers)
    types: Mapping[str, Any] = definitions()[typed].get("properties") or {}
    made: Object = {}
    for number, value in _fields(data):
        name = names[number - 1] if 0 < number <= len(names) else "-"
        if name.startswith("+"):
            inlined = f"{numbers.rpartition('.')[0]}.{name[1:]}"
            made.update(_message(_bytes(value), inlined, typed, depth + 1))
        elif name in types:
            _add(made, name, types[name], value, depth)
    return made


def _add(made: Object, name: str, kind: Any, value: int | bytes, depth: int) -> None:
    if isinstance(kind, dict) and "list" in kind:
        made.setdefault(name, []).extend(_elements(kind["list"], value, depth))
    elif isinstance(kind, dict) and "map" in kind:
        key, inner = _entry(kind["map"], _bytes(value), depth)
        made.setdefault(name, {})[key] = inner
    else:
        found = _value(kind, value, depth)
        if found is None or (found in ("", 0) and name not in _POINTERS):
            return  # False equals 0
        made[name] = found


def _elements(kind: Any, value: int | bytes, depth: int) -> list[Any]:
    """Return the elements that one field brings: one, or several numbers in one piece (packed)."""
    if kind in ("int32", "int64") and isinstance(value, bytes):
        found, at = [], 0
        while at < len(value):
            number, at = _varint(value, at)
            found.append(_integer(number))
        return found
    return [_value(kind, value, depth)]


def _entry(kind: Any, data: bytes, depth: int) -> tuple[str, Any]:
    parts = _last(data)
    value = parts.get(2, b"")
    if (
        isinstance(kind, dict) and "list" in kind
    ):  # Go has a type of its own for these: its items are field 1
        items = [item for number, item in _fields(_bytes(value)) if number == 1]
        return _text(parts.get(1, b"")), [_value(kind["list"], item, depth) for item in items]
    return _text(parts.get(1, b"")), _value(kind, value, depth)


def _value(kind: Any, value: int | bytes, depth: int) -> Any:
    if isinstance(kind, dict):
        kind = kind.get("of", "any")
    if kind.startswith("#"):
        definition = kind[1:]
        scalar = definitions().get(definition, {}).get("scalar")
        if scalar is None and definition in _numbers():
            return _message(_bytes(value), definition, definition, depth + 1)
        kind = scalar or "object"
    return _scalar(kind, value)


def _scalar(kind: str, value: int | bytes) -> Any:
    match kind:
        case "string":
            return _text(value)
        case "boolean":
            return bool(_integer(value))
        case "int32" | "int64":
            return _integer(value)
        case "number":
            return _double(value) if isinstance(value, bytes) else _integer(value)
        case "byte":
            return base64.b64encode(_bytes(value)).decode()
        case "quantity":
            return _text(_last(_bytes(value)).get(1, b""))
        case "time":
            return _time(_last(_bytes(value)))
        case "intorstring":
            parts = _last(_bytes(value))
            return _text(parts.get(3, b"")) if parts.get(1) else _integer(parts.get(2, 0))
    raw = _bytes(_last(_bytes(value)).get(1, b""))  # RawExtension, FieldsV1: JSON within
    return json.loads(raw) if raw else None


def _double(data: bytes) -> float:
    if len(data) != 8:
        raise ValueError("a number has eight bytes")
    found: float = struct.unpack("<d", data)[0]
    return found


def _time(parts: dict[int, int | bytes]) -> str | None:
    """Return a Time or MicroTime; None for one that is not set."""
    if not parts:
        return None
    moment = _EPOCH + timedelta(seconds=_integer(parts.get(1, 0)))
    micro = _integer(parts.get(2, 0)) // 1000
    text = moment.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{micro:06d}Z" if micro else f"{text}Z"
