"""Defaulting: what an object that leaves fields open means. Pods have a file of their own (`pod_defaults`)."""

import base64
from copy import deepcopy
from functools import cache
from typing import Any

from minipod.api import nulls
from minipod.api.definitions import field_type
from minipod.api.kind import Kind

Object = dict[str, Any]


def apply_defaults(kind: Kind, obj: Object) -> None:
    """Fill in an object's defaults, in place. Done twice, the second time changes nothing."""
    obj["apiVersion"], obj["kind"] = kind.api_version, kind.kind
    if obj.get("metadata") is None:
        obj["metadata"] = {}
    if obj.get("spec") is None and _has_spec(kind.schema_name):
        obj["spec"] = {}  # a struct of upstream's, and no pointer
    kind.hooks.defaults(obj)
    complete(kind, obj)


@cache
def _has_spec(definition: str) -> bool:
    return field_type(definition, "spec") is not None


def complete(kind: Kind, obj: Object) -> None:
    """Give an object the status and the nulls that upstream's has at least, in place: clients look there unasked."""
    if kind.has_status:
        obj["status"] = {**deepcopy(kind.zero_status), **(obj.get("status") or {})}
    obj.update(nulls.completed(kind.schema_name, obj))


def default_secret(secret: Object) -> None:
    """Set the type; move `stringData`, which is write-only, into `data`."""
    if not secret.get("type"):
        secret["type"] = "Opaque"
    plain = secret.pop("stringData", None)
    if plain:
        encoded = {key: base64.b64encode(text.encode()).decode() for key, text in plain.items()}
        secret["data"] = {**(secret.get("data") or {}), **encoded}


def default_namespace(namespace: Object) -> None:
    """Label the namespace with its name, so that selectors can select it."""
    metadata = namespace["metadata"]
    if metadata.get("name"):
        labels = dict(metadata.get("labels") or {})
        labels["kubernetes.io/metadata.name"] = metadata["name"]
        metadata["labels"] = labels


def default_node(node: Object) -> None:
    """All of a node's capacity can be allocated, unless it says otherwise; its first range is told twice."""
    status, spec = node.get("status") or {}, node.get("spec") or {}
    if status.get("capacity") and status.get("allocatable") is None:
        status["allocatable"] = dict(status["capacity"])
    first, ranges = spec.get("podCIDR"), spec.get("podCIDRs")
    if first and (ranges or [""])[0] != first:
        spec["podCIDRs"] = [first]
    elif ranges and not first:
        spec["podCIDR"] = ranges[0]
