"""Objects that the tests of the API start from."""

from copy import deepcopy
from typing import Any

from minipod.api import kinds
from minipod.api.defaults import apply_defaults
from minipod.api.field import Cause

Object = dict[str, Any]

POD = kinds.by_resource("pods")


def container(name: str = "main", **fields: Any) -> Object:
    return {"name": name, "image": "busybox:1", **fields}


def pod(**spec: Any) -> Object:
    """A Pod with one container, as it was typed."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "web", "namespace": "default"},
        "spec": {"containers": [container()], **deepcopy(spec)},
    }


def defaulted(**spec: Any) -> Object:
    """The same as the API server has it before validation."""
    made = pod(**spec)
    POD.hooks.prepare_create(made)
    apply_defaults(POD, made)
    return made


def stored(**spec: Any) -> Object:
    """The same as it lies in the store."""
    made = defaulted(**spec)
    made["metadata"].update(
        uid="0b7a", creationTimestamp="2026-01-01T00:00:00Z", resourceVersion="7", generation=1
    )
    return made


def texts(causes: list[Cause]) -> list[str]:
    return [str(each) for each in causes]
