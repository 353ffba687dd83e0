"""Namespaces: the finalizers of their spec."""

from typing import Any

from minipod.api import names
from minipod.api.field import Cause
from minipod.api.validation.metadata import causes_of

Object = dict[str, Any]


def validate_namespace(namespace: Object) -> list[Cause]:
    """Return what is wrong with a namespace."""
    finalizers = (namespace.get("spec") or {}).get("finalizers") or ()
    return [
        cause
        for index, each in enumerate(finalizers)
        for cause in causes_of(names.qualified_name(each), f"spec.finalizers[{index}]", each)
    ]


def validate_namespace_update(new: Object, _old: Object) -> list[Cause]:
    """Return what is wrong with changing a namespace."""
    return validate_namespace(new)
