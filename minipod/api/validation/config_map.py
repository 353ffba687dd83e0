"""ConfigMaps: keys, size, and immutability."""

from collections.abc import Iterator
from typing import Any

from minipod.api import names
from minipod.api.field import Cause, invalid, too_long
from minipod.api.validation.metadata import causes_of
from minipod.api.validation.secret import SIZE_LIMIT, frozen

Object = dict[str, Any]


def validate_config_map(config_map: Object) -> list[Cause]:
    """Return what is wrong with a ConfigMap."""
    return list(_checks(config_map))


def validate_config_map_update(new: Object, old: Object) -> list[Cause]:
    """Return what is wrong with changing a ConfigMap."""
    return [*frozen(new, old, ("data", "binaryData")), *_checks(new)]


def _checks(config_map: Object) -> Iterator[Cause]:
    data, binary = config_map.get("data") or {}, config_map.get("binaryData") or {}
    for key in data:
        yield from causes_of(names.config_key(key), f"data[{key}]", key)
        if key in binary:
            yield invalid(f"data[{key}]", key, "duplicate of key present in binaryData")
    for key in binary:
        yield from causes_of(names.config_key(key), f"binaryData[{key}]", key)
    total = sum(len((each or "").encode()) for each in data.values())
    total += sum(len(each or "") * 3 // 4 for each in binary.values())
    if total > SIZE_LIMIT:
        yield too_long("[]", SIZE_LIMIT)
